//! People sign in with a browser, and the application behind us is told who they are.

mod attacks;
mod beside_apps;
mod codes;
mod doors;
mod jar;
mod pages;
mod real_programs;
mod tampering;
mod told;

use std::{io::Write, net::SocketAddr, time::Duration};

use jar::{Browser, From};
use siwa_proxy::{
    clock::ManualClock,
    sim::{presets, token::TokenTemplate},
};
use tempfile::NamedTempFile;
use url::{Url, form_urlencoded};

use crate::support::{House, Reply};

const SESSION: &str = "__Host-siwa_session";
const WEB: &str = "com.example.web";
const CODE: &str = "c0ffee.0.abcd.a-code-of-apples";

/// A file with the key that sessions are sealed with.
pub(crate) fn key_file(byte: u8) -> NamedTempFile {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(BASE64_STANDARD.encode([byte; 32]).as_bytes()).unwrap();
    file
}

/// Settings for browsers, with `extra` below `[browser]`.
fn settings(key: &NamedTempFile, extra: &str) -> String {
    format!(
        "sessions.key_files = ['{}']\n[[route]]\naccess = 'browser'\n[[route]]\npath = '/api/*'\n\
         [[route]]\npath = '/public/*'\naccess = 'public'\n\
         [browser]\npath = '/auth/apple'\norigins = ['https://app.example']\nclient_id = '{WEB}'\n{extra}\n",
        key.path().display()
    )
}

/// A house in which browsers sign in.
async fn house(extra: &str) -> House {
    House::with(&settings(&key_file(1), extra)).await
}

/// What Apple was asked for: the query of the address to which a browser was sent.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 303, "{reply:?}");
        let location = reply.header("location")[0];
        assert!(location.starts_with("https://appleid.apple.com/auth/authorize?"), "{location}");
        Self(Url::parse(location).unwrap().query_pairs().into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(found, _)| found == name).unwrap().1
    }

    /// A token that answers it.
    fn token(&self) -> TokenTemplate {
        TokenTemplate::native().audience(WEB).nonce(self.get("nonce")).code(CODE)
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Apple's answer to what was `asked`, with this token.
fn answer(house: &House, asked: &Asked, token: &TokenTemplate) -> String {
    let token = house.apple.mint(token);
    form(&[("state", asked.get("state")), ("code", CODE), ("id_token", &token)])
}

const CALLBACK: &str = "/auth/apple/callback";

/// Signs in, from the button to the session, and returns where the browser is sent then.
async fn sign_in(browser: &mut Browser<'_>, house: &House, start: &str) -> String {
    let asked = Asked::of(&browser.open_from(start, From::Own).await);
    let answer = answer(house, &asked, &asked.token());
    let reply = browser.post(CALLBACK, &answer, From::Apple).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    assert!(browser.cookie(SESSION).is_some(), "{reply:?}");
    reply.header("location")[0].to_owned()
}

/// The value of the session's cookie of somebody who has just signed in at `house`, which is [`WEB`]'s at `app.example`.
pub(crate) async fn session_at(house: &House) -> String {
    let mut browser = Browser::new(house);
    sign_in(&mut browser, house, "/auth/apple/start").await;
    browser.cookie(SESSION).unwrap().value.clone()
}

/// Signs in at `house`, which is the same, by the gateway at `address`, while as many other sign-ins are under way as one
/// browser may have, from long addresses. Returns the cookies that it is told.
pub(crate) async fn sign_in_beside_others(house: &House, address: SocketAddr) -> Vec<String> {
    let mut browser = Browser::before(address, house);
    let start = format!("/auth/apple/start?return_to=/{}", "a".repeat(500));
    for _ in 0..3 {
        Asked::of(&browser.open_from(&start, From::Own).await);
    }
    let asked = Asked::of(&browser.open_from(&start, From::Own).await);
    let reply = browser.post(CALLBACK, &answer(house, &asked, &asked.token()), From::Apple).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    reply.header("set-cookie").into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_first_visit_leads_to_apple_and_back_to_where_it_was() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let reply = browser.open("/orders?page=2&x=a%26b").await;
    assert_eq!(reply.status, 303);
    let login = reply.header("location")[0].to_owned();
    assert_eq!(login, "/auth/apple/login?return_to=%2Forders%3Fpage%3D2%26x%3Da%2526b");
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    assert!(house.application.requests().is_empty());

    let page = browser.open(&login).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sign in with Apple"), "{}", page.body);
    let start = login.replace("/login", "/start");
    assert!(page.body.contains(&format!("href=\"{start}\"")), "{}", page.body);
    let asked = Asked::of(&browser.open_from(&start, From::Own).await);
    assert_eq!(asked.get("client_id"), WEB);
    assert_eq!(asked.get("redirect_uri"), "https://app.example/auth/apple/callback");
    assert_eq!(asked.get("response_type"), "code id_token");
    assert_eq!(asked.get("response_mode"), "form_post");
    assert_eq!(asked.get("scope"), "email");

    let answer = answer(&house, &asked, &asked.token());
    let reply = browser.post(CALLBACK, &answer, From::Apple).await;
    assert_eq!((reply.status, reply.header("location")), (303, vec!["/orders?page=2&x=a%26b"]));
    assert!(browser.states().is_empty(), "the sign-in is over");

    let reply = browser.open_from("/orders?page=2&x=a%26b", From::Apple).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let received = house.application.only_request();
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
    assert_eq!(received.header("x-apple-client-id"), [""; 0]);
}

#[tokio::test]
async fn spaces_in_what_apple_is_asked_are_written_as_apple_reads_them() {
    let house = house("scopes = ['email', 'name']").await;
    let reply = Browser::new(&house).open("/auth/apple/start").await;
    let location = reply.header("location")[0];
    assert!(location.contains("response_type=code%20id_token"), "{location}");
    assert!(location.contains("scope=name%20email"), "{location}");
    assert!(!location.contains('+'), "{location}");
}

#[tokio::test]
async fn login_can_lead_to_apple_at_once() {
    let house = house("login = 'redirect'").await;
    let mut browser = Browser::new(&house);
    let reply = browser.open("/a").await;
    assert_eq!(reply.header("location"), ["/auth/apple/start?return_to=%2Fa"]);
    Asked::of(&browser.open("/auth/apple/login?return_to=%2Fa").await);
}

#[tokio::test]
async fn the_sessions_cookie_is_small_for_this_host_and_never_forwarded() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = browser.cookie(SESSION).unwrap();
    assert!(session.value.starts_with("siwa_c."), "{session:?}");
    assert!(session.value.len() < 4096 - 200, "{}", session.value.len());
    assert_eq!(session.attribute("SameSite"), Some("Lax"));
    assert_eq!(session.attribute("Max-Age"), Some("604800"));
    for path in ["/", "/api/x", "/public/x"] {
        let lines = "Cookie: theme=dark\r\n";
        let before = house.application.requests().len();
        let reply = browser.send(&format!("GET {path}"), From::Own, lines, "").await;
        assert_eq!(reply.status, 200, "{path}");
        let received = house.application.requests()[before].clone();
        assert_eq!(received.header("cookie"), ["theme=dark"], "{path}");
    }
}

