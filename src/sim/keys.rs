//! The toy's private keys, and the set of public ones that it shows the world.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Letters and digits in a `kid`, as Apple has had it since 2024.
const KID_LENGTH: usize = 10;

/// A 2048-bit RSA key pair with its `kid`. Clones are the same key.
#[derive(Clone)]
pub struct SigningKey {
    kid: Arc<str>,
    pair: Arc<KeyPair>,
}

impl SigningKey {
    /// A new key under a `kid` of ten random letters and digits. Takes around a tenth of a second.
    ///
    /// # Panics
    ///
    /// When the machine has no randomness or memory to give.
    #[must_use]
    #[expect(clippy::expect_used, reason = "without randomness there is no simulator to run")]
    pub fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be generated");
        let kid: String = (0..KID_LENGTH).map(|_| fastrand::alphanumeric()).collect();
        Self { kid: kid.into(), pair: Arc::new(pair) }
    }

    /// The same key pair under another `kid`.
    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: kid.into(), ..self }
    }

    /// The key's name, RFC 7517 §4.5.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, with the members that Apple's keys have (RFC 7518 §6.3.1).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "kid": self.kid(),
            "use": "sig",
            "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The 256 bytes of an RS256 signature (RFC 7518 §3.3) over `signing_input`.
    ///
    /// # Panics
    ///
    /// When the machine has no memory to give.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the buffer has the length of the modulus, so signing cannot fail"
    )]
    pub fn sign(&self, signing_input: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signing_input, &mut signature)
            .expect("a generated key signs");
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The keys that the toy publishes, and the one that it signs with. The two are apart on purpose: Apple may sign with a
/// key that a cached copy of the set does not hold yet, or publish one for weeks before it signs.
#[derive(Debug)]
pub struct PublishedKeys(Mutex<Keys>);

#[derive(Debug)]
struct Keys {
    signing: SigningKey,
    published: Vec<SigningKey>,
}

impl PublishedKeys {
    /// One key, published and signing.
    pub(super) fn new(key: SigningKey) -> Self {
        Self(Mutex::new(Keys { signing: key.clone(), published: vec![key] }))
    }

    /// The key that signs now.
    #[must_use]
    pub fn signing(&self) -> SigningKey {
        self.lock().signing.clone()
    }

    /// The published `kid`s, oldest first.
    #[must_use]
    pub fn kids(&self) -> Vec<String> {
        self.lock().published.iter().map(|key| key.kid().to_owned()).collect()
    }

    /// Adds a key to the set; one of the same `kid` is replaced. It does not sign yet.
    pub fn publish(&self, key: SigningKey) {
        let mut keys = self.lock();
        keys.published.retain(|other| other.kid() != key.kid());
        keys.published.push(key);
    }

    /// Signs with `key` from here on, published or not.
    pub fn sign_with(&self, key: SigningKey) {
        self.lock().signing = key;
    }

    /// Takes the key named `kid` out of the set and returns it, if it was there. If it is the one that signs, it goes
    /// on signing.
    pub fn withdraw(&self, kid: &str) -> Option<SigningKey> {
        let mut keys = self.lock();
        let place = keys.published.iter().position(|key| key.kid() == kid)?;
        Some(keys.published.remove(place))
    }

    /// Publishes a new key and signs with it; the old ones stay published. Returns the new key.
    pub fn rotate(&self) -> SigningKey {
        let key = SigningKey::generate();
        self.publish(key.clone());
        self.sign_with(key.clone());
        key
    }

    /// Replaces the whole set by one new key, which signs from here on, and returns it.
    pub fn replace_all(&self) -> SigningKey {
        let key = SigningKey::generate();
        *self.lock() = Keys { signing: key.clone(), published: vec![key.clone()] };
        key
    }

    /// The JWK Set (RFC 7517 §5), begun at the key number `turn`, so that its order changes from fetch to fetch.
    pub(super) fn jwk_set(&self, turn: u64) -> Value {
        let mut jwks: Vec<Value> = self.lock().published.iter().map(SigningKey::jwk).collect();
        let length = u64::try_from(jwks.len().max(1)).unwrap_or(1);
        jwks.rotate_left(usize::try_from(turn % length).unwrap_or(0));
        json!({ "keys": jwks })
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn a_signature_verifies_with_the_members_of_the_jwk_alone() {
        let key = SigningKey::generate();
        let jwk = key.jwk();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let public = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        let verify = |message, signature: &[u8]| {
            public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        };

        let signature = key.sign(b"header.payload");

        assert_eq!(signature.len(), 256);
        verify(b"header.payload", &signature).unwrap();
        verify(b"header.PAYLOAD", &signature).unwrap_err();
    }

    #[test]
    fn a_jwk_has_the_members_of_apples_keys_and_no_others() {
        let jwk = SigningKey::generate().jwk();
        let mut names: Vec<&String> = jwk.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!(
            (&jwk["kty"], &jwk["use"], &jwk["alg"], &jwk["e"]),
            (&json!("RSA"), &json!("sig"), &json!("RS256"), &json!("AQAB"))
        );
        assert_eq!(jwk["kid"].as_str().unwrap().len(), KID_LENGTH);
        assert_eq!(jwk["n"].as_str().unwrap().len(), 342);
    }

    #[test]
    fn rotating_keeps_the_old_keys_and_replacing_drops_them() {
        let first = SigningKey::generate();
        let keys = PublishedKeys::new(first.clone());

        let second = keys.rotate();
        assert_eq!(keys.kids(), [first.kid(), second.kid()]);
        assert_eq!(keys.signing().kid(), second.kid());

        let third = keys.replace_all();
        assert_eq!(keys.kids(), [third.kid()]);
        assert_eq!(keys.signing().kid(), third.kid());
    }

    #[test]
    fn a_withdrawn_key_is_no_longer_published_but_may_still_sign() {
        let key = SigningKey::generate().with_kid("AIDOPK1");
        let keys = PublishedKeys::new(key);

        assert!(keys.withdraw("86D88Kf").is_none());
        assert_eq!(keys.withdraw("AIDOPK1").unwrap().kid(), "AIDOPK1");

        assert_eq!(keys.jwk_set(7), json!({ "keys": [] }));
        assert_eq!(keys.signing().kid(), "AIDOPK1");
    }

    #[test]
    fn publishing_a_kid_again_replaces_its_key() {
        let keys = PublishedKeys::new(SigningKey::generate().with_kid("one"));
        let other = SigningKey::generate().with_kid("one");
        keys.publish(other.clone());
        assert_eq!(keys.jwk_set(0), json!({ "keys": [other.jwk()] }));
    }

    #[test]
    fn a_private_key_does_not_print() {
        let key = SigningKey::generate().with_kid("KID");
        assert_eq!(format!("{key:?}"), r#"SigningKey { kid: "KID", .. }"#);
    }
}
