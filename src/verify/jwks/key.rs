//! One public key of an issuer, and the names that find it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use jsonwebtoken::{Algorithm, DecodingKey, crypto, errors::ErrorKind};

use super::super::error::{Malformation, Part, TokenFault};

/// The name of a key (`kid`, RFC 7517 §4.5): 1 to 128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Takes `text` for a key id, if it can be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

/// Who signs tokens (`iss`, RFC 7519 §4.1.1), compared exactly.
#[derive(Clone, PartialEq, Eq)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// Apple's issuer: pinned, because its discovery document named another one for a day in June 2025 while its tokens
    /// did not (<https://github.com/supabase/auth/pull/2055>).
    pub const APPLE: &'static str = "https://appleid.apple.com";

    /// Apple.
    #[must_use]
    pub fn apple() -> Self {
        Self::new(Self::APPLE)
    }

    /// Somebody else, such as a simulator of Apple.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({})", self.0)
    }
}

/// A public key that verifies RS256 (RFC 7518 §3.3), with the issuer it speaks for.
///
/// The algorithm belongs to the key: what a token's header says cannot change it.
pub struct VerifyingKey {
    key_id: KeyId,
    issuer: Issuer,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    decoding_key: DecodingKey,
    withdrawn: AtomicBool,
}

impl VerifyingKey {
    const ALGORITHM: Algorithm = Algorithm::RS256;

    pub(super) fn new(key_id: KeyId, issuer: Issuer, modulus: Vec<u8>, exponent: Vec<u8>) -> Self {
        let decoding_key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        Self { key_id, issuer, modulus, exponent, decoding_key, withdrawn: AtomicBool::new(false) }
    }

    /// Its name.
    #[must_use]
    pub const fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Whom it speaks for.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Checks `signature` (base64url) over `signing_input`.
    pub(in super::super) fn verify(
        &self,
        signing_input: &str,
        signature: &str,
    ) -> Result<(), TokenFault> {
        match crypto::verify(
            signature,
            signing_input.as_bytes(),
            &self.decoding_key,
            Self::ALGORITHM,
        ) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenFault::Signature(None)),
            Err(error) if matches!(error.kind(), ErrorKind::Base64(_)) => {
                Err(Malformation::Base64(Part::Signature).into())
            }
            Err(error) => Err(TokenFault::Signature(Some(error))),
        }
    }

    /// Whether the issuer took the key back, or it became too old to be believed. Verdicts that lean on it end with it.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// Whether both are the same key under the same name; a name can be given to another key.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.key_id == other.key_id
            && self.issuer == other.issuer
            && self.modulus == other.modulus
            && self.exponent == other.exponent
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("key_id", &self.key_id)
            .field("issuer", &self.issuer)
            .field("withdrawn", &self.is_withdrawn())
            .finish_non_exhaustive()
    }
}
