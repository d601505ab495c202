//! The contract of the usual Node.js tutorial's server, which many apps are written for: `POST /auth/apple` with
//! `{"identityToken": …}`; 200 `{"success":true,"user":{"id","email","email_verified"}}`, 400
//! `{"error":"identityToken missing"}`, 401 `{"error":"Invalid token"}`.

use serde_json::json;
use siwa_proxy::{
    clock::UnixTime,
    sim::{
        event::Event,
        faults::Fault,
        keys::SigningKey,
        presets::{EMAIL, RELAY_EMAIL, SUBJECT},
        token::TokenTemplate,
    },
};

use super::{ON, PATH, refused, sign_in};
use crate::support::{House, exchange, notifying, notifying::post};

#[tokio::test]
async fn a_token_is_answered_with_who_it_is() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let user =
        json!({ "id": SUBJECT, "email": EMAIL, "email_verified": true, "is_private_email": false });
    assert_eq!(reply.json(), json!({ "success": true, "user": user }));
    assert_eq!(reply.header("content-type"), ["application/json"]);
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    assert_eq!(reply.header("x-request-id").len(), 1);
    let counted =
        r#"siwa_requests_total{door="sign_in",route="none",outcome="signed_in",fault="none"}"#;
    assert_eq!(house.metric(counted).await, 1);
}

#[tokio::test]
async fn a_request_without_a_token_is_400() {
    let house = House::with(ON).await;
    for body in [
        json!({}),
        json!({ "identityToken": "" }),
        json!({ "identityToken": null }),
        json!({ "authorizationCode": "c", "user": SUBJECT, "email": EMAIL }),
    ] {
        let reply = sign_in(house.address, &body).await;
        refused(&reply, 400, "identityToken missing", "identity_token_missing");
    }
}

#[tokio::test]
async fn a_token_that_is_no_good_is_401_with_the_reason() {
    let house = House::with(ON).await;
    let expired = TokenTemplate::native().issued_at(UnixTime::from_secs(1_600_000_000));
    let forged = SigningKey::generate().with_kid(house.apple.keys().signing().kid());
    for (token, code) in [
        ("no.token".to_owned(), "token_malformed"),
        (house.apple.mint(&expired), "token_expired"),
        (house.apple.mint_with(&forged, &TokenTemplate::native()), "token_signature"),
        (
            house.apple.mint(&TokenTemplate::native().claim("iss", "https://evil.example")),
            "token_issuer",
        ),
        (
            house.apple.mint(&TokenTemplate::notification(Event::consent_revoked(SUBJECT))),
            "token_notification",
        ),
    ] {
        let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
        refused(&reply, 401, "Invalid token", code);
        assert_eq!(reply.header("www-authenticate").len(), 1);
    }
}

#[tokio::test]
async fn another_apps_token_which_the_tutorial_lets_in_is_refused() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native().audience("com.somebody.else"));
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    refused(&reply, 401, "Invalid token", "token_audience");
}

#[tokio::test]
async fn what_apple_says_besides_is_told_and_what_it_does_not_say_is_left_out() {
    let house = House::with(ON).await;
    let told = TokenTemplate::relay_email()
        .claim("real_user_status", 2)
        .claim("transfer_sub", "001999.another-team.0918");
    let reply = sign_in(house.address, &json!({ "identityToken": house.apple.mint(&told) })).await;
    let user = json!({
        "id": SUBJECT, "email": RELAY_EMAIL, "email_verified": true, "is_private_email": true,
        "real_user_status": 2, "transfer_sub": "001999.another-team.0918",
    });
    assert_eq!(reply.json()["user"], user);
    let bare = house.apple.mint(&TokenTemplate::no_email());
    let reply = sign_in(house.address, &json!({ "identityToken": bare })).await;
    assert_eq!(reply.json()["user"], json!({ "id": SUBJECT }));
}

#[tokio::test]
async fn whoever_asks_for_problem_details_gets_them() {
    let house = House::with(ON).await;
    let reply = post(
        house.address,
        PATH,
        "Accept: application/problem+json\r\n",
        "{\"identityToken\":\"a.b.c\"}",
    )
    .await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("content-type"), ["application/problem+json"]);
    let problem = reply.json();
    assert_eq!(problem["type"], "urn:problem-type:siwa-proxy:token_malformed");
    assert_eq!((&problem["status"], &problem["code"]), (&json!(401), &json!("token_malformed")));
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_it_is_nobodys_bad_token() {
    let house = House::build(ON, std::sync::Arc::new(siwa_proxy::clock::SystemClock), |apple| {
        apple.fail_with(Fault::Reset);
    })
    .await;
    let token = house.apple.mint(&TokenTemplate::native());
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    refused(&reply, 503, "Tokens cannot be judged now", "keys_unavailable");
    assert_eq!(reply.header("retry-after").len(), 1);
}

#[tokio::test]
async fn whom_the_policy_or_a_revocation_refuses_does_not_sign_in() {
    let house = House::with(&format!("{ON}\npolicy.require_email = true\n{}", notifying::ON)).await;
    let bare = house.apple.mint(&TokenTemplate::no_email());
    let reply = sign_in(house.address, &json!({ "identityToken": bare })).await;
    refused(&reply, 403, "Not allowed here", "not_allowed_email_missing");

    let token = house.apple.mint(&TokenTemplate::native());
    assert_eq!(sign_in(house.address, &json!({ "identityToken": token })).await.status, 200);
    assert_eq!(house.notify(Event::account_deleted(SUBJECT)).await.status, 200);
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    refused(&reply, 401, "Invalid token", "token_revoked");
}

#[tokio::test]
async fn the_path_is_ours_alone_when_it_is_set_and_takes_posts_alone() {
    let plain = House::start().await;
    let bearer = plain.bearer();
    assert_eq!(
        plain.get(PATH, &[("Authorization", &bearer)]).await.status,
        200,
        "the application's"
    );

    let house = House::with(ON).await;
    let bearer = house.bearer();
    for path in ["/auth/apple/", "/auth/apple/other", "/auth", "/auth/apples", "/Auth/apple"] {
        assert_eq!(house.get(path, &[("Authorization", &bearer)]).await.status, 200, "{path}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = format!("{method} {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = exchange(house.address, request).await;
        assert_eq!((reply.status, reply.header("allow")), (405, vec!["POST"]), "{method}");
    }
}
