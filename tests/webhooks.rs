//! Applications are told what Apple told us: signed, at least once, across restarts.

use std::{net::SocketAddr, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use siwa_proxy::sim::{event::Event, presets::SUBJECT};
use tokio::net::TcpListener;

use crate::support::{
    House, Recorder, Request, eventually,
    notifying::{ON, post},
    spawn,
};

#[path = "../examples/webhook.rs"]
#[expect(dead_code, reason = "the test has a listener of its own")]
mod example;

const SECRET: [u8; 32] = [7; 32];

fn secret() -> String {
    format!("whsec_{}\n", BASE64_STANDARD.encode(SECRET))
}

/// Settings that tell `targets`, with a store in `folder`.
fn telling(targets: &[SocketAddr], folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("secret");
    std::fs::write(&file, secret()).unwrap();
    let urls: Vec<_> = targets.iter().map(|at| format!("'http://{at}/apple-events'")).collect();
    format!(
        "{ON}\nstore.file = '{}'\nwebhooks.urls = [{}]\nwebhooks.secret_files = ['{}']",
        folder.path().join("store").display(),
        urls.join(", "),
        file.display()
    )
}

/// The one line of that name.
fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let lines = request.header(name);
    assert_eq!(lines.len(), 1, "{name}: {request:?}");
    lines[0]
}

/// Waits until a delivery has come to `result`.
async fn counted(house: &House, result: &str) {
    let metric = format!("siwa_webhook_deliveries_total{{result=\"{result}\"}}");
    eventually(result, async || house.metric(&metric).await > 0).await;
}

/// Checks a signature as the specification says: over id, timestamp and body, with dots between.
fn check_signature(request: &Request) {
    let [id, at, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| header(request, name));
    let signed = format!("{id}.{at}.{}", request.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let tag = BASE64_STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
}

#[tokio::test]
async fn each_target_gets_each_event_once_and_signed() {
    let folder = tempfile::tempdir().unwrap();
    let targets = [Recorder::start().await, Recorder::start().await];
    let house = House::with(&telling(&targets.each_ref().map(|it| it.address), &folder)).await;
    let relay = "a@privaterelay.appleid.com";
    for event in [Event::email_disabled(SUBJECT, relay), Event::consent_revoked(SUBJECT)] {
        assert_eq!(house.notify(event).await.status, 200);
    }
    for target in &targets {
        target.received(2).await;
        let mut told = Vec::new();
        for request in target.requests() {
            assert_eq!(request.line(), "POST /apple-events HTTP/1.1");
            assert_eq!(header(&request, "content-type"), "application/json");
            check_signature(&request);
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(body["data"]["sub"], SUBJECT);
            assert_eq!(body["data"]["client_id"], "com.example.app");
            if body["type"] == "email-disabled" {
                assert_eq!(body["data"]["email"], relay);
                assert_eq!(body["data"]["is_private_email"], true);
            }
            told.push(body["type"].as_str().unwrap().to_owned());
        }
        told.sort();
        assert_eq!(told, ["consent-revoked", "email-disabled"]);
    }
}

#[tokio::test]
async fn what_is_not_taken_comes_again_under_the_same_id_and_a_repetition_of_apples_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let target = Recorder::start().await;
    target.answer("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let house = House::with(&telling(&[target.address], &folder)).await;
    let template =
        siwa_proxy::sim::token::TokenTemplate::notification(Event::consent_revoked(SUBJECT));
    let payload = house.apple.mint(&template);
    for _ in 0..2 {
        let reply = crate::support::notifying::post_notification(house.address, &payload).await;
        assert_eq!(reply.status, 200);
    }
    target.received(1).await;
    target.answer("HTTP/1.1 204 No Content\r\n\r\n");
    target.received(2).await;
    let requests = target.requests();
    let ids: Vec<_> = requests.iter().map(|it| header(it, "webhook-id")).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 22, "Apple's own id");
    counted(&house, "ok").await;
    assert_eq!(house.metric("siwa_webhook_deliveries_total{result=\"ok\"}").await, 1);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = Recorder::start().await;
    target.stall();
    let extra = format!("{}\nwebhooks.timeout = '100ms'", telling(&[target.address], &folder));
    let house = House::with(&extra).await;
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    counted(&house, "unreachable").await;
    target.answer("HTTP/1.1 204 No Content\r\n\r\n");
    counted(&house, "ok").await;
}

#[tokio::test]
async fn the_queue_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    // Nobody is there any more.
    drop(listener);
    let first = House::with(&telling(&[target], &folder)).await;
    assert_eq!(first.notify(Event::account_deleted(SUBJECT)).await.status, 200);
    counted(&first, "unreachable").await;
    first.end().await;

    let receiver = Arc::new(example::Receiver::new(&secret()).unwrap());
    let listener = TcpListener::bind(target).await.unwrap();
    spawn(axum::serve(listener, example::app(receiver)).into_future());
    let second = House::with(&telling(&[target], &folder)).await;
    counted(&second, "ok").await;
}

#[tokio::test]
async fn the_receiver_of_the_example_takes_what_is_signed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let receiver = Arc::new(example::Receiver::new(&secret()).unwrap());
    spawn(axum::serve(listener, example::app(receiver)).into_future());
    let house = House::with(&telling(&[target], &folder)).await;
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    counted(&house, "ok").await;

    for (id, at, signature) in [
        ("made-up", "1700000000", "v1,AAAA"),
        ("made-up", "not-a-time", "v1,AAAA"),
        ("made-up", "1700000000", "AAAA"),
    ] {
        let lines = format!(
            "webhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\n"
        );
        assert_eq!(post(target, "/apple-events", &lines, "{}").await.status, 401);
    }
    assert_eq!(post(target, "/apple-events", "", "{}").await.status, 401);
}
