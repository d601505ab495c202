//! The verifier as a library, with the simulator as Apple.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    ClientIds, ExpectedNonce, Identity, UnverifiedToken, Verifier, VerifyError,
    clock::{Clock, ManualClock, UnixTime},
    sim::{Apple, faults::Fault, token::TokenTemplate},
    telemetry::Metrics,
    verify::{HttpsJwks, JwksSettings, TrustedUrl},
};

/// A verifier whose Apple is a simulator, on a clock that stands still.
struct Setting {
    apple: Apple,
    clock: ManualClock,
    metrics: Metrics,
    verifier: Verifier,
}

impl Setting {
    async fn new() -> Self {
        Self::with(JwksSettings::default()).await
    }

    async fn with(jwks: JwksSettings) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
        let metrics = Metrics::new();
        let source =
            HttpsJwks::new(TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap()).unwrap();
        let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
            .jwks_source(source)
            .jwks_settings(jwks)
            .clock(clock.clone())
            .metrics(metrics.clone())
            .build()
            .unwrap();
        Self { apple, clock, metrics, verifier }
    }

    async fn verify(&self, token: &str) -> Result<Arc<Identity>, VerifyError> {
        self.verifier.verify(&UnverifiedToken::parse(token)?).await
    }

    async fn code(&self, token: &str) -> &'static str {
        match self.verify(token).await {
            Ok(_) => "accepted",
            Err(VerifyError::Rejected(fault)) => fault.code(),
            Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
            Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
        }
    }

    fn hits(&self) -> u64 {
        let page = self.metrics.render(self.clock.now()).unwrap();
        let line =
            page.lines().find(|line| line.starts_with(r#"siwa_verdicts_total{cache="hit"}"#));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

#[tokio::test]
async fn every_shape_of_token_that_apple_sends_is_accepted() {
    let setting = Setting::new().await;
    for template in [
        TokenTemplate::native(),
        TokenTemplate::relay_email(),
        TokenTemplate::no_email(),
        TokenTemplate::legacy_string_booleans(),
        TokenTemplate::work_and_school(),
        TokenTemplate::refresh_grant(),
        TokenTemplate::minutes_2019(),
    ] {
        let token = setting.apple.mint(&template);
        assert_eq!(setting.code(&token).await, "accepted", "{template:?}");
    }
}

#[tokio::test]
async fn a_cached_verdict_expires_with_its_token() {
    let setting = Setting::new().await;
    let token = setting.apple.mint(&TokenTemplate::native());
    assert_eq!(setting.code(&token).await, "accepted");
    assert_eq!(setting.code(&token).await, "accepted");
    assert_eq!(setting.hits(), 1);
    setting.clock.advance(Duration::from_secs(24 * 60 * 60 + 29));
    assert_eq!(setting.code(&token).await, "accepted");
    setting.clock.advance(Duration::from_secs(1));
    assert_eq!(setting.code(&token).await, "token_expired");
    assert_eq!(setting.hits(), 3, "the verdict was remembered, and time was asked all the same");
}

#[tokio::test]
async fn a_remembered_token_is_not_valid_yet_once_the_clock_was_set_back() {
    let setting = Setting::new().await;
    let now = setting.clock.now();
    let begins = now.as_secs() + 20;
    let issued = setting.apple.mint(&TokenTemplate::native());
    let not_before = setting
        .apple
        .mint(&TokenTemplate::native().claim("iat", now.as_secs() - 3_600).claim("nbf", begins));
    for (token, begin) in [(issued, now.as_secs()), (not_before, begins)] {
        setting.clock.set(now);
        assert_eq!(setting.code(&token).await, "accepted");
        setting.clock.set(UnixTime::from_secs(begin - 30));
        assert_eq!(setting.code(&token).await, "accepted", "within the leeway");
        setting.clock.set(UnixTime::from_secs(begin - 31));
        assert_eq!(setting.code(&token).await, "token_not_yet_valid");
        setting.clock.set(now);
        assert_eq!(setting.code(&token).await, "accepted", "the verdict stands");
    }
    assert_eq!(setting.hits(), 6, "every answer but the first two came from a verdict");
}

#[tokio::test]
async fn nonce_and_code_are_asked_of_the_identity_and_leave_the_verdict_as_it_is() {
    let setting = Setting::new().await;
    let token = setting.apple.mint(&TokenTemplate::native().nonce("raw").code("code"));
    let (right, wrong) = (ExpectedNonce::new("raw").unwrap(), ExpectedNonce::new("other").unwrap());
    for _ in 0..2 {
        let identity = setting.verify(&token).await.unwrap();
        assert!(identity.check_nonce(&right).is_ok() && identity.check_code("code").is_ok());
        assert_eq!(identity.check_nonce(&wrong).unwrap_err().code(), "token_nonce");
        assert_eq!(identity.check_code("other").unwrap_err().code(), "token_code_hash");
    }
    assert_eq!(setting.hits(), 1);

    let refreshed = setting.apple.mint(&TokenTemplate::refresh_grant());
    let identity = setting.verify(&refreshed).await.unwrap();
    assert_eq!(identity.check_nonce(&right).unwrap_err().code(), "token_nonce");
    assert_eq!(identity.check_code("code").unwrap_err().code(), "token_code_hash");
}

#[tokio::test]
async fn a_withdrawn_key_ends_its_verdicts_at_the_next_fetch() {
    let cooldown =
        JwksSettings { unknown_key_cooldown: JwksSettings::SHORTEST, ..JwksSettings::default() };
    let setting = Setting::with(cooldown).await;
    let old = setting.apple.mint(&TokenTemplate::native());
    assert_eq!(setting.code(&old).await, "accepted");
    setting.apple.keys().replace_all();
    let new = setting.apple.mint(&TokenTemplate::native());
    assert_eq!(setting.code(&old).await, "accepted", "nobody has fetched since");
    assert_eq!(setting.code(&new).await, "accepted", "a new key is fetched at once");
    assert_eq!(setting.code(&old).await, "token_unknown_key");
}

#[tokio::test]
async fn a_token_of_another_apple_does_not_pass() {
    let setting = Setting::new().await;
    let stranger = Apple::start(Arc::new(setting.clock.clone())).await.unwrap();
    let token = stranger.mint(&TokenTemplate::native());
    assert_eq!(setting.code(&token).await, "token_unknown_key");

    let same_name = siwa_proxy::sim::keys::SigningKey::generate()
        .with_kid(setting.apple.keys().signing().kid());
    let token = stranger.mint_with(&same_name, &TokenTemplate::native());
    assert_eq!(setting.code(&token).await, "token_signature");
}

#[tokio::test]
async fn a_token_is_judged_with_the_issuer_to_whom_the_key_belongs() {
    let setting = Setting::new().await;
    setting.apple.set_issuer("https://account.apple.com");
    let token = setting.apple.mint(&TokenTemplate::native());
    assert_eq!(setting.code(&token).await, "token_issuer");
}

#[tokio::test]
async fn apple_is_asked_with_our_own_user_agent() {
    let setting = Setting::new().await;
    setting.verifier.ready().await;
    assert_eq!(
        setting.apple.user_agent().unwrap(),
        concat!("siwa-proxy/", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn whatever_apple_answers_instead_of_keys_is_no_key_set() {
    for fault in [
        Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR),
        Fault::Status(http::StatusCode::FORBIDDEN),
        Fault::Html200,
        Fault::Garbage,
        Fault::EmptySet,
        Fault::Redirect(http::HeaderValue::from_static("/auth/keys")),
        Fault::Oversized,
        Fault::Reset,
    ] {
        let name = format!("{fault:?}");
        let setting = Setting::failing(fault).await;
        let token = setting.apple.mint(&TokenTemplate::native());
        assert_eq!(setting.code(&token).await, "keys_unavailable", "{name}");
    }
}

impl Setting {
    /// A verifier that finds Apple in trouble from the start.
    async fn failing(fault: Fault) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
        apple.fail_with(fault);
        let source =
            HttpsJwks::new(TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap()).unwrap();
        let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
            .jwks_source(source)
            .clock(clock.clone())
            .build()
            .unwrap();
        Self { apple, clock, metrics: Metrics::new(), verifier }
    }
}
