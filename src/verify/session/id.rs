//! The name of a session.

use std::fmt;

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::super::seal::SealError;

/// The name of one session: 128 random bits. It opens nothing, and does not print: it would tell whose requests belong
/// together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new one.
    pub(super) fn generate() -> Result<Self, SealError> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// 22 characters of base64url (RFC 4648 §5).
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_two_are_the_same() {
        let [one, other] = [(); 2].map(|()| SessionId::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(SessionId::parse(&one.to_text()), Some(one));
        assert_eq!(one.to_text().len(), 22);
        for text in ["", "AAAA", "not base64", &"A".repeat(44)] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
        assert_eq!(format!("{one:?}"), "SessionId(..)");
    }
}
