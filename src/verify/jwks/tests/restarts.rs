//! The last good set on disk, across restarts.

use super::*;

/// Waits for the writer, whose disk is slower than a paused clock.
async fn written(path: &std::path::Path) {
    while !path.exists() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_an_outage_serves_from_disk_for_as_long_as_keys_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let source = Script::answering([Ok(vec!["a"])]);
    let keys = start_all(vec![apples(&source).cache_file(&path)], &settings());
    keys.ready().await;
    written(&path).await;
    drop(keys);

    // 40 minutes later, Apple is out, and keys are kept for an hour.
    let later = surroundings(NOW.saturating_add(Duration::from_mins(40)));
    let source = Script::answering([Err(503)]);
    let source = apples(&source).cache_file(&path);
    let keys = JwksCache::start(vec![source], &settings(), &later);
    keys.ready().await;
    assert_eq!(find(&keys, "a").await, "found");
    assert_eq!(find(&keys, "b").await, "unconfirmed", "what is on disk confirms nobody's absence");
    let page = later.metrics.render(later.clock.now()).unwrap();
    assert!(page.contains("siwa_jwks_age_seconds 2400"), "{page}");
    let key = key(&keys, "a").await;
    sleep(Duration::from_mins(19)).await;
    assert!(!key.is_withdrawn());
    sleep(Duration::from_mins(2)).await;
    assert!(key.is_withdrawn());
    assert_eq!(find(&keys, "a").await, "no set");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_is_a_metric_and_no_more() {
    let source = Script::answering([Ok(vec!["a"])]);
    let surroundings = surroundings(NOW);
    let source = apples(&source).cache_file("/nonexistent/keys");
    let keys = JwksCache::start(vec![source], &settings(), &surroundings);
    assert_eq!(find(&keys, "a").await, "found");
    let failed = r#"siwa_jwks_file_total{operation="store",result="failed"} 1"#;
    while !surroundings.metrics.render(NOW).unwrap().contains(failed) {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(find(&keys, "a").await, "found");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_does_not_stay_on_a_disk_that_cannot_be_written_and_the_rest_is_written_later()
 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let source = Script::answering([Ok(vec!["stays", "goes"])]);
    let keys = start_all(vec![apples(&source).cache_file(&path)], &settings());
    keys.ready().await;
    written(&path).await;

    // What stands where the new file is to be made cannot be removed like a file.
    let obstacle = directory.path().join(format!(".keys.{}.new", std::process::id()));
    std::fs::create_dir(&obstacle).unwrap();
    source.now_answers(Ok(vec!["stays"]));
    sleep(Duration::from_mins(17)).await;
    assert_eq!(source.asked(), 2);
    while path.exists() {
        sleep(Duration::from_millis(1)).await;
    }
    std::fs::remove_dir(&obstacle).unwrap();
    written(&path).await;
    assert_eq!(source.asked(), 2, "the same set was tried again");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("stays") && !text.contains("goes"), "{text}");
}
