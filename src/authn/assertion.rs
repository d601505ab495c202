//! A signed assertion of an identity, for applications that want proof that a request came through us: `X-Siwa-Assertion`,
//! an ES256 JWT (RFC 7519, RFC 7518 §3.4) that lives a minute. It says who, and never where to.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::KeyRejected,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use rustls::pki_types::pem;
use serde::Serialize;
use serde_json::json;

use crate::{
    clock::Clock,
    es256::{Es256Key, InvalidEs256Key, encoded},
    verify::{Email, Identity},
};

/// The keys that assertions are signed with, and the page that tells them. The first signs, all of them are told: during a
/// rotation the next one is told before it signs, and the last one until what it signed has expired.
#[derive(Clone)]
pub struct AssertionKeys(Arc<Keys>);

struct Keys {
    signing: Es256Key,
    /// The JOSE header, encoded.
    header: String,
    page: Bytes,
    ids: Vec<String>,
}

/// Why something is no key to sign assertions with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAssertionKey {
    /// There is none.
    #[error("no key is given")]
    None,
    /// It is no PEM text with a PKCS#8 key.
    #[error("is no PEM file with a PKCS#8 key (`-----BEGIN PRIVATE KEY-----`)")]
    Pem(#[source] pem::Error),
    /// It is a key for something else.
    #[error("is no key for ES256, which is one of the curve P-256")]
    Curve(#[source] KeyRejected),
}

impl From<InvalidEs256Key> for InvalidAssertionKey {
    fn from(error: InvalidEs256Key) -> Self {
        match error {
            InvalidEs256Key::Pem(source) => Self::Pem(source),
            InvalidEs256Key::Curve(source) => Self::Curve(source),
        }
    }
}

impl AssertionKeys {
    /// Where the keys are told.
    pub const PATH: &'static str = "/.well-known/siwa-proxy/jwks.json";

    /// Reads keys from PEM texts, each with one private key in PKCS#8 (RFC 5958); the first signs.
    ///
    /// # Errors
    ///
    /// [`InvalidAssertionKey`] of the first that is none.
    pub fn from_pem(
        texts: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Result<Self, InvalidAssertionKey> {
        let pairs = texts.into_iter().map(|text| Es256Key::from_pem(text.as_ref()));
        let mut pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<_> = pairs.iter().map(PublicKey::of).collect();
        let Some(first) = keys.first() else { return Err(InvalidAssertionKey::None) };
        let header = encoded(&json!({ "alg": "ES256", "kid": first.id(), "typ": "JWT" }));
        let page = json!({ "keys": keys.iter().map(PublicKey::jwk).collect::<Vec<_>>() });
        Ok(Self(Arc::new(Keys {
            signing: pairs.swap_remove(0),
            header,
            page: page.to_string().into(),
            ids: keys.iter().map(PublicKey::id).collect(),
        })))
    }

    /// The public keys as a JWK Set (RFC 7517 §5).
    #[must_use]
    pub fn page(&self) -> Bytes {
        self.0.page.clone()
    }

    /// The names of the keys: their thumbprints (RFC 7638).
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.0.ids
    }

    fn sign(&self, claims: &impl Serialize) -> Option<String> {
        self.0.signing.sign(&self.0.header, claims)
    }
}

impl fmt::Debug for AssertionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKeys").field("ids", &self.0.ids).finish_non_exhaustive()
    }
}

/// The coordinates of a public key (RFC 7518 §6.2.1), encoded.
struct PublicKey {
    x: String,
    y: String,
}

impl PublicKey {
    const COORDINATE: usize = 32;

    fn of(key: &Es256Key) -> Self {
        let point = key.public_point().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(Self::COORDINATE.min(point.len()));
        Self { x: BASE64_URL_SAFE_NO_PAD.encode(x), y: BASE64_URL_SAFE_NO_PAD.encode(y) }
    }

    /// RFC 7638 §3: the hash of the required members in alphabetical order, without white space.
    fn id(&self) -> String {
        let Self { x, y } = self;
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
    }

    fn jwk(&self) -> serde_json::Value {
        let Self { x, y } = self;
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": self.id() })
    }
}

/// Makes assertions for one application.
#[derive(Clone, Debug)]
pub struct Assertion {
    keys: AssertionKeys,
    issuer: Arc<str>,
    audience: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// What an assertion says (RFC 7519 §4.1).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    sub_id: SubjectId<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    iat: u64,
    exp: u64,
    jti: String,
}

/// Whose subject it is: the token's issuer, not the assertion's (RFC 9493 §3.2.4, §4.1).
#[derive(Serialize)]
#[serde(tag = "format", rename = "iss_sub")]
struct SubjectId<'a> {
    iss: &'a str,
    sub: &'a str,
}

impl Assertion {
    /// How long an assertion lives: long enough for clocks that differ a little and a queue in front of the application.
    pub const LIFETIME: Duration = Duration::from_mins(1);

