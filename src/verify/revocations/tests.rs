//! The list, and what it does to identities.

use serde_json::json;

use super::{
    super::claims::fixtures::{NOW, identity_with},
    *,
};
use crate::{
    clock::ManualClock,
    store::{Applied, Confirmed, FileStore, Follower, Health, Space, Store, Write},
};

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds)
}

fn revocation(subject: &str, revoked_at: u64) -> Revocation {
    Revocation::new(subject.parse().unwrap(), at(revoked_at))
}

fn app(id: &str) -> ClientId {
    ClientId::new(id).unwrap()
}

fn signed_in(subject: &str, issued_at: u64) -> Identity {
    identity_with(json!({"sub": subject, "iat": issued_at}))
}

fn in_groups() -> (Revocations, ManualClock) {
    let groups = vec![vec![app("com.example.app")], vec![app("com.example.web")]];
    let settings =
        RevocationsSettings { groups: ClientGroups::new(groups), ..RevocationsSettings::default() };
    let clock = ManualClock::at(at(NOW));
    let list = Revocations::following(settings, Arc::new(clock.clone()), Metrics::new());
    list.confirm(Confirmed::ForGood);
    (list, clock)
}

fn code(list: &Revocations, identity: &Identity) -> &'static str {
    match list.check(identity) {
        Ok(()) => "good",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
        Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
    }
}

#[test]
fn tokens_issued_at_or_before_are_refused_and_later_ones_are_good() {
    let list = Revocations::new();
    list.add(revocation("001", NOW));
    for (subject, issued_at, expected) in [
        ("001", NOW - 1, "token_revoked"),
        ("001", NOW, "token_revoked"),
        ("001", NOW + 1, "good"),
        ("002", NOW - 1, "good"),
    ] {
        assert_eq!(code(&list, &signed_in(subject, issued_at)), expected, "{subject} {issued_at}");
    }
}

#[test]
fn events_may_come_late_twice_and_out_of_order() {
    let list = Revocations::new();
    for revoked_at in [NOW - 100, NOW - 300, NOW - 100, NOW - 200] {
        list.add(revocation("001", revoked_at));
    }
    assert_eq!(list.len(), 1);
    assert_eq!(code(&list, &signed_in("001", NOW - 100)), "token_revoked");
    assert_eq!(code(&list, &signed_in("001", NOW - 99)), "good", "a newer sign-in is unharmed");
}

#[test]
fn consent_is_withdrawn_from_one_group_and_a_deleted_account_is_gone_everywhere() {
    let (list, _) = in_groups();
    let in_app = signed_in("001", NOW);
    let on_web = identity_with(json!({"sub": "001", "aud": "com.example.web"}));
    list.add(revocation("001", NOW).for_app(app("com.example.web")));
    assert_eq!((code(&list, &in_app), code(&list, &on_web)), ("good", "token_revoked"));
    list.add(revocation("001", NOW));
    assert_eq!((code(&list, &in_app), code(&list, &on_web)), ("token_revoked", "token_revoked"));
}

#[test]
fn without_groups_it_is_withdrawn_from_all_apps() {
    let list = Revocations::new();
    list.add(revocation("001", NOW).for_app(app("com.example.web")));
    assert_eq!(code(&list, &signed_in("001", NOW)), "token_revoked");
}

#[test]
fn what_was_lifted_stays_lifted_until_a_later_event() {
    let list = Revocations::new();
    list.add(revocation("001", NOW - 50));
    list.add(revocation("001", NOW - 50).lifted());
    assert_eq!(code(&list, &signed_in("001", NOW - 60)), "good");
    list.add(revocation("001", NOW - 50));
    assert_eq!(code(&list, &signed_in("001", NOW - 60)), "good", "the same event again");
    list.add(revocation("001", NOW - 40));
    assert_eq!(code(&list, &signed_in("001", NOW - 60)), "token_revoked");
}

