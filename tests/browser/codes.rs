//! With a team key the code is redeemed, and Apple is asked once a day whether the consent still stands.

use std::{fs, sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::json;
use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{Apple, faults::Fault, people::Person, sign_in::SignIn},
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::{
    Asked, CALLBACK, SESSION, WEB, form,
    jar::{Browser, From},
    key_file, settings,
    told::telling,
};
use crate::support::{House, Recorder, Reply, eventually, exchange, granting, open};

const RETURN_URL: &str = "https://app.example/auth/apple/callback";
const USERINFO: &str = "/auth/apple/userinfo";

/// A house that has a team key, and the clock that it lives by.
struct Scene {
    house: House,
    clock: ManualClock,
    _folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        Self::asking(None, "").await
    }

    /// One whose token endpoint is at `url`, if not Apple's, and whose settings for browsers say `extra`.
    async fn asking(url: Option<&str>, extra: &str) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Arc::new(Apple::start(Arc::new(clock.clone())).await.unwrap());
        let (folder, key) =
            (tempfile::tempdir().unwrap(), apple.issue_team_key("DEF123GHIJ", &[WEB]));
        let file = folder.path().join("key.p8");
        fs::write(&file, &key.text).unwrap();
        let (application, seal) = (Recorder::start().await, key_file(1));
        let text = format!(
            "upstream.url = 'http://{}'\next_authz = {{ path_prefixes = ['/ask'], timeout = '1s' }}\n\
             apple = {{ team_id = '{}', key_id = '{}', private_key_file = '{}', api_url = '{}', \
             api_timeout = '1m' }}\n{}",
            application.address,
            key.team_id,
            key.key_id,
            file.display(),
            url.map_or_else(|| apple.url(), str::to_owned),
            settings(&seal, extra),
        );
        let house = House::between(apple, application, Arc::new(clock.clone()), &text).await;
        Self { house, clock, _folder: folder }
    }

    /// What Jane's browser posts when she has signed in as she was `asked` to.
    fn answer(&self, asked: &Asked) -> String {
        self.answer_of(Person::jane(), asked)
    }

    /// What the browser of `person` posts.
    fn answer_of(&self, person: Person, asked: &Asked) -> String {
        let sign_in = SignIn::to(WEB).sent_to(RETURN_URL).nonce(asked.get("nonce")).by(person);
        let told = self.house.apple.sign_in(&sign_in);
        let (code, token) = (told.code.as_str(), told.identity_token.as_str());
        form(&[("state", asked.get("state")), ("code", code), ("id_token", token)])
    }

    async fn sign_in(&self, browser: &mut Browser<'_>) -> Reply {
        let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
        browser.post(CALLBACK, &self.answer(&asked), From::Apple).await
    }

    /// How often a code of a browser's was redeemed.
    fn redeemed(&self) -> usize {
        let asked = self.house.apple.asked();
        asked.iter().filter(|it| it.field("redirect_uri") == Some(RETURN_URL)).count()
    }

    /// How often Apple's token endpoint was asked for this.
    fn asked(&self, grant_type: &str) -> usize {
        let asked = self.house.apple.asked();
        asked.iter().filter(|it| it.field("grant_type") == Some(grant_type)).count()
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_with_the_return_url() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    assert_eq!(scene.sign_in(&mut browser).await.status, 303);
    let asked = scene.house.apple.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].field("redirect_uri"), Some(RETURN_URL));
    assert_eq!(asked[0].field("client_id"), Some(WEB));
    assert_eq!(browser.open("/a").await.status, 200);
    let session = &browser.cookie(SESSION).unwrap().value;
    assert!(session.len() < 4096 - 200, "{}: with what Apple granted, too", session.len());
}

#[tokio::test]
async fn whom_the_policy_keeps_out_does_not_sign_in_and_nobody_is_told() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let policy = format!("[policy]\ndeny_subjects = ['{}']", Person::zoe().subject);
    let scene = Scene::asking(None, &format!("{}{policy}", telling(&target, &folder))).await;
    let mut browser = Browser::new(&scene.house);
    assert_eq!(scene.sign_in(&mut browser).await.status, 303);
    let janes = browser.cookie(SESSION).unwrap().value.clone();

    let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
    let zoes = scene.answer_of(Person::zoe(), &asked);
    let reply = browser.post(CALLBACK, &zoes, From::Apple).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.body.contains("This account is not let in here"), "{}", reply.body);
    assert!(
        reply.body.contains("/auth/apple/start?return_to=%2Fa"),
        "another may be: {}",
        reply.body
    );
    assert_eq!(scene.redeemed(), 1, "Jane's");
    assert_eq!(browser.cookie(SESSION).unwrap().value, janes, "nobody took her place");
    assert_eq!(browser.open("/a").await.status, 200, "nor ended her session");

    // Who is told of in the end is Jane, and Jane again.
    assert_eq!(scene.sign_in(&mut browser).await.status, 303);
    target.received(2).await;
    for told in target.requests() {
        assert!(told.body.contains(&Person::jane().subject), "{}", told.body);
    }
}

