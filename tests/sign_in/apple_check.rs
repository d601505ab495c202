//! Once a day, when a session is renewed, Apple is asked whether the consent still stands.

use std::{fs, mem::swap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use siwa_proxy::{
    clock::{Clock, ManualClock, SystemClock},
    sim::{Apple, faults::Fault, people::Person, sign_in::SignIn},
};
use tempfile::TempDir;

use super::{key_file, sign_in, with_key};
use crate::support::{House, Reply, notifying::post};

const APP: &str = "com.example.app";
const DAY: Duration = Duration::from_hours(24);

/// A house that lives by a clock, in which somebody has signed in with a code.
struct Scene {
    house: House,
    apple: Arc<Apple>,
    clock: ManualClock,
    refresh_token: String,
    _folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::at(SystemClock.now());
        let apple = Arc::new(Apple::start(Arc::new(clock.clone())).await.unwrap());
        let key = apple.issue_team_key("DEF123GHIJ", &[APP]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.p8");
        fs::write(&file, &key.text).unwrap();
        let api = format!(
            "apple.team_id = 'DEF123GHIJ'\napple.key_id = '{}'\napple.private_key_file = '{}'\napple.api_url = '{}'",
            key.key_id,
            file.display(),
            apple.url()
        );
        let seal = key_file(1);
        let settings = with_key(&seal, &api);
        let house = House::with_apple_at(clock.clone(), Arc::clone(&apple), &settings).await;
        let refresh_token = String::new();
        let mut scene = Self { house, apple, clock, refresh_token, _folder: folder };
        scene.refresh_token = scene.sign_in().await;
        scene
    }

    /// Begins a session, and returns its refresh token.
    async fn sign_in(&self) -> String {
        let signed_in = self.apple.sign_in(&SignIn::to(APP));
        let body = json!({
            "identityToken": signed_in.identity_token, "authorizationCode": signed_in.code,
        });
        refresh_token_of(&sign_in(self.house.address, &body).await)
    }

    /// Renews the session, and keeps the next refresh token if there is one.
    async fn renew(&mut self) -> (u16, Value) {
        let body = json!({ "refresh_token": self.refresh_token }).to_string();
        let reply = post(self.house.address, "/auth/apple/refresh", "", &body).await;
        if reply.status == 200 {
            self.refresh_token = refresh_token_of(&reply);
        }
        (reply.status, reply.json()["code"].clone())
    }

    /// How often Apple was asked whether the consent stands.
    fn asked(&self) -> usize {
        let asked = self.apple.asked();
        asked.iter().filter(|it| it.field("grant_type") == Some("refresh_token")).count()
    }
}

fn refresh_token_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["refresh_token"].as_str().unwrap().to_owned()
}

const RENEWED: (u16, Value) = (200, Value::Null);

#[tokio::test]
async fn apple_is_asked_once_a_day_and_in_the_name_of_the_app() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 0, "the code was proof enough for today");
    for days in 1..=3 {
        scene.clock.advance(DAY);
        for _ in 0..3 {
            assert_eq!(scene.renew().await, RENEWED);
            assert_eq!(scene.asked(), days);
        }
    }
    assert_eq!(scene.apple.asked().last().unwrap().field("client_id"), Some(APP));
}

#[tokio::test]
async fn a_consent_that_was_withdrawn_ends_the_session() {
    let mut scene = Scene::new().await;
    scene.apple.withdraw_consent(&Person::jane().subject, None);
    assert_eq!(scene.renew().await, RENEWED, "until Apple is asked");
    scene.clock.advance(DAY);
    assert_eq!(scene.renew().await, (401, json!("session_ended")));
    assert_eq!(scene.renew().await, (401, json!("session_ended")));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn while_apple_is_down_sessions_go_on_for_a_week_and_then_wait_for_it() {
    let mut scene = Scene::new().await;
    scene.apple.fail_api_with(Fault::Html200);
    scene.clock.advance(DAY);
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 1, "nobody waits for Apple again at once");
    scene.clock.advance(Duration::from_mins(1));
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 2);
    scene.clock.advance(7 * DAY);
    assert_eq!(scene.renew().await, (503, json!("undecided")));
    assert_eq!(scene.renew().await, (503, json!("undecided")), "by memory, too");
    scene.apple.recover_api();
    scene.clock.advance(Duration::from_mins(1));
    assert_eq!(scene.renew().await, RENEWED, "the refresh token was not used up");
}

#[tokio::test]
async fn when_apple_had_no_answer_for_one_session_the_others_wait_for_none_either() {
    let mut scene = Scene::new().await;
    let mut others = [scene.sign_in().await, scene.sign_in().await];
    scene.apple.fail_api_with(Fault::Html200);
    scene.clock.advance(DAY);
    assert_eq!(scene.renew().await, RENEWED);
    swap(&mut scene.refresh_token, &mut others[0]);
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 1, "for ten seconds");
    scene.apple.recover_api();
    scene.clock.advance(Duration::from_secs(10));
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 2);
    swap(&mut scene.refresh_token, &mut others[1]);
    assert_eq!(scene.renew().await, RENEWED);
    assert_eq!(scene.asked(), 3, "Apple answers again");
}

#[tokio::test]
async fn a_refresh_token_that_was_used_has_apple_asked_nothing() {
    let mut scene = Scene::new().await;
    let used = scene.refresh_token.clone();
    assert_eq!(scene.renew().await, RENEWED);
    scene.clock.advance(DAY);
    scene.refresh_token = used;
    assert_eq!(scene.renew().await, (401, json!("session_reused")));
    assert_eq!(scene.asked(), 0);
}
