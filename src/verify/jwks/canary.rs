//! The canary: does Apple still say what we have pinned? It warns, and changes nothing.
//!
//! Issuer, key endpoint and algorithm are constants here, because Apple's discovery document has been wrong: for a day in
//! June 2025 it named an issuer that no token had (<https://github.com/supabase/auth/pull/2055>). But should Apple mean
//! it one day, somebody ought to hear of it before tokens fail.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    super::{error::FetchFault, printable::Printable},
    InvalidDuration, Issuer, JwkSet,
    cache::SourceCache,
    https::Document,
    pace,
};
use crate::{
    https::{HttpsError, HttpsOptions, TrustedUrl},
    telemetry::{DriftCheckLabels, DriftLabels, Metrics},
};

/// What is compared with what, and how often.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CanarySettings {
    /// The discovery document to ask for.
    pub discovery: TrustedUrl,
    /// The key endpoint that it should name: the one that is pinned.
    pub jwks_uri: TrustedUrl,
    /// Time between comparisons, ± 10 % so that a fleet spreads out.
    pub every: Duration,
    /// How the document is reached.
    pub https: HttpsOptions,
}

impl Default for CanarySettings {
    /// Apple's document and endpoint, once an hour.
    fn default() -> Self {
        Self {
            discovery: TrustedUrl::apple_discovery(),
            jwks_uri: TrustedUrl::apple_keys(),
            every: Duration::from_hours(1),
            https: HttpsOptions::default(),
        }
    }
}

impl CanarySettings {
    /// The document at `discovery`, which should name `jwks_uri`: a simulator's.
    #[must_use]
    pub fn new(discovery: TrustedUrl, jwks_uri: TrustedUrl) -> Self {
        Self { discovery, jwks_uri, ..Self::default() }
    }

    /// Compares so often, within the bounds of [`JwksSettings`](super::JwksSettings).
    #[must_use]
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Reaches the document in this way.
    #[must_use]
    pub fn https(self, https: HttpsOptions) -> Self {
        Self { https, ..self }
    }

    pub(in super::super) fn check(&self) -> Result<(), InvalidDuration> {
        InvalidDuration::check("the canary's every", self.every)
    }
}

/// What can drift: the label of the metric.
const KINDS: [&str; 4] = ["issuer", "jwks_uri", "algorithms", "keys"];

/// The task that compares.
#[derive(Debug)]
pub(super) struct Canary {
    document: Document,
    expected: Expected,
    every: Duration,
    sources: Arc<[SourceCache]>,
    metrics: Metrics,
    drifted: [bool; KINDS.len()],
    failing: bool,
}

#[derive(Debug)]
struct Expected {
    issuer: Issuer,
    jwks_uri: TrustedUrl,
}

impl Canary {
    /// Every key of Apple's has had so many bits.
    const KEY_BITS: usize = 2048;

    /// Compares the keys of the first of `sources`, which is `issuer`'s.
    pub(super) fn new(
        settings: CanarySettings,
        issuer: Issuer,
        sources: Arc<[SourceCache]>,
        metrics: Metrics,
    ) -> Result<Self, HttpsError> {
        Ok(Self {
            document: Document::new(settings.discovery, &settings.https)?,
            expected: Expected { issuer, jwks_uri: settings.jwks_uri },
            every: settings.every,
            sources,
            metrics,
            drifted: [false; KINDS.len()],
            failing: false,
        })
    }

    pub(super) async fn run(mut self) {
        for what in KINDS {
            self.metrics.apple_drift.get_or_create(&DriftLabels { what }).set(0);
        }
        loop {
            self.look().await;
            sleep(pace::regular(self.every, fastrand::f64())).await;
        }
    }

    async fn look(&mut self) {
        let looked = self.document.get().await.and_then(|text| parse(&text));
        let result = looked.as_ref().map_or_else(FetchFault::code, |_| "ok");
        self.metrics.apple_drift_checks.get_or_create(&DriftCheckLabels { result }).inc();
        match looked {
            Ok(document) => {
                self.failing = false;
                let [issuer, jwks_uri, algorithms] = self.expected.compare(&document);
                let found = [issuer, jwks_uri, algorithms, self.keys()];
                self.note(found);
            }
            Err(fault) => {
                if !self.failing {
                    warn!(code = fault.code(), %fault, "the discovery document cannot be had: drift would go unseen");
                }
                self.failing = true;
            }
        }
    }

    /// What is odd about the current key set.
    fn keys(&self) -> Option<Printable> {
        let current = self.sources.first()?.current.get(&())?;
        odd_keys(current.listed())
    }

