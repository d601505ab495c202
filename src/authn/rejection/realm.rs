//! What a credential is asked for, and how.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// The `realm` of the challenge (RFC 9110 §11.5): what the credential is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    name: String,
    /// The challenge without an error.
    challenge: HeaderValue,
}

impl Realm {
    /// Takes `name` if it needs no escapes: visible ASCII and spaces, without `"` and `\`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if !name.bytes().all(is_plain) {
            return None;
        }
        let challenge = HeaderValue::try_from(format!("Bearer realm=\"{name}\"")).ok()?;
        Some(Self { name: name.to_owned(), challenge })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// RFC 6750 §3: no `error` when the credential is merely missing.
    pub(super) fn challenge(&self, error: Option<&str>, description: &str) -> HeaderValue {
        let Some(error) = error else { return self.challenge.clone() };
        // By hand, as a flood of forged tokens is answered with it.
        let before: [&[u8]; 4] = [
            self.challenge.as_bytes(),
            b", error=\"",
            error.as_bytes(),
            b"\", error_description=\"",
        ];
        let length: usize = before.iter().map(|piece| piece.len()).sum();
        let mut text = BytesMut::with_capacity(length + description.len() + 1);
        for piece in before {
            text.put_slice(piece);
        }
        if description.bytes().all(is_plain) {
            text.put_slice(description.as_bytes());
        } else {
            text.extend(description.bytes().filter(|byte| is_plain(*byte)));
        }
        text.put_u8(b'"');
        HeaderValue::from_maybe_shared(text.freeze()).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self {
            name: "siwa-proxy".to_owned(),
            challenge: HeaderValue::from_static("Bearer realm=\"siwa-proxy\""),
        }
    }
}

/// Legal in a quoted string without an escape, and in an `error_description` (RFC 6750 §3).
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_that_would_need_escapes_is_refused() {
        assert!(Realm::new("my app").is_some());
        for name in ["a\"b", "a\\b", "a\r\nb", "é"] {
            assert!(Realm::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_default_realm_is_one_like_any_other() {
        assert_eq!(Realm::new("siwa-proxy"), Some(Realm::default()));
    }

    #[test]
    fn what_a_quoted_string_cannot_hold_is_left_out_of_the_description() {
        let challenge = Realm::default().challenge(Some("invalid_token"), "a \"b\"\\\r\nc: é, d");
        assert_eq!(
            challenge,
            r#"Bearer realm="siwa-proxy", error="invalid_token", error_description="a bc: , d""#
        );
    }
}
