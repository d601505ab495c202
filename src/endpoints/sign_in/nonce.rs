//! Nonces of ours: sealed, so that every replica knows one without having been told, and good for one sign-in each.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    authn::SignInFault,
    clock::{Clock, UnixTime},
    verify::{Purpose, SealError, SealKeys, Sealed},
};

/// Which nonces are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NonceRule {
    /// None; one that is there must be right, and one of ours unused.
    #[default]
    Optional,
    /// One of ours, so that no token signs in twice.
    Required,
}

/// Issues nonces and knows them again.
pub(super) struct Nonces {
    keys: SealKeys,
    clock: Arc<dyn Clock>,
}

/// What is sealed in one. It is told from others by the seal, of which no two are alike.
#[derive(Serialize, Deserialize)]
struct Content {
    /// When it ends, in seconds since 1970.
    exp: u64,
}

impl Nonces {
    /// How long a nonce is good for: as long as somebody may take at Apple's sheet.
    pub(super) const LIFETIME: Duration = Duration::from_mins(10);

    pub(super) const fn new(keys: SealKeys, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock }
    }

    /// A new one.
    pub(super) fn issue(&self) -> Result<Sealed, SealError> {
        let exp = self.clock.now().saturating_add(Self::LIFETIME).as_secs();
        self.keys.seal(Purpose::Nonce, &Content { exp })
    }

    /// Whether `nonce` says that it is one of ours.
    pub(super) fn claims(nonce: &str) -> bool {
        nonce.starts_with(Purpose::Nonce.prefix())
    }

    /// When `nonce` ends, which is one of ours and has not ended yet.
    pub(super) fn end_of(&self, nonce: &str) -> Result<UnixTime, SignInFault> {
        let opened = self.keys.open(Purpose::Nonce, nonce);
        let Content { exp } = opened.map_err(|_whatever| SignInFault::NonceUnknown)?;
        let end = UnixTime::from_secs(exp);
        if self.clock.now() < end { Ok(end) } else { Err(SignInFault::NonceExpired) }
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn nonces(clock: &ManualClock) -> Nonces {
        let keys = SealKeys::parse([SealKeys::generate().unwrap().as_str()]).unwrap();
        Nonces::new(keys, Arc::new(clock.clone()))
    }

    #[test]
    fn a_nonce_is_known_again_until_it_ends_and_no_two_are_alike() {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let nonces = nonces(&clock);
        let [one, other] = [(); 2].map(|()| nonces.issue().unwrap());
        assert_ne!(one.as_str(), other.as_str());
        assert!(Nonces::claims(one.as_str()));
        let end = UnixTime::from_secs(1_700_000_600);
        assert_eq!(nonces.end_of(one.as_str()), Ok(end));
        clock.advance(Duration::from_secs(599));
        assert_eq!(nonces.end_of(one.as_str()), Ok(end));
        clock.advance(Duration::from_secs(1));
        assert_eq!(nonces.end_of(one.as_str()), Err(SignInFault::NonceExpired));
    }

    #[test]
    fn what_we_did_not_issue_is_no_nonce_of_ours() {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let (ours, theirs) = (nonces(&clock), nonces(&clock).issue().unwrap());
        let access = ours.keys.seal(Purpose::Access, &Content { exp: 1_800_000_000 }).unwrap();
        let posing = access.as_str().replace(Purpose::Access.prefix(), Purpose::Nonce.prefix());
        let cut = ours.issue().unwrap().as_str().replace('.', ".A");
        for nonce in [theirs.as_str(), access.as_str(), &posing, &cut, "siwa_n.", "raw"] {
            assert_eq!(ours.end_of(nonce), Err(SignInFault::NonceUnknown), "{nonce}");
        }
    }
}
