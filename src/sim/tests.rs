//! The simulator through its socket.

use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{StatusCode, header::LOCATION, response};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use super::{event::Event, *};
use crate::clock::{ManualClock, UnixTime};

type Received = (response::Parts, Bytes);

/// Sends `request` on a connection of its own and reads the whole answer.
pub(super) async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<Received> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request).await?.into_parts();
    Ok((parts, body.collect().await?.to_bytes()))
}

pub(super) async fn start() -> Apple {
    Apple::start(Arc::new(ManualClock::at(UnixTime::from_secs(1_700_000_000)))).await.unwrap()
}

async fn fetch(apple: &Apple) -> anyhow::Result<Received> {
    send(Request::get(apple.jwks_url()).body(Full::default())?).await
}

async fn fetch_kids(apple: &Apple) -> Vec<String> {
    let (_, body) = fetch(apple).await.unwrap();
    let jwk_set: Value = serde_json::from_slice(&body).unwrap();
    jwk_set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|jwk| jwk["kid"].as_str().unwrap().to_owned())
        .collect()
}

pub(super) async fn post(
    apple: &Apple,
    path: &str,
    body: impl Into<Full<Bytes>>,
) -> (StatusCode, Value) {
    let request = Request::post(format!("{}{path}", apple.url())).body(body.into()).unwrap();
    let (parts, body) = send(request).await.unwrap();
    (parts.status, serde_json::from_slice(&body).unwrap())
}

/// Checks the signature with the published keys alone, and returns the claims.
pub(super) async fn open(apple: &Apple, token: &str) -> Value {
    let (_, body) = fetch(apple).await.unwrap();
    let jwk_set: Value = serde_json::from_slice(&body).unwrap();
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signing_input.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let jwk =
        jwk_set["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == header["kid"]).unwrap();
    let part = |name: &str| decode(jwk[name].as_str().unwrap());
    RsaPublicKeyComponents { n: part("n"), e: part("e") }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signing_input.as_bytes(), &decode(signature))
        .unwrap();
    serde_json::from_slice(&decode(payload)).unwrap()
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

#[tokio::test]
async fn a_minted_token_verifies_with_the_published_keys() {
    let apple = start().await;
    let claims = open(&apple, &apple.mint(&TokenTemplate::native())).await;
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["exp"], 1_700_086_400);

    apple.keys().rotate();
    apple.set_issuer("https://account.apple.com");
    let claims =
        open(&apple, &apple.mint(&TokenTemplate::notification(Event::consent_revoked("001"))))
            .await;
    assert_eq!(claims["iss"], "https://account.apple.com");
}

#[tokio::test]
async fn a_token_can_be_signed_with_a_key_that_nobody_published() {
    let apple = start().await;
    let stranger = SigningKey::generate().with_kid(apple.keys().signing().kid());
    let template = TokenTemplate::native();
    let (genuine, forged) = (apple.mint(&template), apple.mint_with(&stranger, &template));
    assert_eq!(genuine.rsplit_once('.').unwrap().0, forged.rsplit_once('.').unwrap().0);
    assert_ne!(genuine, forged);
}

