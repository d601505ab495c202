//! base64url (RFC 4648 §5) as JOSE writes it (RFC 7515 §2), for what every token that is judged is decoded from.

use std::sync::LazyLock;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::GeneralPurpose;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::Simd;
use base64::{DecodeError, Engine, engine::general_purpose::NO_PAD};

/// By tables it takes eight times as long.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<GeneralPurpose> =
    LazyLock::new(|| GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD));

/// Strict: no padding, and no set bits behind the last byte, so that one token has one spelling.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    ENGINE.decode(text)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn what_is_decoded_is_what_was_encoded_whatever_its_length() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1_000).collect();
        for length in 0..bytes.len() {
            let bytes = bytes.get(..length).unwrap();
            assert_eq!(
                decode(BASE64_URL_SAFE_NO_PAD.encode(bytes).as_bytes()).unwrap(),
                bytes,
                "{length}"
            );
        }
    }

    #[test]
    fn one_odd_character_is_refused_wherever_it_stands() {
        let text = "A".repeat(400);
        for at in 0..text.len() {
            for odd in ["+", "/", "=", " ", "\n", "\0", "~", "[", "`", "\u{7f}"] {
                let mut text = text.clone();
                text.replace_range(at..=at, odd);
                assert!(decode(text.as_bytes()).is_err(), "{odd:?} at {at}");
            }
        }
    }

    #[test]
    fn there_is_one_spelling() {
        // `e30` is `{}`; `e31` decodes to the same two bytes in a lax decoder.
        assert_eq!(decode(b"e30").unwrap(), b"{}");
        for other in ["e31", "e30=", "e3", "e"] {
            assert_ne!(decode(other.as_bytes()).ok().as_deref(), Some(&b"{}"[..]), "{other}");
        }
        assert!(decode(b"e31").is_err() && decode(b"e").is_err());
        let long = |end| decode(format!("{}{end}", "A".repeat(400)).as_bytes());
        assert!(long("e30").is_ok() && long("e31").is_err());
    }
}
