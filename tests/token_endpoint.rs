//! What is asked of Apple in the name of an app, and what comes of it: against the simulator, which reads client secrets and
//! forms in its own way.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    ClientIds, Verifier, VerifyError,
    apple::{
        AppleApiSettings, AppleError, AppleFault, AuthorizationCode, RedirectUri, TeamKey,
        TokenEndpoint, TokenResponse,
    },
    clock::{Clock, ManualClock, UnixTime},
    sim::{
        Apple, faults::Fault as Failure, people::Person, sign_in::SignIn, teams::TeamKeyFile,
        token::TokenTemplate,
    },
    telemetry::Metrics,
    verify::{AppleRefreshToken, ClientId, Fault, HttpsJwks, HttpsOptions, TrustedUrl},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::metrics;

const APP: &str = "com.example.app";
const WEB: &str = "com.example.web";
const TEAM: &str = "DEF123GHIJ";
const CALLBACK: &str = "https://app.example/auth/apple/callback";

/// An Apple, and somebody who asks it.
struct Scene {
    apple: Apple,
    clock: ManualClock,
    key: TeamKeyFile,
    metrics: Metrics,
    endpoint: TokenEndpoint,
}

impl Scene {
    async fn new() -> Self {
        Self::with_timeout(Duration::from_secs(30)).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
        let key = apple.issue_team_key(TEAM, &[APP, WEB]);
        let metrics = Metrics::new();
        let settings = settings(&key, &apple.url(), timeout);
        let endpoint =
            TokenEndpoint::new(settings, Arc::new(clock.clone()), metrics.clone()).unwrap();
        Self { apple, clock, key, metrics, endpoint }
    }

    fn verifier(&self) -> Verifier {
        let keys = TrustedUrl::new(self.apple.jwks_url().parse().unwrap()).unwrap();
        Verifier::builder(ClientIds::new([APP, WEB]).unwrap())
            .jwks_source(HttpsJwks::new(keys).unwrap())
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap()
    }

    /// A code of Jane's from the native app.
    fn code(&self) -> AuthorizationCode {
        code(&self.apple.sign_in(&SignIn::to(APP)).code)
    }

    async fn exchange(&self, code: &AuthorizationCode) -> Result<TokenResponse, AppleFault> {
        self.endpoint.exchange(&id(APP), code, None).await
    }

    async fn refresh_token(&self) -> AppleRefreshToken {
        self.exchange(&self.code()).await.unwrap().refresh_token.unwrap()
    }

    fn metric(&self, line: &str) -> bool {
        metrics::check(line.rsplit_once(' ').unwrap().0);
        let page = self.metrics.render(self.clock.now()).unwrap();
        page.lines().any(|it| it == line)
    }
}

fn settings(key: &TeamKeyFile, url: &str, timeout: Duration) -> AppleApiSettings {
    let team_key = TeamKey::from_pem(&key.team_id, &key.key_id, key.text.as_bytes()).unwrap();
    let mut settings = AppleApiSettings::new(team_key);
    settings.url = TrustedUrl::new(url.parse().unwrap()).unwrap();
    settings.https = HttpsOptions::default().timeout(timeout);
    settings
}

fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

fn code(text: &str) -> AuthorizationCode {
    AuthorizationCode::parse(text).unwrap()
}

#[track_caller]
fn assert_code<T>(outcome: Result<T, AppleFault>, expected: &str) -> AppleFault {
    let Err(fault) = outcome else { panic!("it went well, and should be {expected}") };
    assert_eq!(fault.code(), expected, "{fault:?}");
    fault
}

