//! Texts that nobody but their reader may see.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A secret text: it does not print itself, and is overwritten when it is dropped.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Keeps `text` from here on.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Takes a foreign `text` if it is 1 to `longest` visible ASCII characters, as every token of Apple's is.
    pub(crate) fn parse(text: &str, longest: usize) -> Option<Self> {
        let legal = text.bytes().all(|byte| byte.is_ascii_graphic());
        (legal && (1..=longest).contains(&text.len())).then(|| Self::new(text.to_owned()))
    }

    /// The text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for SecretText {
    /// In the clear: what it is written into must be sealed, or on its way to whom it belongs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.expose().serialize(serializer)
    }
}

/// A refresh token of Apple's: proof that a person consented to one of our apps, for as long as they do. It is opaque, and
/// good for the app alone that got it.
///
/// `Debug` does not show it; `Serialize` does, so that it can be sealed into a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppleRefreshToken(SecretText);

impl AppleRefreshToken {
    /// The longest that is taken, in bytes; Apple's have about 64.
    pub const LONGEST: usize = 2_048;

    /// Takes `text` for a refresh token: 1 to [`LONGEST`](Self::LONGEST) visible ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        SecretText::parse(text, Self::LONGEST).map(Self)
    }

    /// The token itself. Keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_kept_and_not_printed() {
        let token = AppleRefreshToken::parse("r0ffee.0.abcd.secret").unwrap();
        assert_eq!(format!("{token:?}"), "AppleRefreshToken(..)");
        let sealed = serde_json::to_string(&token).unwrap();
        assert_eq!(sealed, r#""r0ffee.0.abcd.secret""#);
        let opened: AppleRefreshToken = serde_json::from_str(&sealed).unwrap();
        assert_eq!(opened.expose(), "r0ffee.0.abcd.secret");
    }

    #[test]
    fn what_no_token_of_apples_looks_like_is_none() {
        let long = "r".repeat(AppleRefreshToken::LONGEST + 1);
        for text in ["", "a b", "a\n", "é", &long] {
            assert!(AppleRefreshToken::parse(text).is_none(), "{text}");
        }
    }
}
