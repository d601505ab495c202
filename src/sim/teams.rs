//! Teams of developers and their keys for Sign in with Apple, as the developer site hands them out: the private half once, to
//! download.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Apple;

/// Letters and digits of a Team ID or a Key ID.
const ID_LENGTH: usize = 10;

/// A key as it is downloaded. `Debug` does not show the private half.
#[derive(Clone)]
#[non_exhaustive]
pub struct TeamKeyFile {
    /// Whose it is.
    pub team_id: String,
    /// Its name.
    pub key_id: String,
    /// What is in the `.p8` file: PEM with PKCS#8.
    pub text: String,
}

impl fmt::Debug for TeamKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeamKeyFile")
            .field("team_id", &self.team_id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// What Apple keeps of a key.
#[derive(Clone, Debug)]
pub(super) struct TeamKey {
    pub(super) team_id: String,
    pub(super) key_id: String,
    /// An uncompressed point.
    pub(super) public: Vec<u8>,
    /// The apps of its group; none for all.
    client_ids: Vec<String>,
}

impl TeamKey {
    pub(super) fn serves(&self, client_id: &str) -> bool {
        self.client_ids.is_empty() || self.client_ids.iter().any(|id| id == client_id)
    }
}

/// Every key that is not revoked.
#[derive(Debug, Default)]
pub(super) struct Teams(Mutex<Vec<TeamKey>>);

impl Apple {
    /// A new key of `team_id` for the group of apps `client_ids`, or for all of them if none is named.
    ///
    /// # Panics
    ///
    /// When the machine has no randomness to give.
    #[must_use]
    pub fn issue_team_key(&self, team_id: &str, client_ids: &[&str]) -> TeamKeyFile {
        self.state.teams.issue(team_id, client_ids.iter().map(|&id| id.to_owned()).collect())
    }

    /// Revokes a key: whatever it signed is void at once.
    pub fn revoke_team_key(&self, key_id: &str) {
        self.state.teams.lock().retain(|key| key.key_id != key_id);
    }
}

impl Teams {
    #[expect(clippy::expect_used, reason = "without randomness there is no simulator to run")]
    pub(super) fn issue(&self, team_id: &str, client_ids: Vec<String>) -> TeamKeyFile {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
            .expect("a key can be generated");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref())
            .expect("what was generated is a key");
        let key = TeamKey {
            team_id: team_id.to_owned(),
            key_id: some_id(),
            public: pair.public_key().as_ref().to_vec(),
            client_ids,
        };
        self.lock().push(key.clone());
        let text = pem(private.as_ref());
        TeamKeyFile { team_id: key.team_id, key_id: key.key_id, text }
    }

    pub(super) fn find(&self, key_id: &str) -> Option<TeamKey> {
        self.lock().iter().find(|key| key.key_id == key_id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TeamKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Team ID or Key ID: ten capitals and digits.
pub(super) fn some_id() -> String {
    (0..ID_LENGTH).map(|_| fastrand::alphanumeric().to_ascii_uppercase()).collect()
}

/// RFC 7468 §10.
fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for (place, letter) in base64.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_downloaded_whole_and_does_not_print() {
        let teams = Teams::default();
        let file = teams.issue("DEF123GHIJ", vec!["com.example.app".to_owned()]);
        let lines: Vec<&str> = file.text.lines().collect();
        assert_eq!(lines.first(), Some(&"-----BEGIN PRIVATE KEY-----"));
        assert_eq!(lines.last(), Some(&"-----END PRIVATE KEY-----"));
        assert!(lines.iter().all(|line| line.len() <= 64), "{lines:?}");
        assert!(!format!("{file:?}").contains(lines[1]));
        let key = teams.find(&file.key_id).unwrap();
        assert_eq!((key.team_id.as_str(), key.public.len()), ("DEF123GHIJ", 65));
        assert!(key.serves("com.example.app") && !key.serves("com.example.web"));
        assert_eq!(some_id().len(), ID_LENGTH);
    }
}