    /// Signs with `keys` in the name of `issuer`, for the application that knows itself as `audience`.
    #[must_use]
    pub fn new(
        keys: AssertionKeys,
        issuer: impl Into<Arc<str>>,
        audience: impl Into<Arc<str>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { keys, issuer: issuer.into(), audience: audience.into(), clock }
    }

    /// A new assertion of `identity`, with `email` if the application may know it. Each is signed anew, which costs some
    /// tens of microseconds: nothing is kept that could be given to the wrong request.
    pub(super) fn of(&self, identity: &Identity, email: Option<Email<'_>>) -> Option<HeaderValue> {
        let now = self.clock.now().as_secs();
        let sub = identity.subject().as_str();
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub,
            sub_id: SubjectId { iss: identity.issuer().as_str(), sub },
            email: email.map(Email::address),
            email_verified: email.map(Email::is_verified),
            iat: now,
            exp: now.saturating_add(Self::LIFETIME.as_secs()),
            jti: format!("{:032x}", fastrand::u128(..)),
        };
        let mut value = HeaderValue::try_from(self.keys.sign(&claims)?).ok()?;
        // Kept out of HPACK's dynamic table (RFC 7541 §7.1.3) and of `Debug`.
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};

    use super::*;
    use crate::clock::{ManualClock, UnixTime};

    /// Made for this test: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`.
    const ONE: &str = include_str!("../../tests/fixtures/assertion/one.pem");
    const TWO: &str = include_str!("../../tests/fixtures/assertion/two.pem");

    fn audience_of(token: &str, keys: &AssertionKeys) -> Option<serde_json::Value> {
        let set: JwkSet = serde_json::from_slice(&keys.page()).unwrap();
        let key = set.find(&decode_header(token).unwrap().kid?)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&["app"]);
        rules.validate_exp = false;
        let key = DecodingKey::from_jwk(key).unwrap();
        decode::<serde_json::Value>(token, &key, &rules).ok().map(|token| token.claims)
    }

    fn sign(keys: &AssertionKeys) -> String {
        keys.sign(&json!({ "aud": "app", "exp": 1 })).unwrap()
    }

    #[test]
    fn another_library_verifies_an_assertion_by_the_page() {
        let keys = AssertionKeys::from_pem([ONE]).unwrap();
        assert_eq!(audience_of(&sign(&keys), &keys).unwrap()["aud"], "app");
        let (mut forged, last) = (sign(&keys), 'A');
        forged.replace_range(forged.len() - 20..forged.len() - 19, &last.to_string());
        forged.replace_range(forged.len() - 21..forged.len() - 20, &last.to_string());
        assert!(audience_of(&forged, &keys).is_none());
    }

    #[test]
    fn during_a_rotation_both_keys_are_told_and_the_first_signs() {
        let (old, new) = (
            AssertionKeys::from_pem([ONE, TWO]).unwrap(),
            AssertionKeys::from_pem([TWO, ONE]).unwrap(),
        );
        assert_eq!(decode_header(sign(&old)).unwrap().kid.as_ref(), old.ids().first());
        assert_eq!(decode_header(sign(&new)).unwrap().kid.as_ref(), old.ids().last());
        for (signer, reader) in [(&old, &new), (&new, &old)] {
            assert!(audience_of(&sign(signer), reader).is_some());
        }
        let alone = AssertionKeys::from_pem([ONE]).unwrap();
        assert!(audience_of(&sign(&new), &alone).is_none());
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint_and_told_without_its_secret() {
        let keys = AssertionKeys::from_pem([ONE]).unwrap();
        let page: serde_json::Value = serde_json::from_slice(&keys.page()).unwrap();
        let key = page["keys"][0].as_object().unwrap();
        let mut members: Vec<_> = key.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        let set: JwkSet = serde_json::from_slice(&keys.page()).unwrap();
        let thumbprint = set.keys[0].thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(keys.ids(), [thumbprint.unwrap()]);
    }

    #[test]
    fn what_is_no_key_of_the_curve_is_refused() {
        let p384 = include_str!("../../tests/fixtures/assertion/p384.pem");
        assert!(matches!(AssertionKeys::from_pem([p384]), Err(InvalidAssertionKey::Curve(_))));
        for text in
            ["", "no key", &ONE.replace("PRIVATE", "PUBLIC"), &ONE.replace("PRIVATE", "EC PRIVATE")]
        {
            assert!(
                matches!(AssertionKeys::from_pem([text]), Err(InvalidAssertionKey::Pem(_))),
                "{text}"
            );
        }
        assert!(matches!(AssertionKeys::from_pem([""; 0]), Err(InvalidAssertionKey::None)));
    }

    #[test]
    fn keys_do_not_print_themselves() {
        let keys = AssertionKeys::from_pem([ONE]).unwrap();
        let clock = Arc::new(ManualClock::at(UnixTime::from_secs(0)));
        let printed = format!("{:?}", Assertion::new(keys, "i", "a", clock));
        assert!(printed.len() < 200 && !printed.contains("signing"), "{printed}");
    }
}
