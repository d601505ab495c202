//! What the metrics say, in the manner of Prometheus' own conventions: <https://prometheus.io/docs/practices/naming/>.

use std::{collections::BTreeMap, sync::Arc};

use siwa_proxy::{
    clock::SystemClock,
    sim::{faults::Fault, keys::SigningKey, token::TokenTemplate},
};

use crate::support::{House, eventually, get};

/// The metrics of a page, each with its type.
fn described(page: &str) -> BTreeMap<&str, &str> {
    let mut metrics = BTreeMap::new();
    for (name, kind) in
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
    {
        assert_eq!(metrics.insert(name, kind), None, "{name} is declared once");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is explained");
    }
    metrics
}

#[tokio::test]
async fn every_metric_is_explained_and_its_name_says_whose_it_is_and_in_which_unit() {
    let house = House::start().await;
    // What can be told by a label appears with its first value.
    house.get("/", &[("Authorization", &house.bearer())]).await;
    let page = get(house.admin, "/metrics", &[]).await.body;
    let metrics = described(&page);
    for (name, kind) in &metrics {
        assert!(name.starts_with("siwa_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} {kind}");
        let has_unit = ["_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
        assert!(*kind != "histogram" || has_unit, "{name}");
        for scaled in ["_ms", "_milliseconds", "_kb", "_percent", "_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(scaled), "{name}");
        }
    }
    for expected in [
        "siwa_build_info",
        "siwa_requests_total",
        "siwa_request_duration_seconds",
        "siwa_requests_in_flight",
        "siwa_requests_shed_total",
        "siwa_verdicts_total",
        "siwa_verdict_cache_entries",
        "siwa_verify_duration_seconds",
        "siwa_jwks_fetches_total",
        "siwa_jwks_age_seconds",
        "siwa_jwks_state",
        "siwa_jwks_keys",
        "siwa_jwks_refetches_suppressed_total",
        "siwa_unknown_key_ids_total",
        "siwa_spoofed_headers_stripped_total",
        "siwa_upstream_connect_duration_seconds",
        "siwa_upstream_first_byte_duration_seconds",
        "siwa_upstream_response_duration_seconds",
    ] {
        assert!(metrics.contains_key(expected), "{expected}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_measured_as_every_process_is() {
    let house = House::start().await;
    let page = get(house.admin, "/metrics", &[]).await.body;
    let value = |name: &str| -> f64 {
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {page}")).parse().unwrap()
    };
    let resident = value("process_resident_memory_bytes");
    assert!(resident > 0.0 && resident < value("process_virtual_memory_bytes"));
    // Standard streams, and the two sockets that are listened on.
    assert!(
        value("process_open_fds") > 5.0 && value("process_open_fds") < value("process_max_fds")
    );
    assert!(value("process_cpu_seconds_total") > 0.0 && value("process_threads") >= 1.0);
    let now = std::fs::metadata("/proc/self").unwrap().modified().unwrap();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!(started > 1_700_000_000.0 && started < now + 60.0, "{started}");
    let version = format!("siwa_build_info{{version=\"{}\",commit=", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&version), "{page}");
}

/// Waits until the metrics say so.
async fn becomes(house: &House, metric: &str, is_meant: impl Fn(u64) -> bool) {
    eventually(metric, async || is_meant(house.metric(metric).await)).await;
}

#[tokio::test]
async fn remembered_verdicts_are_counted_when_they_come_and_when_they_go() {
    let house = House::with("[verdicts]\ncapacity = 2").await;
    let bearer = house.bearer();
    for _ in 0..2 {
        assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
    }
    assert_eq!(house.metric("siwa_verdict_cache_entries").await, 1);
    let evictions = "siwa_verdict_cache_evictions_total{cause=\"size\"}";
    // The cache makes room when it is used, and not with each use.
    let mut others = 0;
    while house.metric(evictions).await == 0 {
        others += 1;
        let another = bearer_of_somebody(&house, others);
        // A full cache takes in a token when it comes again.
        for _ in 0..2 {
            assert_eq!(house.get("/", &[("Authorization", &another)]).await.status, 200);
        }
    }
    let left = house.metric("siwa_verdict_cache_entries").await;
    let gone = house.metric(evictions).await;
    assert_eq!(left + gone, 1 + others, "{left} are left, {gone} are gone");
}

#[tokio::test]
async fn tokens_that_come_once_push_no_verdict_out_of_a_full_cache() {
    let house = House::with("[verdicts]\ncapacity = 2").await;
    let all: Vec<_> = (0..200).map(|somebody| bearer_of_somebody(&house, somebody)).collect();
    let the_first = &all[..2];
    for bearer in all.iter().chain(the_first) {
        assert_eq!(house.get("/", &[("Authorization", bearer)]).await.status, 200);
    }
    assert_eq!(house.metric("siwa_verdicts_total{cache=\"hit\"}").await, 2);
    assert_eq!(house.metric("siwa_verdict_cache_entries").await, 2);
    assert_eq!(house.metric("siwa_verdict_cache_evictions_total{cause=\"size\"}").await, 0);
}

fn bearer_of_somebody(house: &House, number: u64) -> String {
    let subject = format!("{number:06}.{number:032x}.0000");
    house.bearer_of(&TokenTemplate::native().subject(&subject))
}

#[tokio::test]
async fn a_token_that_is_refused_was_judged_too_and_one_with_an_unknown_key_is_counted() {
    let house = House::start().await;
    let token = house.apple.mint_with(&SigningKey::generate(), &TokenTemplate::native());
    for _ in 0..2 {
        house.get("/", &[("Authorization", &format!("Bearer {token}"))]).await;
    }
    assert_eq!(house.metric("siwa_unknown_key_ids_total").await, 2);
    assert_eq!(house.metric("siwa_verify_duration_seconds_count").await, 2);
}

#[tokio::test]
async fn the_state_of_the_keys_is_empty_then_fresh_then_stale() {
    let often = "jwks.refresh_every = '20ms'";
    let house = House::build(often, Arc::new(SystemClock), |apple| {
        apple.fail_with(Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE));
    })
    .await;
    let state = |state: &str| format!("siwa_jwks_state{{state=\"{state}\"}}");
    assert_eq!(house.metric(&state("empty")).await, 1);
    house.apple.recover();
    becomes(&house, &state("fresh"), |is| is == 1).await;
    assert_eq!(house.metric(&state("empty")).await, 0);
    house.apple.fail_with(Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE));
    becomes(&house, &state("stale"), |is| is == 1).await;
    assert_eq!(house.metric(&state("fresh")).await, 0);
}