#[test]
fn an_entry_outlives_every_token_that_it_refuses_and_no_longer() {
    let (list, clock) = in_groups();
    list.add(revocation("001", NOW));
    let longest = list.kept_for().saturating_add(VerifierBuilder::LONGEST_LEEWAY);
    clock.advance(longest.saturating_sub(Duration::from_secs(1)));
    list.sweep();
    assert_eq!(list.len(), 1);
    clock.advance(Duration::from_secs(1));
    list.sweep();
    assert!(list.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_not_read_or_is_too_old_judges_nobody_good() {
    let settings = RevocationsSettings {
        max_staleness: Some(Duration::from_mins(1)),
        ..RevocationsSettings::default()
    };
    let clock = Arc::new(ManualClock::at(at(NOW)));
    let list = Revocations::following(settings, clock, Metrics::new());
    let (one, other) = (signed_in("001", NOW), signed_in("002", NOW));
    assert_eq!(code(&list, &one), "revocations_unavailable");
    drop(list.load(vec![list.record_of(&revocation("001", NOW))]));
    list.confirm(Confirmed::Now);
    assert_eq!((code(&list, &one), code(&list, &other)), ("token_revoked", "good"));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(code(&list, &other), "good");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(code(&list, &other), "revocations_unavailable");
    assert_eq!(code(&list, &one), "token_revoked", "what is known is known");
    list.confirm(Confirmed::Now);
    assert_eq!(code(&list, &other), "good");
}

#[tokio::test]
async fn whoever_waits_for_a_revocation_hears_of_it() {
    let list = Revocations::new();
    let identity = signed_in("001", NOW);
    let revoked = list.revoked(&identity);
    tokio::pin!(revoked);
    assert!(futures_util::poll!(revoked.as_mut()).is_pending());
    list.add(revocation("002", NOW));
    list.add(revocation("001", NOW - 1));
    assert!(futures_util::poll!(revoked.as_mut()).is_pending());
    list.add(revocation("001", NOW));
    revoked.await;
}

#[tokio::test(start_paused = true)]
async fn whoever_was_let_in_may_stay_for_as_long_as_the_list_can_be_relied_on() {
    let settings = RevocationsSettings {
        max_staleness: Some(Duration::from_mins(1)),
        ..RevocationsSettings::default()
    };
    let clock = Arc::new(ManualClock::at(at(NOW)));
    let list = Revocations::following(settings, clock, Metrics::new());
    list.confirm(Confirmed::Now);
    let identity = signed_in("001", NOW);
    let refused = list.refused(&identity);
    tokio::pin!(refused);
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(futures_util::poll!(refused.as_mut()).is_pending());
        list.confirm(Confirmed::Now);
    }
    let since = tokio::time::Instant::now();
    assert!(matches!(refused.await, VerifyError::RevocationsUnavailable(_)));
    let held = since.elapsed();
    assert!((Duration::from_mins(1)..Duration::from_mins(2)).contains(&held), "{held:?}");
}

#[test]
fn revocations_that_a_store_lost_are_written_there_again() {
    let (list, _) = in_groups();
    for subject in ["001", "002", "003"] {
        list.add(revocation(subject, NOW).for_app(app("com.example.web")));
    }
    let older = list.record_of(&revocation("002", NOW - 9).for_app(app("com.example.web")));
    let there = vec![list.record_of(&list.list()[0].clone()), older];
    let missing = list.load(there);
    let keys: Vec<_> = missing
        .iter()
        .map(|write| match write {
            Write::Raise(Space::Revocations, record) => record.key.as_str(),
            Write::Insert(..) | Write::Put(..) | Write::Raise(..) | Write::Delete(..) => {
                panic!("{write:?}")
            }
        })
        .collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.contains(&"com.example.web,002") && keys.contains(&"com.example.web,003"));
}

#[test]
fn a_group_that_was_taken_apart_since_counts_for_all_apps() {
    let (list, _) = in_groups();
    let mut record = list.record_of(&revocation("001", NOW));
    record.key = "com.example.gone,001".to_owned();
    list.raised(record);
    assert_eq!(code(&list, &signed_in("001", NOW)), "token_revoked");
}

#[test]
fn records_that_are_not_ours_are_passed_over() {
    let (list, _) = in_groups();
    for (key, value) in [("001", "1 0"), (",a b", "1 0"), (",001", "one 0"), (",001", "1")] {
        let (key, value) = (key.to_owned(), value.to_owned());
        list.raised(Record { key, value, expires_at: at(NOW + 9) });
    }
    assert!(list.is_empty());
}

#[test]
fn a_subject_is_blinded_the_same_way_within_a_process_and_not_readable() {
    let list = Revocations::new();
    let subject: Subject = "001999.secret.0918".parse().unwrap();
    assert_eq!(list.blind(&subject), list.blind(&subject));
    assert_ne!(list.blind(&subject), Revocations::new().blind(&subject));
    assert!(!format!("{list:?} {}", list.blind(&subject)).contains("secret"));
}

/// Bytes of memory in use (`VmRSS`).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A subject as Apple makes them.
fn million(number: u32) -> String {
    format!("{:06}.{:032x}.{:04}", number % 1_000_000, u128::from(number) << 70, number % 10_000)
}

/// The figures that operators ask for; meaningful with `--release` only:
/// `cargo test --release --lib -- --ignored --nocapture a_million_subjects`.
#[tokio::test]
#[ignore = "prints figures"]
async fn a_million_subjects_are_stored_read_and_looked_up() {
    const SUBJECTS: u32 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (list, clock) = in_groups();
    let open = || {
        let tasks = tokio_util::task::TaskTracker::new();
        let health = Health::new(Metrics::new());
        FileStore::open(&path, Arc::new(clock.clone()), tasks, health).unwrap()
    };
    {
        let store = open();
        let since = tokio::time::Instant::now();
        for first in (0..SUBJECTS).step_by(10_000) {
            let subjects = (first..first + 10_000).map(|number| revocation(&million(number), NOW));
            let raise = |it: Revocation| Write::Raise(Space::Revocations, list.record_of(&it));
            let done = store.apply(subjects.map(raise).collect()).await.unwrap();
            assert_eq!(done, Applied::Done);
        }
        println!("stored in {:?}, {} MiB", since.elapsed(), path.metadata().unwrap().len() >> 20);
    }
    let before = resident();
    let since = tokio::time::Instant::now();
    let store = open();
    let opened = since.elapsed();
    let (list, _) = in_groups();
    drop(list.load(store.list(Space::Revocations).await.unwrap()));
    println!("opened in {opened:?}, read in {:?}", since.elapsed());
    assert_eq!(list.len(), 1_000_000);
    drop(store);
    println!("{} bytes of memory a subject", (resident() - before) / u64::from(SUBJECTS));

    let (known, unknown) = (signed_in(&million(77), NOW), signed_in("001", NOW));
    for (name, identity) in [("known", &known), ("unknown", &unknown)] {
        let since = tokio::time::Instant::now();
        let refused = (0..SUBJECTS).filter(|_| list.check(identity).is_err()).count();
        println!("{name}: {:?} a lookup, {refused} refused", since.elapsed() / SUBJECTS);
    }
    let nobody = Revocations::new();
    let since = tokio::time::Instant::now();
    assert!((0..SUBJECTS).all(|_| nobody.check(&unknown).is_ok()));
    println!("empty: {:?} a lookup", since.elapsed() / SUBJECTS);
}