#[tokio::test]
async fn a_code_is_exchanged_for_tokens_that_say_who_it_was() {
    let scene = Scene::new().await;
    let granted = scene.exchange(&scene.code()).await.unwrap();
    assert_eq!(granted.expires_in, Some(Duration::from_hours(1)));
    assert!(granted.refresh_token.is_some());
    let verifier = scene.verifier();
    let identity = granted.identity(&verifier, &id(APP)).await.unwrap().unwrap();
    assert_eq!(identity.subject().as_str(), Person::jane().subject);
    identity.check_access_token(granted.access_token.expose()).unwrap();
    let other = granted.identity(&verifier, &id(WEB)).await.unwrap_err();
    assert!(matches!(other, VerifyError::Rejected(fault) if fault.code() == "token_audience"));
    assert!(scene.metric(r#"siwa_apple_requests_total{operation="exchange",result="ok"} 1"#));
    assert!(!format!("{granted:?}").contains(granted.access_token.expose()));
}

#[tokio::test]
async fn a_code_is_spent_by_its_first_use() {
    let scene = Scene::new().await;
    let code = scene.code();
    scene.exchange(&code).await.unwrap();
    let fault = assert_code(scene.exchange(&code).await, "apple_invalid_grant");
    assert_eq!(fault.fault(), Fault::Caller);
}

#[tokio::test]
async fn a_code_is_for_one_app_and_five_minutes() {
    let scene = Scene::new().await;
    let web = scene.endpoint.exchange(&id(WEB), &scene.code(), None).await;
    assert_code(web, "apple_invalid_grant");
    let late = scene.code();
    scene.clock.advance(Duration::from_mins(5));
    assert_code(scene.exchange(&late).await, "apple_invalid_grant");
    assert_code(scene.exchange(&code("c0.0.never.issued")).await, "apple_invalid_grant");
}

#[tokio::test]
async fn a_code_from_the_web_is_exchanged_with_the_address_that_it_was_sent_to() {
    let scene = Scene::new().await;
    let issued = scene.apple.sign_in(&SignIn::to(WEB).sent_to(CALLBACK)).code;
    let exchange = async |uri: Option<&str>| {
        let uri = uri.map(|uri| RedirectUri::new(uri).unwrap());
        scene.endpoint.exchange(&id(WEB), &code(&issued), uri.as_ref()).await
    };
    for other in [None, Some("https://app.example/auth/apple/callback/")] {
        let fault = assert_code(exchange(other).await, "apple_other_redirect_uri");
        assert_eq!((fault.fault(), fault.is_operator_alarm()), (Fault::Caller, false));
    }
    exchange(Some(CALLBACK)).await.unwrap();
    let native = &scene.apple.asked()[0];
    assert_eq!(native.field("redirect_uri"), None);
    let told = scene.metric(&format!(r#"siwa_apple_client_refused{{client_id="{WEB}"}} 1"#));
    assert!(!told, "Apple knows the app, and nobody has anything to mend");
}

#[tokio::test]
async fn every_error_of_apples_has_a_reason_and_somebody_whose_fault_it_is() {
    let scene = Scene::new().await;
    for (error, expected, fault, is_alarm) in [
        ("invalid_request", "apple_invalid_request", Fault::Us, false),
        ("invalid_client", "apple_invalid_client", Fault::Us, true),
        ("invalid_grant", "apple_invalid_grant", Fault::Caller, false),
        ("unauthorized_client", "apple_unauthorized_client", Fault::Us, true),
        ("unsupported_grant_type", "apple_unsupported_grant_type", Fault::Us, false),
        ("invalid_scope", "apple_invalid_scope", Fault::Us, false),
        ("server_error", "apple_other_error", Fault::Us, false),
    ] {
        let refusal = Failure::Refusal(http::StatusCode::BAD_REQUEST, error.to_owned());
        // Whether it is the app that Apple does not know is asked by itself.
        let times = if error == "invalid_client" { 2 } else { 1 };
        scene.apple.fail_api_times(refusal, times);
        let found = assert_code(scene.exchange(&scene.code()).await, expected);
        assert_eq!((found.fault(), found.is_operator_alarm()), (fault, is_alarm), "{error}");
        assert!(!found.is_uncertain(), "{error}: Apple said no, and the code is as it was");
    }
}

#[tokio::test]
async fn every_way_not_to_answer_has_a_reason_and_is_apples_fault() {
    let scene = Scene::with_timeout(Duration::from_secs(1)).await;
    let status = |code| http::StatusCode::from_u16(code).unwrap();
    let too_many = || Failure::Refusal(status(429), "slow_down".to_owned());
    for (failure, expected, is_uncertain) in [
        (Failure::Status(status(500)), "apple_html", true),
        (Failure::Status(status(403)), "apple_html", true),
        (Failure::Html200, "apple_html", true),
        (Failure::Refusal(status(503), "server_error".to_owned()), "apple_status", true),
        (too_many(), "apple_throttled", false),
        (Failure::Garbage, "apple_malformed", true),
        (Failure::EmptySet, "apple_malformed", true),
        (Failure::Oversized, "apple_oversized", true),
        (Failure::Compressed, "apple_content_encoding", true),
        (Failure::Redirect("/elsewhere".parse().unwrap()), "apple_html", true),
        (Failure::Reset, "apple_interrupted", true),
        (Failure::Hang, "apple_timed_out", true),
        (Failure::Slow(Duration::from_mins(1)), "apple_timed_out", true),
    ] {
        scene.apple.fail_api_times(failure.clone(), 1);
        let found = assert_code(scene.exchange(&scene.code()).await, expected);
        assert_eq!(found.fault(), Fault::Apple, "{failure:?}");
        assert_eq!(found.is_uncertain(), is_uncertain, "{failure:?}");
    }
    scene.apple.stop().await;
    let found = assert_code(scene.exchange(&scene.code()).await, "apple_unreachable");
    assert!(!found.is_uncertain(), "nothing was sent");
}

#[tokio::test]
async fn nothing_is_asked_twice_and_a_lost_answer_may_have_spent_the_code() {
    let scene = Scene::new().await;
    let code = scene.code();
    scene.apple.fail_api_times(Failure::Reset, 1);
    assert_code(scene.exchange(&code).await, "apple_interrupted");
    assert_eq!(scene.apple.asked().len(), 1);
    assert_code(scene.exchange(&code).await, "apple_invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_is_good_until_the_person_stops_using_the_app() {
    let scene = Scene::new().await;
    let token = scene.refresh_token().await;
    let granted = scene.endpoint.validate(&id(APP), &token).await.unwrap();
    assert!(granted.refresh_token.is_none(), "Apple gives no new one");
    let identity = granted.identity(&scene.verifier(), &id(APP)).await.unwrap().unwrap();
    assert_eq!(identity.subject().as_str(), Person::jane().subject);
    assert_code(scene.endpoint.validate(&id(WEB), &token).await, "apple_invalid_grant");
    scene.apple.withdraw_consent(&Person::jane().subject, Some(APP));
    let fault = assert_code(scene.endpoint.validate(&id(APP), &token).await, "apple_invalid_grant");
    assert!(fault.to_string().ends_with("(The token has expired or has been revoked.)"));
}

#[tokio::test]
async fn a_revocation_ends_the_consent_and_says_the_same_when_there_is_none() {
    let scene = Scene::new().await;
    let token = scene.refresh_token().await;
    assert_code(scene.endpoint.revoke(&id(WEB), &token).await, "apple_invalid_grant");
    scene.endpoint.validate(&id(APP), &token).await.unwrap();
    scene.endpoint.revoke(&id(APP), &token).await.unwrap();
    assert_eq!(scene.apple.asked().last().unwrap().field("token_type_hint"), Some("refresh_token"));
    assert_code(scene.endpoint.validate(&id(APP), &token).await, "apple_invalid_grant");
    scene.endpoint.revoke(&id(APP), &token).await.unwrap();
    assert!(scene.apple.sign_in(&SignIn::to(APP)).user.is_some(), "the next time is a first one");
}

#[tokio::test]
async fn an_html_page_is_no_revocation() {
    let scene = Scene::new().await;
    let token = scene.refresh_token().await;
    scene.apple.fail_api_with(Failure::Html200);
    assert_code(scene.endpoint.revoke(&id(APP), &token).await, "apple_html");
    scene.apple.fail_api_with(Failure::EmptySet);
    assert_code(scene.endpoint.revoke(&id(APP), &token).await, "apple_malformed");
}

#[tokio::test]
async fn an_app_that_apple_does_not_know_by_the_key_is_an_alarm_until_it_does() {
    let scene = Scene::new().await;
    let refused = |value| format!(r#"siwa_apple_client_refused{{client_id="{APP}"}} {value}"#);
    scene.refresh_token().await;
    assert!(scene.metric(&refused(0)));
    scene.apple.revoke_team_key(&scene.key.key_id);
    let fault = assert_code(scene.exchange(&scene.code()).await, "apple_invalid_client");
    assert!(fault.is_operator_alarm());
    assert!(scene.metric(&refused(1)));
    scene.apple.fail_api_times(Failure::Html200, 1);
    assert_code(scene.exchange(&scene.code()).await, "apple_html");
    assert!(scene.metric(&refused(1)), "no answer is no news");
}

#[tokio::test]
async fn a_clock_that_is_right_again_is_enough_to_be_known_again() {
    let scene = Scene::new().await;
    let now = scene.clock.now();
    let ours = ManualClock::at(now.saturating_add(Duration::from_hours(1)));
    let settings = settings(&scene.key, &scene.apple.url(), Duration::from_secs(30));
    let endpoint = TokenEndpoint::new(settings, Arc::new(ours.clone()), Metrics::new()).unwrap();
    assert_code(endpoint.probe(&id(APP)).await, "apple_invalid_client");
    ours.set(now);
    endpoint.probe(&id(APP)).await.unwrap();
}

#[tokio::test]
async fn a_client_secret_is_minted_for_each_app_and_for_minutes() {
    let scene = Scene::new().await;
    let ask = async |app| {
        let token = AppleRefreshToken::parse("r0").unwrap();
        assert_code(scene.endpoint.validate(&id(app), &token).await, "apple_invalid_grant");
        let asked = scene.apple.asked();
        asked.last().unwrap().field("client_secret").unwrap().to_owned()
    };
    let first = ask(APP).await;
    assert_eq!(ask(APP).await, first);
    assert_ne!(ask(WEB).await, first);
    scene.clock.advance(Duration::from_mins(5));
    assert_ne!(ask(APP).await, first);
}

#[tokio::test]
async fn whether_apple_knows_an_app_can_be_asked_without_a_code() {
    let scene = Scene::new().await;
    scene.endpoint.probe(&id(APP)).await.unwrap();
    assert_code(scene.endpoint.probe(&id("com.example.other")).await, "apple_invalid_client");
}

/// Somebody who answers everything with `content`, and where.
async fn answering(content: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            drop(connection.read(&mut request).await);
            let length = content.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{content}"
            );
            drop(connection.write_all(answer.as_bytes()).await);
        }
    });
    url
}

async fn granted_by(
    scene: &Scene,
    content: serde_json::Value,
) -> Result<TokenResponse, AppleFault> {
    let url = answering(content.to_string()).await;
    let settings = settings(&scene.key, &url, Duration::from_secs(30));
    let endpoint =
        TokenEndpoint::new(settings, Arc::new(scene.clock.clone()), Metrics::new()).unwrap();
    endpoint.exchange(&id(APP), &code("c0"), None).await
}

#[tokio::test]
async fn an_identity_token_from_beside_another_access_token_is_refused() {
    let scene = Scene::new().await;
    let verifier = scene.verifier();
    let grant = async |template: TokenTemplate| {
        let id_token = scene.apple.mint(&template);
        let content = serde_json::json!({
            "access_token": "a-1", "token_type": "bearer", "expires_in": "3600", "id_token": id_token,
        });
        let granted = granted_by(&scene, content).await.unwrap();
        assert_eq!(granted.expires_in, Some(Duration::from_hours(1)));
        granted.identity(&verifier, &id(APP)).await
    };
    let plain = TokenTemplate::refresh_grant();
    let fault = grant(plain.clone().access_token("a-2")).await.unwrap_err();
    assert!(
        matches!(fault, VerifyError::Rejected(fault) if fault.code() == "token_access_token_hash")
    );
    grant(plain.clone().access_token("a-1")).await.unwrap().unwrap();
    grant(plain.without("at_hash")).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_granted_must_be_what_is_documented() {
    let scene = Scene::new().await;
    for content in [
        serde_json::json!({}),
        serde_json::json!([]),
        serde_json::json!({"access_token": "a-1"}),
        serde_json::json!({"access_token": "a-1", "token_type": "mac"}),
        serde_json::json!({"access_token": 1, "token_type": "bearer"}),
        serde_json::json!({"error": "invalid_grant"}),
    ] {
        assert_code(granted_by(&scene, content).await, "apple_malformed");
    }
    let least = serde_json::json!({"access_token": "a-1", "token_type": "BEARER"});
    let granted = granted_by(&scene, least).await.unwrap();
    assert!(granted.identity(&scene.verifier(), &id(APP)).await.unwrap().is_none());
}

#[test]
fn the_errors_of_the_wire_have_names() {
    assert_eq!(AppleError::InvalidGrant.as_str(), "invalid_grant");
    assert_eq!(AppleError::UnsupportedGrantType.to_string(), "unsupported_grant_type");
}
