//! Whoever posts too much, too slowly or too often is told so, and costs little.

use serde_json::json;
use siwa_proxy::sim::token::TokenTemplate;
use tokio::io::AsyncWriteExt;

use super::{ON, PATH, post_as, refused, sign_in};
use crate::support::{House, exchange, open, read_reply};

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

/// Announces bodies that never come to `target`, more of them than there may be requests.
async fn stall(house: &House, target: &str) {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\n{kind}\r\nContent-Length: 9\r\n\r\n");
    let mut slow = std::collections::VecDeque::new();
    for _ in 0..40 {
        let mut stream = open(house.address).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push_back(stream);
        // Of 16 requests a quarter may be such.
        if slow.len() > 4 {
            let mut longest = slow.pop_front().unwrap();
            assert_eq!(read_reply(&mut longest).await.status, 408, "{target}");
        }
    }
    let bearer = house.bearer();
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200, "{target}");
    let token = house.apple.mint(&TokenTemplate::native());
    assert_eq!(sign_in(house.address, &json!({ "identityToken": token })).await.status, 200);
}

#[tokio::test]
async fn those_whose_bodies_do_not_come_keep_out_nobody() {
    let browser = "browser.path = '/web'\nbrowser.origins = ['https://app.example']\nbrowser.client_id = 'com.example.web'";
    let extra = format!("limits.max_requests = 16\nsign_in.rate_burst = 1000\n{browser}");
    for target in [PATH, "/auth/apple/refresh", "/auth/apple/nonce", "/web/callback"] {
        stall(&super::house(&extra).await, target).await;
    }
}
