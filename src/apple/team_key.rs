//! The private key by which Apple knows a team of developers: what is downloaded once, as `AuthKey_….p8`.

use std::{fmt, sync::Arc};

use aws_lc_rs::error::KeyRejected;
use rustls::pki_types::pem;
use serde::Serialize;
use serde_json::json;

use super::client_secret::ClientSecret;
use crate::{
    clock::UnixTime,
    es256::{Es256Key, InvalidEs256Key, encoded},
    verify::{ClientId, SecretText},
};

/// A private key of a team, made in Apple's developer account for Sign in with Apple. It serves all apps of the group that it
/// was made for. Clones are the same key; it does not print.
#[derive(Clone)]
pub struct TeamKey(Arc<Inner>);

struct Inner {
    team_id: Box<str>,
    key_id: Box<str>,
    key: Es256Key,
    /// The JOSE header of what it signs, encoded.
    header: String,
}

/// Why something is no team key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTeamKey {
    /// Apple's identifiers are ten capital letters and digits.
    #[error("is no Team ID: Apple's have ten capital letters and digits, such as DEF123GHIJ")]
    TeamId,
    /// Likewise.
    #[error("is no Key ID: Apple's have ten capital letters and digits, such as ABC123DEFG")]
    KeyId,
    /// There is no private key in the file, or in another form than Apple's.
    #[error("is no .p8 file of Apple's: {}", what_it_is(.found.as_deref()))]
    Pem {
        /// The label of the PEM block that is there instead.
        found: Option<Box<str>>,
        /// What reading it said.
        #[source]
        source: pem::Error,
    },
    /// It is a key for something else.
    #[error(
        "holds no key for ES256, one of the curve P-256: Apple's keys for Sign in with Apple are such"
    )]
    Curve(#[source] KeyRejected),
}

fn what_it_is(found: Option<&str>) -> String {
    match found {
        Some("EC PRIVATE KEY") => {
            "it holds a key in the form SEC1 (`BEGIN EC PRIVATE KEY`): convert it with \
             `openssl pkcs8 -topk8 -nocrypt -in FILE`"
                .to_owned()
        }
        Some("ENCRYPTED PRIVATE KEY") => {
            "its key is encrypted: decrypt it with `openssl pkcs8 -in FILE`".to_owned()
        }
        Some("PRIVATE KEY") => {
            "its `PRIVATE KEY` cannot be read: download it anew, or make a new one".to_owned()
        }
        Some(label) => format!("it holds a `{label}`, and no `PRIVATE KEY`"),
        None => "it holds no PEM block (`-----BEGIN PRIVATE KEY-----`)".to_owned(),
    }
}

impl TeamKey {
    /// Reads the key with the name `key_id` of the team `team_id` from the text of its `.p8` file: PEM with PKCS#8.
    ///
    /// # Errors
    ///
    /// [`InvalidTeamKey`], the first that applies.
    pub fn from_pem(team_id: &str, key_id: &str, text: &[u8]) -> Result<Self, InvalidTeamKey> {
        let key = Es256Key::from_pem(text).map_err(|error| match error {
            InvalidEs256Key::Pem(source) => InvalidTeamKey::Pem { found: label_of(text), source },
            InvalidEs256Key::Curve(source) => InvalidTeamKey::Curve(source),
        })?;
        if !Self::is_identifier(team_id) {
            return Err(InvalidTeamKey::TeamId);
        }
        if !Self::is_identifier(key_id) {
            return Err(InvalidTeamKey::KeyId);
        }
        let header = encoded(&json!({ "alg": "ES256", "kid": key_id }));
        let (team_id, key_id) = (team_id.into(), key_id.into());
        Ok(Self(Arc::new(Inner { team_id, key_id, key, header })))
    }

    /// Whether `text` can be a Team ID or a Key ID: ten capital letters and digits.
    #[must_use]
    pub fn is_identifier(text: &str) -> bool {
        text.len() == 10 && text.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
    }

    /// The team (`iss` of what it signs).
    #[must_use]
    pub fn team_id(&self) -> &str {
        &self.0.team_id
    }

