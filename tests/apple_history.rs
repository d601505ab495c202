//! What Apple is known to have done with its keys and tokens, from June 2019 to October 2026, replayed on a clock that runs
//! fast: would we have refused anybody?

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier, VerifyError,
    clock::{Clock, ManualClock, UnixTime},
    sim::{ISSUER, keys::SigningKey, token::TokenTemplate},
    verify::{Fetch, FetchFault, JwksSettings, JwksSource},
};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The sets that were seen, from when on: the first name is the one that signs, where that is known.
const SETS: &[(&str, &[&str])] = &[
    ("2019-06-05", &["AIDOPK1"]),
    // One key became three without notice, and the old one stopped signing: whoever took the first was down.
    ("2020-02-13", &["86D88Kf", "eXaunmL", "AIDOPK1"]),
    ("2020-04-01", &["eXaunmL", "86D88Kf"]),
    ("2021-02-01", &["YuyXoY", "86D88Kf", "eXaunmL"]),
    ("2022-03-15", &["YuyXoY", "86D88Kf", "eXaunmL", "fh6Bs8C", "W6WcOKB"]),
    ("2022-04-15", &["YuyXoY", "fh6Bs8C", "W6WcOKB"]),
    ("2024-01-10", &["fh6Bs8C", "lVHdOx8ltR", "W6WcOKB", "YuyXoY"]),
    ("2024-01-24", &["lVHdOx8ltR", "W6WcOKB", "fh6Bs8C"]),
    ("2024-06-05", &["pggnQeNCOU", "pyaRQpAbnY", "lVHdOx8ltR", "Bh6H7rHVmb"]),
    ("2024-06-21", &["pggnQeNCOU", "pyaRQpAbnY", "lVHdOx8ltR", "Bh6H7rHVmb", "T8tIJ1zSrO"]),
    ("2024-06-27", &["Bh6H7rHVmb", "pggnQeNCOU", "pyaRQpAbnY", "T8tIJ1zSrO"]),
    ("2024-07-18", &["T8tIJ1zSrO", "pyaRQpAbnY", "pggnQeNCOU"]),
    ("2024-07-31", &["pyaRQpAbnY", "pggnQeNCOU", "T8tIJ1zSrO", "FftONTxoEg"]),
    ("2024-08-29", &["FftONTxoEg", "pggnQeNCOU", "T8tIJ1zSrO"]),
    ("2024-11-15", &["T8tIJ1zSrO", "FftONTxoEg", "pggnQeNCOU", "dMlERBaFdK", "rBRfVmqsjn"]),
    ("2024-12-15", &["dMlERBaFdK", "rBRfVmqsjn", "FftONTxoEg"]),
    ("2025-03-01", &["rs0M3kOV9p", "E6q83RB15n", "Sf2lFqwkpX"]),
    ("2025-08-01", &["E6q83RB15n", "UaIIFY2fW4", "Sf2lFqwkpX"]),
    ("2025-12-01", &["aVeHFaWxAZ", "HvVI6EsZXJ"]),
    ("2026-06-30", &["1E6VioIaNI", "5iq33lJBYj", "5RFOSiNIUm"]),
    ("2026-10-02", &["5iq33lJBYj", "1E6VioIaNI", "5RFOSiNIUm"]),
];

/// Sets overlap by weeks; where two that were seen have nothing in common, both were published for so long.
const OVERLAP: Duration = Duration::from_hours(14 * 24);

/// What the endpoint did instead of answering, when, and for how many hours: the kinds that were reported, on dates of
/// ours.
const OUTAGES: &[(&str, Outage, u32)] = &[
    ("2020-11-10", Outage::Status(403), 20),
    ("2021-05-03", Outage::Status(502), 3),
    ("2022-01-20", Outage::Status(403), 12),
    ("2022-04-15", Outage::Html, 6),
    ("2024-06-27", Outage::Status(502), 2),
    ("2024-10-01", Outage::Transport, 18),
    ("2026-07-14", Outage::Status(403), 20),
];

#[derive(Clone, Copy, Debug)]
enum Outage {
    Status(u16),
    Html,
    Transport,
}

impl Outage {
    fn fault(self) -> FetchFault {
        match self {
            Self::Status(status) => FetchFault::Status(status),
            Self::Html => FetchFault::Html,
            Self::Transport => FetchFault::transport("connection refused"),
        }
    }
}

fn at(date: &str) -> UnixTime {
    let time = humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).unwrap();
    let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    UnixTime::from_secs(seconds)
}

fn before(time: UnixTime, duration: Duration) -> UnixTime {
    UnixTime::from_secs(time.as_secs() - duration.as_secs())
}

