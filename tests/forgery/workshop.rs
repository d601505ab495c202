//! Where tokens are forged: Apple's signing key as far as attacks need it, a key of the attacker's own, and raw parts.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{Apple, ISSUER, keys::SigningKey, token::TokenTemplate},
};

/// When all of this happens.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The tools of a forger, and Apple's own signature to begin with.
pub(super) struct Workshop {
    pub(super) apple: Arc<Apple>,
    pub(super) key: SigningKey,
    pub(super) stranger: SigningKey,
}

impl Workshop {
    pub(super) async fn open() -> Self {
        Self::beside(&Arc::new(Apple::start(Arc::new(ManualClock::at(NOW))).await.unwrap()))
    }

    pub(super) fn beside(apple: &Arc<Apple>) -> Self {
        Self {
            apple: Arc::clone(apple),
            key: apple.keys().signing(),
            stranger: SigningKey::generate(),
        }
    }

    pub(super) fn apple(&self) -> &Apple {
        &self.apple
    }

    /// A token that is good.
    pub(super) fn good(&self) -> String {
        self.sign(&TokenTemplate::native())
    }

    /// What Apple would have signed.
    pub(super) fn sign(&self, template: &TokenTemplate) -> String {
        template.sign(&self.key, ISSUER, NOW)
    }

    /// A good token but for one claim.
    pub(super) fn claim(&self, name: &str, value: Value) -> String {
        self.sign(&TokenTemplate::native().claim(name, value))
    }

    /// A good token without one claim.
    pub(super) fn without(&self, name: &str) -> String {
        self.sign(&TokenTemplate::native().without(name))
    }

    /// A good token but for one member of its header.
    pub(super) fn header(&self, name: &str, value: Value) -> String {
        self.sign(&TokenTemplate::native().header(name, value))
    }

    /// A good payload under this header, rightly signed.
    pub(super) fn header_text(&self, text: &str) -> String {
        self.sign(&TokenTemplate::native().header_text(text))
    }

    /// The usual header over this payload, rightly signed.
    pub(super) fn payload(&self, bytes: impl Into<Vec<u8>>) -> String {
        self.sign(&TokenTemplate::native().payload_bytes(bytes))
    }

    /// The claims of a good token as JSON text, with `change` made to the text; rightly signed.
    pub(super) fn payload_text(&self, change: impl Fn(String) -> String) -> String {
        let claims = json!({
            "iss": ISSUER, "aud": "com.example.app", "sub": "000001.abc.0001",
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 86_400,
        });
        self.payload(change(claims.to_string()).into_bytes())
    }

    /// Header and payload as they are, rightly signed as they stand.
    pub(super) fn raw(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = encode(self.key.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// A good token, taken apart.
    pub(super) fn parts(&self) -> [String; 3] {
        let good = self.good();
        let parts: Vec<_> = good.split('.').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }

    /// A good token with `change` made to the bytes of its signature.
    pub(super) fn signature(&self, change: impl Fn(&mut Vec<u8>)) -> String {
        let [header, payload, signature] = self.parts();
        let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        change(&mut signature);
        format!("{header}.{payload}.{}", encode(signature))
    }

    /// A good payload under HMAC with something public as the secret: the classic confusion of algorithms.
    pub(super) fn hmac(&self, alg: &str, secret: &[u8]) -> String {
        let template = TokenTemplate::native().header("alg", alg);
        let input = template.signing_input(self.key.kid(), ISSUER, NOW);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{input}.{}", encode(hmac::sign(&key, input.as_bytes())))
    }

    /// Signed by the attacker's key, under a header with `members` beside Apple's `kid`.
    pub(super) fn stranger_with(&self, members: Value) -> String {
        let Value::Object(members) = members else { panic!("members of a header") };
        let template = members
            .into_iter()
            .fold(TokenTemplate::native(), |template, (name, value)| template.header(&name, value));
        template.sign(&self.stranger.clone().with_kid(self.key.kid()), ISSUER, NOW)
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
