//! One public key of an issuer, and the names that find it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    digest,
    error::Unspecified,
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents},
};
use jsonwebtoken::{Algorithm, DecodingKey, crypto, errors::ErrorKind};
use tokio::time::Instant;

use super::super::{
    base64url,
    error::{Malformation, Part, TokenFault},
};

/// The name of a key (`kid`, RFC 7517 §4.5): 1 to 128 letters, digits and `-._~+/=`.
///
/// Apple's are letters and digits. Who else names keys uses what URLs and base64 have; and a name that callers make up,
/// which is told to logs and back to them, cannot hold an email address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Takes `text` for a key id, if it can be one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let legal = (1..=128).contains(&text.len()) && text.bytes().all(Self::may_hold);
        legal.then(|| Self(text.into()))
    }

    const fn may_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
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

/// Which key signed, and for whom it speaks. Shared by all that it signed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignedBy {
    pub(in super::super) key_id: KeyId,
    pub(in super::super) issuer: Issuer,
}

/// A public key that verifies RS256 (RFC 7518 §3.3), with the issuer it speaks for.
///
/// The algorithm belongs to the key: what a token's header says cannot change it.
pub(crate) struct VerifyingKey {
    name: Arc<SignedBy>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    public_key: PublicKey,
    read_at: Instant,
    /// Milliseconds after `read_at`. The end is in the key itself, so that it does not depend on when a task gets its turn.
    usable_for: AtomicU64,
}

/// What a signature is checked against. jsonwebtoken reads a key anew for each signature, which takes as long as a fifth of
/// the check; so keys are read once, by the library that it has them read by. That both judge alike is tested, vector by
/// vector.
pub(super) enum PublicKey {
    Prepared(ParsedPublicKey),
    /// A key that could not be read beforehand is jsonwebtoken's to refuse.
    Unprepared(DecodingKey),
}

impl PublicKey {
    const ALGORITHM: Algorithm = Algorithm::RS256;

    fn new(modulus: &[u8], exponent: &[u8]) -> Self {
        let components = RsaPublicKeyComponents { n: modulus, e: exponent };
        match components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256) {
            Ok(prepared) => Self::Prepared(prepared),
            Err(_rejected) => Self::unprepared(modulus, exponent),
        }
    }

    pub(super) fn unprepared(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Unprepared(DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    pub(super) fn verify(&self, signing_input: &[u8], signature: &str) -> Result<(), TokenFault> {
        match self {
            Self::Prepared(key) => verify_prepared(key, signing_input, signature),
            Self::Unprepared(key) => verify_unprepared(key, signing_input, signature),
        }
    }
}

fn verify_prepared(
    key: &ParsedPublicKey,
    signing_input: &[u8],
    signature: &str,
) -> Result<(), TokenFault> {
    let signature = base64url::decode(signature.as_bytes())
        .map_err(|_not_shown: base64::DecodeError| Malformation::Base64(Part::Signature))?;
    // In one step: `verify_sig` would make, copy and free contexts for a message that may come in pieces.
    let hashed = digest::digest(&digest::SHA256, signing_input);
    key.verify_digest_sig(&hashed, &signature)
        .map_err(|_says_nothing: Unspecified| TokenFault::Signature(None))
}

fn verify_unprepared(
    key: &DecodingKey,
    signing_input: &[u8],
    signature: &str,
) -> Result<(), TokenFault> {
    match crypto::verify(signature, signing_input, key, PublicKey::ALGORITHM) {
        Ok(true) => Ok(()),
        Ok(false) => Err(TokenFault::Signature(None)),
        Err(error) if matches!(error.kind(), ErrorKind::Base64(_)) => {
            Err(Malformation::Base64(Part::Signature).into())
        }
        Err(error) => Err(TokenFault::Signature(Some(error.into()))),
    }
}

impl VerifyingKey {
    const NO_END: u64 = u64::MAX;

    pub(super) fn new(key_id: KeyId, issuer: Issuer, modulus: Vec<u8>, exponent: Vec<u8>) -> Self {
        let public_key = PublicKey::new(&modulus, &exponent);
        let (read_at, usable_for) = (Instant::now(), AtomicU64::new(Self::NO_END));
        let name = Arc::new(SignedBy { key_id, issuer });
        Self { name, modulus, exponent, public_key, read_at, usable_for }
    }

    /// Its name.
    pub(crate) fn key_id(&self) -> &KeyId {
        &self.name.key_id
    }

    /// Whom it speaks for.
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.name.issuer
    }

    /// Both, for what it signed.
    pub(in super::super) const fn name(&self) -> &Arc<SignedBy> {
        &self.name
    }

    /// Bits in its modulus: 2048 in every key of Apple's so far.
    pub(crate) fn bits(&self) -> usize {
        bits(&self.modulus)
    }

    /// Checks `signature` (base64url) over `signing_input`.
    pub(in super::super) fn verify(
        &self,
        signing_input: &[u8],
        signature: &str,
    ) -> Result<(), TokenFault> {
        self.public_key.verify(signing_input, signature)
    }

    /// Whether the issuer took the key back, or it became too old to be believed. Verdicts that lean on it end with it.
    pub(crate) fn is_withdrawn(&self) -> bool {
        milliseconds(self.read_at.elapsed()) >= self.usable_for.load(Ordering::Acquire)
    }

    /// Ends the key at `end`, whatever was said before.
    pub(super) fn believe_until(&self, end: Instant) {
        self.usable_for.store(self.milliseconds_to(end), Ordering::Release);
    }

    /// Ends the key at `end`, unless it ends before.
    pub(super) fn end_by(&self, end: Instant) {
        self.usable_for.fetch_min(self.milliseconds_to(end), Ordering::AcqRel);
    }

    /// Ends the key now.
    pub(super) fn withdraw(&self) {
        self.usable_for.store(0, Ordering::Release);
    }

    fn milliseconds_to(&self, end: Instant) -> u64 {
        milliseconds(end.saturating_duration_since(self.read_at))
    }

    /// The same key as jsonwebtoken reads it.
    #[cfg(test)]
    pub(super) fn unprepared(&self) -> PublicKey {
        PublicKey::unprepared(&self.modulus, &self.exponent)
    }

    /// Whether both are the same key under the same name; a name can be given to another key.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.modulus == other.modulus && self.exponent == other.exponent
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("key_id", self.key_id())
            .field("issuer", self.issuer())
            .field("withdrawn", &self.is_withdrawn())
            .finish_non_exhaustive()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Significant bits of a big-endian number.
pub(super) fn bits(number: &[u8]) -> usize {
    let significant = number
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|zeros| number.get(zeros..))
        .unwrap_or(&[]);
    let unused = significant.first().map_or(0, |first| first.leading_zeros());
    significant.len().saturating_mul(8).saturating_sub(usize::try_from(unused).unwrap_or(0))
}
