//! A source of somebody's own that panics.

use super::*;

/// Panics as often as it says, once at each stage in turn, and then answers.
#[derive(Debug)]
struct Panicking {
    panics: AtomicUsize,
    then: Arc<Script>,
}

impl JwksSource for Panicking {
    fn fetch(&self) -> Fetch<'_> {
        let left = self.panics.load(Ordering::SeqCst);
        self.panics.store(left.saturating_sub(1), Ordering::SeqCst);
        assert!(left.is_multiple_of(2), "a mistake before the future is made");
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            assert!(left == 0, "a mistake in the future");
            self.then.fetch().await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_a_fault_and_is_asked_again() {
    let source =
        Panicking { panics: AtomicUsize::new(3), then: Script::answering([Ok(vec!["a"])]) };
    let surroundings = surroundings(NOW);
    let sources = vec![KeySource::new(Issuer::apple(), source)];
    let keys = JwksCache::start(sources, &settings(), &surroundings);
    assert_eq!(find(&keys, "a").await, "no set");
    keys.ready().await;
    assert_eq!(find(&keys, "a").await, "found");
    let page = surroundings.metrics.render(NOW).unwrap();
    assert!(page.contains(r#"siwa_jwks_fetches_total{result="panicked"} 3"#), "{page}");
}
