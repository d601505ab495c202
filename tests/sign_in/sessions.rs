//! With a key to seal them, a sign-in begins a session.

use serde_json::json;
use siwa_proxy::sim::{
    presets::{EMAIL, SUBJECT},
    token::TokenTemplate,
};

use super::{ON, house, key_file, sign_in, with_key};
use crate::support::House;

#[tokio::test]
async fn a_sign_in_is_answered_with_the_tokens_of_a_session() {
    let house = house("").await;
    let token = house.apple.mint(&TokenTemplate::native());
    let mut reply = sign_in(house.address, &json!({ "identityToken": token })).await.json();
    let mut take = |name: &str| reply.as_object_mut().unwrap().remove(name).unwrap();
    assert!(take("access_token").as_str().unwrap().starts_with("siwa_a."));
    assert!(take("refresh_token").as_str().unwrap().starts_with("siwa_r."));
    let user =
        json!({ "id": SUBJECT, "email": EMAIL, "email_verified": true, "is_private_email": false });
    let rest = json!({
        "success": true, "user": user, "token_type": "Bearer", "expires_in": 900, "refresh_expires_in": 2_592_000,
    });
    assert_eq!(reply, rest);
}

#[tokio::test]
async fn calls_are_made_with_the_access_token_and_not_with_the_refresh_token() {
    let house = house("").await;
    let token = house.apple.mint(&TokenTemplate::native());
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await.json();
    let bearer = |name: &str| format!("Bearer {}", reply[name].as_str().unwrap());
    let called = house.get("/", &[("Authorization", &bearer("access_token"))]).await;
    assert_eq!(called.status, 200);
    assert_eq!(house.application.only_request().header("x-apple-sub"), [SUBJECT]);
    let refused = house.get("/", &[("Authorization", &bearer("refresh_token"))]).await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("session_wrong_kind")));
}

#[tokio::test]
async fn two_replicas_that_share_the_key_alone_take_each_others_sessions() {
    let key = key_file(7);
    let one = House::with(&with_key(&key, "")).await;
    let other = House::with(&with_key(&key, "")).await;
    let token = one.apple.mint(&TokenTemplate::native());
    let reply = sign_in(one.address, &json!({ "identityToken": token })).await.json();
    let bearer = format!("Bearer {}", reply["access_token"].as_str().unwrap());
    assert_eq!(other.get("/", &[("Authorization", &bearer)]).await.status, 200);
    assert_eq!(other.application.only_request().header("x-apple-sub"), [SUBJECT]);
}

#[tokio::test]
async fn two_sign_ins_are_two_sessions() {
    let house = house("").await;
    let body = json!({ "identityToken": house.apple.mint(&TokenTemplate::native()) });
    let [one, other] = [sign_in(house.address, &body).await, sign_in(house.address, &body).await];
    for name in ["access_token", "refresh_token"] {
        assert_ne!(one.json()[name], other.json()[name]);
    }
}

#[tokio::test]
async fn without_a_key_there_are_no_sessions_and_no_nonces() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    assert_eq!(reply.json().get("access_token"), None);
    for (method, place) in
        [("POST", "/nonce"), ("POST", "/refresh"), ("POST", "/logout"), ("DELETE", "/account")]
    {
        let body = json!({ "refresh_token": "siwa_r.AAAA" }).to_string();
        let path = format!("/auth/apple{place}");
        let reply = crate::support::notifying::send(house.address, method, &path, "", &body).await;
        assert_eq!((reply.status, &reply.json()["code"]), (404, &json!("not_found")), "{place}");
    }
    assert!(house.application.requests().is_empty(), "they are nobody else's");
}
