//! The life of a session at the door where apps sign in: it begins, is renewed, and ends for everybody who has a token of it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{Apple, event::Event, presets::SUBJECT, token::TokenTemplate},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::keyring::Keyring;
use crate::{
    sign_in::{ON, PATH, sign_in},
    support::{House, PATIENCE, Reply, application, notifying, notifying::post, open, read_head},
};

/// A house in which apps sign in and have sessions.
pub(super) async fn house(keyring: &Keyring, extra: &str) -> House {
    House::with(&format!("{ON}\n{}\n{extra}", keyring.setting())).await
}

/// Signs the sample subject in.
pub(super) async fn begin(house: &House) -> Value {
    let token = house.apple.mint(&TokenTemplate::native());
    let reply = sign_in(house.address, &json!({ "identityToken": token })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Asks for the next tokens of the session of `tokens`.
pub(super) async fn renew(house: &House, tokens: &Value) -> Reply {
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    post(house.address, &format!("{PATH}/refresh"), "", &body.to_string()).await
}

/// Signs out with the access token of `tokens`.
pub(super) async fn log_out(house: &House, tokens: &Value) -> Reply {
    let line = format!("Authorization: {}\r\n", bearer(tokens));
    post(house.address, &format!("{PATH}/logout"), &line, "").await
}

fn bearer(tokens: &Value) -> String {
    format!("Bearer {}", tokens["access_token"].as_str().unwrap())
}

/// `good`, or why the application is not reached with the access token of `tokens`.
pub(super) async fn call(house: &House, tokens: &Value) -> String {
    let reply = house.get("/", &[("Authorization", &bearer(tokens))]).await;
    if reply.status == 200 { "good".to_owned() } else { code(&reply) }
}

pub(super) fn code(reply: &Reply) -> String {
    reply.json()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refresh_token_is_answered_with_the_next_pair() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let first = begin(&house).await;
    let reply = renew(&house, &first).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, vec!["no-store"]));
    let second = reply.json();
    assert_eq!((&second["token_type"], &second["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    for tokens in [&first, &second] {
        assert_eq!(call(&house, tokens).await, "good");
    }
    assert_eq!(house.metric("siwa_sessions_total{event=\"begun\"}").await, 1);
    assert_eq!(house.metric("siwa_sessions_total{event=\"renewed\"}").await, 1);
}

#[tokio::test]
async fn a_form_as_in_oauth_is_taken_too() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let tokens = begin(&house).await;
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        tokens["refresh_token"].as_str().unwrap()
    );
    let head = format!(
        "POST {PATH}/refresh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    assert_eq!(crate::support::exchange(house.address, head + &form).await.status, 200);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_by_name() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let tokens = begin(&house).await;
    let elsewhere = Keyring::new(&[2]).begin(&house, &TokenTemplate::native()).await;
    for (token, expected) in [
        (tokens["access_token"].clone(), "session_wrong_kind"),
        (json!("siwa_r.AAAA"), "session_malformed"),
        (json!(elsewhere.refresh.as_str()), "session_unknown_key"),
        (json!(house.apple.mint(&TokenTemplate::native())), "session_malformed"),
        (json!(""), "no_credential"),
        (json!(null), "no_credential"),
    ] {
        let reply = renew(&house, &json!({ "refresh_token": token })).await;
        assert_eq!((reply.status, code(&reply).as_str()), (401, expected));
    }
    assert_eq!(call(&house, &tokens).await, "good", "no harm was done to the session");
}

#[tokio::test]
async fn a_refresh_token_that_was_used_ends_the_session_of_whoever_has_it() {
    let start = UnixTime::from_secs(1_800_000_000);
    let (keyring, clock) = (Keyring::new(&[1]), ManualClock::at(start));
    let extra = format!("{ON}\n{}", keyring.setting());
    let house = House::build(&extra, Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let first = begin(&house).await;
    let second = renew(&house, &first).await.json();
    clock.advance(Duration::from_secs(9));
    assert_eq!(renew(&house, &first).await.status, 200, "an answer that was lost");
    clock.advance(Duration::from_secs(1));
    let reused = renew(&house, &first).await;
    assert_eq!((reused.status, code(&reused).as_str()), (401, "session_reused"));
    assert_eq!(call(&house, &second).await, "session_ended");
    assert_eq!(code(&renew(&house, &second).await), "session_ended");
    assert_eq!(house.metric("siwa_sessions_total{event=\"reused\"}").await, 1);
    assert_eq!(house.metric("siwa_ended_sessions").await, 1);
}

#[tokio::test]
async fn whoever_signs_out_has_signed_out_at_once_and_others_have_not() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let (theirs, others) = (begin(&house).await, begin(&house).await);
    let reply = log_out(&house, &theirs).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "success": true })));
    assert_eq!(call(&house, &theirs).await, "session_ended");
    assert_eq!(code(&renew(&house, &theirs).await), "session_ended");
    assert_eq!(call(&house, &others).await, "good");
    assert_eq!(log_out(&house, &theirs).await.status, 200, "it has ended already");
    assert_eq!(house.metric("siwa_sessions_total{event=\"ended\"}").await, 1);
}

