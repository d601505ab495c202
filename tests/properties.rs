//! What holds for every input: nothing panics, nothing costs memory without bound, and what is no token proves nobody.

use std::sync::OnceLock;

use allocation_counter::measure;
use proptest::prelude::*;
use serde_json::json;
use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier,
    clock::ManualClock,
    sim::{ISSUER, keys::SigningKey, token::TokenTemplate},
    verify::FixedJwks,
};
use tokio::runtime::Runtime;

use crate::forgery::workshop::{NOW, encode};

/// A verifier, the key that it believes, and a runtime to ask it on.
struct Bench {
    runtime: Runtime,
    verifier: Verifier,
    key: SigningKey,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let key = SigningKey::generate();
        let entered = runtime.enter();
        let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
            .jwks_source(FixedJwks::new(json!({"keys": [key.jwk()]}).to_string()))
            .clock(ManualClock::at(NOW))
            // Every case is judged anew.
            .verdict_capacity(0)
            .build()
            .unwrap();
        drop(entered);
        runtime.block_on(verifier.ready());
        Bench { runtime, verifier, key }
    })
}

impl Bench {
    fn accepts(&self, token: &str) -> bool {
        let Ok(token) = UnverifiedToken::parse(token) else { return false };
        self.runtime.block_on(self.verifier.verify(&token)).is_ok()
    }

    fn sign(&self, template: &TokenTemplate) -> String {
        template.sign(&self.key, ISSUER, NOW)
    }
}

/// The most that judging one token may hold at a time, in bytes: some copies of the longest token that is looked at.
const MOST_MEMORY: u64 = 32 * UnverifiedToken::MAX_BYTES as u64;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_text_whatever_is_a_token(text in "\\PC{0,2000}") {
        prop_assert!(!bench().accepts(&text));
    }

    #[test]
    fn three_parts_of_base64url_are_no_token_by_chance(
        header in prop::collection::vec(any::<u8>(), 0..200),
        claims in prop::collection::vec(any::<u8>(), 0..200),
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let text = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(!bench().accepts(&text));
    }

    #[test]
    fn no_header_makes_a_stranger_s_signature_good(kid in "\\PC{0,40}", alg in "\\PC{0,10}", x in "\\PC{0,40}") {
        let template = TokenTemplate::native().header("kid", kid).header("alg", alg).header("jku", x);
        prop_assert!(!bench().accepts(&bench().sign(&template)));
    }

    #[test]
    fn no_signed_bytes_but_an_object_with_the_right_claims_prove_anybody(claims in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!bench().accepts(&bench().sign(&TokenTemplate::native().payload_bytes(claims))));
    }

    #[test]
    fn what_is_nested_however_deep_is_refused_in_bounded_memory(nesting in 0_usize..6000, member in "[a-z]{1,8}") {
        let claims = format!("{{\"{member}\":{}{}}}", "[".repeat(nesting), "]".repeat(nesting));
        let token = bench().sign(&TokenTemplate::native().payload_bytes(claims.into_bytes()));
        let mut accepted = true;
        let used = measure(|| accepted = bench().accepts(&token));
        prop_assert!(!accepted, "{member}, {nesting} deep");
        prop_assert!(used.bytes_max < MOST_MEMORY, "{used:?}");
    }
}

#[test]
fn a_token_over_the_limit_costs_next_to_nothing() {
    let long = "a".repeat(10_000_000);
    let bench = bench();
    let used = measure(|| assert!(!bench.accepts(&long)));
    assert!(used.bytes_max < 1024, "{used:?}");
}
