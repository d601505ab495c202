//! The steps of a request that are measured, each with what it needs: `time.rs` says how long they take here and now, and
//! `instructions.rs` how many instructions, which is the same everywhere.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use siwa_proxy::{
    ClientIds, Identity, UnverifiedToken, Verifier,
    clock::{ManualClock, UnixTime},
    measured::{Rebuilding, Routing},
    sim::{ISSUER, keys::SigningKey, token::TokenTemplate},
    verify::{FixedJwks, VerifyError},
};
use tokio::runtime::{Builder, Runtime};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// A verifier that has its keys, and tokens for it.
pub struct Judge {
    /// Keeps the keys; nothing runs on it while a token is judged.
    _runtime: Runtime,
    verifier: Verifier,
    key: SigningKey,
}

impl Judge {
    /// One that remembers at most `capacity` verdicts.
    pub fn remembering(capacity: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let key = SigningKey::generate();
        let verifier = runtime.block_on(async {
            let client_ids = ClientIds::new(["com.example.app"]).expect("a client id");
            let keys = json!({"keys": [key.jwk(), SigningKey::generate().jwk()]});
            let verifier = Verifier::builder(client_ids)
                .jwks_source(FixedJwks::new(keys.to_string()))
                .clock(ManualClock::at(NOW))
                .verdict_capacity(capacity)
                .build()
                .expect("a verifier");
            verifier.ready().await;
            verifier
        });
        Self { _runtime: runtime, verifier, key }
    }

    /// A token like Apple's.
    pub fn token(&self) -> String {
        TokenTemplate::native().sign(&self.key, ISSUER, NOW)
    }

    /// A token of a key that exists, whose signature is too short to be checked.
    pub fn unsigned(&self) -> String {
        let token = self.token();
        let (signing_input, _) = token.rsplit_once('.').expect("three parts");
        format!("{signing_input}.AA")
    }

    /// Judges `token` from its text to the end. All that is needed is in memory, so that there is nothing to wait for but
    /// turns, of which there are as many as are asked for.
    pub fn judge(&self, token: &str) -> Result<Arc<Identity>, VerifyError> {
        let token = UnverifiedToken::parse(token)?;
        let mut judged = pin!(self.verifier.verify(&token));
        loop {
            let polled = judged.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(judged) = polled {
                return judged;
            }
        }
    }
}

/// A judge who remembers the token that comes with it.
pub fn judge_who_remembers() -> (Judge, String) {
    let judge = Judge::remembering(1000);
    let token = judge.token();
    judge.judge(&token).expect("a good token");
    judge.judge(&token).expect("a good token");
    (judge, token)
}

/// A judge who remembers nothing, and a good token.
pub fn judge_who_forgets() -> (Judge, String) {
    let judge = Judge::remembering(0);
    let token = judge.token();
    judge.judge(&token).expect("a good token");
    (judge, token)
}

/// A judge, and a token whose key is found but whose signature is none.
pub fn judge_of_the_unsigned() -> (Judge, String) {
    let judge = Judge::remembering(0);
    let token = judge.unsigned();
    judge.judge(&token).expect_err("no signature");
    (judge, token)
}

/// A request as a browser's page sends it, somebody to send it on behalf of, and what rebuilds it.
pub fn browser_request() -> (Rebuilding, HeaderMap, Arc<Identity>) {
    let (judge, token) = judge_who_forgets();
    let identity = judge.judge(&token).expect("a good token");
    let lines = [
        ("host", "app.example"),
        ("authorization", "Bearer token"),
        ("connection", "keep-alive"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("cache-control", "no-cache"),
        ("content-type", "application/json"),
        ("cookie", "session=0123456789abcdef"),
        ("origin", "https://app.example"),
        ("referer", "https://app.example/"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
        ("user-agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"),
    ];
    let header = |(name, value): (&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    (Rebuilding::default(), lines.into_iter().map(header).collect(), identity)
}

/// A table of as many routes, and a path that the last one is for.
pub fn routes(count: usize) -> (Routing, String) {
    (Routing::of(count), format!("/service-{}/users/42", (count - 1) / 2 * 2))
}
