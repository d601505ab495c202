//! A JWK Set (RFC 7517 §5) as its issuer published it.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::Error as _};
use serde_json::{Map, Value};

use super::super::error::FetchFault;
use super::{Issuer, KeyId, VerifyingKey, key::bits};

/// The keys of one issuer that can verify RS256, each under a name of its own. Issuers have a handful, and no set that is read
/// has room for many more, so that a list beats a map.
#[derive(Debug)]
pub(crate) struct JwkSet {
    keys: Vec<Arc<VerifyingKey>>,
    skipped: usize,
}

impl JwkSet {
    /// The longest set that is read, in bytes. Apple's has about 1,450.
    pub(crate) const MAX_BYTES: usize = 64 * 1024;

    /// Reads the set of `issuer`. A key that cannot be used is skipped, as RFC 7517 §5 says; so is a second one under the
    /// same name. The fault is that the text is no JWK Set, or that no key in it is usable.
    pub(crate) fn parse(text: &[u8], issuer: &Issuer) -> Result<Self, FetchFault> {
        if text.len() > Self::MAX_BYTES {
            return Err(FetchFault::Oversized { limit: Self::MAX_BYTES });
        }
        let wire_keys = wire_keys(text).map_err(|error| FetchFault::NotAJwkSet(Arc::new(error)))?;

        let mut set = Self { keys: Vec::with_capacity(wire_keys.len()), skipped: 0 };
        for wire_key in wire_keys {
            set.add(WireKey::read(wire_key).and_then(|wire| wire.into_key(issuer)));
        }
        if set.keys.is_empty() {
            Err(FetchFault::NoUsableKey { skipped: set.skipped })
        } else {
            Ok(set)
        }
    }

    fn add(&mut self, key: Option<VerifyingKey>) {
        match key {
            Some(key) if self.find(key.key_id()).is_none() => self.keys.push(Arc::new(key)),
            _ => self.skipped = self.skipped.saturating_add(1),
        }
    }

    /// The key of that name.
    pub(crate) fn find(&self, key_id: &KeyId) -> Option<&Arc<VerifyingKey>> {
        self.keys.iter().find(|key| key.key_id() == key_id)
    }

    /// How many keys are usable.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many keys were skipped.
    pub(crate) const fn skipped(&self) -> usize {
        self.skipped
    }

    /// All of them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<VerifyingKey>> {
        self.keys.iter()
    }

    /// Whether both hold the same keys, in whatever order they came.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .keys()
                .all(|key| other.find(key.key_id()).is_some_and(|its| its.is_same_as(key)))
    }

    /// Whether every key of `other` is here, too.
    pub(super) fn holds_all_of(&self, other: &Self) -> bool {
        other.keys().all(|key| self.find(key.key_id()).is_some_and(|its| its.is_same_as(key)))
    }

    /// Puts `key` in the place of its equal, so that verdicts leaning on it stand.
    pub(super) fn adopt(&mut self, key: &Arc<VerifyingKey>) -> Adoption {
        match self.keys.iter_mut().find(|listed| listed.key_id() == key.key_id()) {
            Some(equal) if equal.is_same_as(key) => {
                *equal = Arc::clone(key);
                Adoption::Stays
            }
            Some(_) => Adoption::Replaced,
            None => Adoption::Unlisted,
        }
    }
}

/// What a newer set makes of an older key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adoption {
    /// It is listed still.
    Stays,
    /// Its name belongs to another key now.
    Replaced,
    /// Its name is not listed any more.
    Unlisted,
}

/// What stands in the array `keys`, keys or not. A derived reader would take `[[…]]` for an object with that one member.
pub(crate) fn wire_keys(text: &[u8]) -> Result<Vec<Value>, serde_json::Error> {
    let mut set: Map<String, Value> = serde_json::from_slice(text)?;
    match set.remove("keys") {
        Some(Value::Array(keys)) => Ok(keys),
        _ => Err(serde_json::Error::custom("no array `keys`")),
    }
}

/// A JWK (RFC 7517 §4, RFC 7518 §6.3.1) as far as we read it.
#[derive(Deserialize)]
struct WireKey {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: String,
    e: String,
}

