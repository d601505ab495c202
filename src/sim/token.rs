//! Identity tokens and notifications as Apple words them, and as no Apple ever would.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::clock::UnixTime;

use super::{event::Event, keys::SigningKey};

/// The order in which Apple writes the claims.
const ORDER: [&str; 19] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "jti",
    "sub",
    "nonce",
    "c_hash",
    "at_hash",
    "email",
    "email_verified",
    "is_private_email",
    "auth_time",
    "transfer_sub",
    "nonce_supported",
    "real_user_status",
    "org_id",
    "scopes",
    "events",
];

/// What a token is to say. Clone one, change it, and have [`Apple`](super::Apple) mint it as often as you like.
///
/// Nothing is checked: an absurd template mints an absurd token, duly signed.
#[derive(Clone, Debug)]
pub struct TokenTemplate {
    claims: Vec<(String, Claim)>,
    header: Vec<(String, Option<Value>)>,
    header_text: Option<String>,
    payload_bytes: Option<Vec<u8>>,
    issued_at: Option<UnixTime>,
    lifetime: Duration,
}

/// A claim's value, known now or at minting.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    Exactly(Value),
    Issuer,
    IssuedAt,
    Expiry,
    Events(Event),
}

/// The usual changes.
impl TokenTemplate {
    /// No claims yet; the presets begin here.
    pub(super) fn empty(lifetime: Duration) -> Self {
        Self {
            claims: Vec::new(),
            header: Vec::new(),
            header_text: None,
            payload_bytes: None,
            issued_at: None,
            lifetime,
        }
    }

    /// For the App ID or Services ID `client_id`: the claim `aud`.
    #[must_use]
    pub fn audience(self, client_id: &str) -> Self {
        self.claim("aud", client_id)
    }

    /// About `subject`.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Issued at `time` instead of at minting; `iat`, `exp` and `auth_time` follow.
    #[must_use]
    pub fn issued_at(self, time: UnixTime) -> Self {
        Self { issued_at: Some(time), ..self }
    }

    /// Expiring `lifetime` after it is issued, in whole seconds.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Echoing the `nonce` that the app sent.
    #[must_use]
    pub fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", nonce)
    }

    /// Issued beside the authorization code `code`: the claim `c_hash`.
    #[must_use]
    pub fn code(self, code: &str) -> Self {
        self.without("at_hash").claim("c_hash", left_half_hash(code))
    }

    /// Issued beside `access_token`: the claim `at_hash` in place of `c_hash`.
    #[must_use]
    pub fn access_token(self, access_token: &str) -> Self {
        self.without("c_hash").claim("at_hash", left_half_hash(access_token))
    }
}

/// Any change at all, for attacks.
impl TokenTemplate {
    /// With the claim `name` of this value.
    #[must_use]
    pub fn claim(self, name: &str, value: impl Into<Value>) -> Self {
        self.deferred(name, Claim::Exactly(value.into()))
    }

    /// Without the claim `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.retain(|(other, _)| other != name);
        self
    }

    /// With the header parameter `name` of this value, in place of Apple's or in addition.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.push((name.to_owned(), Some(value.into())));
        self
    }

    /// Without the header parameter `name`.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.push((name.to_owned(), None));
        self
    }

    /// With this text as the whole header, JSON or not.
    #[must_use]
    pub fn header_text(self, text: &str) -> Self {
        Self { header_text: Some(text.to_owned()), ..self }
    }

    /// With these bytes as the whole payload, JSON or not.
    #[must_use]
    pub fn payload_bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { payload_bytes: Some(bytes.into()), ..self }
    }

    /// With a claim that only minting can fill in.
    pub(super) fn deferred(mut self, name: &str, claim: Claim) -> Self {
        self = self.without(name);
        self.claims.push((name.to_owned(), claim));
        self
    }
}

