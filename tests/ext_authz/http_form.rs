//! The HTTP form, as bytes ask it.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    clock::{SystemClock, UnixTime},
    sim::{faults::Fault, presets, token::TokenTemplate},
};

use crate::{
    header_spoofing::{NAMES, spellings},
    support::{House, Reply, exchange},
};

const PREFIX: &str = "ext_authz.path_prefixes = ['/auth/apple/ext-authz', '/ask']";
pub(super) const REMOVE: &str = "x-envoy-auth-headers-to-remove";

async fn house(extra: &str) -> House {
    House::with(&format!("{PREFIX}\n{extra}")).await
}

/// Asks about a request like `GET /path`, with `headers`.
pub(super) async fn ask(house: &House, line: &str, headers: &[(&str, &str)]) -> Reply {
    let (method, path) = line.split_once(' ').unwrap();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let head = format!(
        "{method} /auth/apple/ext-authz{path} HTTP/1.1\r\nHost: a.example\r\n\
         Content-Length: 0\r\nConnection: close\r\n{headers}\r\n"
    );
    exchange(house.address, head).await
}

fn code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_good_token_is_answered_with_the_identity_headers_and_its_own_removal() {
    let house = house("").await;
    let reply = ask(&house, "GET /a?b", &[("Authorization", &house.bearer())]).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("x-apple-sub"), [presets::SUBJECT]);
    assert_eq!(reply.header("x-apple-email"), [presets::EMAIL]);
    assert_eq!(reply.header(REMOVE), ["authorization"]);
    assert!(house.application.requests().is_empty());
}

#[tokio::test]
async fn in_its_http_form_every_spoofed_spelling_is_overwritten_or_removed_but_never_ours() {
    let house = house("").await;
    let bearer = house.bearer();
    for spelling in NAMES.into_iter().flat_map(spellings) {
        let headers = [("Authorization", bearer.as_str()), (&spelling, "spoof")];
        let reply = ask(&house, "GET /", &headers).await;
        let name = spelling.to_ascii_lowercase();
        let is_ours = ["x-apple-sub", "x-apple-email"].contains(&name.as_str());
        let removed = reply.header(REMOVE).concat();
        assert_eq!(removed.split(',').any(|removed| removed == name), !is_ours, "{spelling}");
        assert!(!reply.headers.iter().any(|(_, value)| value == "spoof"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_no_is_the_answer_for_the_client() {
    let house = house("").await;
    let missing = ask(&house, "GET /", &[]).await;
    assert_eq!(code(&missing), (401, "no_credential".to_owned()));
    assert_eq!(missing.header("www-authenticate"), [r#"Bearer realm="siwa-proxy""#]);
    assert_eq!(missing.header("content-type"), ["application/problem+json"]);

    let expired = TokenTemplate::native().issued_at(UnixTime::from_secs(1_700_000_000));
    for (bearer, expected) in [
        ("Bearer a.b.c".to_owned(), "token_malformed"),
        (house.bearer_of(&expired), "token_expired"),
    ] {
        let reply = ask(&house, "GET /", &[("Authorization", &bearer)]).await;
        assert_eq!(code(&reply), (401, expected.to_owned()));
    }
}

#[tokio::test]
async fn routes_apply_to_the_request_behind_the_prefix_whatever_headers_say() {
    let house = house(
        "[[route]]\npath = '/public/*'\naccess = 'public'\n[[route]]\npath = '/mail'\n\
         methods = ['POST']\npolicy.allow_emails = ['nobody@example.com']",
    )
    .await;
    assert_eq!(ask(&house, "GET /public/a", &[]).await.status, 200);
    for name in ["X-Envoy-Original-Path", "X-Original-URI", "X-Forwarded-Uri"] {
        assert_eq!(ask(&house, "GET /private", &[(name, "/public/a")]).await.status, 401);
    }
    let bearer = house.bearer();
    let authorization = [("Authorization", bearer.as_str())];
    assert_eq!(ask(&house, "GET /mail", &authorization).await.status, 200);
    assert_eq!(
        code(&ask(&house, "POST /mail", &authorization).await),
        (403, "not_allowed_not_listed".to_owned())
    );
    for path in ["/public/../mail", "/public//mail", "//public/mail", "/public/..%2fmail"] {
        let reply = ask(&house, &format!("GET {path}"), &authorization).await;
        assert_eq!(code(&reply), (400, "bad_request".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_could_not_be_judged_is_no_failure_in_envoys_eyes() {
    let keyless = House::build(PREFIX, Arc::new(SystemClock), |apple| {
        apple.fail_with(Fault::Reset);
    })
    .await;
    let reply = ask(&keyless, "GET /", &[("Authorization", &keyless.bearer())]).await;
    assert_eq!(code(&reply), (424, "keys_unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), ["5"]);
    assert_eq!(reply.json()["status"], 503);
}

#[tokio::test]
async fn a_decision_that_takes_too_long_is_a_no_before_envoy_has_given_up() {
    for (timeout, patience) in
        [("150ms", None), ("1h", Some(("x-envoy-expected-rq-timeout-ms", "200")))]
    {
        let house =
            house(&format!("ext_authz.timeout = '{timeout}'\njwks.unknown_key_cooldown = '10ms'"))
                .await;
        house.apple.fail_with(Fault::Hang);
        house.apple.keys().rotate();
        // Within the cooldown nobody asks Apple.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let bearer = house.bearer();
        let headers: Vec<_> =
            [("Authorization", bearer.as_str())].into_iter().chain(patience).collect();
        let reply = ask(&house, "GET /", &headers).await;
        assert_eq!(code(&reply), (424, "undecided".to_owned()));
    }
}

#[tokio::test]
async fn a_limit_is_no_failure_in_envoys_eyes() {
    let house = house("limits.rate_per_second = 1\nlimits.rate_burst = 1").await;
    assert_eq!(ask(&house, "GET /", &[]).await.status, 401);
    let limited = ask(&house, "GET /", &[]).await;
    assert_eq!(code(&limited), (429, "rate_limited".to_owned()));
}

#[tokio::test]
async fn what_is_not_behind_a_prefix_is_the_applications() {
    let house = house("").await;
    let bearer = house.bearer();
    for path in ["/auth/apple/ext-authz", "/auth/apple/ext-authzed", "/Ask/a", "/asked"] {
        let reply = house.get(path, &[("Authorization", &bearer)]).await;
        assert_eq!(reply.body, "hello", "{path}");
    }
    assert_eq!(house.get("/ask/a", &[("Authorization", &bearer)]).await.body, "");
}
