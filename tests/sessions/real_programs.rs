//! Replicas that share a real Redis: what one was told, all know.

use serde_json::Value;

use super::{
    keyring::Keyring,
    life::{begin, call, code, house, log_out, renew},
};
use crate::{
    stores::real_programs::redis::Redis,
    support::{House, eventually},
};

/// Two replicas with one key and one Redis.
async fn two(keyring: &Keyring, redis: &Redis) -> [House; 2] {
    let shared = format!(
        "store.redis_url = '{}'\nsessions.replicas = 2\nsessions.refresh_reuse_grace = '0s'",
        redis.url()
    );
    let one = house(keyring, &shared).await;
    let keys = format!("jwks.url = '{}'", one.apple.jwks_url());
    let other = house(keyring, &format!("{shared}\n{keys}")).await;
    [one, other]
}

async fn is_ended(house: &House, tokens: &Value) -> bool {
    call(house, tokens).await == "session_ended"
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn who_signs_out_at_one_replica_has_signed_out_at_the_other() {
    let (keyring, redis) = (Keyring::new(&[1]), Redis::start(&[]).await);
    let [one, other] = two(&keyring, &redis).await;
    let (theirs, others) = (begin(&one).await, begin(&one).await);
    assert_eq!(call(&other, &theirs).await, "good");
    assert_eq!(log_out(&one, &theirs).await.status, 200);
    eventually("the other refuses", async || is_ended(&other, &theirs).await).await;
    assert_eq!(code(&renew(&other, &theirs).await), "session_ended");
    assert_eq!(call(&other, &others).await, "good");
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn a_refresh_token_that_was_used_at_one_replica_is_refused_at_the_other() {
    let (keyring, redis) = (Keyring::new(&[1]), Redis::start(&[]).await);
    let [one, other] = two(&keyring, &redis).await;
    let first = begin(&one).await;
    let second = renew(&one, &first).await.json();
    assert_eq!(code(&renew(&other, &first).await), "session_reused");
    eventually("the first ends the session, too", async || is_ended(&one, &second).await).await;
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn nobody_is_renewed_while_redis_is_gone_and_everybody_else_goes_on() {
    let (keyring, mut redis) = (Keyring::new(&[1]), Redis::start(&[]).await);
    let [one, _other] = two(&keyring, &redis).await;
    let tokens = begin(&one).await;
    redis.kill();
    let refused = renew(&one, &tokens).await;
    assert_eq!((refused.status, code(&refused).as_str()), (503, "store_unavailable"));
    assert_eq!(call(&one, &tokens).await, "good");
    redis.restart().await;
    eventually("it goes on", async || renew(&one, &tokens).await.status == 200).await;
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn what_redis_forgot_of_who_signed_out_is_written_there_again() {
    let (keyring, redis) = (Keyring::new(&[1]), Redis::start(&[]).await);
    let [one, other] = two(&keyring, &redis).await;
    let tokens = begin(&one).await;
    assert_eq!(log_out(&one, &tokens).await.status, 200);
    redis.command(&["FLUSHALL"]).await;
    eventually("it is written again", async || {
        redis.command(&["KEYS", "siwa-proxy:ended-sessions:*"]).await.contains("ended-sessions")
    })
    .await;
    assert_eq!(call(&other, &tokens).await, "session_ended");
}
