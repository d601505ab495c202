//! Apple's server-to-server notifications: what is taken, what is refused, and what is remembered.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier, VerifyError,
    apple::{AccountEvent, EventKind, Notification},
    clock::{ManualClock, UnixTime},
    sim::{event::Event, keys::SigningKey, presets::SUBJECT, token::TokenTemplate},
    verify::FixedJwks,
};

use tokio::io::AsyncWriteExt;

use crate::support::{
    House, Reply, application,
    notifying::{ON, PATH, post, post_notification, send},
    open, read_head, read_reply,
};

const KEYS: &[u8] = include_bytes!("fixtures/jwks/all-known-keys.json");
const GENUINE: &str =
    include_str!("fixtures/tokens/2021-08-server-notification-email-disabled.json");

/// The notification that Apple sent in August 2021, and the time at which it was good.
fn genuine() -> (String, UnixTime) {
    let fixture: serde_json::Value = serde_json::from_str(GENUINE).unwrap();
    let at = UnixTime::from_secs(fixture["clock_hint"].as_u64().unwrap());
    (fixture["token"].as_str().unwrap().to_owned(), at)
}

fn verifier(client_id: &str, now: UnixTime) -> Verifier {
    Verifier::builder(ClientIds::new([client_id]).unwrap())
        .jwks_source(FixedJwks::new(KEYS))
        .clock(ManualClock::at(now))
        .build()
        .unwrap()
}

