//! Names that no set in memory holds: new ones, and made-up ones.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_keys_cost_one_fetch_in_a_cooldown() {
    let source = Script::answering([Ok(vec!["a"])]);
    let keys = start(&source);
    keys.ready().await;
    for made_up in 0..1000 {
        assert_eq!(find(&keys, &format!("made-up-{made_up}")).await, "token_unknown_key");
    }
    assert_eq!(source.asked(), 2, "the first fetch and one for all unknown keys");
    advance(Duration::from_secs(31)).await;
    assert_eq!(find(&keys, "made-up").await, "token_unknown_key");
    assert_eq!(source.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_cooldown_holds_while_there_is_no_set_at_all() {
    let source = Script::answering([Err(500)]);
    let keys = start(&source);
    for _ in 0..1000 {
        assert_eq!(find(&keys, "a").await, "no set");
    }
    assert!(source.asked() <= 2, "{}", source.asked());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_at_once_by_the_first_caller_who_brings_it() {
    let source = Script::answering([Ok(vec!["old"]), Ok(vec!["old", "new"])]);
    let keys = start(&source);
    keys.ready().await;
    assert_eq!(find(&keys, "new").await, "found");
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_bring_a_new_key_before_the_fetch_for_it_begins_share_it() {
    let source = Script::answering([Ok(vec!["old"]), Ok(vec!["old", "new"])]);
    let keys = start(&source);
    keys.ready().await;
    // All ask before the refresher has its turn.
    let all = tokio::join!(find(&keys, "new"), find(&keys, "new"), find(&keys, "made-up"));
    assert_eq!(all, ("found", "found", "token_unknown_key"));
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_while_its_absence_is_being_told_is_found() {
    let source = Script::answering([Ok(vec!["a"])]);
    let keys = start(&source);
    keys.ready().await;
    // As if `a` had come between the last look at the set and the last look at the board.
    let name = KeyId::new("a").unwrap();
    assert_eq!(keys.conclude(&name, &[], &[Some(1)]).unwrap().len(), 1);
    let strange = KeyId::new("b").unwrap();
    assert!(keys.conclude(&strange, &[], &[Some(1)]).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_not_judged_while_the_set_cannot_be_confirmed() {
    let source = Script::answering([Ok(vec!["a"]), Err(503)]);
    let keys = start(&source);
    keys.ready().await;
    advance(Duration::from_mins(1)).await;
    assert_eq!(find(&keys, "b").await, "unconfirmed");
    assert_eq!(find(&keys, "a").await, "found", "keys at hand are not touched by it");
}

#[tokio::test(start_paused = true)]
async fn garbage_that_comes_again_does_not_wait_for_a_fetch_that_runs() {
    let source = Arc::new(Script { slowness: Duration::from_secs(5), ..Script::default() });
    source.now_answers(Ok(vec!["a"]));
    let brief = JwksSettings { refresh_every: Duration::from_secs(10), ..settings() };
    let keys = start_with(&source, &brief);
    assert_eq!(find(&keys, "made-up").await, "token_unknown_key");
    // Into the next fetch, while the last is younger than the cooldown.
    let asked = source.asked();
    while source.asked() == asked {
        sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    assert_eq!(find(&keys, "made-up").await, "token_unknown_key");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(find(&keys, "another").await, "token_unknown_key");
    assert!(began.elapsed() > Duration::ZERO, "a name that was not asked for before may be new");
}

#[tokio::test(start_paused = true)]
async fn a_name_once_unknown_is_found_when_a_fetch_brings_it() {
    let source = Script::answering([Ok(vec!["a"])]);
    let keys = start(&source);
    assert_eq!(find(&keys, "b").await, "token_unknown_key");
    source.now_answers(Ok(vec!["a", "b"]));
    sleep(Duration::from_mins(17)).await;
    assert_eq!(find(&keys, "b").await, "found");
}