/// From when on which keys are published.
type Timeline = Vec<(UnixTime, Vec<&'static str>)>;

/// The sets, with the overlaps that were not seen but must have been.
fn timeline() -> Timeline {
    let mut timeline: Timeline = Vec::new();
    for (date, names) in SETS {
        if let Some((_, last)) = timeline.last()
            && !last.iter().any(|name| names.contains(name))
        {
            let both = last.iter().chain(*names).copied().collect();
            timeline.push((before(at(date), OVERLAP), both));
        }
        timeline.push((at(date), names.to_vec()));
    }
    timeline
}

/// A key for each name, made once: that takes longer than seven years do.
static KEYS: LazyLock<HashMap<&str, SigningKey>> = LazyLock::new(|| {
    let mut keys = HashMap::new();
    for name in SETS.iter().flat_map(|(_, names)| *names).copied() {
        keys.entry(name).or_insert_with(|| SigningKey::generate().with_kid(name));
    }
    keys
});

/// The key endpoint as it was at the time that the clock shows.
#[derive(Clone, Debug)]
struct Museum {
    clock: ManualClock,
    timeline: Arc<Timeline>,
    jwks: Arc<HashMap<&'static str, Value>>,
    asked: Arc<Mutex<usize>>,
}

impl Museum {
    fn new(clock: ManualClock) -> Self {
        let jwks = KEYS.iter().map(|(name, key)| (*name, key.jwk())).collect();
        Self { clock, timeline: Arc::new(timeline()), jwks: Arc::new(jwks), asked: Arc::default() }
    }

    fn published_at(&self, time: UnixTime) -> &[&'static str] {
        let current = self.timeline.iter().rev().find(|(from, _)| *from <= time);
        &current.unwrap_or(&self.timeline[0]).1
    }

    /// The key that signs: one that stays published until its last token has expired, the one that is known to have
    /// signed if it does.
    fn signing_at(&self, time: UnixTime) -> &SigningKey {
        let later = self.published_at(time.saturating_add(DAY + MINUTE));
        let name = self.published_at(time).iter().find(|name| later.contains(name));
        &KEYS[name.expect("sets overlap")]
    }

    /// The keys that are published no more, and have not been for `while_`.
    fn gone_at(&self, time: UnixTime, while_: Duration) -> Vec<&SigningKey> {
        let (earlier, now) = (before(time, while_), self.published_at(time));
        let Some((since, _)) = self.timeline.iter().rev().find(|(from, _)| *from <= earlier) else {
            return Vec::new();
        };
        let past = self.published_at(before(*since, MINUTE));
        let recent = self.published_at(earlier);
        past.iter()
            .filter(|name| !now.contains(name) && !recent.contains(name))
            .map(|name| &KEYS[name])
            .collect()
    }

    fn outage_at(time: UnixTime) -> Option<Outage> {
        OUTAGES.iter().find_map(|(date, outage, hours)| {
            let (from, to) = (at(date), at(date).saturating_add(*hours * HOUR));
            (from <= time && time < to).then_some(*outage)
        })
    }
}

impl JwksSource for Museum {
    fn fetch(&self) -> Fetch<'_> {
        let now = self.clock.now();
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        let published = self.published_at(now);
        let mut keys: Vec<_> = published.iter().map(|name| &self.jwks[name]).collect();
        // In another order each time, as was seen on 2024-10-01.
        let length = keys.len();
        keys.rotate_left(*asked % length);
        let answer = match Self::outage_at(now) {
            Some(outage) => Err(outage.fault()),
            None => Ok(json!({ "keys": keys }).to_string().into()),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A token as it was worded at `time`: for ten minutes until August 2020, with strings for booleans until February 2024.
fn template_at(time: UnixTime) -> TokenTemplate {
    let template = if time < at("2024-02-06") {
        TokenTemplate::legacy_string_booleans()
    } else {
        TokenTemplate::relay_email()
    };
    template.lifetime(lifetime_at(time))
}

fn lifetime_at(time: UnixTime) -> Duration {
    if time < at("2020-08-10") { 10 * MINUTE } else { DAY }
}

/// A verifier in the past.
struct Replay {
    clock: ManualClock,
    museum: Museum,
    verifier: Verifier,
}

impl Replay {
    async fn from(date: &str, settings: JwksSettings) -> Self {
        let clock = ManualClock::at(at(date));
        let museum = Museum::new(clock.clone());
        let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
            .jwks_source(museum.clone())
            .jwks_settings(settings)
            .clock(clock.clone())
            .build()
            .unwrap();
        verifier.ready().await;
        Self { clock, museum, verifier }
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Lets time go by, for the clock on the wall and for the one in the process, in step.
    async fn pass(&self, mut duration: Duration) {
        while !duration.is_zero() {
            let step = duration.min(30 * MINUTE);
            self.clock.advance(step);
            tokio::time::sleep(step).await;
            duration -= step;
        }
    }

    /// Lets 20 quiet hours go by with one fetch at their end, which is soon enough for keys that are kept for a day.
    async fn leap(&self) {
        let leap = 20 * HOUR;
        self.clock.advance(leap);
        tokio::time::advance(leap).await;
        self.pass(MINUTE).await;
    }

    fn mint(&self) -> String {
        self.mint_with(self.museum.signing_at(self.now()))
    }

    fn mint_with(&self, key: &SigningKey) -> String {
        template_at(self.now()).sign(key, ISSUER, self.now())
    }

    async fn code(&self, token: &str) -> &'static str {
        match self.verifier.verify(&UnverifiedToken::parse(token).unwrap()).await {
            Ok(_) => "accepted",
            Err(VerifyError::Rejected(fault)) => fault.code(),
            Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
            Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
        }
    }

    /// Whether something is known to have happened within two days of now.
    fn is_eventful(&self) -> bool {
        let near = |time: UnixTime| {
            self.now().saturating_since(time) + time.saturating_since(self.now()) < 2 * DAY
        };
        self.museum.timeline.iter().any(|(time, _)| near(*time))
            || OUTAGES.iter().any(|(date, ..)| near(at(date)))
            || ["2020-08-10", "2024-02-06", "2025-06-10"].iter().any(|date| near(at(date)))
    }
}

/// Slower than the default, so that seven years pass in seconds; the proportions are the same.
fn settings(grace: Duration) -> JwksSettings {
    JwksSettings {
        refresh_every: 3 * HOUR,
        keep_while_failing: DAY,
        removed_key_grace: grace,
        ..JwksSettings::default()
    }
}

/// Between two fetches that succeed, when there is no outage.
const LONGEST_PAUSE: Duration = Duration::from_mins(198);

/// Walks through the years; at every moment every living token is accepted, and no key that is gone is believed.
async fn replay(grace: Duration) {
    let replay = Replay::from("2019-06-06", settings(grace)).await;
    let (mut living, mut judged, mut refused): (Vec<(UnixTime, String)>, u32, u32) =
        (Vec::new(), 0, 0);
    while replay.now() < at("2026-10-04") {
        let now = replay.now();
        living.retain(|(expiry, _)| now < *expiry);
        living.push((now.saturating_add(lifetime_at(now)), replay.mint()));
        for (_, token) in &living {
            assert_eq!(replay.code(token).await, "accepted", "{now}");
            judged += 1;
        }
        let eventful = replay.is_eventful();
        let settled = LONGEST_PAUSE + grace + longest_outage_before(now);
        for key in replay.museum.gone_at(now, settled).into_iter().filter(|_| eventful) {
            let answer = replay.code(&replay.mint_with(key)).await;
            assert_ne!(answer, "accepted", "{} at {now}", key.kid());
            refused += 1;
        }
        if eventful {
            replay.pass(HOUR).await;
        } else {
            replay.leap().await;
        }
    }
    assert!(judged > 10_000 && refused > 500, "{judged} {refused}");
}

/// How long fetching has failed or may have just failed: a withdrawal cannot be seen in an outage.
fn longest_outage_before(now: UnixTime) -> Duration {
    let lately = |(date, _, hours): &&(&str, Outage, u32)| {
        let end = at(date).saturating_add(*hours * HOUR);
        at(date) <= now && now < end.saturating_add(2 * DAY)
    };
    OUTAGES.iter().find(lately).map_or(Duration::ZERO, |(_, _, hours)| *hours * HOUR)
}

#[tokio::test(start_paused = true)]
async fn apples_past_refuses_no_valid_user_and_believes_no_key_that_is_gone() {
    replay(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn apples_past_is_the_same_with_a_grace_which_no_key_outlives() {
    replay(DAY).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_withdrawn_while_its_tokens_live_is_refused_at_the_next_fetch() {
    let replay = Replay::from("2024-06-26", settings(Duration::ZERO)).await;
    let going = KEYS["lVHdOx8ltR"].clone();
    replay.pass(23 * HOUR).await;
    let token = replay.mint_with(&going);
    assert_eq!(replay.code(&token).await, "accepted");
    // 2024-06-27 begins, the key is taken back, and two hours of an outage hide it.
    replay.pass(2 * HOUR).await;
    assert_eq!(replay.code(&token).await, "accepted", "nobody could know");
    replay.pass(2 * HOUR + LONGEST_PAUSE).await;
    assert_eq!(replay.code(&token).await, "token_unknown_key");
    assert_eq!(replay.code(&replay.mint()).await, "accepted");
}

#[tokio::test(start_paused = true)]
async fn a_key_withdrawn_while_its_tokens_live_is_refused_when_its_grace_ends() {
    let replay = Replay::from("2024-07-17", settings(12 * HOUR)).await;
    let going = KEYS["Bh6H7rHVmb"].clone();
    replay.pass(23 * HOUR).await;
    let token = replay.mint_with(&going);
    assert_eq!(replay.code(&token).await, "accepted");
    replay.pass(12 * HOUR).await;
    assert_eq!(replay.code(&token).await, "accepted", "it has been gone for eleven hours");
    replay.pass(2 * HOUR + LONGEST_PAUSE).await;
    assert_eq!(replay.code(&token).await, "token_unknown_key");
}

#[tokio::test(start_paused = true)]
async fn the_issuer_that_discovery_named_for_a_day_is_never_believed() {
    let replay = Replay::from("2025-06-10", settings(Duration::ZERO)).await;
    assert_eq!(replay.code(&replay.mint()).await, "accepted");
    let key = replay.museum.signing_at(replay.now());
    let other = template_at(replay.now()).sign(key, "https://account.apple.com", replay.now());
    assert_eq!(replay.code(&other).await, "token_issuer");
}
