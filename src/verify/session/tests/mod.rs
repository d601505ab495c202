//! The life of a session: what opens it, what renews it, and what ends it.

mod ending;
mod rotation;

use serde_json::json;

use super::{
    super::{
        AppleRefreshToken, ClientIds, FixedJwks, Revocation, Revocations, Verifier, VerifyError,
        claims::fixtures::{NOW, identity_with},
        seal::{Sealed, fixtures::keys},
    },
    *,
};
use crate::clock::ManualClock;

/// Apple's keys, of which no token is made here.
const JWKS: &[u8] = include_bytes!("../../../../tests/fixtures/jwks/2026-06-30-three-keys.json");

struct Scene {
    clock: ManualClock,
    store: Arc<dyn Store>,
    metrics: Metrics,
    revocations: Revocations,
    sessions: Sessions,
    verifier: Verifier,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(NOW));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self::replica(&clock, store, &[1], SessionSettings::default(), "com.example.app").await
    }

    /// Another process that has the same store.
    async fn beside(&self, numbers: &[u8]) -> Self {
        let (store, settings) = (Arc::clone(&self.store), SessionSettings::default());
        Self::replica(&self.clock, store, numbers, settings, "com.example.app").await
    }

    async fn replica(
        clock: &ManualClock,
        store: Arc<dyn Store>,
        numbers: &[u8],
        settings: SessionSettings,
        client_id: &str,
    ) -> Self {
        let (metrics, revocations) = (Metrics::new(), Revocations::new());
        let surroundings = SessionSurroundings {
            store: Arc::clone(&store),
            max_staleness: None,
            clock: Arc::new(clock.clone()),
            metrics: metrics.clone(),
            tasks: TaskTracker::new(),
        };
        let sessions = Sessions::following(keys(numbers), settings, surroundings);
        let listed = store.list(Space::EndedSessions).await.unwrap();
        drop(crate::store::Follower::load(&sessions.0.ended, listed));
        sessions.0.ended.rely();
        let verifier = Verifier::builder(ClientIds::new([client_id]).unwrap())
            .jwks_source(FixedJwks::new(JWKS))
            .clock(clock.clone())
            .revocations(revocations.clone())
            .sessions(sessions.clone())
            .build()
            .unwrap();
        Self { clock: clock.clone(), store, metrics, revocations, sessions, verifier }
    }

    fn begin(&self) -> SessionTokens {
        self.sessions.begin(&identity_with(json!({})), None).unwrap()
    }

    /// What the bearer of `text` is answered.
    fn code(&self, text: &Sealed) -> &'static str {
        code_of(self.verifier.reopen(text.as_str()).map(drop))
    }

    /// What the browser is answered whose cookie is `text`.
    fn code_in_browser(&self, text: &Sealed) -> &'static str {
        code_of(self.verifier.reopen_cookie(text.as_str()).map(drop))
    }

    /// Uses the refresh token `text`.
    async fn renew(&self, text: &Sealed) -> Result<SessionTokens, &'static str> {
        let opened = self.verifier.reopen_refresh(text.as_str());
        let refresh = opened.map_err(|error| code_of(Err(error)))?;
        self.sessions.renew(refresh).await.map_err(|error| match error {
            RenewError::Refused(fault) => fault.code(),
            RenewError::Unavailable(_) => "store_unavailable",
            RenewError::Seal(_) => "seal",
        })
    }

    fn counted(&self, event: &'static str) -> u64 {
        self.metrics.sessions.get_or_create(&SessionLabels { event }).get()
    }
}

fn code_of(judged: Result<(), VerifyError>) -> &'static str {
    match judged {
        Ok(()) => "good",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
        Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
    }
}

#[tokio::test]
async fn who_signed_in_is_who_the_session_is_of() {
    let scene = Scene::new().await;
    let identity = identity_with(json!({
        "aud": ["com.example.app", "com.example.web"], "email": "jane@example.com",
        "email_verified": true, "is_private_email": "true", "real_user_status": 2,
        "transfer_sub": "001999.r0001", "org_id": "o", "nonce": "n", "c_hash": "h",
    }));
    let sessions = &scene.sessions;
    let token = sessions.begin(&identity, None).unwrap().access;
    let cookie = sessions.begin_in_browser(&identity, None, Duration::from_hours(1)).unwrap();
    let by_token = sessions.open(token.as_str()).unwrap();
    let by_cookie = sessions.open_cookie(cookie.value.as_str()).unwrap();
    for reopened in [&by_token, &**by_cookie.session().identity()] {
        assert_eq!(reopened.issuer(), identity.issuer());
        assert_eq!(reopened.subject(), identity.subject());
        assert!(reopened.audience().eq(identity.audience()));
        assert_eq!(reopened.email(), identity.email());
        assert_eq!(reopened.real_user_status(), identity.real_user_status());
        assert_eq!(reopened.transfer_subject(), identity.transfer_subject());
        assert_eq!(reopened.key_id(), identity.key_id());
        assert_eq!(reopened.issued_at(), identity.issued_at());
        assert!(reopened.tells("org_id") && !reopened.tells("other"));
        assert!(reopened.session_id().is_some() && identity.session_id().is_none());
    }
}

