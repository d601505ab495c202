//! Our own seal: text that only we can have written, and only we can read.
//!
//! A sealed text is a prefix, by which people and scanners know it, and then base64url (RFC 4648 §5) of
//!
//! | bytes | |
//! |---|---|
//! | 1 | the version: 1 |
//! | 4 | the name of the key |
//! | 12 | the nonce, which is random |
//! | … | AES-256-GCM-SIV (RFC 8452) of the content as JSON, and its tag of 16 bytes |
//!
//! Prefix, version and name are authenticated with it: what was sealed for one purpose opens for no other.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    rand,
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

/// What a text is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The access token of a session.
    Access,
    /// The refresh token of a session.
    Refresh,
    /// A nonce that we issued.
    Nonce,
    /// The session of a browser, in a cookie.
    Cookie,
    /// A browser's sign-in in flight.
    State,
}

impl Purpose {
    const ALL: [Self; 5] = [Self::Access, Self::Refresh, Self::Nonce, Self::Cookie, Self::State];

    /// How its texts begin. It must never change.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Access => "siwa_a.",
            Self::Refresh => "siwa_r.",
            Self::Nonce => "siwa_n.",
            Self::Cookie => "siwa_c.",
            Self::State => "siwa_s.",
        }
    }

    /// What `text` was sealed for, if it is as it begins.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| text.starts_with(purpose.prefix()))
    }
}

/// Keys to seal with. The first seals, and all open, so that keys can be changed while what they sealed is in use. Clones
/// share them; they do not print.
#[derive(Clone)]
pub struct SealKeys(Arc<[SealKey]>);

struct SealKey {
    name: KeyName,
    key: RandomizedNonceKey,
}

/// A name that tells nothing of its key.
type KeyName = [u8; 4];

/// Not a set of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSealKey {
    /// There is none.
    #[error("there is no key")]
    None,
    /// Not 32 bytes in base64.
    #[error("is not 32 random bytes in base64, as `siwa-proxy session-key` prints them")]
    Illegal,
    /// The same key, or one of the same name.
    #[error("is there twice")]
    Twice,
}

/// The system gives no random numbers, or what was to be sealed is too long.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be sealed")]
pub struct SealError;

/// Why a text does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealFault {
    /// It does not look like a sealed text, or what it holds is not what this version seals.
    #[error("it is no sealed text")]
    Malformed,
    /// It was sealed for something else.
    #[error("it was sealed for another purpose")]
    WrongPurpose,
    /// None of our keys has that name.
    #[error("the key that sealed it is not one of ours any more")]
    UnknownKey,
    /// The tag is wrong: somebody changed it, or made it up.
    #[error("it was not sealed by us")]
    Forged,
}

/// A text that was sealed. It is a secret, and does not print.
#[derive(Clone)]
pub struct Sealed(Zeroizing<String>);

impl Sealed {
    /// The text, for whoever it was sealed for.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl SealKeys {
    /// The version that is written; no other is read yet.
    const VERSION: u8 = 1;
    const KEY_BYTES: usize = 32;
    /// The longest text that is looked at, in bytes behind the prefix.
    const LONGEST: usize = 8 * 1024;

    /// Reads keys, each 32 random bytes in base64 (RFC 4648 §4) as [`generate`](Self::generate) makes them; white space
    /// around one does not count.
    ///
    /// # Errors
    ///
    /// [`InvalidSealKey`], about the last key that was read.
    pub fn parse<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidSealKey> {
        let mut keys: Vec<SealKey> = Vec::new();
        for text in texts {
            let key = SealKey::parse(text.as_ref())?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(InvalidSealKey::Twice);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(InvalidSealKey::None) } else { Ok(Self(keys.into())) }
    }

    /// A new key, as text.
    ///
    /// # Errors
    ///
    /// [`SealError`] when the system gives no random numbers.
    pub fn generate() -> Result<Zeroizing<String>, SealError> {
        let mut key = Zeroizing::new([0; Self::KEY_BYTES]);
        rand::fill(&mut *key).map_err(SealError::from)?;
        Ok(Zeroizing::new(BASE64_STANDARD.encode(*key)))
    }

