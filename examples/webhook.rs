//! A receiver of siwa-proxy's webhooks: it takes what the proxy signed, once, and nothing else.
//!
//! ```sh
//! (umask 077; echo whsec_$(openssl rand -base64 32) > webhook-secret)
//! cargo run --example webhook -- webhook-secret
//! ```
//!
//! and in the proxy's settings `webhooks.urls = ["http://127.0.0.1:3001/apple-events"]` and
//! `webhooks.secret_files = ["webhook-secret"]`.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use siwa_proxy::clock::{Clock, SystemClock};

/// How far the clocks may differ, in seconds: what was signed longer ago may have been recorded and sent again.
const TOLERANCE: u64 = 5 * 60;

/// The key, and the ids of what was taken. A real receiver keeps these in its database, together with what it did.
#[derive(Debug)]
pub(crate) struct Receiver {
    key: hmac::Key,
    taken: Mutex<HashSet<String>>,
}

impl Receiver {
    /// A receiver that shares `secret` with the proxy.
    pub(crate) fn new(secret: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let encoded = secret.trim().strip_prefix("whsec_").ok_or("must begin with whsec_")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(encoded)?);
        Ok(Self { key, taken: Mutex::default() })
    }

    /// The id of a message that the proxy signed within the tolerance, and nobody else could have.
    fn verify<'a>(&self, headers: &'a HeaderMap, body: &[u8], now: u64) -> Option<&'a str> {
        let header = |name| headers.get(name)?.to_str().ok();
        let (id, sent_at) = (header("webhook-id")?, header("webhook-timestamp")?);
        if sent_at.parse::<u64>().ok()?.abs_diff(now) > TOLERANCE {
            return None;
        }
        let signed = [id.as_bytes(), b".", sent_at.as_bytes(), b".", body].concat();
        // Several, while the secret is changed.
        let mut signatures = header("webhook-signature")?.split(' ');
        let is_right = |signature: &str| {
            let encoded = signature.strip_prefix("v1,")?;
            hmac::verify(&self.key, &signed, &BASE64_STANDARD.decode(encoded).ok()?).ok()
        };
        signatures.any(|signature| is_right(signature).is_some()).then_some(id)
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(id) = receiver.verify(&headers, &body, SystemClock.now().as_secs()) else {
        return StatusCode::UNAUTHORIZED;
    };
    let Ok(mut taken) = receiver.taken.lock() else { return StatusCode::INTERNAL_SERVER_ERROR };
    // The proxy delivers at least once: what comes again was done, and is answered as if it were new.
    if taken.insert(id.to_owned()) {
        // Here the account is deleted, signed out, or taken off a mailing list.
        #[expect(clippy::print_stdout, reason = "an example shows what it has")]
        {
            println!("{}", String::from_utf8_lossy(&body));
        }
    }
    StatusCode::NO_CONTENT
}

/// The application.
pub(crate) fn app(receiver: Arc<Receiver>) -> Router {
    Router::new().route("/apple-events", post(receive)).with_state(receiver)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name the file with the secret")?;
    let receiver = Arc::new(Receiver::new(&std::fs::read_to_string(file)?)?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    axum::serve(listener, app(receiver)).await?;
    Ok(())
}