    /// The name of the key (`kid`).
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// A client secret for the app `client_id`, as of `now`; none if the system has no randomness to give.
    #[must_use]
    pub fn client_secret(&self, client_id: &ClientId, now: UnixTime) -> Option<ClientSecret> {
        let claims = Claims {
            iss: self.team_id(),
            // Apple's clock may be behind ours, and whether it refuses what was issued in the future is not documented.
            iat: now.as_secs().saturating_sub(ClientSecret::BACKDATED.as_secs()),
            exp: now.saturating_add(ClientSecret::LIFETIME).as_secs(),
            aud: ClientSecret::AUDIENCE,
            sub: client_id.as_str(),
        };
        let text = self.0.key.sign(&self.0.header, &claims)?;
        Some(ClientSecret(SecretText::new(text)))
    }
}

/// <https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret>
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
    exp: u64,
    aud: &'a str,
    sub: &'a str,
}

/// What the first PEM block in `text` says that it is.
fn label_of(text: &[u8]) -> Option<Box<str>> {
    let (_, rest) = std::str::from_utf8(text).ok()?.split_once("-----BEGIN ")?;
    let (label, _) = rest.split_once("-----")?;
    let plain =
        label.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b' ');
    (plain && label.len() <= 40).then(|| label.into())
}

impl fmt::Debug for TeamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeamKey")
            .field("team_id", &self.team_id())
            .field("key_id", &self.key_id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::Value;

    use super::*;

    const PEM: &str = include_str!("../../tests/fixtures/assertion/one.pem");
    const P384: &str = include_str!("../../tests/fixtures/assertion/p384.pem");
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn key() -> TeamKey {
        TeamKey::from_pem("DEF123GHIJ", "ABC123DEFG", PEM.as_bytes()).unwrap()
    }

    fn problem_with(text: &str) -> String {
        let error = TeamKey::from_pem("DEF123GHIJ", "ABC123DEFG", text.as_bytes()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_client_secret_says_what_apple_asks_for_and_is_signed_in_the_fixed_form() {
        let secret = key().client_secret(&ClientId::new("com.example.app").unwrap(), NOW).unwrap();
        let parts: Vec<&str> = secret.expose().split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("{parts:?}") };
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
        assert_eq!(json(header), json!({ "alg": "ES256", "kid": "ABC123DEFG" }));
        assert_eq!(
            json(claims),
            json!({
                "iss": "DEF123GHIJ", "iat": 1_699_999_990, "exp": 1_700_000_600,
                "aud": "https://appleid.apple.com", "sub": "com.example.app",
            })
        );
        let signature = decode(signature);
        assert_eq!(signature.len(), 64, "r and s beside each other, and no DER");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key().0.key.public_point())
            .verify(format!("{header}.{claims}").as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn identifiers_have_ten_capitals_and_digits() {
        for text in ["", "DEF123GHI", "DEF123GHIJK", "def123ghij", "DEF123GHI.", "com.example"] {
            let team = TeamKey::from_pem(text, "ABC123DEFG", PEM.as_bytes());
            assert!(matches!(team, Err(InvalidTeamKey::TeamId)), "{text}");
            let key = TeamKey::from_pem("DEF123GHIJ", text, PEM.as_bytes());
            assert!(matches!(key, Err(InvalidTeamKey::KeyId)), "{text}");
        }
    }

    #[test]
    fn what_is_no_p8_file_is_called_what_it_is() {
        assert!(problem_with("").contains("no PEM block"));
        for (label, expected) in [
            ("EC PRIVATE KEY", "openssl pkcs8 -topk8 -nocrypt"),
            ("ENCRYPTED PRIVATE KEY", "is encrypted"),
            ("PUBLIC KEY", "it holds a `PUBLIC KEY`, and no `PRIVATE KEY`"),
            ("CERTIFICATE", "it holds a `CERTIFICATE`"),
        ] {
            let text = format!("-----BEGIN {label}-----\nMIGH\n-----END {label}-----\n");
            let problem = problem_with(&text);
            assert!(problem.contains(expected), "{problem}");
        }
        assert!(problem_with("-----BEGIN PRIVATE KEY-----\nMIGH").contains("cannot be read"));
        assert!(problem_with(P384).contains("curve P-256"));
    }

    #[test]
    fn neither_key_nor_secret_prints() {
        let secret = key().client_secret(&ClientId::new("com.example.app").unwrap(), NOW).unwrap();
        assert_eq!(format!("{secret:?}"), "ClientSecret(..)");
        let printed = format!("{:?}", key());
        assert_eq!(printed, r#"TeamKey { team_id: "DEF123GHIJ", key_id: "ABC123DEFG", .. }"#);
    }
}