    /// Seals `content` with the first key.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        content: &impl Serialize,
    ) -> Result<Sealed, SealError> {
        let SealKey { name, key } = self.0.first().ok_or(SealError)?;
        let mut content =
            Zeroizing::new(serde_json::to_vec(content).map_err(|_not_shown| SealError)?);
        let head = [&[Self::VERSION][..], name].concat();
        let nonce = key.seal_in_place_append_tag(associated(purpose, &head), &mut *content)?;
        let bytes = [&*head, nonce.as_ref(), &content].concat();
        let mut text = Zeroizing::new(purpose.prefix().to_owned());
        BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        if text.len() > Self::LONGEST { Err(SealError) } else { Ok(Sealed(text)) }
    }

    /// Opens `text`, which was sealed for `purpose`.
    ///
    /// # Errors
    ///
    /// [`SealFault`].
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        text: &str,
    ) -> Result<T, SealFault> {
        let Some(body) = text.strip_prefix(purpose.prefix()) else {
            let is_other = Purpose::of(text).is_some();
            return Err(if is_other { SealFault::WrongPurpose } else { SealFault::Malformed });
        };
        if body.len() > Self::LONGEST {
            return Err(SealFault::Malformed);
        }
        let bytes =
            BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_not_shown| SealFault::Malformed)?;
        let content = self.open_bytes(purpose, Zeroizing::new(bytes))?;
        serde_json::from_slice(&content).map_err(|_not_shown| SealFault::Malformed)
    }

    fn open_bytes(
        &self,
        purpose: Purpose,
        mut bytes: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, SealFault> {
        const HEAD: usize = 1 + size_of::<KeyName>();
        let (head, rest) = bytes.split_first_chunk_mut::<HEAD>().ok_or(SealFault::Malformed)?;
        let (nonce, sealed) =
            rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealFault::Malformed)?;
        let [Self::VERSION, name @ ..] = head else { return Err(SealFault::Malformed) };
        let key = self.0.iter().find(|key| key.name == *name).ok_or(SealFault::UnknownKey)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = key
            .key
            .open_in_place(nonce, associated(purpose, head), sealed)
            .map_err(|Unspecified| SealFault::Forged)?;
        Ok(Zeroizing::new(content.to_vec()))
    }
}

/// What is authenticated with the content.
fn associated(purpose: Purpose, head: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([purpose.prefix().as_bytes(), head].concat())
}

impl SealKey {
    fn parse(text: &str) -> Result<Self, InvalidSealKey> {
        let bytes =
            BASE64_STANDARD.decode(text.trim()).map_err(|_not_shown| InvalidSealKey::Illegal)?;
        let bytes = Zeroizing::new(bytes);
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &bytes);
        let key = key.map_err(|Unspecified| InvalidSealKey::Illegal)?;
        let hash = blake3::derive_key("siwa-proxy 2026-11-21 the name of a seal key", &bytes);
        let name = hash.first_chunk().copied().unwrap_or_default();
        Ok(Self { name, key })
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", self.0.len())
    }
}