#[tokio::test]
async fn a_code_that_apple_does_not_take_begins_no_session() {
    let scene = Scene::new().await;
    for (fault, status) in [
        (Fault::Refusal(StatusCode::BAD_REQUEST, "invalid_grant".into()), 400),
        (Fault::Refusal(StatusCode::BAD_REQUEST, "invalid_client".into()), 503),
        (Fault::Status(StatusCode::BAD_GATEWAY), 503),
        (Fault::Html200, 503),
        (Fault::Garbage, 503),
        (Fault::Reset, 503),
    ] {
        // Whether it is the app that Apple does not know is asked by itself.
        let times = if format!("{fault:?}").contains("invalid_client") { 2 } else { 1 };
        scene.house.apple.fail_api_times(fault.clone(), times);
        let mut browser = Browser::new(&scene.house);
        let before = scene.redeemed();
        let reply = scene.sign_in(&mut browser).await;
        assert_eq!(reply.status, status, "{fault:?}");
        assert!(browser.cookie(SESSION).is_none(), "{fault:?}");
        assert_eq!(scene.redeemed(), before + 1, "{fault:?}: never twice");
        assert!(reply.body.contains("Sign in with Apple"), "{fault:?}: there is a way on");
    }
}

#[tokio::test]
async fn a_code_of_somebody_else_begins_no_session() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let apple = &scene.house.apple;
    let zoe = apple.sign_in(&SignIn::to(WEB).sent_to(RETURN_URL).by(Person::zoe()));
    let token = apple.mint(&asked.token().code(&zoe.code));
    let fields = [("state", asked.get("state")), ("code", &*zoe.code), ("id_token", &token)];
    let reply = browser.post(CALLBACK, &form(&fields), From::Apple).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(browser.cookie(SESSION).is_none());
}

#[tokio::test]
async fn a_grant_that_does_not_say_for_whom_it_is_begins_no_session() {
    for token in [json!(null), json!("a.b.c")] {
        let scene = Scene::asking(Some(&granting(token.clone()).await), "").await;
        let mut browser = Browser::new(&scene.house);
        let reply = scene.sign_in(&mut browser).await;
        assert_eq!(reply.status, 502, "{token}: {reply:?}");
        assert!(browser.cookie(SESSION).is_none(), "{token}");
    }
}

#[tokio::test]
async fn a_sign_in_comes_to_its_end_even_if_the_browser_hangs_up() {
    let (folder, target) = (tempfile::tempdir().unwrap(), Recorder::start().await);
    let scene = Scene::asking(None, &telling(&target, &folder)).await;
    let mut browser = Browser::new(&scene.house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let answer = scene.answer(&asked);
    scene.house.apple.fail_api_times(Fault::Slow(Duration::from_millis(500)), 1);
    let stream = browser.begin_to_post(CALLBACK, &answer, From::Apple).await;
    eventually("the code is being redeemed", async || scene.redeemed() == 1).await;
    drop(stream);
    target.received(1).await;
    // What it came to is lost with the answer, and the state was used up: nobody ends it a second time.
    let reply = browser.post(CALLBACK, &answer, From::Apple).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert_eq!(scene.redeemed(), 1);
}

#[tokio::test]
async fn who_asks_who_is_signed_in_has_apple_asked_and_the_session_renewed_or_ended() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    scene.sign_in(&mut browser).await;
    let old = browser.cookie(SESSION).unwrap().value.clone();
    scene.clock.advance(DAY);
    let told = browser.fetch("GET", USERINFO, From::Own).await;
    assert_eq!(told.json()["sub"], Person::jane().subject);
    assert_eq!(scene.asked("refresh_token"), 1);
    assert_ne!(browser.cookie(SESSION).unwrap().value, old);

    scene.house.apple.withdraw_consent(&Person::jane().subject, None);
    scene.clock.advance(DAY);
    let copy = browser.cookies.clone();
    let told = browser.fetch("GET", USERINFO, From::Own).await;
    assert_eq!((told.status, told.json()["code"].as_str()), (401, Some("session_ended")));
    assert!(browser.cookie(SESSION).is_none(), "a cookie that is no good is taken away");
    browser.cookies = copy;
    assert_eq!(browser.open("/a").await.status, 303, "it is over everywhere");
}