async fn code(verifier: &Verifier, token: &str) -> &'static str {
    let received = match UnverifiedToken::parse(token) {
        Ok(token) => verifier.receive(&token).await.map(drop),
        Err(fault) => Err(fault.into()),
    };
    match received {
        Ok(()) => "received",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn apples_notification_of_2021_is_understood_at_its_time() {
    let (token, at) = genuine();
    let verifier = verifier("com.gameroasters.stack4", at);
    let signed = verifier.receive(&UnverifiedToken::parse(&token).unwrap()).await.unwrap();
    assert_eq!(signed.id(), "B94OdD03pFsaYaN-Ftv7mA");
    let notification = Notification::read(&signed).unwrap();
    assert!(notification.revocations().is_empty());
    let AccountEvent::Known { kind, subject, at, relay } = notification.event else { panic!() };
    assert_eq!(kind, EventKind::EmailDisabled);
    assert_eq!(subject.as_str(), "001026.16112b36378440d995af22b268f00984.1744");
    assert_eq!(at.as_secs(), 1_630_085_403, "Apple wrote 1630085403648 milliseconds");
    let relay = relay.unwrap();
    assert_eq!(relay.address(), "zdfu7jtuus@privaterelay.appleid.com");
    assert_eq!(relay.is_private(), Some(true), "Apple wrote a string");
}

#[tokio::test]
async fn apples_notification_of_2021_is_refused_altered_stale_and_for_another_app() {
    let (token, at) = genuine();
    let theirs = verifier("com.gameroasters.stack4", at);
    for place in (0..token.len()).step_by(7) {
        let mut altered = token.clone().into_bytes();
        altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_ne!(code(&theirs, &altered).await, "received", "altered at {place}");
    }
    let later = at.saturating_add(Duration::from_hours(25));
    let stale = verifier("com.gameroasters.stack4", later);
    assert_eq!(code(&stale, &token).await, "token_expired");
    let other = verifier("com.example.app", at);
    assert_eq!(code(&other, &token).await, "token_audience");
}

/// A key endpoint with the keys that Apple has had.
async fn serve_keys() -> SocketAddr {
    application(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", KEYS.len());
            stream.write_all(&[head.as_bytes(), KEYS].concat()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn the_genuine_notification_is_taken_by_the_door_once_and_then_again_without_effect() {
    let (token, at) = genuine();
    let keys = serve_keys().await;
    let extra = format!(
        "{ON}\napple.client_ids = ['com.gameroasters.stack4']\njwks.url = 'http://{keys}/auth/keys'"
    );
    let house = House::build(&extra, Arc::new(ManualClock::at(at)), |_| {}).await;
    house.ready().await;
    let reply = post_notification(house.address, &token).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(post_notification(house.address, &token).await.status, 200);
    let counted = |outcome: &str| {
        format!("siwa_notifications_total{{event=\"email_disabled\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(house.metric(&counted("stored")).await, 1);
    assert_eq!(house.metric(&counted("repeated")).await, 1);
}

#[tokio::test]
async fn every_answer_has_the_name_of_its_request_and_is_kept_by_nobody() {
    let house = House::with(&format!("{ON}\nserver.trusted_peers = ['127.0.0.1']")).await;
    let event = TokenTemplate::notification(Event::consent_revoked(SUBJECT));
    let good = format!("{{\"payload\":\"{}\"}}", house.apple.mint(&event));
    for (id, method, body, status) in [
        ("stored", "POST", &*good, 200),
        ("repeated", "POST", &*good, 200),
        ("unsigned", "POST", "{\"payload\":\"a.b.c\"}", 400),
        ("unknown", "POST", "nothing", 400),
        ("asked", "GET", "", 405),
    ] {
        let told = format!("X-Request-Id: {id}\r\n");
        let reply = send(house.address, method, PATH, &told, body).await;
        assert_eq!((reply.status, reply.header("x-request-id")), (status, vec![id]));
        assert_eq!(reply.header("cache-control"), ["no-store"], "{id}");
    }
}

async fn count(house: &House, event: &str, outcome: &str) -> u64 {
    let metric = format!("siwa_notifications_total{{event=\"{event}\",outcome=\"{outcome}\"}}");
    house.metric(&metric).await
}

#[tokio::test]
async fn an_event_of_a_kind_that_nobody_knows_is_200_and_told_in_the_metrics() {
    let house = House::with(ON).await;
    assert_eq!(house.notify(Event::new("account-restored", SUBJECT)).await.status, 200);
    assert_eq!(count(&house, "unknown", "ignored").await, 1);
}

#[tokio::test]
async fn notifications_are_understood_as_apples_page_shows_them_too() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = House::build(ON, Arc::new(clock), |_| {}).await;
    house.ready().await;
    let (old, new) = (1_799_999_900, 1_799_999_950);
    let [before, after] = [old, new]
        .map(|at| house.bearer_of(&TokenTemplate::native().issued_at(UnixTime::from_secs(at))));
    let event = Event::consent_revoked(SUBJECT).at(UnixTime::from_secs(old + 20));
    assert_eq!(house.notify(event.as_documented()).await.status, 200);
    assert_eq!(house.get("/", &[("Authorization", &before)]).await.status, 401);
    assert_eq!(house.get("/", &[("Authorization", &after)]).await.status, 200);
}

fn refused(reply: &Reply) {
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.json()["code"], "bad_request");
    let told = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(told.ends_with("not a notification that Apple signed for an app of ours"), "{told}");
}

#[tokio::test]
async fn what_apple_did_not_sign_for_us_is_400_and_the_reason_is_counted() {
    let house = House::with(ON).await;
    let bearer = house.bearer();
    let event = || Event::consent_revoked(SUBJECT);
    let stranger = SigningKey::generate().with_kid(house.apple.keys().signing().kid());
    let template = TokenTemplate::notification(event());
    let day = UnixTime::from_secs(1_700_000_000);
    for (payload, code) in [
        (house.apple.mint_with(&stranger, &template), "token_signature"),
        (house.apple.mint_with(&SigningKey::generate(), &template), "token_unknown_key"),
        (house.apple.mint(&template.clone().audience("com.example.other")), "token_audience"),
        (house.apple.mint(&template.clone().issued_at(day)), "token_expired"),
        (house.apple.mint(&template.clone().claim("iss", "https://a.example")), "token_issuer"),
        (house.apple.mint(&template.clone().header("alg", "none")), "token_algorithm"),
        (house.apple.mint(&template.claim("events", "[]")), "token_claim"),
        ("a.b".to_owned(), "token_malformed"),
    ] {
        refused(&post_notification(house.address, &payload).await);
        assert_eq!(count(&house, "none", code).await, 1, "{code}");
    }
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
}

#[tokio::test]
async fn consent_is_withdrawn_from_the_group_of_each_app_that_is_named() {
    let groups = "revocations.groups = [['com.example.app'], ['com.example.web']]";
    let house = House::with(&format!("{ON}\n{groups}")).await;
    let both = serde_json::json!(["com.example.app", "com.example.web"]);
    // Before the event, whichever second of the clock that falls into.
    let bearers = ["com.example.app", "com.example.web"]
        .map(|app| (app, house.bearer_of(&TokenTemplate::native().audience(app))));
    let told = TokenTemplate::notification(Event::consent_revoked(SUBJECT));
    assert_eq!(house.notify_by(&told.claim("aud", both)).await.status, 200);
    for (app, bearer) in bearers {
        assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 401, "{app}");
    }
}

#[tokio::test]
async fn a_known_id_with_another_event_is_no_repetition_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("{ON}\nstore.file = '{}'", folder.path().join("store").display());
    let first = House::with(&store).await;
    let bearer = first.bearer();
    let told = |event| TokenTemplate::notification(event).claim("jti", "one-and-the-same");
    let mail = told(Event::email_disabled(SUBJECT, "a@privaterelay.appleid.com"));
    assert_eq!(first.notify_by(&mail).await.status, 200);
    assert_eq!(first.notify_by(&told(Event::consent_revoked(SUBJECT))).await.status, 200);
    assert_eq!(count(&first, "consent_revoked", "stored").await, 1);
    let apple = Arc::clone(&first.apple);
    first.end().await;

    let keys = format!("jwks.url = '{}'", apple.jwks_url());
    let second = House::with(&format!("{store}\n{keys}")).await;
    assert_eq!(second.get("/", &[("Authorization", &bearer)]).await.status, 401);
}

#[tokio::test]
async fn the_simulator_posts_as_apple_does_late_and_twice() {
    let house = House::with(ON).await;
    let bearer = house.bearer();
    let order = format!(
        "{{\"type\":\"consent-revoked\",\"deliver_to\":\"http://{}{PATH}\",\"times\":2,\"delay_milliseconds\":5}}",
        house.address
    );
    let orders = format!("{}/sim/notification", house.apple.url());
    let reply = post(house.apple.address(), &orders, "", &order).await;
    assert_eq!(reply.json()["statuses"], serde_json::json!([200, 200]), "{reply:?}");
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 401);
    assert_eq!(count(&house, "consent_revoked", "repeated").await, 1);
}

#[tokio::test]
async fn an_identity_token_is_no_notification() {
    let house = House::with(ON).await;
    let token = house.apple.mint(&TokenTemplate::native());
    refused(&post_notification(house.address, &token).await);
    assert_eq!(count(&house, "none", "token_claim").await, 1);
}

#[tokio::test]
async fn bodies_that_are_no_notification_are_400_or_413() {
    let house = House::with(ON).await;
    for body in ["", "{}", "[]", "payload=a.b.c", "{\"payload\":1}", "{\"payload\":\"a.b.c\""] {
        refused(&post(house.address, PATH, "", body).await);
    }
    let long = format!("{{\"payload\":\"{}\"}}", "a".repeat(20_000));
    assert_eq!(post(house.address, PATH, "", &long).await.status, 413);
}

#[tokio::test]
async fn the_door_is_for_posts_and_is_closed_unless_it_is_asked_for() {
    let open = House::with(ON).await;
    let reply = send(open.address, "GET", PATH, "", "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, vec!["POST"]));
    for other in
        ["/auth/apple/notifications/", "/auth/apple/Notifications", "//auth/apple/notifications"]
    {
        let reply = post(open.address, other, "", "{}").await;
        assert_eq!(reply.status, 401, "{other} is the application's");
    }
    let closed = House::start().await;
    let reply = closed.notify(Event::consent_revoked(SUBJECT)).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("no_credential")));
}

