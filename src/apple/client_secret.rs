//! What proves to Apple which app asks: a client secret, minted for a few minutes instead of stored for half a year, so that
//! none expires unnoticed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::team_key::TeamKey;
use crate::{
    clock::{Clock, UnixTime},
    verify::{ClientId, SecretText},
};

/// A JWT (RFC 7523 §2.2 has the like) that stands in for an app's password at Apple. It does not print.
#[derive(Clone, Debug)]
pub struct ClientSecret(pub(super) SecretText);

impl ClientSecret {
    /// For whom it is.
    pub const AUDIENCE: &'static str = "https://appleid.apple.com";
    /// How long it lives. Apple allows 15,777,000 seconds.
    pub const LIFETIME: Duration = Duration::from_mins(10);
    /// How long before its making it says that it was made.
    pub const BACKDATED: Duration = Duration::from_secs(10);

    /// The text. Whoever has it is the app to Apple until it ends: keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The current secret of each app.
#[derive(Debug)]
pub(super) struct ClientSecrets {
    key: TeamKey,
    clock: Arc<dyn Clock>,
    minted: Mutex<HashMap<ClientId, Minted>>,
}

#[derive(Debug)]
struct Minted {
    secret: ClientSecret,
    at: UnixTime,
}

impl Minted {
    /// How long a secret is used: what is left of its life then covers a slow request and clocks that differ.
    const USED_FOR: Duration = Duration::from_mins(5);

    /// A clock that was set back makes it one of the future.
    fn is_fresh(&self, now: UnixTime) -> bool {
        self.at <= now && now.saturating_since(self.at) < Self::USED_FOR
    }
}

impl ClientSecrets {
    pub(super) fn new(key: TeamKey, clock: Arc<dyn Clock>) -> Self {
        Self { key, clock, minted: Mutex::default() }
    }

    /// The secret of `client_id`; none if the system has no randomness to give.
    pub(super) fn of(&self, client_id: &ClientId) -> Option<ClientSecret> {
        let now = self.clock.now();
        if let Some(minted) = self.lock().get(client_id).filter(|minted| minted.is_fresh(now)) {
            return Some(minted.secret.clone());
        }
        let secret = self.key.client_secret(client_id, now)?;
        let mut minted = self.lock();
        // No more are kept than were asked for within minutes.
        minted.retain(|_, minted| minted.is_fresh(now));
        minted.insert(client_id.clone(), Minted { secret: secret.clone(), at: now });
        Some(secret)
    }

    /// Forgets the secret of `client_id`, which Apple does not take.
    pub(super) fn forget(&self, client_id: &ClientId) {
        self.lock().remove(client_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Minted>> {
        self.minted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const PEM: &str = include_str!("../../tests/fixtures/assertion/one.pem");

    #[test]
    fn a_secret_is_minted_for_each_app_and_used_for_minutes() {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let key = TeamKey::from_pem("DEF123GHIJ", "ABC123DEFG", PEM.as_bytes()).unwrap();
        let secrets = ClientSecrets::new(key, Arc::new(clock.clone()));
        let of = |id: &str| {
            let secret = secrets.of(&ClientId::new(id).unwrap()).unwrap();
            secret.expose().to_owned()
        };
        let first = of("com.example.app");
        assert_ne!(of("com.example.web"), first);
        clock.advance(Duration::from_secs(299));
        assert_eq!(of("com.example.app"), first);
        clock.advance(Duration::from_secs(1));
        let second = of("com.example.app");
        assert_ne!(second, first);
        assert_eq!(secrets.lock().len(), 1, "what nobody asks for is not kept");
        clock.set(UnixTime::from_secs(1_600_000_000));
        assert_ne!(of("com.example.app"), second, "a secret of the future is none");
        secrets.forget(&ClientId::new("com.example.app").unwrap());
        assert_eq!(secrets.lock().len(), 0);
    }
}