    /// Warns once when something begins to differ, and says when it no longer does.
    fn note(&mut self, found: [Option<Printable>; KINDS.len()]) {
        for ((what, found), drifted) in KINDS.into_iter().zip(found).zip(&mut self.drifted) {
            self.metrics
                .apple_drift
                .get_or_create(&DriftLabels { what })
                .set(i64::from(found.is_some()));
            let before = std::mem::replace(drifted, found.is_some());
            match found {
                Some(found) if !before => {
                    warn!(what, %found, "Apple publishes something else than what is pinned; nothing is changed");
                }
                None if before => info!(what, "Apple publishes what is pinned again"),
                Some(_) | None => {}
            }
        }
    }
}

fn parse(text: &Bytes) -> Result<Value, FetchFault> {
    serde_json::from_slice(text).map_err(|error| FetchFault::NotAJwkSet(Arc::new(error)))
}

impl Expected {
    /// Issuer, key endpoint and algorithms, where they are others.
    fn compare(&self, document: &Value) -> [Option<Printable>; 3] {
        let member = |name: &str| document.get(name).cloned().unwrap_or_default();
        let unless = |right: bool, found: &Value| (!right).then(|| shown(found));
        let issuer = member("issuer");
        let jwks_uri = member("jwks_uri");
        let algorithms = member("id_token_signing_alg_values_supported");
        [
            unless(issuer.as_str() == Some(self.issuer.as_str()), &issuer),
            unless(jwks_uri.as_str() == Some(self.jwks_uri.as_url().as_str()), &jwks_uri),
            unless(algorithms == serde_json::json!(["RS256"]), &algorithms),
        ]
    }
}

fn shown(value: &Value) -> Printable {
    match value {
        Value::Null => Printable::new(""),
        Value::String(text) => Printable::new(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Printable::new(&value.to_string().replace('"', "'"))
        }
    }
}

/// Every key of Apple's has been an RSA key of 2048 bits for RS256; one for anything else would be skipped.
fn odd_keys(set: &JwkSet) -> Option<Printable> {
    let odd = set.keys().find(|key| key.bits() != Canary::KEY_BITS);
    match (set.skipped(), odd) {
        (0, None) => None,
        (0, Some(key)) => Some(Printable::new(&format!("RSA-{}", key.bits()))),
        (_, _) => Some(Printable::new("not-RS256")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differing(document: &Value) -> Vec<&'static str> {
        let expected = Expected { issuer: Issuer::apple(), jwks_uri: TrustedUrl::apple_keys() };
        let found = expected.compare(document);
        KINDS.into_iter().zip(found).filter_map(|(what, found)| found.map(|_| what)).collect()
    }

    #[test]
    fn each_pinned_member_is_compared_exactly() {
        let right = json!({
            "issuer": "https://appleid.apple.com",
            "jwks_uri": "https://appleid.apple.com/auth/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let with = |name: &str, value: Value| {
            let mut document = right.clone();
            document[name] = value;
            differing(&document)
        };
        assert_eq!(differing(&right), [""; 0]);
        assert_eq!(with("issuer", json!("https://account.apple.com")), ["issuer"]);
        assert_eq!(with("issuer", json!(["https://appleid.apple.com"])), ["issuer"]);
        assert_eq!(with("jwks_uri", json!("https://account.apple.com/auth/keys")), ["jwks_uri"]);
        let algorithms = "id_token_signing_alg_values_supported";
        assert_eq!(with(algorithms, json!(["RS256", "ES256"])), ["algorithms"]);
        assert_eq!(differing(&json!({})), ["issuer", "jwks_uri", "algorithms"]);
        assert_eq!(differing(&json!([])).len(), 3);
    }

    #[test]
    fn a_key_of_another_size_or_kind_is_odd() {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
        let odd = |keys: Value| {
            let text = json!({ "keys": keys }).to_string();
            let set = JwkSet::parse(text.as_bytes(), &Issuer::apple()).unwrap();
            odd_keys(&set).map(|found| found.as_str().to_owned())
        };
        let key = |bits: usize| {
            let n = BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; bits / 8]);
            json!({"kty": "RSA", "kid": format!("k{bits}"), "alg": "RS256", "n": n, "e": "AQAB"})
        };
        assert_eq!(odd(json!([key(2048)])), None);
        assert_eq!(odd(json!([key(2048), key(4096)])).as_deref(), Some("RSA-4096"));
        assert_eq!(odd(json!([key(2048), {"kty": "EC"}])).as_deref(), Some("not-RS256"));
    }
}
