//! What a caller is told about itself.

use serde_json::json;
use siwa_proxy::sim::{faults::Fault, presets, token::TokenTemplate};

use crate::support::{House, exchange};

const DOOR: &str = "/auth/apple/userinfo";

#[tokio::test]
async fn a_caller_is_told_who_it_is() {
    let house = House::verifier("").await;
    let template = TokenTemplate::relay_email().claim("real_user_status", 2);
    let reply = house.get(DOOR, &[("Authorization", &house.bearer_of(&template))]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), ["application/json"]);
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    let mut told = reply.json();
    let [issued, expires] = ["iat", "exp"].map(|name| told[name].take().as_u64().unwrap());
    assert_eq!(expires - issued, 24 * 60 * 60);
    assert_eq!(
        told,
        json!({
            "iss": "https://appleid.apple.com", "sub": presets::SUBJECT, "email": presets::RELAY_EMAIL, "email_verified": true,
            "is_private_email": true, "real_user_status": 2, "aud": ["com.example.app"],
            "iat": null, "exp": null,
        })
    );
}

#[tokio::test]
async fn an_address_is_told_where_the_application_would_be_told_it() {
    for (settings, email) in
        [("", json!(null)), ("identity.unverified_email = 'forward'", json!("jane@school.example"))]
    {
        let house = House::verifier(settings).await;
        let bearer = house.bearer_of(&TokenTemplate::work_and_school());
        let told = house.get(DOOR, &[("Authorization", &bearer)]).await.json();
        assert_eq!((&told["sub"], &told["email"]), (&json!(presets::SUBJECT), &email));
    }
}

#[tokio::test]
async fn it_is_refused_as_everywhere() {
    let house = House::verifier("policy.require_email = true").await;
    let no_email = house.bearer_of(&TokenTemplate::no_email());
    for (headers, status, code) in [
        (&[][..], 401, "no_credential"),
        (&[("Authorization", "Bearer a.b.c")], 401, "token_malformed"),
        (&[("Authorization", &no_email)], 403, "not_allowed_email_missing"),
    ] {
        let reply = house.get(DOOR, headers).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)));
    }
    let house = House::troubled_verifier("", |apple| apple.fail_with(Fault::Reset)).await;
    assert_eq!(house.get(DOOR, &[("Authorization", &house.bearer())]).await.status, 503);
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask_with_a_token() {
    let house = House::verifier("cors.allow_origins = ['https://app.example']").await;
    for (origin, readable) in [("https://app.example", 1), ("https://evil.example", 0)] {
        let preflight = format!(
            "OPTIONS {DOOR} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
        );
        let reply = exchange(house.address, preflight).await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-headers"), ["Authorization"]);
        assert_eq!(reply.header("access-control-allow-origin").len(), readable, "{origin}");
        let bearer = house.bearer();
        let reply = house.get(DOOR, &[("Authorization", &bearer), ("Origin", origin)]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("access-control-allow-origin").len(), readable, "{origin}");
    }
}

#[tokio::test]
async fn it_is_read_and_never_written() {
    let house = House::verifier("").await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = format!("{method} {DOOR} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = exchange(house.address, request).await;
        assert_eq!((reply.status, reply.header("allow")), (405, vec!["GET, HEAD"]), "{method}");
    }
}