#[tokio::test]
async fn the_key_set_forbids_caching_and_turns_between_fetches() {
    let apple = start().await;
    apple.keys().publish(SigningKey::generate());

    let (parts, _) = fetch(&apple).await.unwrap();
    assert_eq!(parts.headers["content-type"], "application/json");
    assert_eq!(parts.headers["cache-control"], "no-store");
    assert_eq!(parts.headers["pragma"], "no-cache");

    let (first, second) = (fetch_kids(&apple).await, fetch_kids(&apple).await);
    assert_ne!(first, second);
    assert_eq!(first, second.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn fetches_are_counted_and_their_user_agent_is_noted() {
    let apple = start().await;
    assert_eq!((apple.fetches(), apple.user_agent()), (0, None));

    let request =
        Request::get(apple.jwks_url()).header(USER_AGENT, "siwa/1").body(Full::default()).unwrap();
    send(request).await.unwrap();
    assert_eq!((apple.fetches(), apple.user_agent().as_deref()), (1, Some("siwa/1")));

    apple.fail_with(Fault::Status(StatusCode::FORBIDDEN));
    fetch(&apple).await.unwrap();
    apple.fetched(2).await;
    assert_eq!((apple.fetches(), apple.user_agent()), (2, None));
}

#[tokio::test]
async fn each_fault_spoils_the_answer_in_its_own_way_until_recovery() {
    let apple = start().await;
    for (fault, status, media_type, start) in [
        (
            Fault::Status(StatusCode::FORBIDDEN),
            403,
            "text/html",
            "<html>\n<head><title>403 Forbidden",
        ),
        (Fault::Html200, 200, "text/html", "<html>"),
        (Fault::Garbage, 200, "application/json", r#"{"keys":[{"#),
        (Fault::EmptySet, 200, "application/json", r#"{"keys":[]}"#),
        (Fault::Redirect(HeaderValue::from_static("/x")), 302, "text/html", ""),
    ] {
        apple.fail_with(fault);
        let (parts, body) = fetch(&apple).await.unwrap();
        assert_eq!((parts.status.as_u16(), body.starts_with(start.as_bytes())), (status, true));
        assert_eq!(parts.headers["content-type"], media_type);
        assert_eq!(parts.headers.contains_key(LOCATION), status == 302);
    }
    apple.recover();
    assert_eq!(fetch_kids(&apple).await, apple.keys().kids());
}

#[tokio::test]
async fn an_oversized_answer_announces_no_length() {
    let apple = start().await;
    apple.fail_with(Fault::Oversized);
    let (parts, body) = fetch(&apple).await.unwrap();
    assert_eq!((parts.headers.get("content-length"), body.len()), (None, 10 * 1024 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_the_right_one() {
    let apple = start().await;
    let delay = Duration::from_secs(90);
    apple.fail_with(Fault::Slow(delay));
    let before = tokio::time::Instant::now();
    assert_eq!(fetch_kids(&apple).await, apple.keys().kids());
    assert!(before.elapsed() >= delay);
}

#[tokio::test]
async fn a_reset_closes_the_connection_without_an_answer() {
    let apple = start().await;
    apple.fail_with(Fault::Reset);
    fetch(&apple).await.unwrap_err();
    assert_eq!(apple.fetches(), 1);
}

#[tokio::test]
async fn a_hanging_fetch_ends_when_apple_stops() {
    let apple = start().await;
    apple.fail_with(Fault::Hang);
    let (answer, ()) = tokio::join!(fetch(&apple), async {
        apple.fetched(1).await;
        apple.stop().await;
    });
    answer.unwrap_err();
}

#[tokio::test]
async fn dropping_apple_ends_its_connections() {
    let apple = start().await;
    apple.fail_with(Fault::Hang);
    let request = Request::get(apple.jwks_url()).body(Full::default()).unwrap();
    let (answer, ()) = tokio::join!(send(request), async move {
        apple.fetched(1).await;
        drop(apple);
    });
    answer.unwrap_err();
}

#[tokio::test]
async fn a_stopped_apple_refuses_connections_and_comes_back_with_its_keys() {
    let apple = start().await;
    let kids = fetch_kids(&apple).await;

    apple.stop().await;
    let refused = tokio::net::TcpStream::connect(apple.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    apple.restart().await.unwrap();
    assert_eq!(fetch_kids(&apple).await, kids);
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let clock = Arc::new(ManualClock::at(UnixTime::from_secs(0)));
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = Apple::start_on(address.parse().unwrap(), Arc::<ManualClock>::clone(&clock))
            .await
            .unwrap_err();
        assert!(matches!(refused, StartError::NotLoopback(_)));
    }
}

#[tokio::test]
async fn tokens_are_minted_over_http() {
    let apple = start().await;
    let order = json!({
        "preset": "relay_email",
        "claims": { "nonce": "n-1", "aud": "com.example.other" },
        "remove": ["is_private_email"],
        "header": { "typ": "JWT" },
        "issued_seconds_ago": 100,
    });

    let (status, answer) = post(&apple, "/sim/token", order.to_string()).await;

    let token = answer["identity_token"].as_str().unwrap();
    let claims = open(&apple, token).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(claims["iat"], 1_699_999_900);
    assert_eq!((&claims["nonce"], &claims["aud"]), (&json!("n-1"), &json!("com.example.other")));
    assert_eq!(
        (&claims["email"], claims.get("is_private_email")),
        (&json!(presets::RELAY_EMAIL), None)
    );
    let header: Value = serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap();
    assert_eq!(header, json!({"kid": apple.keys().signing().kid(), "alg": "RS256", "typ": "JWT"}));

    let (_, plain) = post(&apple, "/sim/token", "").await;
    assert_eq!(plain["identity_token"], apple.mint(&TokenTemplate::native()));
}

#[tokio::test]
async fn notifications_are_minted_over_http_as_apple_posts_them() {
    let apple = start().await;
    let (status, answer) =
        post(&apple, "/sim/notification", r#"{"type":"account-delete","sub":"001"}"#).await;
    assert_eq!(status, StatusCode::OK);
    let claims = open(&apple, answer["payload"].as_str().unwrap()).await;
    assert_eq!(
        claims["events"],
        r#"{"type":"account-delete","sub":"001","event_time":1700000000000}"#
    );
}

#[tokio::test]
async fn keys_are_rotated_and_withdrawn_over_http() {
    let apple = start().await;
    let first = apple.keys().signing();

    let (_, answer) = post(&apple, "/sim/keys/rotate", "").await;
    let second = apple.keys().signing();
    assert_eq!(answer, json!({"signing": second.kid(), "published": [first.kid(), second.kid()]}));

    let (_, answer) =
        post(&apple, "/sim/keys/withdraw", json!({"kid": first.kid()}).to_string()).await;
    assert_eq!(answer, json!({"signing": second.kid(), "published": [second.kid()]}));

    let (_, answer) = post(&apple, "/sim/keys/rotate", r#"{"old_keys":"drop"}"#).await;
    let third = apple.keys().signing();
    assert_eq!(answer, json!({"signing": third.kid(), "published": [third.kid()]}));
}

#[tokio::test]
async fn faults_are_set_and_ended_over_http() {
    let apple = start().await;
    post(&apple, "/sim/fault", r#"{"fault":"status","status":500}"#).await;
    assert_eq!(fetch(&apple).await.unwrap().0.status, StatusCode::INTERNAL_SERVER_ERROR);
    post(&apple, "/sim/fault", r#"{"fault":null}"#).await;
    assert_eq!(fetch(&apple).await.unwrap().0.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_with_a_reason() {
    let apple = start().await;
    for (path, body, status, reason) in [
        ("/sim/token", "{", 400, "EOF"),
        ("/sim/token", r#"{"presets":"native"}"#, 400, "unknown field `presets`"),
        ("/sim/token", r#"{"preset":"naive"}"#, 400, "expected one of `native`, `relay_email`"),
        ("/sim/keys/withdraw", "", 400, "missing field `kid`"),
        ("/sim/keys/withdraw", r#"{"kid":"nobody"}"#, 400, "no key \"nobody\" is published"),
        ("/sim/fault", r#"{"fault":"flood"}"#, 400, "unknown variant `flood`"),
        ("/sim/tokens", "", 404, "GET / lists them"),
    ] {
        let (answered, answer) = post(&apple, path, body).await;
        let said = answer["error"].as_str().unwrap();
        assert!(answered == status && said.contains(reason), "{path} {body}: {answered} {said}");
    }

    let (status, _) = post(&apple, "/sim/token", vec![b' '; 64 * 1024 + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_front_page_names_every_endpoint_and_every_preset_works() {
    let apple = start().await;
    let (_, page) = send(Request::get(apple.url()).body(Full::default()).unwrap()).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    for word in [
        "/auth/keys",
        "/auth/authorize",
        "/appleauth/static/jsapi/appleid/1/en_US/appleid.auth.js",
        "/sim/sign-in",
        "/sim/consent/withdraw",
        "/sim/clients",
        "/auth/token",
        "/auth/revoke",
        "/auth/usermigrationinfo",
        "/sim/team-key",
        "/sim/token",
        "/sim/notification",
        "/sim/keys/rotate",
        "/sim/keys/withdraw",
        "/sim/fault",
    ] {
        assert!(page.contains(word));
    }
    let (_, rest) = page.split_once("Presets: ").unwrap();
    let (presets, _) = rest.split_once("POST").unwrap();
    for preset in presets.split(',') {
        let (status, _) =
            post(&apple, "/sim/token", json!({"preset": preset.trim()}).to_string()).await;
        assert_eq!(status, StatusCode::OK, "{preset}");
    }
}