#[tokio::test]
async fn a_refresh_token_signs_out_when_the_access_token_has_expired() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let tokens = begin(&house).await;
    let body = json!({ "refresh_token": tokens["refresh_token"] }).to_string();
    let reply = post(house.address, &format!("{PATH}/logout"), "", &body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(call(&house, &tokens).await, "session_ended");
}

#[tokio::test]
async fn the_refresh_token_signs_out_as_the_bearer_too() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let tokens = begin(&house).await;
    let line = format!("Authorization: Bearer {}\r\n", tokens["refresh_token"].as_str().unwrap());
    for time in ["the first time", "when it has ended already"] {
        let reply = post(house.address, &format!("{PATH}/logout"), &line, "").await;
        assert_eq!(reply.status, 200, "{time}");
        assert_eq!(call(&house, &tokens).await, "session_ended");
        assert_eq!(code(&renew(&house, &tokens).await), "session_ended");
    }
}

#[tokio::test]
async fn nobody_signs_out_without_a_token_of_a_session() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, "").await;
    let apples = house.bearer();
    for (line, expected) in [
        (String::new(), "no_credential"),
        (format!("Authorization: {apples}\r\n"), "no_credential"),
        ("Authorization: Bearer siwa_a.AAAA\r\n".to_owned(), "session_malformed"),
        ("Authorization: Bearer siwa_r.AAAA\r\n".to_owned(), "session_malformed"),
        ("Authorization: Bearer siwa_c.AAAA\r\n".to_owned(), "session_wrong_kind"),
    ] {
        let reply = post(house.address, &format!("{PATH}/logout"), &line, "").await;
        assert_eq!((reply.status, code(&reply).as_str()), (401, expected));
    }
}

#[tokio::test]
async fn a_revocation_ends_what_was_renewed_before_it_too() {
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, notifying::ON).await;
    let first = begin(&house).await;
    let second = renew(&house, &first).await.json();
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    for tokens in [&first, &second] {
        assert_eq!(call(&house, tokens).await, "token_revoked");
    }
    assert_eq!(code(&renew(&house, &second).await), "token_revoked");
}