impl From<Unspecified> for SealError {
    /// The cause says of itself that it says nothing.
    fn from(Unspecified: Unspecified) -> Self {
        Self
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// Keys that differ by number.
    pub(crate) fn key_text(number: u8) -> String {
        BASE64_STANDARD.encode([number; 32])
    }

    pub(crate) fn keys(numbers: &[u8]) -> SealKeys {
        SealKeys::parse(numbers.iter().map(|number| key_text(*number))).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        fixtures::{key_text, keys},
        *,
    };

    fn open(keys: &SealKeys, text: &str) -> Result<String, SealFault> {
        keys.open(Purpose::Access, text)
    }

    #[test]
    fn what_is_sealed_opens_as_it_was_and_tells_nothing() {
        let keys = keys(&[1]);
        let sealed = keys.seal(Purpose::Access, &"a secret").unwrap();
        assert!(sealed.as_str().starts_with("siwa_a."));
        assert_eq!(open(&keys, sealed.as_str()).unwrap(), "a secret");
        assert_eq!(format!("{sealed:?} {keys:?}"), "Sealed(..) SealKeys(1)");
        let again = keys.seal(Purpose::Access, &"a secret").unwrap();
        assert_ne!(sealed.as_str(), again.as_str(), "the nonce is random");
    }

    #[test]
    fn no_change_of_any_single_bit_opens() {
        let keys = keys(&[1]);
        let sealed = keys.seal(Purpose::Access, &"x".repeat(400)).unwrap();
        let mut tried = 0;
        for at in 0..sealed.as_str().len() {
            for bit in 0..8 {
                let mut bytes = sealed.as_str().as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8_lossy(&bytes);
                assert!(open(&keys, &changed).is_err(), "bit {bit} of byte {at}");
                tried += 1;
            }
        }
        assert!(tried > 4_000, "{tried}");
    }

    #[test]
    fn the_first_key_seals_and_all_open_until_they_are_retired() {
        let (old, both, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let [by_old, by_both] =
            [&old, &both].map(|keys| keys.seal(Purpose::Access, &"content").unwrap());
        assert!(open(&both, by_old.as_str()).is_ok(), "an old key still opens");
        assert!(open(&new, by_both.as_str()).is_ok(), "the first key seals");
        assert_eq!(open(&new, by_old.as_str()), Err(SealFault::UnknownKey));
    }

    #[test]
    fn what_was_sealed_for_one_purpose_opens_for_no_other() {
        let keys = keys(&[1]);
        let sealed = keys.seal(Purpose::Refresh, &"content").unwrap();
        assert_eq!(open(&keys, sealed.as_str()), Err(SealFault::WrongPurpose));
        let renamed = sealed.as_str().replace("siwa_r.", "siwa_a.");
        assert_eq!(open(&keys, &renamed), Err(SealFault::Forged));
    }

    #[test]
    fn what_is_no_sealed_text_is_malformed_or_forged() {
        let keys = keys(&[1]);
        let sealed = keys.seal(Purpose::Access, &1).unwrap();
        assert_eq!(open(&keys, sealed.as_str()), Err(SealFault::Malformed), "another content");
        for text in ["", "siwa_a.", "siwa_a.AQ", "siwa_a.AQAA=", "eyJ.a.b", "siwa_x.AAAA"] {
            assert_eq!(open(&keys, text), Err(SealFault::Malformed), "{text}");
        }
        let long = format!("siwa_a.{}", "A".repeat(9_000));
        assert_eq!(open(&keys, &long), Err(SealFault::Malformed));
        // At the end of four characters, so that what is left is still base64.
        let whole = sealed.as_str().len() - "siwa_a.".len();
        let kept = "siwa_a.".len() + (whole / 4 - 1) * 4;
        let cut = sealed.as_str().get(..kept).unwrap();
        assert_eq!(open(&keys, cut), Err(SealFault::Forged));
        assert!(keys.seal(Purpose::Access, &"x".repeat(8 * 1024)).is_err(), "it would not open");
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_and_there_is_one_at_least() {
        let generated = SealKeys::generate().unwrap();
        assert!(SealKeys::parse([format!("{}\n", *generated)]).is_ok());
        for text in ["", "short", &*BASE64_STANDARD.encode([0; 31]), "*"] {
            assert!(matches!(SealKeys::parse([text]), Err(InvalidSealKey::Illegal)), "{text}");
        }
        assert!(matches!(SealKeys::parse::<&str>([]), Err(InvalidSealKey::None)));
        let twice = [key_text(1), key_text(1)];
        assert!(matches!(SealKeys::parse(twice), Err(InvalidSealKey::Twice)));
    }
}
