//! What goes to and from the token endpoint and is nobody else's business.

use serde::Deserialize;
use url::{Host, Url};

use crate::verify::SecretText;

/// The longest code that is taken, in bytes; Apple's have about 64.
const LONGEST_CODE: usize = 2_048;

/// An authorization code (RFC 6749 §1.3.1): good once, for five minutes, for the app that got it. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct AuthorizationCode(SecretText);

impl AuthorizationCode {
    /// Takes `text` for a code: 1 to 2048 visible ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        SecretText::parse(text, LONGEST_CODE).map(Self)
    }

    /// The code itself. Keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// An access token of Apple's (RFC 6749 §1.4), which is good for little: migrating users and ending a consent. `Debug` does
/// not show it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct AccessToken(SecretText);

impl AccessToken {
    /// The token itself. Keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// An identity token that came from the token endpoint, not looked at yet. `Debug` does not show it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct IdToken(SecretText);

impl IdToken {
    /// The token itself. Keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Where the browser was sent after sign-in. Apple compares it, text for text, with that of the authorization request; codes
/// from native apps have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri(Box<str>);

/// Why an address is none that Apple sends browsers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an https:// address with a domain name and without `#`, as registered with Apple (on loopback an address or http://, for a simulator)"
)]
pub struct InvalidRedirectUri;

impl RedirectUri {
    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// [`InvalidRedirectUri`] for what Apple takes for none either; an address, or plain `http`, on loopback is for a simulator.
    pub fn new(text: &str) -> Result<Self, InvalidRedirectUri> {
        let url = Url::parse(text).map_err(|_says_no_more| InvalidRedirectUri)?;
        let legal = match (url.scheme(), url.host()) {
            ("https", Some(Host::Domain(_))) => true,
            ("http", Some(Host::Domain(name))) => name == "localhost",
            ("http" | "https", Some(Host::Ipv4(address))) => address.is_loopback(),
            ("http" | "https", Some(Host::Ipv6(address))) => address.is_loopback(),
            _ => false,
        };
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && url.fragment().is_none();
        (legal && plain).then(|| Self(text.into())).ok_or(InvalidRedirectUri)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_is_kept_as_it_is_written() {
        for text in [
            "https://app.example/auth/apple/callback",
            "https://app.example/a/",
            "https://APP.example:8443/a?b=c",
            "http://127.0.0.1:4180/auth/apple/callback",
            "http://localhost/a",
            "https://127.0.0.1:4182/auth/apple/callback",
            "https://[::1]/a",
        ] {
            assert_eq!(RedirectUri::new(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "/callback",
            "http://app.example/a",
            "https://10.0.0.1/a",
            "https://app.example/a#b",
            "https://app.example/a b",
            "myapp://callback",
        ] {
            assert_eq!(RedirectUri::new(text), Err(InvalidRedirectUri), "{text}");
        }
    }

    #[test]
    fn a_code_is_visible_ascii_and_does_not_print() {
        let code = AuthorizationCode::parse("c0ffee.0.abcd.secret").unwrap();
        assert_eq!(format!("{code:?}"), "AuthorizationCode(..)");
        for text in ["", "a b", "a\r\n", &"c".repeat(LONGEST_CODE + 1)] {
            assert!(AuthorizationCode::parse(text).is_none());
        }
    }
}
