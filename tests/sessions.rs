//! Sessions of our own: taken wherever Apple's tokens are, by whoever has the key, until they end.

mod keyring;
mod life;
mod real_programs;
mod told;

use std::time::Duration;

use serde_json::json;
use siwa_proxy::{
    clock::{Clock, SystemClock, UnixTime},
    sim::{event::Event, presets::SUBJECT, token::TokenTemplate},
    verify::SessionSettings,
};

use self::keyring::{Keyring, begin_with, forge};
use crate::support::{House, get, notifying::ON};

/// The status, and the code of a refusal.
async fn judged(house: &House, text: &str) -> (u16, String) {
    let reply = house.get("/", &[("Authorization", &format!("Bearer {text}"))]).await;
    let code = if reply.status == 200 { String::new() } else { reply.json()["code"].to_string() };
    (reply.status, code.trim_matches('"').to_owned())
}

async fn code(house: &House, text: &str) -> String {
    judged(house, text).await.1
}

#[tokio::test]
async fn a_session_carries_the_very_headers_that_apples_token_does() {
    let keyring = Keyring::new(&[1]);
    let headers = "identity.headers = ['X-Apple-Sub', 'X-Apple-Email', 'X-Apple-Email-Verified', \
                   'X-Apple-Private-Email', 'X-Apple-Client-Id', 'X-Apple-Real-User-Status', \
                   'X-Apple-Transfer-Sub', 'X-Apple-Issuer']";
    let house = House::with(&format!("{headers}\n{}", keyring.setting())).await;
    let template = TokenTemplate::relay_email()
        .claim("real_user_status", 2)
        .claim("transfer_sub", "001999.r0a1b");
    let apples = house.apple.mint(&template);
    let ours = keyring.begin(&house, &template).await.access;
    let mut received = Vec::new();
    for text in [apples.as_str(), ours.as_str()] {
        let reply = house.get("/", &[("Authorization", &format!("Bearer {text}"))]).await;
        assert_eq!(reply.status, 200);
        let request = house.application.requests().pop().unwrap();
        assert!(request.header("authorization").is_empty(), "it ends at the proxy");
        let told = request.head.lines().filter(|line| line.starts_with("x-apple-"));
        received.push(told.map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(received[0].len(), 8, "{received:?}");
    assert_eq!(received[0], received[1]);
}

#[tokio::test]
async fn whoever_has_the_key_takes_the_sessions_of_whoever_has_it_too() {
    let keyring = Keyring::new(&[1]);
    let one = House::with(&keyring.setting()).await;
    let other = House::with(&keyring.setting()).await;
    let tokens = keyring.begin(&one, &TokenTemplate::native()).await;
    for house in [&one, &other] {
        assert_eq!(judged(house, tokens.access.as_str()).await.0, 200);
    }
    let stranger = House::with(&Keyring::new(&[2]).setting()).await;
    assert_eq!(code(&stranger, tokens.access.as_str()).await, "session_unknown_key");
    let plain = House::start().await;
    assert_eq!(code(&plain, tokens.access.as_str()).await, "session_unknown_key");
}

#[tokio::test]
async fn an_old_key_still_opens_and_a_retired_one_does_not() {
    let (old, both, new) = (Keyring::new(&[1]), Keyring::new(&[2, 1]), Keyring::new(&[2]));
    let house = House::with(&both.setting()).await;
    let by_old = old.begin(&house, &TokenTemplate::native()).await;
    let by_both = both.begin(&house, &TokenTemplate::native()).await;
    assert_eq!(judged(&house, by_old.access.as_str()).await.0, 200);
    let later = House::with(&new.setting()).await;
    assert_eq!(judged(&later, by_both.access.as_str()).await.0, 200, "the first key seals");
    assert_eq!(code(&later, by_old.access.as_str()).await, "session_unknown_key");
}

#[tokio::test]
async fn everything_that_can_be_wrong_with_a_session_has_a_name() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&format!("apple.leeway = '0s'\n{}", keyring.setting())).await;
    let template = TokenTemplate::native();
    let good = keyring.begin(&house, &template).await;
    let already_over =
        SessionSettings { access_lifetime: Duration::ZERO, ..SessionSettings::default() };
    let expired = keyring.begin_by(already_over, &house, &template).await;
    // At the end of four characters, so that what is left is still base64.
    let cut = &good.access.as_str()[.."siwa_a.".len() + 400];
    let renamed = good.refresh.as_str().replace("siwa_r.", "siwa_a.");
    for (name, text, expected) in [
        ("nothing behind the prefix", "siwa_a.", "session_malformed"),
        ("another alphabet", "siwa_a.AQ==", "session_malformed"),
        ("another prefix of ours", "siwa_z.AQAB", "session_malformed"),
        ("a refresh token", good.refresh.as_str(), "session_wrong_kind"),
        ("a refresh token that poses as an access token", &renamed, "session_forged"),
        ("one that was cut", cut, "session_forged"),
        ("one that was sealed elsewhere", &forge(&[9]), "session_unknown_key"),
        ("one whose time is over", expired.access.as_str(), "session_expired"),
    ] {
        let reply = house.get("/", &[("Authorization", &format!("Bearer {text}"))]).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some(expected)), "{name}");
        let challenge = reply.header("www-authenticate")[0];
        assert!(challenge.contains("error=\"invalid_token\""), "{name}: {challenge}");
    }
    assert_eq!(judged(&house, good.access.as_str()).await.0, 200);
    assert!(house.application.requests().len() == 1, "nothing else was forwarded");
}