#[tokio::test]
async fn an_access_token_lives_for_minutes_and_leeway_and_a_refresh_token_for_days() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    assert_eq!(tokens.access_expires_in, Duration::from_mins(15));
    assert_eq!(tokens.refresh_expires_in, Duration::from_hours(30 * 24));
    scene.clock.advance(Duration::from_secs(15 * 60 + 29));
    assert_eq!(scene.code(&tokens.access), "good");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.code(&tokens.access), "session_expired");
    let renewed = scene.renew(&tokens.refresh).await.unwrap();
    assert_eq!(scene.code(&renewed.access), "good");
    scene.clock.advance(Duration::from_hours(31 * 24));
    assert_eq!(scene.renew(&renewed.refresh).await.unwrap_err(), "session_expired");
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_renewed() {
    let scene = Scene::new().await;
    let mut tokens = scene.begin();
    for _ in 0..6 {
        scene.clock.advance(Duration::from_hours(29 * 24));
        tokens = scene.renew(&tokens.refresh).await.unwrap();
    }
    assert_eq!(tokens.refresh_expires_in, Duration::from_hours((180 - 6 * 29) * 24));
    scene.clock.advance(Duration::from_hours(7 * 24));
    assert_eq!(scene.renew(&tokens.refresh).await.unwrap_err(), "session_expired");
}

#[tokio::test]
async fn shorter_lifetimes_hold_for_tokens_that_were_made_before() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let settings = SessionSettings {
        access_lifetime: Duration::from_mins(1),
        refresh_lifetime: Duration::from_mins(2),
        ..SessionSettings::default()
    };
    let (clock, store) = (&scene.clock, Arc::clone(&scene.store));
    let shorter = Scene::replica(clock, store, &[1], settings, "com.example.app").await;
    scene.clock.advance(Duration::from_mins(3));
    assert_eq!(scene.code(&tokens.access), "good");
    assert_eq!(shorter.code(&tokens.access), "session_expired");
    assert_eq!(shorter.renew(&tokens.refresh).await.unwrap_err(), "session_expired");
}

#[tokio::test]
async fn a_longer_absolute_lifetime_is_for_sessions_that_begin_from_then_on() {
    let scene = Scene::new().await;
    let day = Duration::from_hours(24);
    let lasting = |absolute_lifetime| SessionSettings {
        absolute_lifetime,
        refresh_lifetime: 2 * day,
        ..SessionSettings::default()
    };
    let (clock, store) = (&scene.clock, || Arc::clone(&scene.store));
    let short = Scene::replica(clock, store(), &[1], lasting(2 * day), "com.example.app").await;
    let first = short.begin();
    let long = Scene::replica(clock, store(), &[1], lasting(9 * day), "com.example.app").await;
    clock.advance(day);
    let renewed = long.renew(&first.refresh).await.unwrap();
    assert_eq!(renewed.refresh_expires_in, day, "as was said when it began");
    assert_eq!(long.begin().refresh_expires_in, 2 * day);
    clock.advance(day + Duration::from_mins(1));
    assert_eq!(long.renew(&renewed.refresh).await.unwrap_err(), "session_expired");
}

#[tokio::test]
async fn an_app_that_is_not_accepted_any_more_has_no_sessions() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let settings = SessionSettings::default();
    let (clock, store) = (&scene.clock, Arc::clone(&scene.store));
    let other = Scene::replica(clock, store, &[1], settings, "com.example.other").await;
    assert_eq!(other.code(&tokens.access), "token_audience");
    assert_eq!(other.renew(&tokens.refresh).await.unwrap_err(), "token_audience");
}

#[tokio::test]
async fn each_kind_of_token_is_good_for_one_thing() {
    let scene = Scene::new().await;
    let tokens = scene.begin();
    let cookie = scene
        .sessions
        .begin_in_browser(&identity_with(json!({})), None, Duration::from_hours(1))
        .unwrap();
    assert_eq!(scene.code(&tokens.refresh), "session_wrong_kind");
    assert_eq!(scene.code(&cookie.value), "session_wrong_kind", "a cookie is no bearer token");
    assert_eq!(scene.code_in_browser(&cookie.value), "good");
    for text in [&tokens.access, &tokens.refresh] {
        assert_eq!(scene.code_in_browser(text), "session_wrong_kind");
    }
    for text in [&tokens.access, &cookie.value] {
        assert_eq!(scene.renew(text).await.unwrap_err(), "session_wrong_kind");
    }
}

