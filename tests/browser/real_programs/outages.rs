//! People with browsers while Redis is away.

use super::super::{
    Asked, CALLBACK, SESSION, answer,
    attacks::code_of,
    jar::{Browser, From},
    key_file, settings, sign_in,
};
use crate::{
    stores::real_programs::redis::Redis,
    support::{House, eventually},
};

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn a_session_of_which_nobody_could_say_whether_it_is_good_ends_when_another_begins() {
    let mut redis = Redis::start(&[]).await;
    let extra =
        format!("[store]\nredis_url = '{}'\n[revocations]\nmax_staleness = '1s'", redis.url());
    let house = House::with(&settings(&key_file(1), &extra)).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let old = browser.cookie(SESSION).unwrap().value.clone();

    redis.kill();
    let is = async |code: &str| code_of(&house, &old).await == code;
    eventually("nobody can say", async || is("revocations_unavailable").await).await;
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    redis.restart().await;
    eventually("it can be said", async || is("good").await).await;
    let reply = browser.post(CALLBACK, &answer(&house, &asked, &asked.token()), From::Apple).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    assert!(is("session_ended").await);
}