#[tokio::test]
async fn ten_thousand_changes_of_a_single_bit_open_nothing() {
    let keyring = Keyring::new(&[1]);
    let house = House::with("").await;
    let (verifier, identity) = keyring.prove(&house, &TokenTemplate::native()).await;
    let sessions = verifier.sessions().unwrap();
    let mut tried = 0;
    while tried < 10_000 {
        let access = sessions.begin(&identity, None).unwrap().access;
        assert!(verifier.reopen(access.as_str()).is_ok());
        for at in 0..access.as_str().len() {
            for bit in 0..8 {
                let mut bytes = access.as_str().as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8_lossy(&bytes);
                assert!(verifier.reopen(&changed).is_err(), "bit {bit} of byte {at}");
                tried += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_revocation_of_the_person_ends_the_sessions_of_earlier_sign_ins() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&format!("{ON}\n{}", keyring.setting())).await;
    let at = SystemClock.now().as_secs();
    let signed_in = |ago: u64| TokenTemplate::native().issued_at(UnixTime::from_secs(at - ago));
    let (before, after) = (
        keyring.begin(&house, &signed_in(60)).await.access,
        keyring.begin(&house, &signed_in(10)).await.access,
    );
    let other = TokenTemplate::native().subject("000001.somebody.else");
    let other = keyring.begin(&house, &other).await.access;
    assert_eq!(judged(&house, before.as_str()).await.0, 200);
    let event = Event::consent_revoked(SUBJECT).at(UnixTime::from_secs(at - 30));
    assert_eq!(house.notify(event).await.status, 200);
    assert_eq!(code(&house, before.as_str()).await, "token_revoked");
    assert_eq!(judged(&house, after.as_str()).await.0, 200, "a later sign-in");
    assert_eq!(judged(&house, other.as_str()).await.0, 200);
}

#[tokio::test]
async fn every_door_takes_sessions() {
    let keyring = Keyring::new(&[1]);
    let doors = "ext_authz.path_prefixes = ['/ask']\nserver.trusted_peers = ['127.0.0.1']";
    let house = House::verifier(&format!("{doors}\n{}", keyring.setting())).await;
    let tokens = keyring.begin(&house, &TokenTemplate::native()).await;
    for door in ["/auth/apple/verify", "/auth/apple/forward-auth", "/ask/a", "/auth/apple/userinfo"]
    {
        for (text, status) in [(&tokens.access, 200), (&tokens.refresh, 401)] {
            let bearer = format!("Bearer {}", text.as_str());
            let reply = house.get(door, &[("Authorization", &bearer)]).await;
            assert_eq!(reply.status, status, "{door}");
            if status == 200 && door != "/auth/apple/userinfo" {
                assert_eq!(reply.header("x-apple-sub"), [SUBJECT], "{door}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_one_credential_among_others() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&keyring.setting()).await;
    let ours = keyring.begin(&house, &TokenTemplate::native()).await.access;
    let ours = format!("Bearer {}", ours.as_str());
    let both = [("Authorization", ours.as_str()), ("Authorization", &house.bearer())];
    let reply = house.get("/", &both).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (400, Some("several_credentials")));
}

#[tokio::test]
async fn an_application_that_wants_the_credential_is_sent_the_session() {
    let keyring = Keyring::new(&[1]);
    let keep = "upstream.forward_credential = true";
    let house = House::with(&format!("{keep}\n{}", keyring.setting())).await;
    let ours = keyring.begin(&house, &TokenTemplate::native()).await.access;
    let ours = format!("Bearer {}", ours.as_str());
    assert_eq!(house.get("/", &[("Authorization", &ours)]).await.status, 200);
    let request = house.application.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), [ours.as_str()]);
}

#[tokio::test]
async fn a_policy_is_asked_about_sessions_too() {
    let keyring = Keyring::new(&[1]);
    let policy = "policy.required_claims = ['org_id']";
    let house = House::with(&format!("{policy}\n{}", keyring.setting())).await;
    for (template, status) in
        [(TokenTemplate::native(), 403), (TokenTemplate::native().claim("org_id", json!("o")), 200)]
    {
        let ours = keyring.begin(&house, &template).await.access;
        assert_eq!(judged(&house, ours.as_str()).await.0, status);
    }
}

#[tokio::test]
async fn a_session_of_an_app_that_is_not_accepted_here_is_refused() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&keyring.setting()).await;
    let tokens = keyring.begin(&house, &TokenTemplate::native()).await;
    let narrow = format!("apple.client_ids = ['com.example.web']\n{}", keyring.setting());
    let narrow = House::with(&narrow).await;
    assert_eq!(code(&narrow, tokens.access.as_str()).await, "token_audience");
}

#[tokio::test]
async fn max_token_age_is_about_apples_tokens_and_not_about_sessions() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&format!("apple.max_token_age = '1h'\n{}", keyring.setting())).await;
    let hours_ago = UnixTime::from_secs(SystemClock.now().as_secs() - 7_200);
    let template = TokenTemplate::native().issued_at(hours_ago);
    assert_eq!(code(&house, &house.apple.mint(&template)).await, "token_too_old");
    let ours = keyring.begin(&house, &template).await;
    assert_eq!(judged(&house, ours.access.as_str()).await.0, 200);
}