#[tokio::test]
async fn a_long_answer_is_broken_off_when_its_reader_signs_out() {
    let endless = application(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let keyring = Keyring::new(&[1]);
    let house = house(&keyring, &format!("upstream.url = 'http://{endless}'")).await;
    let tokens = begin(&house).await;
    let mut stream = open(house.address).await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", bearer(&tokens));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(log_out(&house, &tokens).await.status, 200);
    let mut rest = Vec::new();
    let rest = stream.read_to_end(&mut rest);
    drop(tokio::time::timeout(PATIENCE, rest).await.expect("it is broken off"));
}

#[tokio::test]
async fn who_may_not_pass_any_more_is_given_no_next_tokens() {
    let keyring = Keyring::new(&[1]);
    let open = house(&keyring, "").await;
    let tokens = begin(&open).await;
    let strict = house(&keyring, &format!("policy.deny_subjects = ['{SUBJECT}']")).await;
    let reply = renew(&strict, &tokens).await;
    assert_eq!((reply.status, code(&reply).as_str()), (403, "not_allowed_subject_denied"));
}

/// Proxies one after the other, which have all in common but how long sessions live.
struct Restarts {
    keyring: Keyring,
    folder: tempfile::TempDir,
    clock: ManualClock,
    apple: Arc<Apple>,
}

impl Restarts {
    const SHORT: &str = "sessions.absolute_lifetime = '1h'\nsessions.refresh_lifetime = '1h'\n\
                         sessions.access_lifetime = '1m'";

    async fn new() -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Arc::new(Apple::start(Arc::new(clock.clone())).await.unwrap());
        Self { keyring: Keyring::new(&[1]), folder: tempfile::tempdir().unwrap(), clock, apple }
    }

    async fn with(&self, lifetimes: &str) -> House {
        let store = format!("store.file = '{}'", self.folder.path().join("store").display());
        let own = format!("{ON}\n{}\n{}", self.keyring.setting(), notifying::ON);
        let extra = format!("{own}\n{store}\n{lifetimes}");
        House::with_apple_at(self.clock.clone(), Arc::clone(&self.apple), &extra).await
    }
}

#[tokio::test]
async fn restarts_with_shorter_and_longer_lifetimes_revive_nobody_who_was_revoked() {
    let restarts = Restarts::new().await;
    let long = restarts.with("").await;
    let tokens = begin(&long).await;
    long.end().await;

    let short = restarts.with(Restarts::SHORT).await;
    assert_eq!(short.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    short.end().await;

    restarts.clock.advance(Duration::from_hours(72));
    let again = restarts.with("").await;
    assert_eq!(code(&renew(&again, &tokens).await), "token_revoked");
}

#[tokio::test]
async fn restarts_with_shorter_and_longer_lifetimes_revive_no_session_that_was_ended() {
    let restarts = Restarts::new().await;
    let long = restarts.with("").await;
    let (ended, kept) = (begin(&long).await, begin(&long).await);
    long.end().await;

    let short = restarts.with(Restarts::SHORT).await;
    let refresh = format!("Authorization: Bearer {}\r\n", ended["refresh_token"].as_str().unwrap());
    let reply = post(short.address, &format!("{PATH}/logout"), &refresh, "").await;
    assert_eq!(reply.status, 200);
    short.end().await;

    restarts.clock.advance(Duration::from_hours(24));
    let again = restarts.with("").await;
    assert_eq!(code(&renew(&again, &ended).await), "session_ended");
    assert_eq!(renew(&again, &kept).await.status, 200);
}

#[tokio::test]
async fn a_file_remembers_who_signed_out_and_what_was_used_over_a_restart() {
    let (keyring, folder) = (Keyring::new(&[1]), tempfile::tempdir().unwrap());
    let store = format!("store.file = '{}'", folder.path().join("store").display());
    let strict = format!("{store}\nsessions.refresh_reuse_grace = '0s'");
    let first = house(&keyring, &strict).await;
    let (ended, used) = (begin(&first).await, begin(&first).await);
    assert_eq!(log_out(&first, &ended).await.status, 200);
    assert_eq!(renew(&first, &used).await.status, 200);
    let keys = format!("jwks.url = '{}'", first.apple.jwks_url());
    let apple = Arc::clone(&first.apple);
    first.end().await;

    let second = house(&keyring, &format!("{strict}\n{keys}")).await;
    assert_eq!(call(&second, &ended).await, "session_ended");
    assert_eq!(code(&renew(&second, &used).await), "session_reused");
    drop(apple);
}
