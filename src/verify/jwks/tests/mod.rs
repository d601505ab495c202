//! The key cache against a source made of memory, on a paused clock: time passes only when everybody waits.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::time::{Instant, advance, sleep};

mod panics;
mod restarts;
mod signatures;
mod sources;
mod unknown_keys;

use super::*;
use crate::clock::{ManualClock, UnixTime};

use super::super::error::{FetchFault, KeysFault};

/// Answers with a list of key ids, after `slowness`, or with a failure; counts how often it was asked.
#[derive(Debug, Default)]
struct Script {
    asked: AtomicUsize,
    answers: Mutex<VecDeque<Result<Vec<&'static str>, u16>>>,
    last: Mutex<Option<Result<Vec<&'static str>, u16>>>,
    slowness: Duration,
}

impl Script {
    fn answering(answers: impl IntoIterator<Item = Result<Vec<&'static str>, u16>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn now_answers(&self, answer: Result<Vec<&'static str>, u16>) {
        self.answers.lock().unwrap().push_back(answer);
    }
}

impl JwksSource for Arc<Script> {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            sleep(self.slowness).await;
            let next = self.answers.lock().unwrap().pop_front();
            let answer = next.or_else(|| self.last.lock().unwrap().clone()).expect("an answer");
            *self.last.lock().unwrap() = Some(answer.clone());
            answer.map_err(FetchFault::Status).map(|kids| set_of(&kids).into())
        })
    }
}