impl WireKey {
    /// RSA is refused below the first size by everybody, above the second by the library: bits of the modulus.
    const SIZES: std::ops::RangeInclusive<usize> = 2048..=8192;

    fn read(wire: Value) -> Option<Self> {
        wire.is_object().then(|| serde_json::from_value(wire).ok())?
    }

    fn into_key(self, issuer: &Issuer) -> Option<VerifyingKey> {
        let signs = self.public_key_use.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let rs256 = self.kty == "RSA" && self.alg.as_deref().is_none_or(|alg| alg == "RS256");
        let key_id = KeyId::new(&self.kid)?;
        let modulus = BASE64_URL_SAFE_NO_PAD.decode(&self.n).ok()?;
        let exponent = BASE64_URL_SAFE_NO_PAD.decode(&self.e).ok()?;
        let sound = Self::SIZES.contains(&bits(&modulus)) && is_usable_exponent(&exponent);
        (signs && rs256 && sound)
            .then(|| VerifyingKey::new(key_id, issuer.clone(), modulus, exponent))
    }
}

/// Odd, and 3 to 33 bits: Apple uses 65537, the library takes no more.
fn is_usable_exponent(exponent: &[u8]) -> bool {
    exponent.last().is_some_and(|last| last % 2 == 1) && (2..=33).contains(&bits(exponent))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xff; bits / 8];
        bytes[0] = 0x80;
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn key(kid: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": modulus(2048), "e": "AQAB"})
    }

    fn parse(keys: &[Value]) -> Result<JwkSet, FetchFault> {
        JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes(), &Issuer::apple())
    }

    fn with(member: &str, value: Value) -> Value {
        let mut key = key("odd");
        key[member] = value;
        key
    }

    #[test]
    fn one_bad_key_is_skipped_and_counted() {
        let bad = [
            with("kty", json!("EC")),
            with("use", json!("enc")),
            with("alg", json!("RS512")),
            with("key_ops", json!(["sign"])),
            with("n", json!(modulus(1024))),
            with("n", json!(modulus(16384))),
            with("n", json!("AQAB")),
            with("n", json!("not base64!")),
            with("e", json!("AQ")),
            with("e", json!("AQAA")),
            with("kid", json!("")),
            with("kid", json!(7)),
            json!("nonsense"),
            json!(["RSA", "odd", "sig", null, "RS256", modulus(2048), "AQAB"]),
        ];
        for odd in bad {
            let set = parse(&[odd.clone(), key("good")]).unwrap();
            assert_eq!((set.len(), set.skipped()), (1, 1), "{odd}");
        }
    }

    #[test]
    fn optional_members_may_be_absent() {
        let mut bare = key("bare");
        for member in ["use", "alg"] {
            bare.as_object_mut().unwrap().remove(member);
        }
        assert_eq!(parse(&[bare, with("key_ops", json!(["verify"]))]).unwrap().len(), 2);
    }

    #[test]
    fn a_second_key_of_the_same_name_is_skipped() {
        let set = parse(&[key("twice"), key("twice")]).unwrap();
        assert_eq!((set.len(), set.skipped()), (1, 1));
    }

    #[test]
    fn a_set_without_usable_keys_is_a_fault() {
        assert_eq!(parse(&[]).unwrap_err().code(), "no_usable_key");
        assert_eq!(parse(&[with("kty", json!("EC"))]).unwrap_err().code(), "no_usable_key");
    }

    #[test]
    fn what_is_not_a_jwk_set_is_a_fault() {
        let nameless = json!([[key("a")]]).to_string();
        for text in
            ["", "<html>Apple</html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":["#, &nameless]
        {
            assert_eq!(
                JwkSet::parse(text.as_bytes(), &Issuer::apple()).unwrap_err().code(),
                "not_a_jwk_set",
                "{text}"
            );
        }
        let long = vec![b' '; JwkSet::MAX_BYTES + 1];
        assert_eq!(JwkSet::parse(&long, &Issuer::apple()).unwrap_err().code(), "oversized");
    }
}
