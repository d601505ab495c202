//! Two replicas that share a real Redis.

use serde_json::json;
use siwa_proxy::sim::token::TokenTemplate;

use super::{key_file, refused, sign_in, with_key};
use crate::{
    stores::real_programs::redis::Redis,
    support::{House, notifying::post},
};

/// Two replicas that share keys, Redis, and what Apple signs with.
async fn two(redis: &Redis, extra: &str) -> [House; 2] {
    let key = key_file(1);
    let extra = format!("sessions.replicas = 2\nstore.redis_url = '{}'\n{extra}", redis.url());
    let one = House::with(&with_key(&key, &extra)).await;
    let keys = format!("{extra}\njwks.url = '{}'", one.apple.jwks_url());
    let other = House::with(&with_key(&key, &keys)).await;
    [one, other]
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn a_token_that_signed_in_at_one_replica_is_refused_at_the_other() {
    let redis = Redis::start(&[]).await;
    let houses = two(&redis, "sign_in.single_use = true").await;
    let body = json!({ "identityToken": houses[0].apple.mint(&TokenTemplate::native()) });
    assert_eq!(sign_in(houses[0].address, &body).await.status, 200);
    for house in &houses {
        refused(&sign_in(house.address, &body).await, 401, "Invalid token", "token_spent");
    }
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn a_nonce_of_one_replica_is_good_at_the_other_and_once_among_both() {
    let redis = Redis::start(&[]).await;
    let houses = two(&redis, "sign_in.nonce = 'required'").await;
    let reply = post(houses[0].address, "/auth/apple/nonce", "", "").await;
    let nonce = reply.json()["nonce"].as_str().unwrap().to_owned();
    let token = houses[0].apple.mint(&TokenTemplate::native().nonce(&nonce));
    let body = json!({ "identityToken": token, "nonce": nonce });
    assert_eq!(sign_in(houses[1].address, &body).await.status, 200);
    for house in &houses {
        refused(&sign_in(house.address, &body).await, 401, "Invalid nonce", "nonce_spent");
    }
}

#[tokio::test]
#[ignore = "needs redis-server; .ci/run installs it"]
async fn whoever_cannot_be_judged_a_first_is_not_let_in() {
    let mut redis = Redis::start(&[]).await;
    let [house, _] = two(&redis, "sign_in.single_use = true").await;
    let body = json!({ "identityToken": house.apple.mint(&TokenTemplate::native()) });
    redis.kill();
    let reply = sign_in(house.address, &body).await;
    refused(&reply, 503, "Nothing can be stored now", "store_unavailable");
    redis.restart().await;
    let mut reply = sign_in(house.address, &body).await;
    for _ in 0..1_000 {
        if reply.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        reply = sign_in(house.address, &body).await;
    }
    assert_eq!(reply.status, 200, "{reply:?}");
}
