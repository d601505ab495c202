//! Key sets from anybody: what is no usable key is skipped, and no key that is taken verifies noise.
#![no_main]

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use siwa_proxy::{
    ClientIds,
    clock::UnixTime,
    verify::{
        Issuer, JwksSettings,
        explain::{Explainer, ListedKeys},
    },
};

/// Of one set, this many keys are tried.
const MOST_KEYS: usize = 4;

fuzz_target!(|data: &[u8]| {
    let keys = match ListedKeys::parse(data, Issuer::apple()) {
        Ok(keys) => keys,
        Err(fault) => {
            drop(fault.to_string());
            return;
        }
    };
    assert!(data.len() <= JwksSettings::MAX_BYTES);
    let explainer = Explainer::new(keys, ClientIds::new(["com.example.app"]).unwrap());
    for kid in kids(data) {
        let explanation = explainer.explain(&token(&kid), UnixTime::from_secs(1_800_000_000));
        let code = explanation.problem().expect("noise is no signature").code;
        assert!(
            ["token_signature", "token_unknown_key", "token_malformed", "token_oversized"]
                .contains(&code),
            "{code}"
        );
        drop(explanation.to_string());
    }
});

fn kids(data: &[u8]) -> Vec<String> {
    let set: Value = serde_json::from_slice(data).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let kids = keys.iter().filter_map(|key| key["kid"].as_str());
    kids.take(MOST_KEYS).map(str::to_owned).collect()
}

/// Of that key, with 256 bytes of noise for a signature.
fn token(kid: &str) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = json!({"kid": kid, "alg": "RS256"}).to_string();
    format!("{}.{}.{}", encode(header.as_bytes()), encode(b"{}"), encode(&[0x5a; 256]))
}
