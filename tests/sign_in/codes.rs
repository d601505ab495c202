//! The authorization code is redeemed at Apple, once, and what Apple grants goes with the session.

use std::{io::Write, sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::{Value, json};
use siwa_proxy::{
    clock::SystemClock,
    sim::{
        Apple,
        faults::Fault,
        people::Person,
        sign_in::{SignIn, SignedIn},
        token::TokenTemplate,
    },
};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

use super::{ON, PATH, key_file, refused, sign_in, told::telling, with_key};
use crate::support::{House, Recorder, Reply, eventually, granting, open};

const APP: &str = "com.example.app";
const WEB: &str = "com.example.web";

/// A house that redeems codes at its Apple, or at `url` instead.
async fn house_asking(url: Option<&str>, extra: &str) -> House {
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let key = apple.issue_team_key("DEF123GHIJ", &[APP, WEB]);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(key.text.as_bytes()).unwrap();
    let url = url.map_or_else(|| apple.url(), str::to_owned);
    let api = format!(
        "apple.team_id = '{}'\napple.key_id = '{}'\napple.private_key_file = '{}'\napple.api_url = '{url}'\n{extra}",
        key.team_id,
        key.key_id,
        file.path().display()
    );
    House::with_apple(apple, &with_key(&key_file(1), &api)).await
}

async fn house(extra: &str) -> House {
    house_asking(None, extra).await
}

async fn post(house: &House, signed_in: &SignedIn) -> Reply {
    let SignedIn { identity_token, code, .. } = signed_in;
    let body = json!({ "identityToken": identity_token, "authorizationCode": code });
    sign_in(house.address, &body).await
}

#[tokio::test]
async fn a_code_is_redeemed_once_in_the_name_of_the_app_that_got_it() {
    let house = house("").await;
    let reply = post(&house, &house.apple.sign_in(&SignIn::to(APP))).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let asked = house.apple.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].field("grant_type"), Some("authorization_code"));
    assert_eq!(asked[0].field("client_id"), Some(APP));
    assert_eq!(asked[0].field("redirect_uri"), None);
    let bearer = format!("Bearer {}", reply.json()["access_token"].as_str().unwrap());
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
}

#[tokio::test]
async fn what_apple_granted_is_not_in_the_answer() {
    let house = house("").await;
    let reply = post(&house, &house.apple.sign_in(&SignIn::to(APP))).await;
    let mut names: Vec<_> = reply.json().as_object().unwrap().keys().cloned().collect();
    names.sort();
    let ours = [
        "access_token",
        "expires_in",
        "refresh_expires_in",
        "refresh_token",
        "success",
        "token_type",
        "user",
    ];
    assert_eq!(names, ours);
}

#[tokio::test]
async fn a_replayed_code_is_401() {
    let house = house("").await;
    let signed_in = house.apple.sign_in(&SignIn::to(APP));
    assert_eq!(post(&house, &signed_in).await.status, 200);
    refused(&post(&house, &signed_in).await, 401, "Invalid code", "apple_invalid_grant");
}

#[tokio::test]
async fn a_code_that_did_not_come_with_the_token_is_not_spent() {
    let house = house("").await;
    let [one, other] = [(); 2].map(|()| house.apple.sign_in(&SignIn::to(APP)));
    let mixed = json!({ "identityToken": one.identity_token, "authorizationCode": other.code });
    let reply = sign_in(house.address, &mixed).await;
    refused(&reply, 401, "Invalid token", "token_code_hash");
    assert!(house.apple.asked().is_empty());
    assert_eq!(post(&house, &other).await.status, 200);
}

#[tokio::test]
async fn a_code_from_the_web_is_redeemed_with_the_address_that_it_was_sent_to() {
    let callback = "https://app.example/callback";
    let house = house(&format!("sign_in.redirect_uris = ['{callback}']")).await;
    let signed_in = house.apple.sign_in(&SignIn::to(WEB).sent_to(callback));
    let authorization = json!({ "id_token": signed_in.identity_token, "code": signed_in.code });
    let body = json!({ "authorization": authorization, "redirectURI": callback });
    assert_eq!(sign_in(house.address, &body).await.status, 200);
    assert_eq!(house.apple.asked()[0].field("redirect_uri"), Some(callback));
    let body = json!({ "authorization": authorization, "redirectURI": "http://app.example/" });
    assert_eq!(sign_in(house.address, &body).await.json()["code"], "bad_request");
}