#[tokio::test]
async fn the_layer_of_the_library_takes_sessions() {
    use siwa_proxy::{Authenticator, Policy, Realm};

    let keyring = Keyring::new(&[1]);
    let house = House::start().await;
    let (verifier, identity) = keyring.prove(&house, &TokenTemplate::native()).await;
    let tokens = begin_with(&verifier, &identity);
    let authenticator = Authenticator::new(verifier, Realm::default());
    let bearer = |text: &str| {
        let value = format!("Bearer {text}").parse().unwrap();
        http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
    };
    let everybody = Policy::permissive();
    let who = authenticator.require(&bearer(tokens.access.as_str()), &everybody).await.unwrap();
    assert_eq!(who.subject(), identity.subject());
    assert_eq!(who.session_id(), Some(&tokens.session_id));
    let refused = authenticator.require(&bearer(tokens.refresh.as_str()), &everybody).await;
    assert_eq!(refused.unwrap_err().code(), "session_wrong_kind");
}

#[tokio::test]
async fn a_proxy_with_sessions_is_ready_when_it_knows_which_were_ended() {
    let keyring = Keyring::new(&[1]);
    let house = House::with(&keyring.setting()).await;
    let ready = get(house.admin, "/readyz?verbose", &[]).await;
    assert!(ready.status == 200 && ready.body.contains("sessions"), "{ready:?}");
    assert_eq!(house.metric("siwa_ended_sessions").await, 0);
}
