//! Apple's keys come, go and cannot be had: what users notice of it, through sockets, with shortened times.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode};
use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier, VerifyError,
    clock::{Clock, ManualClock, UnixTime},
    sim::{Apple, faults::Fault, keys::SigningKey, token::TokenTemplate},
    telemetry::Metrics,
    verify::{
        CanarySettings, HttpsJwks, HttpsOptions, Issuer, JwksSettings, KeySource, TrustedUrl,
        VerifierBuilder,
    },
};
use tokio::{task::JoinSet, time::Instant};

use crate::support::{PATIENCE, eventually, metrics, spawn};

/// No fetch but the first and those on demand.
const NEVER: Duration = Duration::from_hours(10);
/// Short enough to be waited for, fetch by fetch.
const OFTEN: Duration = Duration::from_millis(20);

/// A verifier and its Apple, on a clock that stands still.
struct World {
    apple: Apple,
    clock: ManualClock,
    metrics: Metrics,
    verifier: Verifier,
}

fn on_demand() -> JwksSettings {
    JwksSettings {
        refresh_every: NEVER,
        keep_while_failing: 2 * NEVER,
        unknown_key_cooldown: Duration::from_millis(1),
        ..JwksSettings::default()
    }
}

fn scheduled() -> JwksSettings {
    JwksSettings { refresh_every: OFTEN, ..on_demand() }
}

impl World {
    async fn with(jwks: JwksSettings) -> Self {
        Self::build(jwks, |_| {}, |builder| builder).await
    }

    async fn build(
        jwks: JwksSettings,
        before: impl FnOnce(&Apple),
        describe: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
        before(&apple);
        let metrics = Metrics::new();
        let builder = builder(&apple, &clock, jwks).metrics(metrics.clone());
        let verifier = describe(builder).build().unwrap();
        Self { apple, clock, metrics, verifier }
    }

    /// What becomes of a fresh token, which no verdict is remembered for.
    async fn fresh(&self) -> &'static str {
        code(&self.verifier, &self.token()).await
    }

    async fn code(&self, token: &str) -> &'static str {
        code(&self.verifier, token).await
    }

    fn token(&self) -> String {
        self.apple.mint(&someone())
    }

    fn token_by(&self, key: &SigningKey) -> String {
        self.apple.mint_with(key, &someone())
    }

    /// Waits until what Apple says now has been fetched, parsed and put to use: the next fetch but one begins after the
    /// next has been settled.
    async fn refreshed(&self) {
        let next = self.apple.fetches() + 2;
        tokio::time::timeout(PATIENCE, self.apple.fetched(next)).await.expect("it is fetched");
    }

    /// Tries until it is so; the answer that it ends with.
    async fn becomes(&self, expected: &str) {
        let trying = async {
            while self.fresh().await != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, trying).await.unwrap_or_else(|_| panic!("{expected}"));
    }

    fn metric(&self, name: &str) -> String {
        metrics::check(name);
        let page = self.metrics.render(self.clock.now()).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or("none").to_owned()
    }
}

fn builder(apple: &Apple, clock: &ManualClock, jwks: JwksSettings) -> VerifierBuilder {
    Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
        .jwks_source(source(apple))
        .jwks_settings(jwks)
        .clock(clock.clone())
}

fn source(apple: &Apple) -> HttpsJwks {
    let options = HttpsOptions::default().timeout(Duration::from_millis(300));
    HttpsJwks::with_options(trusted(&apple.jwks_url()), &options).unwrap()
}

fn trusted(url: &str) -> TrustedUrl {
    TrustedUrl::new(url.parse().unwrap()).unwrap()
}

/// Another person each time, so that no token is like another.
fn someone() -> TokenTemplate {
    TokenTemplate::native().subject(&format!("001999.{:032x}.0918", fastrand::u128(..)))
}

async fn code(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(&UnverifiedToken::parse(token).unwrap()).await {
        Ok(_) => "accepted",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
        Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
    }
}

/// A token under a name that nobody has heard of.
fn made_up(like: &str) -> String {
    let name: String = (0..10).map(|_| fastrand::alphanumeric()).collect();
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"kid":"{name}","alg":"RS256"}}"#));
    let (_, rest) = like.split_once('.').unwrap();
    format!("{header}.{rest}")
}

