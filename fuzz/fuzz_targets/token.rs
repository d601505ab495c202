//! Tokens from anybody.
//!
//! An input that begins with `{` is a header, a line feed and claims, and is signed rightly: so the search gets past the
//! signature. Any other input is the text of a token, and must prove nobody.
#![no_main]

use std::{str, sync::LazyLock};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use siwa_proxy::{
    ClientIds, TokenFault, UnverifiedToken, Verifier, VerifyError,
    clock::{ManualClock, UnixTime},
    sim::keys::SigningKey,
    verify::{
        FixedJwks, Issuer,
        explain::{Explainer, ListedKeys},
    },
};
use tokio::runtime::{Builder, Runtime};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const OURS: [&str; 2] = ["com.example.app", "com.gameroasters.stack4"];

struct Bench {
    runtime: Runtime,
    verifier: Verifier,
    explainer: Explainer,
    key: SigningKey,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let key = SigningKey::generate().with_kid("FuzzKey001");
    let apples = include_bytes!("../../tests/fixtures/jwks/all-known-keys.json");
    let mut keys: Value = serde_json::from_slice(apples).unwrap();
    keys["keys"].as_array_mut().unwrap().push(key.jwk());
    let keys = json!({"keys": keys["keys"]}).to_string().into_bytes();

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let entered = runtime.enter();
    let client_ids = ClientIds::new(OURS).unwrap();
    let verifier = Verifier::builder(client_ids.clone())
        .jwks_source(FixedJwks::new(keys.clone()))
        .clock(ManualClock::at(NOW))
        .verdict_capacity(1_000)
        .build()
        .unwrap();
    drop(entered);
    runtime.block_on(verifier.ready());
    let listed = ListedKeys::parse(&keys, Issuer::apple()).unwrap();
    Bench { runtime, verifier, explainer: Explainer::new(listed, client_ids), key }
});

fuzz_target!(|data: &[u8]| {
    if let Some((header, claims)) = signed_parts(data) {
        check_signed(header, claims);
    } else if let Ok(text) = str::from_utf8(data) {
        assert!(subject(text).is_none(), "nobody signed this");
    }
});

fn signed_parts(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    data.starts_with(b"{").then(|| (&data[..end], &data[end + 1..]))
}

/// Whoever is proved is the one whom the claims name, to an app of ours, by Apple.
fn check_signed(header: &[u8], claims: &[u8]) {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let input = format!("{}.{}", encode(header), encode(claims));
    let token = format!("{input}.{}", encode(&BENCH.key.sign(input.as_bytes())));
    let Some(subject) = subject(&token) else { return };

    let claims: Value = serde_json::from_slice(claims).unwrap();
    assert_eq!(claims["sub"], subject);
    assert_eq!(claims["iss"], Issuer::APPLE);
    assert!(claims["exp"].as_u64().unwrap() + 30 > NOW.as_secs());
    assert!(claims.get("events").is_none());
    let header: Value = serde_json::from_slice(header).unwrap();
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!("FuzzKey001")));
}

/// Whom the token proves: asked cold, asked again, and explained, with the same answer.
fn subject(text: &str) -> Option<String> {
    let Bench { runtime, verifier, explainer, .. } = &*BENCH;
    let judge = || match UnverifiedToken::parse(text) {
        Ok(token) => runtime.block_on(verifier.verify(&token)),
        Err(fault) => Err(fault.into()),
    };
    let (cold, again) = (judge(), judge());
    let explanation = explainer.explain(text, NOW);
    drop(explanation.to_string());
    match (cold, again) {
        (Ok(cold), Ok(again)) => {
            assert_eq!(cold.subject(), again.subject());
            assert!(explanation.is_good());
            Some(cold.subject().as_str().to_owned())
        }
        (Err(VerifyError::Rejected(cold)), Err(VerifyError::Rejected(again))) => {
            assert_eq!(cold.code(), again.code());
            assert_eq!(explanation.problem().unwrap().code, cold.code());
            check_message(&cold);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// What goes back to callers and into logs.
fn check_message(fault: &TokenFault) {
    let message = fault.to_string();
    assert!(message.chars().all(|c| matches!(c, ' '..='~') && c != '@'), "{message}");
    assert!(message.len() < 500, "{message}");
}
