//! Whoever posts too much, too slowly or too often is told so, and costs little.

use serde_json::json;
use siwa_proxy::sim::token::TokenTemplate;

use super::{ON, PATH, post_as, refused, sign_in};
use crate::support::{House, exchange};

#[tokio::test]
async fn a_body_beyond_64_kib_is_413_whether_announced_or_not() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let fill = |bytes: usize| {
        let body = json!({ "identityToken": token, "x": "" }).to_string();
        body.replace("\"x\":\"\"", &format!("\"x\":\"{}\"", "x".repeat(bytes - body.len())))
    };
    let json = "Content-Type: application/json\r\n";
    assert_eq!(post_as(&house, json, &fill(64 * 1024)).await.status, 200);
    let too_long = fill(64 * 1024 + 1);
    refused(
        &post_as(&house, json, &too_long).await,
        413,
        "The body is too large",
        "body_too_large",
    );
    let chunked = format!(
        "POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{json}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{too_long}\r\n0\r\n\r\n",
        too_long.len()
    );
    let reply = exchange(house.address, chunked).await;
    refused(&reply, 413, "The body is too large", "body_too_large");
}

#[tokio::test]
async fn a_client_that_signs_in_too_often_is_429_and_others_are_not() {
    let limits =
        "sign_in.rate_per_second = 1\nsign_in.rate_burst = 2\nserver.trusted_peers = ['127.0.0.1']";
    let house = House::with(&format!("{ON}\n{limits}")).await;
    let bad = json!({ "identityToken": "a.b.c" });
    let mut last = sign_in(house.address, &bad).await;
    for _ in 0..20 {
        if last.status == 429 {
            break;
        }
        last = sign_in(house.address, &bad).await;
    }
    refused(&last, 429, "Too many requests", "rate_limited");
    assert_eq!(last.header("retry-after").len(), 1);
    let token = house.apple.mint(&TokenTemplate::native());
    let body = json!({ "identityToken": token }).to_string();
    let other = "Content-Type: application/json\r\nX-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(post_as(&house, other, &body).await.status, 200);
}
