//! What ends a session before its time.

use super::*;

#[tokio::test]
async fn a_session_that_is_ended_is_over_here_at_once_and_elsewhere_when_it_is_told() {
    let scene = Scene::new().await;
    let [tokens, other] = [(); 2].map(|()| scene.begin());
    scene.sessions.end(&tokens.session_id).await.unwrap();
    assert_eq!(scene.code(&tokens.access), "session_ended");
    assert_eq!(scene.code(&other.access), "good");
    let elsewhere = scene.beside(&[1]).await;
    assert_eq!(elsewhere.code(&tokens.access), "session_ended");
    scene.sessions.end(&tokens.session_id).await.unwrap();
    assert_eq!((scene.counted("ended"), scene.metrics.ended_sessions.get()), (1, 1));
}

#[tokio::test]
async fn who_waits_for_the_end_of_a_session_hears_of_it() {
    let scene = Scene::new().await;
    let [tokens, other] = [(); 2].map(|()| scene.begin());
    let identity = scene.verifier.reopen(tokens.access.as_str()).unwrap();
    let ended = scene.sessions.ended(&identity);
    tokio::pin!(ended);
    scene.sessions.end(&other.session_id).await.unwrap();
    assert!(futures_util::poll!(ended.as_mut()).is_pending());
    scene.sessions.end(&tokens.session_id).await.unwrap();
    ended.await;
}

#[tokio::test]
async fn an_ended_session_is_remembered_until_no_token_of_it_can_be_left() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    scene.sessions.end(&tokens.session_id).await.unwrap();
    scene.clock.advance(Duration::from_hours(180 * 24));
    scene.sessions.sweep();
    assert_eq!(scene.metrics.ended_sessions.get(), 1);
    scene.clock.advance(Duration::from_mins(5));
    assert_eq!(scene.renew(&tokens.refresh).await.unwrap_err(), "session_expired");
    scene.sessions.sweep();
    assert_eq!(scene.metrics.ended_sessions.get(), 0);
}

#[tokio::test]
async fn a_session_that_ended_while_tokens_lived_for_less_stays_ended_when_they_live_for_more() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let settings = SessionSettings {
        access_lifetime: Duration::from_mins(1),
        refresh_lifetime: Duration::from_hours(1),
        ..SessionSettings::default()
    };
    let (clock, store) = (&scene.clock, Arc::clone(&scene.store));
    let shorter = Scene::replica(clock, store, &[1], settings, "com.example.app").await;
    shorter.sessions.end(&tokens.session_id).await.unwrap();
    scene.clock.advance(Duration::from_hours(24));
    let again = scene.beside(&[1]).await;
    assert_eq!(again.renew(&tokens.refresh).await.unwrap_err(), "session_ended");
}

#[tokio::test]
async fn a_session_that_ended_while_sessions_lived_for_less_stays_ended_when_they_live_for_more() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let hour = Duration::from_hours(1);
    let settings = SessionSettings {
        access_lifetime: Duration::from_mins(1),
        refresh_lifetime: hour,
        absolute_lifetime: hour,
        ..SessionSettings::default()
    };
    let (clock, store) = (&scene.clock, Arc::clone(&scene.store));
    let shorter = Scene::replica(clock, store, &[1], settings, "com.example.app").await;
    let session = shorter.verifier.reopen_refresh(tokens.refresh.as_str()).unwrap();
    shorter.sessions.end_of(session.session().identity()).await.unwrap();
    scene.clock.advance(Duration::from_hours(24));
    shorter.sessions.sweep();
    let again = scene.beside(&[1]).await;
    assert_eq!(again.renew(&tokens.refresh).await.unwrap_err(), "session_ended");
}

#[tokio::test]
async fn a_revocation_ends_the_sessions_of_earlier_sign_ins_renewed_ones_too() {
    let scene = Scene::new().await;
    let first = scene.begin();
    scene.clock.advance(Duration::from_mins(10));
    let renewed = scene.renew(&first.refresh).await.unwrap();
    let subject = identity_with(json!({})).subject().clone();
    scene.revocations.add(Revocation::new(subject, UnixTime::from_secs(NOW)));
    for text in [&first.access, &renewed.access] {
        assert_eq!(scene.code(text), "token_revoked");
    }
    assert_eq!(scene.renew(&renewed.refresh).await.unwrap_err(), "token_revoked");
    let anew = identity_with(json!({"iat": NOW + 1}));
    let anew = scene.sessions.begin(&anew, None).unwrap();
    assert_eq!(scene.code(&anew.access), "good", "a new sign-in");
}

/// Sessions that have not heard yet which were ended.
fn unread(scene: &Scene) -> Sessions {
    let surroundings = SessionSurroundings {
        store: Arc::clone(&scene.store),
        max_staleness: None,
        clock: Arc::new(scene.clock.clone()),
        metrics: Metrics::new(),
        tasks: TaskTracker::new(),
    };
    Sessions::following(keys(&[1]), SessionSettings::default(), surroundings)
}

#[tokio::test]
async fn a_browsers_session_can_be_ended_once_whether_or_not_anybody_can_say_that_it_is_good() {
    let scene = Scene::new().await;
    let identity = identity_with(json!({}));
    let cookie = scene.sessions.begin_in_browser(&identity, None, Duration::from_hours(1)).unwrap();
    let (unread, text) = (unread(&scene), cookie.value.as_str());
    // Idle for too long by the settings of today.
    scene.clock.advance(Duration::from_hours(2));
    assert_eq!(scene.code_in_browser(&cookie.value), "session_expired");
    let session = unread.find_unended(text).unwrap();
    assert_eq!(session.session_id(), &cookie.session_id);
    unread.end_span(session.span()).await.unwrap();
    assert!(unread.find_unended(text).is_none(), "it is over");
    assert!(unread.find_unended(scene.begin().access.as_str()).is_none(), "no browser's");
    scene.clock.advance(Duration::from_hours(181 * 24));
    assert!(scene.sessions.find_unended(text).is_none(), "no token of it is left");
}

#[tokio::test]
async fn no_session_opens_before_it_is_known_which_were_ended() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let unread = unread(&scene);
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
        .jwks_source(FixedJwks::new(JWKS))
        .clock(scene.clock)
        .sessions(unread)
        .build()
        .unwrap();
    let judged = verifier.reopen(tokens.access.as_str());
    assert_eq!(code_of(judged.map(drop)), "revocations_unavailable");
}

#[tokio::test]
async fn ended_sessions_that_a_store_lost_are_written_there_again() {
    let scene = Scene::new().await;
    let [tokens, other] = [(); 2].map(|()| scene.begin());
    scene.sessions.end(&tokens.session_id).await.unwrap();
    scene.sessions.end(&other.session_id).await.unwrap();
    let there = vec![scene.sessions.0.ended.record_of(&other.session_id, scene.sessions.now())];
    let missing = crate::store::Follower::load(&scene.sessions.0.ended, there);
    let [crate::store::Write::Raise(Space::EndedSessions, record)] = &missing[..] else {
        panic!("{missing:?}")
    };
    assert_eq!(record.key, tokens.session_id.to_text());
}