/// Everything that an endpoint has been seen to do instead of answering, and what has not been seen yet.
fn troubles() -> Vec<Fault> {
    vec![
        Fault::Slow(Duration::from_secs(30)),
        Fault::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Fault::Status(StatusCode::FORBIDDEN),
        Fault::Html200,
        Fault::Garbage,
        Fault::EmptySet,
        // To where the right answer would be, if it were followed.
        Fault::Redirect(HeaderValue::from_static("/auth/keys?again")),
        Fault::Oversized,
        Fault::Compressed,
        Fault::Hang,
        Fault::Reset,
    ]
}

#[tokio::test]
async fn a_rotation_with_overlap_is_noticed_by_nobody() {
    let world = World::with(on_demand()).await;
    let old = world.apple.keys().signing();
    assert_eq!(world.fresh().await, "accepted");
    world.apple.keys().rotate();
    assert_eq!(world.fresh().await, "accepted", "the first token of the new key fetches it");
    assert_eq!(world.code(&world.token_by(&old)).await, "accepted");
    assert_eq!(world.apple.fetches(), 2);
}

#[tokio::test]
async fn a_rotation_without_overlap_serves_the_new_key_and_ends_the_old_one() {
    let world = World::with(on_demand()).await;
    let before = world.token();
    assert_eq!(world.code(&before).await, "accepted");
    world.apple.keys().replace_all();
    assert_eq!(world.fresh().await, "accepted");
    assert_eq!(world.code(&before).await, "token_unknown_key", "its verdict ended with its key");
}

