//! Two sources side by side.

use super::*;

fn other() -> Issuer {
    Issuer::new("https://other.example")
}

#[tokio::test(start_paused = true)]
async fn each_of_two_sources_answers_for_its_own_keys() {
    let (first, second) =
        (Script::answering([Ok(vec!["a", "both"])]), Script::answering([Ok(vec!["b", "both"])]));
    let second_source = KeySource::new(other(), Arc::clone(&second));
    let keys = start_all(vec![apples(&first), second_source], &settings());
    assert_eq!(key(&keys, "a").await.issuer(), &Issuer::apple());
    assert_eq!(key(&keys, "b").await.issuer(), &other());
    let both = keys.find(&KeyId::new("both").unwrap()).await.unwrap();
    let issuers: Vec<_> = both.iter().map(|key| key.issuer().clone()).collect();
    assert_eq!(issuers, [Issuer::apple(), other()]);
    assert_eq!((first.asked(), second.asked()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_unknown_only_if_every_source_says_so() {
    let (first, second) =
        (Script::answering([Ok(vec!["a"])]), Script::answering([Ok(vec!["b"]), Err(500)]));
    let second_source = KeySource::new(other(), Arc::clone(&second));
    let keys = start_all(vec![apples(&first), second_source], &settings());
    keys.ready().await;
    assert_eq!(find(&keys, "c").await, "token_unknown_key");
    advance(Duration::from_secs(31)).await;
    assert_eq!(find(&keys, "c").await, "unconfirmed");
    assert_eq!(find(&keys, "a").await, "found");
    assert_eq!(find(&keys, "b").await, "found");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_keeps_nobody_from_anothers_new_key() {
    let first = Script::answering([Ok(vec!["a"]), Ok(vec!["a", "new"])]);
    let second = Arc::new(Script { slowness: Duration::from_hours(1), ..Script::default() });
    second.now_answers(Ok(vec!["b"]));
    let second_source = KeySource::new(other(), Arc::clone(&second));
    let keys = start_all(vec![second_source, apples(&first)], &settings());
    assert_eq!(find(&keys, "a").await, "found");
    let began = Instant::now();
    assert_eq!(find(&keys, "new").await, "found");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn ready_means_that_every_source_has_had_a_set() {
    let (first, second) = (Script::answering([Ok(vec!["a"])]), Script::answering([Err(500)]));
    let second_source = KeySource::new(other(), Arc::clone(&second));
    let keys = start_all(vec![apples(&first), second_source], &settings());
    let waited = tokio::time::timeout(Duration::from_mins(5), keys.ready()).await;
    assert!(waited.is_err());
    assert_eq!(find(&keys, "a").await, "found", "who can be judged is judged all the same");
    second.now_answers(Ok(vec!["b"]));
    keys.ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_known_here_is_looked_for_elsewhere_under_the_cooldown() {
    let (first, second) =
        (Script::answering([Ok(vec!["same"])]), Script::answering([Ok(vec!["b"])]));
    let second_source = KeySource::new(other(), Arc::clone(&second));
    let keys = start_all(vec![apples(&first), second_source], &settings());
    keys.ready().await;
    let name = KeyId::new("same").unwrap();
    let here = keys.find(&name).await.unwrap();
    for _ in 0..100 {
        assert!(keys.find_elsewhere(&name, &here).await.unwrap().is_empty());
    }
    assert_eq!((first.asked(), second.asked()), (1, 2), "the first was not asked for its own");
    second.now_answers(Ok(vec!["b", "same"]));
    advance(Duration::from_secs(31)).await;
    let there = keys.find_elsewhere(&name, &here).await.unwrap();
    assert_eq!(there[0].issuer(), &other());
}
