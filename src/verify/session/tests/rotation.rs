//! Each refresh token is good once.

use super::*;

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_lost_answer_is_forgiven_for_a_while() {
    let scene = Scene::new().await;
    let first = scene.begin();
    let second = scene.renew(&first.refresh).await.unwrap();
    scene.clock.advance(Duration::from_secs(9));
    let again = scene.renew(&first.refresh).await.unwrap();
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.code(&second.access), "good");
    assert_eq!(scene.renew(&first.refresh).await.unwrap_err(), "session_reused");
    for text in [&first.access, &second.access, &again.access] {
        assert_eq!(scene.code(text), "session_ended", "whoever has a token of it");
    }
    for text in [&first.refresh, &second.refresh, &again.refresh] {
        assert_eq!(scene.renew(text).await.unwrap_err(), "session_ended");
    }
    assert_eq!((scene.counted("begun"), scene.counted("renewed")), (1, 2));
    assert_eq!((scene.counted("reused"), scene.counted("ended")), (1, 1));
}

#[tokio::test]
async fn nothing_is_forgiven_once_the_answer_was_used() {
    let scene = Scene::new().await;
    let first = scene.begin();
    let second = scene.renew(&first.refresh).await.unwrap();
    let third = scene.renew(&second.refresh).await.unwrap();
    assert_eq!(scene.renew(&first.refresh).await.unwrap_err(), "session_reused");
    assert_eq!(scene.code(&third.access), "session_ended");
}

#[tokio::test]
async fn a_refresh_token_that_was_used_at_one_replica_was_used_at_all() {
    let one = Scene::new().await;
    let other = one.beside(&[1]).await;
    let tokens = one.begin();
    assert!(one.renew(&tokens.refresh).await.is_ok());
    one.clock.advance(Duration::from_mins(1));
    assert_eq!(other.renew(&tokens.refresh).await.unwrap_err(), "session_reused");
    // The first has not heard of it from the store; before it makes new tokens it asks.
    assert_eq!(one.renew(&tokens.refresh).await.unwrap_err(), "session_ended");
}

#[tokio::test]
async fn two_uses_at_one_moment_are_one_use_and_a_forgiven_one() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let [one, other] = [(); 2].map(|()| scene.renew(&tokens.refresh));
    let (one, other) = tokio::join!(one, other);
    for tokens in [one.unwrap(), other.unwrap()] {
        assert_eq!(scene.code(&tokens.access), "good");
    }
    let strict =
        SessionSettings { refresh_reuse_grace: Duration::ZERO, ..SessionSettings::default() };
    let (clock, store) = (&scene.clock, Arc::clone(&scene.store));
    let strict = Scene::replica(clock, store, &[1], strict, "com.example.app").await;
    let tokens = strict.begin();
    assert!(strict.renew(&tokens.refresh).await.is_ok());
    assert_eq!(strict.renew(&tokens.refresh).await.unwrap_err(), "session_reused");
}

#[tokio::test]
async fn a_store_that_is_full_renews_nobody() {
    #[derive(Debug)]
    struct Full(MemoryStore);
    impl Store for Full {
        fn apply(
            &self,
            _: Vec<crate::store::Write>,
        ) -> crate::store::Answer<'_, crate::store::Applied> {
            Box::pin(std::future::ready(Err(StoreError::Full)))
        }
        fn list(&self, space: Space) -> crate::store::Answer<'_, Vec<crate::store::Record>> {
            self.0.list(space)
        }
        fn get(
            &self,
            space: Space,
            key: String,
        ) -> crate::store::Answer<'_, Option<crate::store::Record>> {
            self.0.get(space, key)
        }
        fn follow<'a>(
            &'a self,
            space: Space,
            follower: &'a dyn crate::store::Follower,
        ) -> crate::store::Forever<'a> {
            self.0.follow(space, follower)
        }
        fn sweep(&self) -> crate::store::Answer<'_, ()> {
            self.0.sweep()
        }
    }
    let clock = ManualClock::at(UnixTime::from_secs(NOW));
    let store = Arc::new(Full(MemoryStore::new(Arc::new(clock.clone()))));
    let settings = SessionSettings::default();
    let scene = Scene::replica(&clock, store, &[1], settings, "com.example.app").await;
    let tokens = scene.begin();
    assert_eq!(scene.renew(&tokens.refresh).await.unwrap_err(), "store_unavailable");
    assert!(scene.sessions.end(&tokens.session_id).await.is_err());
    assert_eq!(scene.code(&tokens.access), "session_ended", "here at once");
}