#[tokio::test]
async fn a_sender_who_posts_too_often_is_429_and_its_tokens_cost_nothing() {
    let limits = "notifications.rate_per_second = 1\nnotifications.rate_burst = 2";
    let house = House::with(&format!("{ON}\n{limits}")).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post(house.address, PATH, "", "{}").await.status);
    }
    assert_eq!(statuses[..2], [400, 400]);
    assert!(statuses[2..].contains(&429), "{statuses:?}");
    assert_eq!(house.get("/", &[("Authorization", &house.bearer())]).await.status, 200);
}

#[tokio::test]
async fn senders_who_are_slow_keep_out_neither_apple_nor_callers() {
    // Of 16 requests an eighth may be notifications whose bodies are still to come.
    let house = House::with(&format!("{ON}\nlimits.max_requests = 16")).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    let mut slow = std::collections::VecDeque::new();
    for _ in 0..40 {
        let mut stream = open(house.address).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push_back(stream);
        if slow.len() > 2 {
            let mut longest = slow.pop_front().unwrap();
            assert_eq!(read_reply(&mut longest).await.status, 408);
        }
    }
    let bearer = house.bearer();
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 401);
}

#[tokio::test]
async fn without_keys_apple_is_told_to_come_again() {
    let clock: Arc<dyn siwa_proxy::clock::Clock> = Arc::new(siwa_proxy::clock::SystemClock);
    let house = House::build(ON, clock, |apple| {
        apple.fail_with(siwa_proxy::sim::faults::Fault::Status(http::StatusCode::FORBIDDEN));
    })
    .await;
    let reply = house.notify(Event::consent_revoked(SUBJECT)).await;
    assert_eq!((reply.status, reply.header("retry-after").len()), (503, 1));
}

#[tokio::test]
async fn events_that_come_delayed_twice_and_out_of_order_leave_the_latest_in_force() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = House::build(ON, Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let at = |seconds: u64| UnixTime::from_secs(1_800_000_000 - seconds);
    let token = |seconds| house.bearer_of(&TokenTemplate::native().issued_at(at(seconds)));
    let bearers = [token(400), token(250), token(50)];
    let event =
        |seconds| TokenTemplate::notification(Event::consent_revoked(SUBJECT).at(at(seconds)));
    let (first, second) = (house.apple.mint(&event(300)), house.apple.mint(&event(200)));
    for payload in [&second, &first, &second, &first] {
        assert_eq!(post_notification(house.address, payload).await.status, 200);
    }
    let mut statuses = Vec::new();
    for bearer in &bearers {
        statuses.push(house.get("/", &[("Authorization", bearer)]).await.status);
    }
    assert_eq!(statuses, [401, 401, 200]);
    assert_eq!(count(&house, "consent_revoked", "stored").await, 2);
    assert_eq!(count(&house, "consent_revoked", "repeated").await, 2);
}
