//! Browsers and apps that sign in, and out, below the same path; and what either is told about itself.

use serde_json::{Value, json};
use siwa_proxy::sim::{presets, token::TokenTemplate};

use super::{
    SESSION, WEB,
    jar::{Browser, From},
    key_file, settings, sign_in,
};
use crate::support::{House, Reply, notifying::post};

const LOGOUT: &str = "/auth/apple/logout";
const USERINFO: &str = "/auth/apple/userinfo";

async fn house() -> House {
    House::with(&settings(&key_file(1), "[sign_in]\npath = '/auth/apple'")).await
}

/// The tokens of an app that has signed in.
async fn app(house: &House) -> Value {
    let token = house.apple.mint(&TokenTemplate::native());
    let body = json!({ "identityToken": token }).to_string();
    let reply = post(house.address, "/auth/apple", "", &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn bearer(tokens: &Value) -> String {
    format!("Bearer {}", tokens["access_token"].as_str().unwrap())
}

/// What the app's access token is good for.
async fn call(house: &House, tokens: &Value) -> u16 {
    house.get("/api/x", &[("Authorization", &bearer(tokens))]).await.status
}

fn code(reply: &Reply) -> Option<String> {
    Some(reply.json()["code"].as_str()?.to_owned())
}

#[tokio::test]
async fn an_app_signs_out_by_any_of_its_tokens_and_the_browser_stays() {
    let house = house().await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    for by in ["access", "refresh", "json", "form"] {
        let tokens = app(&house).await;
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let (lines, body) = match by {
            "access" => (format!("Authorization: {}\r\n", bearer(&tokens)), String::new()),
            "refresh" => (format!("Authorization: Bearer {refresh}\r\n"), String::new()),
            "json" => (String::new(), json!({ "refresh_token": refresh }).to_string()),
            _ => (String::new(), format!("refresh_token={refresh}")),
        };
        let reply = match by {
            "form" => Browser::new(&house).post(LOGOUT, &body, From::Typed).await,
            _ => post(house.address, LOGOUT, &lines, &body).await,
        };
        assert_eq!((reply.status, reply.json()), (200, json!({ "success": true })), "{by}");
        assert_eq!(call(&house, &tokens).await, 401, "{by}: it is over");
    }
    assert_eq!(browser.open("/").await.status, 200);
}

#[tokio::test]
async fn a_browser_signs_out_by_its_cookie_and_the_app_stays() {
    let house = house().await;
    let tokens = app(&house).await;
    let mut browser = Browser::new(&house);
    for status in [200, 204] {
        sign_in(&mut browser, &house, "/auth/apple/start").await;
        let copy = browser.cookie(SESSION).unwrap().clone();
        let reply = match status {
            200 => browser.post(LOGOUT, "", From::Own).await,
            _ => browser.fetch("POST", LOGOUT, From::Own).await,
        };
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(browser.cookie(SESSION).is_none());
        browser.cookies.push(copy);
        assert_eq!(browser.fetch("GET", "/", From::Own).await.status, 401, "it is over");
        browser.cookies.clear();
    }
    assert_eq!(call(&house, &tokens).await, 200);
}

#[tokio::test]
async fn whoever_signs_out_by_a_token_and_a_cookie_is_asked_which_and_neither_ends() {
    let house = house().await;
    let tokens = app(&house).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let lines = format!("Authorization: {}\r\nContent-Length: 0\r\n", bearer(&tokens));
    let reply = browser.send(&format!("POST {LOGOUT}"), From::Own, &lines, "").await;
    assert_eq!((reply.status, code(&reply).as_deref()), (400, Some("several_credentials")));
    assert!(browser.cookie(SESSION).is_some());
    assert_eq!(call(&house, &tokens).await, 200);
    assert_eq!(browser.open("/").await.status, 200);
}

#[tokio::test]
async fn whoever_brings_nothing_to_sign_out_by_has_signed_out() {
    let house = house().await;
    let mut browser = Browser::new(&house);
    assert_eq!(browser.post(LOGOUT, "", From::Own).await.status, 200);
    assert_eq!(browser.fetch("POST", LOGOUT, From::Own).await.status, 204);
    let reply = browser.open(LOGOUT).await;
    assert_eq!((reply.status, reply.header("allow")), (405, vec!["POST"]));
}

#[tokio::test]
async fn userinfo_knows_whoever_the_application_would_be_told_of_and_nobody_else() {
    let house = house().await;
    let tokens = app(&house).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = browser.cookie(SESSION).unwrap().value.clone();
    browser.open("/auth/apple/start").await;
    let state = browser.states()[0].value.clone();
    let authorization = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let cookie = |value: &str| format!("Cookie: {SESSION}={value}\r\n");
    let (access, refresh) = (tokens["access_token"].as_str(), tokens["refresh_token"].as_str());
    let (access, refresh) = (authorization(access.unwrap()), authorization(refresh.unwrap()));
    let (apples, good) = (format!("Authorization: {}\r\n", house.bearer()), cookie(&session));
    for (lines, audience) in
        [(&access, "com.example.app"), (&apples, "com.example.app"), (&good, WEB)]
    {
        let told =
            Browser::new(&house).send(&format!("GET {USERINFO}"), From::Own, lines, "").await;
        assert_eq!(
            (told.status, told.header("cache-control")),
            (200, vec!["no-store"]),
            "{told:?}"
        );
        let told = told.json();
        assert_eq!((&told["sub"], &told["aud"]), (&json!(presets::SUBJECT), &json!([audience])));
    }
    for (name, lines, status, refusal) in [
        ("nothing", String::new(), 401, "no_credential"),
        ("cookie and bearer", format!("{good}{access}"), 400, "several_credentials"),
        ("two cookies", format!("{good}{good}"), 400, "several_credentials"),
        ("two tokens", format!("{access}{apples}"), 400, "several_credentials"),
        ("a refresh token", refresh, 401, "session_wrong_kind"),
        ("a cookie as a token", authorization(&session), 401, "session_wrong_kind"),
        ("a sign-in as a session", cookie(&state), 401, "session_wrong_kind"),
        ("half a cookie", cookie(&session[..session.len() / 2]), 401, "session_forged"),
    ] {
        let reply =
            Browser::new(&house).send(&format!("GET {USERINFO}"), From::Own, &lines, "").await;
        assert_eq!((reply.status, code(&reply).as_deref()), (status, Some(refusal)), "{name}");
        assert!(!reply.body.contains(presets::SUBJECT), "{name}");
    }
    let evil = Browser::new(&house).send(&format!("GET {USERINFO}"), From::Evil, &good, "").await;
    assert!(evil.header("access-control-allow-origin").is_empty(), "its page cannot read it");
    let lines = format!("{good}Content-Length: 0\r\n");
    let posted =
        Browser::new(&house).send(&format!("POST {USERINFO}"), From::Own, &lines, "").await;
    assert_eq!(posted.status, 405);
}