#[tokio::test]
async fn whoever_is_no_window_is_answered_as_everywhere() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    for (line, lines) in [
        ("GET /", ""),
        ("GET /", "Accept: application/json\r\n"),
        ("GET /", "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n"),
        ("GET /", "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"),
        ("GET /api/x", "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"),
    ] {
        let reply = browser.send(line, From::Typed, lines, "").await;
        assert_eq!(reply.status, 401, "{line} {lines}");
        assert_eq!(reply.json()["code"], "no_credential", "{line} {lines}");
        assert_eq!(reply.header("www-authenticate").len(), 1, "{line} {lines}");
    }
    // What was posted is lost in any case; one gets in, and not back to where nothing can be read.
    let reply = browser.post("/orders", "a=b", From::Own).await;
    assert_eq!((reply.status, reply.header("location")), (303, vec!["/auth/apple/login"]));
}

#[tokio::test]
async fn signing_out_ends_the_session_wherever_its_cookie_still_is() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let copy = browser.cookie(SESSION).unwrap().clone();
    let page = browser.open("/auth/apple/login").await;
    assert!(page.body.contains("You are signed in"), "{}", page.body);
    let reply = browser.post("/auth/apple/logout", "", From::Own).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("You are signed out"), "{}", reply.body);
    assert!(browser.cookie(SESSION).is_none());
    assert_eq!(browser.open("/").await.status, 303);

    browser.cookies.push(copy);
    let reply = browser.open("/").await;
    assert_eq!(reply.status, 303);
    assert!(browser.cookie(SESSION).is_none(), "a cookie that is no good is taken away");
    assert_eq!(house.application.requests().len(), 0);

    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let reply = browser.fetch("POST", "/auth/apple/logout", From::Own).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""), "a script is told nothing to show");
    assert!(browser.cookie(SESSION).is_none());
}

#[tokio::test]
async fn where_one_goes_after_signing_out_can_be_said() {
    let house = house("after_logout = 'https://www.example/goodbye'").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let reply = browser.post("/auth/apple/logout", "", From::Own).await;
    assert_eq!(reply.header("location"), ["https://www.example/goodbye"]);
}

#[tokio::test]
async fn userinfo_tells_a_page_who_is_signed_in() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let reply = browser.fetch("GET", "/auth/apple/userinfo", From::Own).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("no_credential")));
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let told = browser.fetch("GET", "/auth/apple/userinfo", From::Own).await.json();
    assert_eq!(told["sub"], presets::SUBJECT);
    assert_eq!(told["aud"], serde_json::json!([WEB]));
}

