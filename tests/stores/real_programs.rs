//! Three replicas and a real Redis, which dies, forgets and cannot be reached; and the crash test at full length.

pub(crate) mod redis;

use http::HeaderValue;
use siwa_proxy::sim::{event::Event, presets::SUBJECT, token::TokenTemplate};

use tokio_stream::StreamExt;
use tokio_tungstenite::{
    accept_async, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use self::redis::{Gate, Redis};
use crate::support::{
    House, PATIENCE, application, eventually,
    notifying::{ON, post_notification},
    open,
    secure::Authority,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long"]
async fn two_hundred_kills_lose_nothing_that_was_answered_200() {
    super::crash::kill_again_and_again(200).await;
}

/// A house that keeps revocations in the Redis at `url`, with the keys of the house `with`, if there is one.
async fn replica(url: &str, with: Option<&House>, extra: &str) -> House {
    let house = unready_replica(url, with, extra).await;
    house.ready().await;
    house
}

async fn unready_replica(url: &str, with: Option<&House>, extra: &str) -> House {
    let keys = with.map(|house| format!("jwks.url = '{}'", house.apple.jwks_url()));
    let extra = format!("{ON}\nstore.redis_url = '{url}'\n{}\n{extra}", keys.unwrap_or_default());
    House::build(&extra, std::sync::Arc::new(siwa_proxy::clock::SystemClock), |_| {}).await
}

async fn three(url: &str) -> [House; 3] {
    let first = replica(url, None, "").await;
    let second = replica(url, Some(&first), "").await;
    let third = replica(url, Some(&first), "").await;
    [first, second, third]
}

async fn refuses(house: &House, bearer: &str) -> bool {
    house.status(bearer).await == 401
}

/// A token of a subject of the name `name`, by the keys of `house`.
fn of(house: &House, name: &str) -> String {
    house.bearer_of(&TokenTemplate::native().subject(name))
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn an_event_at_one_replica_refuses_at_all_three() {
    let redis = Redis::start(&[]).await;
    let houses = three(&redis.url()).await;
    let bearer = houses[0].bearer();
    for house in &houses {
        assert_eq!(house.status(&bearer).await, 200);
    }
    let since = tokio::time::Instant::now();
    assert_eq!(houses[0].notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    for house in &houses {
        eventually("all refuse", async || refuses(house, &bearer).await).await;
    }
    println!("refused at three replicas {:?} after Apple began to post", since.elapsed());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_dies_and_comes_back_empty_makes_nobody_wait_and_nobody_good() {
    let mut redis = Redis::start(&[]).await;
    let [first, second, third] = three(&redis.url()).await;
    let [revoked, good, late] = ["revoked", "good", "late"].map(|name| of(&first, name));
    assert_eq!(first.notify(Event::consent_revoked("revoked")).await.status, 200);
    for house in [&first, &second, &third] {
        eventually("all refuse", async || refuses(house, &revoked).await).await;
    }

    redis.kill();
    for house in [&first, &second, &third] {
        assert_eq!(house.status(&revoked).await, 401, "by the last known list");
        assert_eq!(house.status(&good).await, 200, "nobody waits for Redis");
    }
    let unstored = first.notify(Event::consent_revoked("late")).await;
    assert_eq!(
        (unstored.status, unstored.json()["code"].as_str()),
        (503, Some("store_unavailable"))
    );
    assert_eq!(first.status(&late).await, 401, "in force, until a restart forgets it");
    assert_eq!(second.status(&late).await, 200, "nobody else has heard of it");

    redis.restart().await;
    eventually("what Redis forgot is written again", async || {
        redis.holds("siwa-proxy:revocations:,revoked").await
    })
    .await;
    let fourth = replica(&redis.url(), Some(&first), "").await;
    eventually("a new replica learns of it", async || refuses(&fourth, &revoked).await).await;
    eventually("Apple is listened to again", async || {
        first.notify(Event::consent_revoked("late")).await.status == 200
    })
    .await;
    for house in [&first, &second, &third, &fourth] {
        eventually("all refuse", async || refuses(house, &late).await).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_was_missed_while_the_connection_was_cut_is_learnt_when_it_heals() {
    let redis = Redis::start(&[]).await;
    let gate = Gate::before(redis.address()).await;
    let near = replica(&redis.url(), None, "").await;
    let far = replica(&format!("redis://{}/0", gate.address()), Some(&near), "").await;
    let (missed, good) = (of(&near, "missed"), of(&near, "good"));

    gate.cut();
    assert_eq!(near.notify(Event::consent_revoked("missed")).await.status, 200);
    eventually("the near one refuses", async || refuses(&near, &missed).await).await;
    assert_eq!(far.status(&good).await, 200, "nobody waits for Redis");
    assert_eq!(far.status(&missed).await, 200, "it cannot know");
    eventually("it knows that it is cut off", async || {
        far.metric("siwa_revocations_age_seconds").await >= 1
    })
    .await;

    let since = tokio::time::Instant::now();
    gate.heal();
    eventually("it learns of what it missed", async || refuses(&far, &missed).await).await;
    println!("learnt {:?} after the connection healed", since.elapsed());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_is_emptied_is_filled_again_by_whoever_remembers() {
    let redis = Redis::start(&[]).await;
    let first = replica(&redis.url(), None, "").await;
    let gone = of(&first, "gone");
    assert_eq!(first.notify(Event::account_deleted("gone")).await.status, 200);
    let key = "siwa-proxy:revocations:,gone";
    assert!(redis.holds(key).await);
    redis.command(&["FLUSHALL"]).await;
    eventually("it is written again", async || redis.holds(key).await).await;
    // Whoever starts before that has been noticed does not hide that it happened.
    redis.command(&["FLUSHALL"]).await;
    let newcomer = replica(&redis.url(), Some(&first), "").await;
    eventually("the newcomer learns of it", async || refuses(&newcomer, &gone).await).await;
    let second = replica(&redis.url(), Some(&first), "").await;
    assert_eq!(second.status(&gone).await, 401);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_list_that_may_not_grow_old_fails_closed_and_recovers() {
    let mut redis = Redis::start(&[]).await;
    let limit = "revocations.max_staleness = '1s'";
    let house = replica(&redis.url(), None, limit).await;
    let (revoked, good) = (of(&house, "revoked"), of(&house, "good"));
    assert_eq!(house.notify(Event::consent_revoked("revoked")).await.status, 200);
    assert_eq!(house.status(&good).await, 200);
    redis.kill();
    eventually("it fails closed", async || house.status(&good).await == 503).await;
    let reply = house.get("/", &[("Authorization", &good)]).await;
    assert_eq!(reply.json()["code"], "revocations_unavailable");
    assert_eq!(reply.header("retry-after").len(), 1);
    assert_eq!(house.status(&revoked).await, 401, "what is known is known");
    redis.restart().await;
    eventually("it recovers", async || house.status(&good).await == 200).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_open_ends_when_the_list_is_older_than_it_may_be() {
    let mut redis = Redis::start(&[]).await;
    let application = application(|stream, _| async {
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let limit = "revocations.max_staleness = '1s'";
    let extra = format!("{limit}\nupstream.url = 'http://{application}'");
    let house = replica(&redis.url(), None, &extra).await;
    let mut request = "ws://app.example/chat".into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&house.bearer()).unwrap();
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client_async(request, open(house.address).await).await.unwrap();
    redis.kill();
    let closed = tokio::time::timeout(PATIENCE, socket.next()).await.expect("it ends");
    let Some(Ok(Message::Close(Some(close)))) = closed else { panic!("{closed:?}") };
    assert_eq!(u16::from(close.code), 1013, "try again later");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_replica_that_never_saw_the_list_is_not_ready_and_lets_nobody_in() {
    let mut redis = Redis::start(&[]).await;
    redis.kill();
    let house = unready_replica(&redis.url(), None, "").await;
    let bearer = house.bearer();
    eventually("the keys are there", async || {
        let ready = crate::support::get(house.admin, "/readyz", &[]).await;
        ready.status == 503 && !ready.body.contains("keys") && ready.body.contains("revocations")
    })
    .await;
    assert_eq!(house.status(&bearer).await, 503);
    redis.restart().await;
    house.ready().await;
    assert_eq!(house.status(&bearer).await, 200);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_others_put_below_our_prefix_hides_nothing_of_ours() {
    let redis = Redis::start(&[]).await;
    let first = replica(&redis.url(), None, "").await;
    let revoked = of(&first, "revoked");
    assert_eq!(first.notify(Event::consent_revoked("revoked")).await.status, 200);
    let foreign = "redis.call('SET', 'siwa-proxy:revocations:\\255', '9999999999 1 0')
                   redis.call('SET', 'siwa-proxy:revocations:,other', '\\255')
                   redis.call('RPUSH', 'siwa-proxy:revocations:,list', 'x')";
    redis.command(&["EVAL", foreign, "0"]).await;
    let second = replica(&redis.url(), Some(&first), "").await;
    assert_eq!(second.status(&revoked).await, 401, "it has read the list");
    assert_eq!(second.metric("siwa_store_records_skipped_total").await, 2);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_fails_half_way_leaves_nothing_behind_so_that_apple_can_try_again() {
    let redis = Redis::start(&[]).await;
    let house = replica(&redis.url(), None, "").await;
    redis.command(&["RPUSH", "siwa-proxy:revocations:,somebody", "in the way"]).await;
    let payload =
        house.apple.mint(&TokenTemplate::notification(Event::consent_revoked("somebody")));
    assert_eq!(post_notification(house.address, &payload).await.status, 503);
    let receipts = ["KEYS", "siwa-proxy:notifications:*"];
    assert_eq!(redis.command(&receipts).await, "*0\r\n", "nothing says that it was stored");
    redis.command(&["DEL", "siwa-proxy:revocations:,somebody"]).await;
    assert_eq!(post_notification(house.address, &payload).await.status, 200);
    assert!(redis.holds("siwa-proxy:revocations:,somebody").await);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_with_tls_and_users_is_spoken_to_as_it_asks() {
    let authority = Authority::new();
    let redis = Redis::start_secured(&authority).await;
    let path = |name: &str| authority.path(name).display().to_string();
    std::fs::write(path("password"), "word-of-the-proxy\n").unwrap();
    let extra = format!(
        "store.redis_username = 'proxy'\nstore.redis_password_file = '{}'\nstore.redis_ca_file = '{}'",
        path("password"),
        path("authority.pem")
    );
    let first = replica(&redis.secured_url(), None, &extra).await;
    let second = replica(&redis.secured_url(), Some(&first), &extra).await;
    let bearer = first.bearer();
    assert_eq!(first.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    eventually("both refuse", async || refuses(&second, &bearer).await).await;
}
