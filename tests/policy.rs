//! Who may pass, among those whom Apple vouched for.

use std::time::Duration;

use siwa_proxy::{
    clock::{Clock, ManualClock, SystemClock},
    sim::token::TokenTemplate,
};

use crate::support::{House, exchange_h2};

/// Status and code for a token made from `template`.
async fn answer(house: &House, template: &TokenTemplate) -> (u16, String) {
    let reply = house.get("/", &[("Authorization", &house.bearer_of(template))]).await;
    let code = match reply.status {
        200 => String::new(),
        _ => reply.json()["code"].as_str().unwrap().to_owned(),
    };
    (reply.status, code)
}

async fn check(policy: &str, cases: &[(TokenTemplate, &str)]) {
    let house = House::with(&format!("[policy]\n{policy}")).await;
    for (template, expected) in cases {
        let (status, code) = answer(&house, template).await;
        assert_eq!(code, *expected, "{policy}: {template:?}");
        assert_eq!(status, if expected.is_empty() { 200 } else { 403 }, "{code}");
    }
}

fn native() -> TokenTemplate {
    TokenTemplate::native()
}

#[tokio::test]
async fn an_address_can_be_required_also_as_a_verified_one() {
    let unverified = TokenTemplate::work_and_school;
    check(
        "require_email = true",
        &[
            (TokenTemplate::no_email(), "not_allowed_email_missing"),
            (native().claim("email", ""), "not_allowed_email_missing"),
            (unverified(), ""),
            (native(), ""),
        ],
    )
    .await;
    check(
        "require_verified_email = true",
        &[
            (TokenTemplate::no_email(), "not_allowed_email_missing"),
            (unverified(), "not_allowed_email_unverified"),
            (TokenTemplate::legacy_string_booleans(), ""),
            (native(), ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn relay_addresses_can_be_refused() {
    check(
        "private_relay = 'refuse'",
        &[
            (TokenTemplate::relay_email(), "not_allowed_private_relay"),
            (TokenTemplate::legacy_string_booleans(), "not_allowed_private_relay"),
            (native(), ""),
            (TokenTemplate::no_email(), ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_real_user_status_that_is_too_low_is_refused_and_an_absent_one_is_not() {
    check(
        "minimum_real_user_status = 'likely_real'",
        &[
            (native().claim("real_user_status", 0), "not_allowed_real_user_status"),
            (native().claim("real_user_status", 1), "not_allowed_real_user_status"),
            (native().claim("real_user_status", 2), ""),
            (native(), ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn required_claims_must_be_there() {
    check(
        "required_claims = ['org_id']",
        &[(native(), "not_allowed_claim_missing"), (TokenTemplate::work_and_school(), "")],
    )
    .await;
}

#[tokio::test]
async fn deny_wins_over_allow_and_only_verified_addresses_count() {
    check(
        "allow_emails = ['example.com']\nallow_subjects = ['000001.vip.0001']\ndeny_emails = ['jane@EXAMPLE.com']\ndeny_subjects = ['000002.bad.0002']",
        &[
            (native().claim("email", "Jane@example.com"), "not_allowed_email_denied"),
            (native().claim("email", "john@example.com"), ""),
            (
                native().claim("email", "john@example.com").claim("email_verified", false),
                "not_allowed_not_listed",
            ),
            (native().claim("email", "john@example.org"), "not_allowed_not_listed"),
            (TokenTemplate::no_email().subject("000001.vip.0001"), ""),
            (
                native().claim("email", "john@example.com").subject("000002.bad.0002"),
                "not_allowed_subject_denied",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_remembered_verdict_is_asked_again_and_says_nothing_of_the_person() {
    let house = House::with("[policy]\ndeny_emails = ['example.com']").await;
    let bearer = house.bearer();
    for _ in 0..2 {
        let reply = house.get("/", &[("Authorization", &bearer)]).await;
        assert_eq!(reply.status, 403);
        let challenge = reply.header("www-authenticate").concat();
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert!(!format!("{challenge}{}", reply.body).contains("jane"), "{challenge}");
    }
    assert_eq!(house.metric(r#"siwa_verdicts_total{cache="hit"}"#).await, 1);
}

#[tokio::test]
async fn a_grpc_caller_is_told_permission_denied() {
    let house = House::with("[policy]\nrequire_email = true").await;
    let request = http::Request::post("http://app.example/svc/Method")
        .header("authorization", house.bearer_of(&TokenTemplate::no_email()))
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    let reply = exchange_h2(house.address, request).await;
    assert_eq!((reply.status, reply.header("grpc-status").concat().as_str()), (200, "7"));
}

#[tokio::test]
async fn a_token_grows_too_old_also_when_its_verdict_is_remembered() {
    let clock = ManualClock::at(SystemClock.now());
    let house =
        House::build("apple.max_token_age = '1h'", std::sync::Arc::new(clock.clone()), |_| {})
            .await;
    house.ready().await;
    let bearer = house.bearer();
    let status = async || house.get("/", &[("Authorization", &bearer)]).await.status;
    assert_eq!(status().await, 200);
    clock.advance(Duration::from_secs(60 * 60 + 29));
    assert_eq!(status().await, 200);
    clock.advance(Duration::from_secs(1));
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_too_old")));
    assert_eq!(house.metric(r#"siwa_verdicts_total{cache="hit"}"#).await, 2);
}
