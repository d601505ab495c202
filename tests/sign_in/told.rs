//! The application is told of each sign-in, if it wants to be.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use siwa_proxy::{
    config::Settings,
    sim::{
        presets::{EMAIL, SUBJECT},
        token::TokenTemplate,
    },
    verify::Issuer,
};

use super::{ON, sign_in};
use crate::support::{House, Recorder, eventually};

/// Settings that tell `target`, with a store in `folder`.
pub(super) fn telling(target: &Recorder, folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("whsec_{}\n", BASE64_STANDARD.encode([7; 32]))).unwrap();
    format!(
        "{ON}\nsign_in.webhook = true\nstore.file = '{}'\nwebhooks.urls = ['http://{}/apple-events']\n\
         webhooks.secret_files = ['{}']",
        folder.path().join("store").display(),
        target.address,
        file.display()
    )
}

#[tokio::test]
async fn each_sign_in_is_told_with_the_name_at_the_first() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let house = House::with(&telling(&target, &folder)).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let name = json!({ "givenName": "Jane", "familyName": "Doe\u{202e}" });
    for body in
        [json!({ "identityToken": token, "fullName": name }), json!({ "identityToken": token })]
    {
        assert_eq!(sign_in(house.address, &body).await.status, 200);
    }
    target.received(2).await;
    let mut told: Vec<Value> = Vec::new();
    for request in target.requests() {
        assert_eq!(request.line(), "POST /apple-events HTTP/1.1");
        assert_eq!(request.header("webhook-signature").len(), 1);
        told.push(serde_json::from_str(&request.body).unwrap());
    }
    told.sort_by_key(|event| event["data"]["first"] != true);
    let user = json!({
        "sub": SUBJECT, "client_id": "com.example.app", "issuer": Issuer::APPLE,
        "email": EMAIL, "email_verified": true, "is_private_email": false,
    });
    let with = |more: Value| {
        let mut all = user.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::from(all)
    };
    let name = json!({ "given_name": "Jane", "family_name": "Doe" });
    assert_eq!(told[0]["data"], with(json!({ "first": true, "name_unverified": name })));
    assert_eq!(told[1]["data"], with(json!({ "first": false })));
    for event in &told {
        assert_eq!(event["type"], "sign-in");
        assert!(event["timestamp"].is_string());
    }
}

#[tokio::test]
async fn who_repeats_a_token_is_told_of_under_the_same_id() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let house = House::with(&telling(&target, &folder)).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let others = house.apple.mint(&TokenTemplate::native().nonce("other"));
    let mut ids = Vec::new();
    for (count, token) in [(1, &token), (2, &token), (3, &others)] {
        assert_eq!(sign_in(house.address, &json!({ "identityToken": token })).await.status, 200);
        target.received(count).await;
        ids.push(target.requests().pop().unwrap().header("webhook-id").concat());
        // What comes again while it is being delivered is delivered once.
        let is_delivered = async || house.metric("siwa_webhook_queue").await == 0;
        eventually("it is delivered", is_delivered).await;
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn a_refused_sign_in_is_not_told() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let house = House::with(&telling(&target, &folder)).await;
    let other = house.apple.mint(&TokenTemplate::native().audience("com.somebody.else"));
    assert_eq!(sign_in(house.address, &json!({ "identityToken": other })).await.status, 401);
    let token = house.apple.mint(&TokenTemplate::native());
    assert_eq!(sign_in(house.address, &json!({ "identityToken": token })).await.status, 200);
    target.received(1).await;
    let told: Value = serde_json::from_str(&target.requests()[0].body).unwrap();
    assert_eq!(told["data"]["client_id"], "com.example.app", "the second is the first to be told");
}

#[test]
fn somebody_must_be_there_to_be_told() {
    let text = format!("apple.client_ids = ['com.example.app']\n{ON}\nsign_in.webhook = true\n");
    let problem = Settings::from_toml(&text).unwrap_err().to_string();
    assert!(problem.starts_with("webhooks.urls: is missing, so that sign_in.webhook"), "{problem}");
}