#[tokio::test]
async fn what_does_not_say_when_its_session_is_over_is_of_no_session() {
    let scene = Scene::new().await;
    let (tokens, keys) = (scene.begin(), scene.sessions.keys());
    let identity = identity_with(json!({}));
    let cookie = scene.sessions.begin_in_browser(&identity, None, Duration::from_hours(1)).unwrap();
    let judged = |purpose, sealed: &Sealed| match purpose {
        Purpose::Access => scene.code(sealed),
        Purpose::Cookie => scene.code_in_browser(sealed),
        Purpose::Refresh | Purpose::Nonce | Purpose::State => {
            code_of(scene.verifier.reopen_refresh(sealed.as_str()).map(drop))
        }
    };
    for (purpose, sealed) in [
        (Purpose::Access, &tokens.access),
        (Purpose::Refresh, &tokens.refresh),
        (Purpose::Cookie, &cookie.value),
    ] {
        let mut content: serde_json::Value = keys.open(purpose, sealed.as_str()).unwrap();
        assert_eq!(judged(purpose, &keys.seal(purpose, &content).unwrap()), "good");
        content["who"].as_object_mut().unwrap().remove("end").unwrap();
        let endless = keys.seal(purpose, &content).unwrap();
        assert_eq!(judged(purpose, &endless), "session_malformed");
    }
}

/// Apple's refresh token, and when Apple last said that it holds.
fn told(session: &OpenedSession) -> Option<(&str, u64)> {
    let grant = session.grant()?;
    Some((grant.refresh_token.expose(), grant.checked_at.as_secs()))
}

#[tokio::test]
async fn a_browsers_session_is_renewed_with_all_that_it_holds() {
    let scene = Scene::new().await;
    let grant = AppleGrant {
        refresh_token: AppleRefreshToken::parse("r.0.secret").unwrap(),
        client_id: super::super::ClientId::new("com.example.web").unwrap(),
        checked_at: UnixTime::from_secs(NOW - 5),
    };
    let hour = Duration::from_hours(1);
    let identity = identity_with(json!({}));
    let cookie = scene.sessions.begin_in_browser(&identity, Some(&grant), hour).unwrap();
    scene.clock.advance(Duration::from_mins(50));
    let opened = scene.verifier.reopen_cookie(cookie.value.as_str()).unwrap();
    assert_eq!(told(opened.session()), Some(("r.0.secret", NOW - 5)));
    assert_eq!(opened.session().identity().sealed_at(), Some(UnixTime::from_secs(NOW)));
    let renewed = scene.sessions.renew_in_browser(opened, hour).unwrap();
    assert_eq!(renewed.session_id, cookie.session_id);
    scene.clock.advance(Duration::from_mins(20));
    assert_eq!(scene.code_in_browser(&cookie.value), "session_expired");
    let opened = scene.verifier.reopen_cookie(renewed.value.as_str()).unwrap();
    assert_eq!(told(opened.session()), Some(("r.0.secret", NOW - 5)));
    assert!(!format!("{opened:?} {grant:?} {cookie:?}").contains("secret"));
}

#[tokio::test]
async fn apples_grant_goes_with_the_refresh_token_and_never_with_the_access_token() {
    let scene = Scene::new().await;
    let grant = |at| AppleGrant {
        refresh_token: AppleRefreshToken::parse("r.0.secret").unwrap(),
        client_id: super::super::ClientId::new("com.example.app").unwrap(),
        checked_at: UnixTime::from_secs(at),
    };
    let identity = identity_with(json!({}));
    let tokens = scene.sessions.begin(&identity, Some(&grant(NOW))).unwrap();
    let access: serde_json::Value =
        keys(&[1]).open(Purpose::Access, tokens.access.as_str()).unwrap();
    assert!(!access.to_string().contains("secret"), "{access}");
    let refresh = scene.verifier.reopen_refresh(tokens.refresh.as_str()).unwrap();
    assert_eq!(told(refresh.session()), Some(("r.0.secret", NOW)));
    let refresh = refresh.with_grant(Some(grant(NOW + 9)));
    let renewed = scene.sessions.renew(refresh).await.unwrap();
    let refresh = scene.verifier.reopen_refresh(renewed.refresh.as_str()).unwrap();
    assert_eq!(told(refresh.session()), Some(("r.0.secret", NOW + 9)));
}
