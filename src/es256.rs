//! Signing with ES256 (RFC 7518 §3.4): what `authn` asserts identities with, and what `apple` knows our apps by.

use aws_lc_rs::{
    error::KeyRejected,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::{
    PrivatePkcs8KeyDer,
    pem::{self, PemObject},
};
use serde::Serialize;
use zeroize::Zeroize;

/// A private key of the curve P-256.
pub(crate) struct Es256Key(EcdsaKeyPair);

/// Why a text is no such key.
#[derive(Debug)]
pub(crate) enum InvalidEs256Key {
    /// It holds no PEM block with a PKCS#8 key (RFC 5958).
    Pem(pem::Error),
    /// It is a key for something else.
    Curve(KeyRejected),
}

impl Es256Key {
    /// Reads the first key of a PEM text.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, InvalidEs256Key> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(InvalidEs256Key::Pem)?;
        // The fixed form is r and s beside each other, 64 bytes, as JWS has it; not the DER that most tools make.
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
        rustls::pki_types::PrivateKeyDer::from(key).zeroize();
        pair.map(Self).map_err(InvalidEs256Key::Curve)
    }

    /// The public key as an uncompressed point: the byte 4, then x and y (SEC 1 §2.3.3).
    pub(crate) fn public_point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// A JWS in its compact serialisation (RFC 7515 §3.1), with a `header` that is [`encoded`] already; none if the system
    /// has no randomness to give.
    pub(crate) fn sign(&self, header: &str, claims: &impl Serialize) -> Option<String> {
        let mut text = format!("{header}.{}", encoded(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Some(text)
    }
}

/// A part of a JWS. Serialising strings and numbers cannot fail, and nothing would verify as nothing.
pub(crate) fn encoded(value: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}