#[tokio::test]
async fn a_set_in_another_order_is_the_same_set() {
    let world = World::with(scheduled()).await;
    world.apple.keys().rotate();
    world.apple.keys().rotate();
    world.refreshed().await;
    let tokens: Vec<_> =
        [world.token(), world.token()].into_iter().chain([world.token()]).collect();
    for token in &tokens {
        assert_eq!(world.code(token).await, "accepted");
    }
    for turn in 1..=4_usize {
        world.refreshed().await;
        for token in &tokens {
            assert_eq!(world.code(token).await, "accepted");
        }
        let hits = world.metric(r#"siwa_verdicts_total{cache="hit"}"#);
        assert_eq!(hits, (turn * tokens.len()).to_string(), "their verdicts stand");
    }
}

#[tokio::test]
async fn a_verifier_gives_a_withdrawn_key_up_at_the_next_refresh() {
    let world = World::with(scheduled()).await;
    let (token, old) = (world.token(), world.apple.keys().signing());
    assert_eq!(world.code(&token).await, "accepted");
    world.apple.keys().rotate();
    world.apple.keys().withdraw(old.kid()).unwrap();
    world.refreshed().await;
    assert_eq!(world.metric("siwa_verdict_cache_entries"), "1");
    assert_eq!(world.code(&token).await, "token_unknown_key");
    assert_eq!(world.metric("siwa_verdict_cache_entries"), "0", "its verdict left the cache");
    assert_eq!(world.code(&world.token_by(&old)).await, "token_unknown_key");
    assert_eq!(world.fresh().await, "accepted");
}

#[tokio::test]
async fn a_withdrawn_key_goes_on_working_within_its_grace() {
    let grace = JwksSettings { removed_key_grace: NEVER, ..scheduled() };
    let world = World::with(grace).await;
    let (token, old) = (world.token(), world.apple.keys().signing());
    assert_eq!(world.code(&token).await, "accepted");
    world.apple.keys().replace_all();
    world.refreshed().await;
    assert_eq!(world.code(&token).await, "accepted");
    assert_eq!(world.code(&world.token_by(&old)).await, "accepted");

    let another = SigningKey::generate().with_kid(old.kid());
    world.apple.keys().publish(another.clone());
    world.refreshed().await;
    assert_eq!(world.code(&token).await, "token_signature", "its name is another key's now");
    assert_eq!(world.code(&world.token_by(&another)).await, "accepted");
}

#[tokio::test]
async fn trouble_at_the_start_is_not_the_callers_fault_and_passes_without_a_restart() {
    let mut worlds = JoinSet::new();
    for trouble in troubles() {
        worlds.spawn(async move {
            let name = format!("{trouble:?}");
            let world =
                World::build(scheduled(), |apple| apple.fail_with(trouble), |builder| builder)
                    .await;
            assert_eq!(world.fresh().await, "keys_unavailable", "{name}");
            world.apple.fetched(2).await;
            assert_eq!(world.fresh().await, "keys_unavailable", "{name}");
            world.apple.recover();
            tokio::time::timeout(PATIENCE, world.verifier.ready()).await.expect(&name);
            assert_eq!(world.fresh().await, "accepted", "{name}");
        });
    }
    worlds.join_all().await;
}

#[tokio::test]
async fn trouble_later_on_is_noticed_by_nobody_whose_key_is_here() {
    let mut worlds = JoinSet::new();
    for trouble in troubles() {
        worlds.spawn(async move {
            let name = format!("{trouble:?}");
            let world = World::with(scheduled()).await;
            world.verifier.ready().await;
            world.apple.fail_with(trouble);
            world.refreshed().await;
            assert_eq!(world.fresh().await, "accepted", "{name}");
            let stranger = made_up(&world.token());
            assert_eq!(world.code(&stranger).await, "keys_unavailable", "{name}");
            world.apple.recover();
            world.apple.keys().rotate();
            world.becomes("accepted").await;
        });
    }
    worlds.join_all().await;
}

#[tokio::test]
async fn a_flood_of_made_up_keys_during_a_rotation_starves_nobody() {
    const COOLDOWN: Duration = Duration::from_millis(500);
    let settings = JwksSettings { unknown_key_cooldown: COOLDOWN, ..on_demand() };
    let world = Arc::new(World::with(settings).await);
    world.verifier.ready().await;
    let (began, old) = (Instant::now(), world.apple.keys().signing());
    let like = world.token();
    let done = Arc::new(AtomicBool::new(false));

    let mut flood = JoinSet::new();
    for _ in 0..50 {
        let (world, done, like) = (Arc::clone(&world), Arc::clone(&done), like.clone());
        flood.spawn(async move {
            let mut sent = 0;
            // A hundred each at least, and until the new key is served.
            while sent < 100 || !done.load(Ordering::SeqCst) {
                let answer = world.code(&made_up(&like)).await;
                assert!(answer == "token_unknown_key" || answer == "keys_unavailable", "{answer}");
                sent += 1;
                tokio::task::yield_now().await;
            }
            sent
        });
    }
    // The flood has had its fetch, and the cooldown runs, when Apple rotates.
    world.apple.fetched(2).await;
    world.apple.keys().rotate();
    assert_eq!(world.code(&world.token_by(&old)).await, "accepted");
    world.becomes("accepted").await;
    // Within one cooldown: by the first fetch that the cooldown allowed, however slow the machine is.
    assert_eq!(world.apple.fetches(), 3);
    done.store(true, Ordering::SeqCst);
    let sent: usize = flood.join_all().await.into_iter().sum();

    assert!(sent >= 5_000, "{sent}");
    let cooldowns = u64::try_from(began.elapsed().as_millis() / COOLDOWN.as_millis()).unwrap();
    let fetches = world.apple.fetches();
    assert!(fetches <= 2 + cooldowns, "{fetches} fetches in {cooldowns} cooldowns");
}

#[tokio::test]
async fn two_hundred_requests_at_a_cold_start_make_one_fetch() {
    let slow = Fault::Slow(Duration::from_millis(100));
    let world =
        Arc::new(World::build(on_demand(), |apple| apple.fail_with(slow), |builder| builder).await);
    let (mut requests, token) = (JoinSet::new(), world.token());
    for _ in 0..200 {
        let (world, token) = (Arc::clone(&world), token.clone());
        requests.spawn(async move { world.code(&token).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer, "accepted");
    }
    assert_eq!(world.apple.fetches(), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_cancels_nothing() {
    let slow = Fault::Slow(Duration::from_millis(100));
    let world = World::build(on_demand(), |apple| apple.fail_with(slow), |builder| builder).await;
    let (verifier, token) = (world.verifier.clone(), world.token());
    let caller = spawn(async move { code(&verifier, &token).await });
    world.apple.fetched(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(world.fresh().await, "accepted");
    assert_eq!(world.apple.fetches(), 1);
}

async fn written(path: &Path) {
    eventually("the set is written to disk", async || path.exists()).await;
}

#[tokio::test]
async fn a_restart_during_an_outage_serves_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let keep = |builder: VerifierBuilder| builder.cache_file(&path);
    let World { apple, clock, verifier, .. } = World::build(scheduled(), |_| {}, keep).await;
    verifier.ready().await;
    written(&path).await;
    drop(verifier);

    apple.stop().await;
    let restarted = keep(builder(&apple, &clock, scheduled())).build().unwrap();
    restarted.ready().await;
    assert_eq!(code(&restarted, &apple.mint(&someone())).await, "accepted");
    let stranger = made_up(&apple.mint(&someone()));
    assert_eq!(code(&restarted, &stranger).await, "keys_unavailable");

    apple.restart().await.unwrap();
    apple.keys().rotate();
    let is_accepted = async || code(&restarted, &apple.mint(&someone())).await == "accepted";
    eventually("Apple is asked again", is_accepted).await;
    drop(restarted);

    apple.stop().await;
    clock.advance(2 * NEVER);
    let too_late = keep(builder(&apple, &clock, scheduled())).build().unwrap();
    assert_eq!(code(&too_late, &apple.mint(&someone())).await, "keys_unavailable");
}

/// Another issuer beside Apple, with an endpoint of its own.
async fn beside_another() -> (World, Apple) {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let other = Apple::start(Arc::new(clock)).await.unwrap();
    other.set_issuer("https://other.example");
    let second = KeySource::new(Issuer::new("https://other.example"), source(&other));
    let world = World::build(on_demand(), |_| {}, |builder| builder.add_source(second)).await;
    world.verifier.ready().await;
    (world, other)
}

#[tokio::test]
async fn two_issuers_side_by_side_speak_for_their_own_users_only() {
    let (world, other) = beside_another().await;
    assert_eq!(world.fresh().await, "accepted");
    assert_eq!(world.code(&other.mint(&someone())).await, "accepted");
    let claims_to_be_apples = someone().claim("iss", "https://appleid.apple.com");
    assert_eq!(world.code(&other.mint(&claims_to_be_apples)).await, "token_issuer");
    let claims_to_be_the_others = someone().claim("iss", "https://other.example");
    assert_eq!(world.code(&world.apple.mint(&claims_to_be_the_others)).await, "token_issuer");
}

#[tokio::test]
async fn a_key_name_that_two_issuers_use_denies_nobody_and_admits_nobody_else() {
    let (world, other) = beside_another().await;
    // The other issuer has the name first, and Apple's users come with it before anybody has fetched it from Apple.
    let name = "SAMENAME01";
    let [apples, others, nobodys] = [(); 3].map(|()| SigningKey::generate().with_kid(name));
    other.keys().publish(others.clone());
    other.keys().sign_with(others.clone());
    assert_eq!(world.code(&other.mint(&someone())).await, "accepted");
    world.apple.keys().publish(apples.clone());
    world.apple.keys().sign_with(apples);
    world.becomes("accepted").await;
    assert_eq!(world.code(&other.mint(&someone())).await, "accepted");

    let forged = other.mint_with(&others, &someone().claim("iss", "https://appleid.apple.com"));
    assert_ne!(world.code(&forged).await, "accepted");
    assert_ne!(world.code(&world.token_by(&nobodys)).await, "accepted");
}

#[tokio::test]
async fn an_outage_of_one_issuer_is_noticed_by_its_new_users_only() {
    let (world, other) = beside_another().await;
    other.stop().await;
    assert_eq!(world.fresh().await, "accepted");
    world.apple.keys().rotate();
    assert_eq!(world.fresh().await, "accepted");
    assert_eq!(world.code(&other.mint(&someone())).await, "accepted", "its keys are here still");
    let stranger = made_up(&world.token());
    assert_eq!(world.code(&stranger).await, "keys_unavailable", "it might be the other's");
}

#[tokio::test]
async fn the_canary_tells_of_the_issuer_flip_and_changes_nothing() {
    let clock = ManualClock::at(UnixTime::from_secs(1_749_513_600));
    let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
    let canary = CanarySettings::new(trusted(&apple.discovery_url()), trusted(&apple.jwks_url()))
        .every(OFTEN);
    let metrics = Metrics::new();
    let verifier =
        builder(&apple, &clock, on_demand()).metrics(metrics.clone()).canary(canary).build();
    let world = World { verifier: verifier.unwrap(), metrics, clock, apple };
    let drift = |what: &str| world.metric(&format!(r#"siwa_apple_drift{{what="{what}"}}"#));

    world.verifier.ready().await;
    world.apple.discovered(2).await;
    for what in ["issuer", "jwks_uri", "algorithms", "keys"] {
        assert_eq!(drift(what), "0", "{what}");
    }
    // As on 10 June 2025: the document says another issuer, and the tokens do not.
    world.apple.set_discovery_issuer(Some("https://account.apple.com"));
    eventually("the flip is told", async || drift("issuer") == "1").await;
    assert_eq!(drift("jwks_uri"), "0");
    assert_eq!(world.fresh().await, "accepted");
    let believed = someone().claim("iss", "https://account.apple.com");
    assert_eq!(world.code(&world.apple.mint(&believed)).await, "token_issuer");

    world.apple.set_discovery_issuer(None);
    eventually("the end of it is told", async || drift("issuer") == "0").await;
}