#[tokio::test]
async fn nobody_whose_consent_is_withdrawn_is_told_that_they_are_signed_in() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    scene.sign_in(&mut browser).await;
    scene.house.apple.withdraw_consent(&Person::jane().subject, None);
    scene.clock.advance(DAY);
    let page = browser.open("/auth/apple/login").await;
    assert!(page.body.contains("Sign in with Apple"), "{}", page.body);
    assert!(browser.cookie(SESSION).is_none());
}

const DAY: Duration = Duration::from_hours(25);

#[tokio::test]
async fn apple_is_asked_once_a_day_and_ends_the_session_of_whoever_withdrew_consent() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    scene.sign_in(&mut browser).await;
    let old = browser.cookies.clone();
    assert_eq!(browser.open("/a").await.status, 200);
    assert_eq!(scene.asked("refresh_token"), 0);
    scene.clock.advance(DAY);
    assert_eq!(browser.open("/a").await.header("set-cookie").len(), 1);
    assert_eq!(browser.open("/a").await.status, 200);
    // A page loads in many requests, all of which bring the old cookie.
    browser.cookies = old;
    assert_eq!(browser.open("/a").await.status, 200);
    assert_eq!(scene.asked("refresh_token"), 1);

    scene.house.apple.withdraw_consent(&Person::jane().subject, None);
    assert_eq!(browser.open("/a").await.status, 200, "nobody was told yet");
    scene.clock.advance(DAY);
    let copy = browser.cookies.clone();
    let reply = browser.open("/a").await;
    assert_eq!((reply.status, reply.header("location").len()), (303, 1), "{reply:?}");
    assert!(browser.cookie(SESSION).is_none());
    browser.cookies = copy;
    assert_eq!(browser.open("/a").await.status, 303, "it is over wherever its cookie still is");
}

#[tokio::test]
async fn while_apple_is_out_of_reach_a_session_goes_on_for_a_week_and_then_it_cannot_be_judged() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    scene.sign_in(&mut browser).await;
    scene.house.apple.fail_api_with(Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..7 {
        scene.clock.advance(DAY);
        assert_eq!(browser.open("/a").await.status, 200);
    }
    scene.clock.advance(DAY);
    let reply = browser.open("/a").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, vec!["5"]), "{reply:?}");
    assert!(browser.cookie(SESSION).is_some(), "it may be as good as ever");
    scene.house.apple.recover_api();
    // It is asked again after a minute, and not by every request of a page.
    scene.clock.advance(Duration::from_mins(1));
    assert_eq!(browser.open("/a").await.status, 200);
}

/// Envoy waits for less time than Apple takes.
#[tokio::test]
async fn a_gateway_in_a_hurry_hears_what_apple_says_with_a_later_request() {
    let scene = Scene::new().await;
    let mut browser = Browser::new(&scene.house);
    scene.sign_in(&mut browser).await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    let ask = async || {
        let head = "GET /ask/a HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n";
        exchange(scene.house.address, format!("{head}{cookie}\r\n")).await.status
    };
    scene.clock.advance(DAY);
    scene.house.apple.withdraw_consent(&Person::jane().subject, None);
    scene.house.apple.fail_api_with(Fault::Slow(Duration::from_secs(2)));
    assert_eq!(ask().await, 200, "Apple has not answered, and need not for a week");
    eventually("Apple is heard", async || ask().await == 401).await;
    assert_eq!(scene.asked("refresh_token"), 1);
}

/// Each question outlives the request that raised it, so that callers who hang up do not make room.
#[tokio::test]
async fn an_apple_that_does_not_answer_has_no_more_than_64_questions_pending() {
    let scene = Scene::new().await;
    let mut requests = Vec::new();
    for _ in 0..=64 {
        let mut browser = Browser::new(&scene.house);
        scene.sign_in(&mut browser).await;
        let session = &browser.cookie(SESSION).unwrap().value;
        requests.push(format!(
            "GET /a HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nCookie: {SESSION}={session}\r\n\r\n"
        ));
    }
    scene.clock.advance(DAY);
    scene.house.apple.fail_api_with(Fault::Hang);
    let one_more = requests.pop().unwrap();
    let mut waiting = Vec::new();
    for request in requests {
        let mut stream = open(scene.house.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    eventually("they are pending", async || scene.asked("refresh_token") == 64).await;
    let reply = exchange(scene.house.address, one_more.clone()).await;
    assert_eq!(reply.status, 200, "it goes on, as Apple need not have answered for a week");
    drop(waiting);
    assert_eq!(exchange(scene.house.address, one_more).await.status, 200);
    assert_eq!(scene.asked("refresh_token"), 64);
}