#[tokio::test]
async fn a_code_from_the_web_without_its_address_is_the_callers_fault_and_alarms_nobody() {
    let (callback, other) = ("https://app.example/callback", "https://app.example/other");
    let house = house(&format!("sign_in.redirect_uris = ['{callback}', '{other}']")).await;
    let signed_in = house.apple.sign_in(&SignIn::to(WEB).sent_to(callback));
    let mut body = json!({ "id_token": signed_in.identity_token, "code": signed_in.code });
    for wrong in [Value::Null, json!(other)] {
        body["redirectURI"] = wrong;
        let reply = sign_in(house.address, &body).await;
        refused(&reply, 401, "Invalid code", "apple_other_redirect_uri");
    }
    let alarm = format!("siwa_apple_client_refused{{client_id=\"{WEB}\"}}");
    assert_eq!(house.metric(&alarm).await, 0);
    body["redirectURI"] = json!(callback);
    assert_eq!(sign_in(house.address, &body).await.status, 200, "the code is not spent");

    house.apple.fail_api_with(Fault::Refusal(StatusCode::BAD_REQUEST, "invalid_client".into()));
    let reply = sign_in(house.address, &body).await;
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("apple_invalid_client")));
    assert_eq!(house.metric(&alarm).await, 1, "an app that Apple does not know is one");
    let asked = house.apple.asked().len();
    assert_eq!(sign_in(house.address, &body).await.status, 503);
    assert_eq!(house.apple.asked().len(), asked + 1, "what is known already is not asked again");
}

#[tokio::test]
async fn a_redirect_uri_that_nobody_configured_is_400_and_apple_is_not_asked() {
    for configured in ["[]", "['https://app.example/callback', 'https://app.example/other']"] {
        let house = house(&format!("sign_in.redirect_uris = {configured}")).await;
        let SignedIn { identity_token, code, .. } = house.apple.sign_in(&SignIn::to(APP));
        let mut body = json!({ "identityToken": identity_token, "authorizationCode": code });
        body["redirectURI"] = json!("https://app.example/strange");
        let refusal = sign_in(house.address, &body).await;
        assert_eq!((refusal.status, &refusal.json()["code"]), (400, &json!("bad_request")));
        assert!(house.apple.asked().is_empty(), "what it would say alarms the operator");
        body["redirectURI"] = Value::Null;
        assert_eq!(sign_in(house.address, &body).await.status, 200, "the code is not spent");
    }
}

#[tokio::test]
async fn each_way_in_which_apple_does_not_grant_it_has_a_status_and_a_reason() {
    let house = house("apple.api_timeout = '1s'\nsign_in.rate_burst = 100").await;
    let refusal = |status: u16, error: &str| {
        Fault::Refusal(StatusCode::from_u16(status).unwrap(), error.to_owned())
    };
    for (fault, status, error, code) in [
        (refusal(400, "invalid_grant"), 401, "Invalid code", "apple_invalid_grant"),
        (
            refusal(400, "invalid_request"),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_invalid_request",
        ),
        (
            refusal(400, "invalid_client"),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_invalid_client",
        ),
        (
            refusal(400, "unauthorized_client"),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_unauthorized_client",
        ),
        (
            refusal(400, "unsupported_grant_type"),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_unsupported_grant_type",
        ),
        (
            refusal(400, "invalid_scope"),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_invalid_scope",
        ),
        (refusal(400, "another"), 503, "Apple cannot confirm sign-ins now", "apple_other_error"),
        (refusal(429, "slow_down"), 503, "Apple cannot confirm sign-ins now", "apple_throttled"),
        (refusal(503, "server_error"), 503, "Apple cannot confirm sign-ins now", "apple_status"),
        (Fault::Html200, 503, "Apple cannot confirm sign-ins now", "apple_html"),
        (Fault::Garbage, 503, "Apple cannot confirm sign-ins now", "apple_malformed"),
        (Fault::Oversized, 503, "Apple cannot confirm sign-ins now", "apple_oversized"),
        (Fault::Compressed, 503, "Apple cannot confirm sign-ins now", "apple_content_encoding"),
        (Fault::Reset, 503, "Apple cannot confirm sign-ins now", "apple_interrupted"),
        (
            Fault::Slow(Duration::from_mins(1)),
            503,
            "Apple cannot confirm sign-ins now",
            "apple_timed_out",
        ),
    ] {
        // Whether it is the app that Apple does not know is asked by itself.
        house.apple.fail_api_times(fault, if code == "apple_invalid_client" { 2 } else { 1 });
        let reply = post(&house, &house.apple.sign_in(&SignIn::to(APP))).await;
        refused(&reply, status, error, code);
        assert_eq!(reply.header("retry-after").len(), usize::from(status == 503), "{code}");
    }
}