/// Minting.
impl TokenTemplate {
    /// The compact serialisation (RFC 7515 §7.1), signed with `key`, as said by `issuer` at `now`.
    #[must_use]
    pub fn sign(&self, key: &SigningKey, issuer: &str, now: UnixTime) -> String {
        let signing_input = self.signing_input(key.kid(), issuer, now);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signing_input.as_bytes()));
        format!("{signing_input}.{signature}")
    }

    /// What a signature is made over (RFC 7515 §5.1): the first two parts, for those who sign in a way of their own.
    #[must_use]
    pub fn signing_input(&self, kid: &str, issuer: &str, now: UnixTime) -> String {
        let header = self.header_text.clone().unwrap_or_else(|| self.header_at(kid));
        let payload =
            self.payload_bytes.clone().unwrap_or_else(|| self.claims_at(issuer, now).into_bytes());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn header_at(&self, kid: &str) -> String {
        let mut members = vec![("kid", Value::from(kid)), ("alg", Value::from("RS256"))];
        for (name, change) in &self.header {
            let place = members.iter().position(|(other, _)| other == name);
            match (place, change) {
                (Some(place), Some(value)) => members[place].1 = value.clone(),
                (Some(place), None) => drop(members.remove(place)),
                (None, Some(value)) => members.push((name, value.clone())),
                (None, None) => {}
            }
        }
        write_object(members)
    }

    fn claims_at(&self, issuer: &str, now: UnixTime) -> String {
        let issued_at = self.issued_at.unwrap_or(now);
        let mut members: Vec<(&str, Value)> = self
            .claims
            .iter()
            .map(|(name, claim)| (name.as_str(), self.value_of(claim, issuer, issued_at)))
            .collect();
        members.sort_by_key(|(name, _)| {
            ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len())
        });
        write_object(members)
    }

    fn value_of(&self, claim: &Claim, issuer: &str, issued_at: UnixTime) -> Value {
        match claim {
            Claim::Exactly(value) => value.clone(),
            Claim::Issuer => issuer.into(),
            Claim::IssuedAt => issued_at.as_secs().into(),
            Claim::Expiry => issued_at.saturating_add(self.lifetime).as_secs().into(),
            Claim::Events(event) => event.claim(issued_at),
        }
    }
}

/// A JSON object whose members keep their order, which a `serde_json::Map` does not.
pub(super) fn write_object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let members: Vec<String> =
        members.into_iter().map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// OIDC Core §3.3.2.11 for RS256: the left 16 bytes of the SHA-256.
fn left_half_hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[track_caller]
    fn check(template: &TokenTemplate, header: &str, payload: &str) {
        let signing_input = template.signing_input("KID", "https://issuer.example", NOW);
        let (first, second) = signing_input.split_once('.').unwrap();
        let read = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!((read(first).as_str(), read(second).as_str()), (header, payload));
    }

    const HEADER: &str = r#"{"kid":"KID","alg":"RS256"}"#;

    #[test]
    fn claims_stand_in_apples_order_however_they_were_set() {
        let template = TokenTemplate::empty(Duration::from_mins(1))
            .claim("zip", 1)
            .claim("sub", "001")
            .deferred("iat", Claim::IssuedAt)
            .deferred("exp", Claim::Expiry)
            .claim("aud", json!(["a", "b"]))
            .deferred("iss", Claim::Issuer);
        check(
            &template,
            HEADER,
            r#"{"iss":"https://issuer.example","aud":["a","b"],"exp":1700000060,"iat":1700000000,"sub":"001","zip":1}"#,
        );
    }

    #[test]
    fn a_claim_set_again_is_replaced_and_one_removed_is_gone() {
        let template = TokenTemplate::empty(Duration::ZERO)
            .claim("sub", "001")
            .claim("sub", "002")
            .claim("aud", 1);
        check(&template.without("aud"), HEADER, r#"{"sub":"002"}"#);
    }

    #[test]
    fn header_parameters_can_be_added_replaced_and_removed() {
        let template =
            TokenTemplate::empty(Duration::ZERO).header("typ", "JWT").header("alg", "none");
        check(&template, r#"{"kid":"KID","alg":"none","typ":"JWT"}"#, "{}");
        check(
            &template.without_header("kid").without_header("x5u"),
            r#"{"alg":"none","typ":"JWT"}"#,
            "{}",
        );
    }

    #[test]
    fn header_and_payload_can_be_any_text_at_all() {
        check(&TokenTemplate::native().header_text("[").payload_bytes("\"\""), "[", "\"\"");
    }

    #[test]
    fn c_hash_is_the_left_half_of_the_codes_sha_256() {
        // The example of OIDC Core, Appendix A.4 and A.6.
        let hash = left_half_hash("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk");
        assert_eq!(hash, "LDktKdoQak3Pk0cnXxCltA");
    }
}
