//! What a credential is asked for, and how.

use http::HeaderValue;

/// The `realm` of the challenge (RFC 9110 §11.5): what the credential is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Takes `name` if it needs no escapes: visible ASCII and spaces, without `"` and `\`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        name.bytes().all(is_plain).then(|| Self(name.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// RFC 6750 §3: no `error` when the credential is merely missing.
    pub(super) fn challenge(&self, error: Option<&str>, description: &str) -> HeaderValue {
        let realm = &self.0;
        let challenge = match error {
            None => format!("Bearer realm=\"{realm}\""),
            Some(error) => {
                let plain: String;
                let description = if description.bytes().all(is_plain) {
                    description
                } else {
                    plain = description.chars().filter(|c| is_plain_char(*c)).collect();
                    &plain
                };
                format!(
                    "Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{description}\""
                )
            }
        };
        HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("siwa-proxy".to_owned())
    }
}

/// Legal in a quoted string without an escape, and in an `error_description` (RFC 6750 §3).
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn is_plain_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_plain)
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
}
