//! Apps sign in with the token that Apple gave them.

#[path = "sign_in/apple_check.rs"]
mod apple_check;
#[path = "sign_in/clients.rs"]
mod clients;
#[path = "sign_in/codes.rs"]
mod codes;
#[path = "sign_in/limits.rs"]
mod limits;
#[path = "sign_in/nonces.rs"]
mod nonces;
#[path = "sign_in/once.rs"]
mod once;
#[path = "sign_in/pages.rs"]
mod pages;
#[path = "sign_in/real_programs.rs"]
mod real_programs;
#[path = "sign_in/sessions.rs"]
mod sessions;
#[path = "sign_in/told.rs"]
mod told;
#[path = "sign_in/tutorial.rs"]
mod tutorial;

use std::{io::Write, net::SocketAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use siwa_proxy::clock::ManualClock;
use tempfile::NamedTempFile;

use crate::support::{House, Reply, exchange, notifying::post, spawn};

/// Where the tests' apps sign in.
pub(crate) const PATH: &str = "/auth/apple";

/// The setting that lets them.
pub(crate) const ON: &str = "sign_in.path = '/auth/apple'";

/// A file with the key that sessions and nonces are sealed with: the same for the same `byte`.
fn key_file(byte: u8) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(BASE64_STANDARD.encode([byte; 32]).as_bytes()).unwrap();
    file
}

/// The settings that let apps sign in and keep sessions, by the key in `file`.
fn with_key(file: &NamedTempFile, extra: &str) -> String {
    format!("{ON}\nsessions.key_files = ['{}']\n{extra}", file.path().display())
}

/// A house in which apps sign in and have sessions, ready.
async fn house(extra: &str) -> House {
    House::with(&with_key(&key_file(1), extra)).await
}

/// Likewise, by a clock.
async fn house_at(clock: &ManualClock, extra: &str) -> House {
    let key = key_file(1);
    let clock = std::sync::Arc::new(clock.clone());
    let house = House::build(&with_key(&key, extra), clock, |_| {}).await;
    house.ready().await;
    house
}

/// Posts `body` as JSON, as an app does.
pub(crate) async fn sign_in(address: SocketAddr, body: &serde_json::Value) -> Reply {
    post(address, PATH, "", &body.to_string()).await
}

/// Posts `body` twenty times at once; returns the statuses.
async fn twenty_at_once(address: SocketAddr, body: &serde_json::Value) -> Vec<u16> {
    let post = |_| {
        let body = body.clone();
        spawn(async move { sign_in(address, &body).await.status })
    };
    let posting: Vec<_> = (0..20).map(post).collect();
    let mut statuses = Vec::new();
    for posted in posting {
        statuses.push(posted.await.unwrap());
    }
    statuses
}

/// Posts `body` of another type.
async fn post_as(house: &House, content_type: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{content_type}Content-Length: {length}\r\n\r\n"
    );
    exchange(house.address, head + body).await
}

/// Posts a form.
async fn post_form(house: &House, pairs: &[(&str, &str)]) -> Reply {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    post_as(house, "Content-Type: application/x-www-form-urlencoded\r\n", &form).await
}

/// The status, and what a refusal says.
#[track_caller]
fn refused(reply: &Reply, status: u16, error: &str, code: &str) {
    let expected = serde_json::json!({ "error": error, "code": code });
    assert_eq!((reply.status, reply.json()), (status, expected), "{reply:?}");
}