#[tokio::test]
async fn whoever_cancels_is_asked_whether_to_try_again() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
    let form = form(&[("state", asked.get("state")), ("error", "user_cancelled_authorize")]);
    let reply = browser.post(CALLBACK, &form, From::Apple).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("was cancelled"), "{}", reply.body);
    assert!(reply.body.contains("href=\"/auth/apple/start?return_to=%2Fa\""), "{}", reply.body);
    assert!(browser.cookie(SESSION).is_none() && browser.states().is_empty());
}

#[tokio::test]
async fn two_tabs_do_not_take_each_others_sign_in_away() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let one = Asked::of(&browser.open("/auth/apple/start?return_to=/one").await);
    let other = Asked::of(&browser.open("/auth/apple/start?return_to=/other").await);
    assert_eq!(browser.states().len(), 2);
    let mut sessions = Vec::new();
    for (asked, place) in [(&one, "/one"), (&other, "/other")] {
        let reply =
            browser.post(CALLBACK, &answer(&house, asked, &asked.token()), From::Apple).await;
        assert_eq!((reply.status, reply.header("location")), (303, vec![place]));
        sessions.push(browser.cookie(SESSION).unwrap().value.clone());
    }
    // The first session's cookie is gone, and so is the session.
    for (session, status) in [(&sessions[0], 401), (&sessions[1], 200)] {
        let lines = format!("Cookie: {SESSION}={session}\r\n");
        let reply = Browser::new(&house).send("GET /api/x", From::Own, &lines, "").await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[tokio::test]
async fn a_browser_keeps_four_sign_ins_and_forgets_the_oldest() {
    let clock = ManualClock::at(siwa_proxy::clock::UnixTime::from_secs(1_800_000_000));
    let key = key_file(1);
    let house = House::build(&settings(&key, ""), std::sync::Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let mut browser = Browser::new(&house);
    let mut asked = Vec::new();
    for _ in 0..9 {
        clock.advance(Duration::from_secs(1));
        asked.push(Asked::of(&browser.open("/auth/apple/start").await));
        assert!(browser.states().len() <= 4);
    }
    let names: Vec<_> = browser.states().iter().map(|cookie| cookie.name.clone()).collect();
    for late in &asked[5..] {
        assert!(names.iter().any(|name| name.ends_with(&late.get("state")[..8])), "{names:?}");
    }
}

#[tokio::test]
async fn a_session_goes_on_while_it_is_used_and_ends_when_it_is_not() {
    let clock = ManualClock::at(siwa_proxy::clock::UnixTime::from_secs(1_800_000_000));
    let key = key_file(1);
    let extra =
        "session_lifetime = '1h'\n[sessions]\nabsolute_lifetime = '3h'\nrefresh_lifetime = '2h'\n";
    let text = settings(&key, extra).replace("sessions.key_files", "# ");
    let text = format!("{text}key_files = ['{}']\n", key.path().display());
    let house = House::build(&text, std::sync::Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let first = browser.cookie(SESSION).unwrap().value.clone();
    clock.advance(Duration::from_mins(1));
    assert!(browser.open("/").await.header("set-cookie").is_empty(), "not with each request");

    for _ in 0..3 {
        clock.advance(Duration::from_mins(50));
        let reply = browser.open("/").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cache-control"), ["no-store"], "a cache must not hand it on");
    }
    let renewed = browser.cookie(SESSION).unwrap().clone();
    assert_ne!(renewed.value, first);
    assert_eq!(renewed.attribute("Max-Age"), Some("1740"), "the absolute lifetime is near");
    clock.advance(Duration::from_mins(31));
    assert_eq!(browser.open("/").await.status, 303, "nothing outlives it");

    sign_in(&mut browser, &house, "/auth/apple/start").await;
    clock.advance(Duration::from_mins(62));
    assert_eq!(browser.open("/").await.status, 303, "it lay idle");
}

#[tokio::test]
async fn an_android_app_is_told_what_apple_said_and_nobody_else_is() {
    let house = house("android_package = 'com.example.app'").await;
    let mut browser = Browser::new(&house);
    let evil = "x;package=com.evil;end#Intent;\r\nSet-Cookie: a=b";
    let form = form(&[("state", evil), ("code", CODE), ("id_token", "a.b.c"), ("extra", "x")]);
    let reply = browser.post("/auth/apple/android-callback", &form, From::Apple).await;
    assert_eq!(reply.status, 307);
    let location = reply.header("location")[0];
    let query = location.strip_prefix("intent://callback?").unwrap();
    let rest = "#Intent;package=com.example.app;scheme=signinwithapple;end";
    let query = query.strip_suffix(rest).unwrap_or_else(|| panic!("{location}"));
    assert!(!query.contains(['#', ';']), "{location}");
    let told: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [("state", evil), ("code", CODE), ("id_token", "a.b.c")];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(reply.header("set-cookie").is_empty());

    let reply = browser.post("/auth/apple/android-callback", &form, From::Evil).await;
    assert_eq!(reply.status, 403, "somebody else's page signs nobody in");

    let without = self::house("").await;
    let reply =
        Browser::new(&without).post("/auth/apple/android-callback", &form, From::Apple).await;
    assert_ne!(reply.status, 307, "it is the application's path");
}
