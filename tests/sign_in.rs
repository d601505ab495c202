//! Apps sign in with the token that Apple gave them.

#[path = "sign_in/clients.rs"]
mod clients;
#[path = "sign_in/limits.rs"]
mod limits;
#[path = "sign_in/pages.rs"]
mod pages;
#[path = "sign_in/tutorial.rs"]
mod tutorial;

use std::net::SocketAddr;

use crate::support::{House, Reply, exchange, notifying::post};

/// Where the tests' apps sign in.
pub(crate) const PATH: &str = "/auth/apple";

/// The setting that lets them.
pub(crate) const ON: &str = "sign_in.path = '/auth/apple'";

/// Posts `body` as JSON, as an app does.
pub(crate) async fn sign_in(address: SocketAddr, body: &serde_json::Value) -> Reply {
    post(address, PATH, "", &body.to_string()).await
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