#[tokio::test]
async fn a_sign_in_that_failed_for_want_of_apple_may_be_repeated_with_its_token_and_nonce() {
    let house = house("sign_in.single_use = true\nsign_in.nonce = 'required'").await;
    let issued = crate::support::notifying::post(house.address, "/auth/apple/nonce", "", "").await;
    let nonce = issued.json()["nonce"].as_str().unwrap().to_owned();
    let signed_in = house.apple.sign_in(&SignIn::to(APP).nonce(&nonce));
    let body = json!({
        "identityToken": signed_in.identity_token, "authorizationCode": signed_in.code, "nonce": nonce,
    });
    let throttled = Fault::Refusal(StatusCode::TOO_MANY_REQUESTS, "slow_down".to_owned());
    house.apple.fail_api_times(throttled, 1);
    assert_eq!(sign_in(house.address, &body).await.status, 503);
    assert_eq!(sign_in(house.address, &body).await.status, 200);
    refused(&sign_in(house.address, &body).await, 401, "Invalid nonce", "nonce_spent");
}

#[tokio::test]
async fn a_sign_in_comes_to_its_end_even_if_whoever_asked_hangs_up() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let house = house(&telling(&target, &folder).replace(ON, "")).await;
    let SignedIn { identity_token, code, .. } = house.apple.sign_in(&SignIn::to(APP));
    let body = json!({ "identityToken": identity_token, "authorizationCode": code }).to_string();
    house.apple.fail_api_times(Fault::Slow(Duration::from_millis(500)), 1);
    let mut stream = open(house.address).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    eventually("Apple has been asked", async || !house.apple.asked().is_empty()).await;
    drop(stream);
    target.received(1).await;
}

#[tokio::test]
async fn without_a_team_key_or_without_sessions_a_code_is_none_of_our_business() {
    let key = key_file(1);
    for settings in [ON.to_owned(), with_key(&key, "")] {
        let house = House::with(&settings).await;
        let token = house.apple.mint(&TokenTemplate::native());
        let body = json!({ "identityToken": token, "authorizationCode": "another.code" });
        assert_eq!(sign_in(house.address, &body).await.status, 200, "{settings}");
    }
}

#[tokio::test]
async fn a_grant_for_somebody_else_or_for_nobody_is_refused() {
    let issuer = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let granted = |template: TokenTemplate| Value::from(issuer.mint(&template.without("c_hash")));
    let jane = TokenTemplate::native().subject(&Person::jane().subject);
    for (token, status) in [
        (granted(jane.clone()), 200),
        (granted(jane.clone().subject("somebody.else")), 502),
        (granted(jane.clone().audience(WEB)), 502),
        (granted(jane.access_token("another")), 502),
        (Value::from("a.b.c"), 502),
        (Value::Null, 502),
    ] {
        let url = granting(token).await;
        let keys = format!("jwks.url = '{}'", issuer.jwks_url());
        let house = house_asking(Some(&url), &keys).await;
        let signed_in = issuer.sign_in(&SignIn::to(APP));
        let reply = post(&house, &signed_in).await;
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 502 {
            let error = "Apple's answer is about somebody else";
            refused(&reply, 502, error, "apple_foreign_grant");
        }
    }
}