fn set_of(kids: &[&str]) -> Vec<u8> {
    let n = BASE64_URL_SAFE_NO_PAD.encode([0xff; 256]);
    let keys: Vec<_> =
        kids.iter().map(|kid| json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

fn settings() -> JwksSettings {
    JwksSettings {
        refresh_every: Duration::from_mins(15),
        keep_while_failing: Duration::from_hours(1),
        ..JwksSettings::default()
    }
}

fn start(source: &Arc<Script>) -> JwksCache {
    start_with(source, &settings())
}

fn start_with(source: &Arc<Script>, settings: &JwksSettings) -> JwksCache {
    start_all(vec![apples(source)], settings)
}

fn apples(source: &Arc<Script>) -> KeySource {
    KeySource::new(Issuer::apple(), Arc::clone(source))
}

fn start_all(sources: Vec<KeySource>, settings: &JwksSettings) -> JwksCache {
    JwksCache::start(sources, settings, &surroundings(NOW))
}

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn surroundings(now: UnixTime) -> Surroundings {
    let clock = Arc::new(ManualClock::at(now));
    Surroundings { clock, metrics: Metrics::new(), tasks: TaskTracker::new() }
}

async fn key(keys: &JwksCache, kid: &str) -> Arc<VerifyingKey> {
    keys.find(&KeyId::new(kid).unwrap()).await.unwrap().remove(0)
}

async fn find(keys: &JwksCache, kid: &str) -> &'static str {
    match keys.find(&KeyId::new(kid).unwrap()).await {
        Ok(_) => "found",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(VerifyError::KeysUnavailable(KeysFault::NoSet(_))) => "no set",
        Err(VerifyError::KeysUnavailable(KeysFault::Unconfirmed(_))) => "unconfirmed",
        Err(other @ VerifyError::RevocationsUnavailable(_)) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_callers_at_a_cold_start_share_one_fetch() {
    let source = Arc::new(Script { slowness: Duration::from_secs(3), ..Script::default() });
    source.now_answers(Ok(vec!["a"]));
    let keys = start(&source);
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let keys = keys.clone();
            async move { find(&keys, "a").await }
        })
        .collect();
    let tasks = TaskTracker::new();
    let handles: Vec<_> = waiting.into_iter().map(|caller| tasks.spawn(caller)).collect();
    for handle in handles {
        assert_eq!(handle.await.unwrap(), "found");
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_when_who_asked_for_it_is_gone() {
    let source = Arc::new(Script { slowness: Duration::from_secs(3), ..Script::default() });
    source.now_answers(Ok(vec!["a"]));
    let keys = start(&source);
    let hung_up = tokio::time::timeout(Duration::from_secs(1), find(&keys, "a")).await;
    assert!(hung_up.is_err());
    assert_eq!(find(&keys, "a").await, "found");
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_on_schedule() {
    let source = Script::answering([Ok(vec!["a"]), Ok(vec!["b"])]);
    let keys = start(&source);
    keys.ready().await;
    let old = key(&keys, "a").await;
    sleep(Duration::from_mins(17)).await;
    assert_eq!(source.asked(), 2);
    assert!(old.is_withdrawn());
    assert_eq!(find(&keys, "b").await, "found");
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_is_kept_while_fetching_fails_and_withdrawn_after() {
    let source = Script::answering([Ok(vec!["a"]), Err(500)]);
    let keys = start(&source);
    keys.ready().await;
    let key = key(&keys, "a").await;
    sleep(Duration::from_mins(59)).await;
    assert!(source.asked() > 10, "it tries again and again: {}", source.asked());
    assert_eq!(find(&keys, "a").await, "found");
    sleep(Duration::from_mins(2)).await;
    assert!(key.is_withdrawn());
    assert_eq!(find(&keys, "a").await, "no set");
}

#[tokio::test(start_paused = true)]
async fn keys_come_back_without_a_restart() {
    let source = Script::answering([Err(500), Err(403), Err(500), Ok(vec!["a"])]);
    let keys = start(&source);
    assert_eq!(find(&keys, "a").await, "no set");
    keys.ready().await;
    assert_eq!(find(&keys, "a").await, "found");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_does_not_hang_its_callers() {
    let source = Arc::new(Script { slowness: Duration::from_hours(100), ..Script::default() });
    source.now_answers(Ok(vec!["a"]));
    let keys = start(&source);
    assert_eq!(find(&keys, "a").await, "no set");
}

#[tokio::test(start_paused = true)]
async fn refreshes_of_a_fleet_spread_out() {
    let mut at = Vec::new();
    for _ in 0..20 {
        let source = Script::answering([Ok(vec!["a"])]);
        let keys = start(&source);
        keys.ready().await;
        let started = Instant::now();
        while source.asked() < 2 {
            sleep(Duration::from_secs(1)).await;
        }
        at.push(started.elapsed().as_secs());
    }
    at.sort_unstable();
    assert!(at[0] >= 810 && at[19] <= 991, "{at:?}");
    at.dedup();
    assert!(at.len() > 5, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_never_move_the_scheduled_refresh() {
    let source = Script::answering([Ok(vec!["a"])]);
    let keys = start(&source);
    keys.ready().await;
    let (first, mut on_demand) = (Instant::now(), 0);
    // One fetch on demand in every cooldown, for longer than a period.
    while first.elapsed() < Duration::from_mins(17) {
        let before = source.asked();
        assert_eq!(find(&keys, "made-up").await, "token_unknown_key");
        on_demand += source.asked() - before;
        sleep(Duration::from_secs(31)).await;
    }
    let scheduled = source.asked() - 1 - on_demand;
    assert_eq!(scheduled, 1, "{on_demand} on demand");
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_do_not_hasten_or_delay_the_next_try_after_a_failure() {
    let source = Script::answering([Ok(vec!["a"]), Err(500)]);
    let keys = start(&source);
    keys.ready().await;
    sleep(Duration::from_mins(17)).await;
    let (began, before) = (Instant::now(), source.asked());
    while began.elapsed() < Duration::from_mins(10) {
        find(&keys, "made-up").await;
        sleep(Duration::from_secs(5)).await;
    }
    // At most one a cooldown on demand, and one in 30 s to 60 s on schedule.
    let fetches = source.asked() - before;
    assert!((29..=41).contains(&fetches), "{fetches}");
}

#[tokio::test(start_paused = true)]
async fn a_key_ends_on_time_whatever_the_refresher_does() {
    let source = Script::answering([Ok(vec!["a"]), Err(500)]);
    let never = JwksSettings { refresh_every: Duration::from_mins(50), ..settings() };
    let keys = start_with(&source, &never);
    keys.ready().await;
    let key = key(&keys, "a").await;
    advance(Duration::from_hours(1)).await;
    // Nobody had a turn in between: the end is in the key.
    assert!(key.is_withdrawn());
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_stays_for_its_grace_and_ends_without_another_fetch() {
    let source = Script::answering([Ok(vec!["goes", "stays"]), Ok(vec!["stays"])]);
    let grace = JwksSettings { removed_key_grace: Duration::from_mins(10), ..settings() };
    let keys = start_with(&source, &grace);
    let goes = key(&keys, "goes").await;
    advance(Duration::from_secs(31)).await;
    assert_eq!(find(&keys, "made-up").await, "token_unknown_key");
    assert_eq!(source.asked(), 2);
    advance(Duration::from_mins(10) - Duration::from_secs(1)).await;
    assert_eq!(find(&keys, "goes").await, "found");
    assert_eq!(source.asked(), 2, "a key within its grace is at hand");
    advance(Duration::from_secs(1)).await;
    assert_eq!(source.asked(), 2);
    assert!(goes.is_withdrawn());
    assert_eq!(find(&keys, "goes").await, "token_unknown_key");
    assert_eq!(find(&keys, "stays").await, "found");
}
