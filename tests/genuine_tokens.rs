//! Tokens that Apple really signed, judged at their time with Apple's real keys.

use std::time::Duration;

use serde::Deserialize;
use siwa_proxy::{
    ClientIds, ExpectedNonce, TokenFault, UnverifiedToken, Verifier, VerifyError,
    clock::{ManualClock, UnixTime},
    verify::{FixedJwks, Mismatch},
};

const KEYS: &[u8] = include_bytes!("fixtures/jwks/all-known-keys.json");
const RELAY_EMAIL: &str =
    include_str!("fixtures/tokens/2021-02-id-token-relay-email-string-bools.json");
const NO_EMAIL: &str = include_str!("fixtures/tokens/2021-09-id-token-no-email.json");
const NOTIFICATION: &str =
    include_str!("fixtures/tokens/2021-08-server-notification-email-disabled.json");

#[derive(Deserialize)]
struct Genuine {
    token: String,
    clock_hint: u64,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    aud: String,
    sub: Option<String>,
    email: Option<String>,
    exp: u64,
}

impl Genuine {
    fn read(fixture: &str) -> Self {
        serde_json::from_str(fixture).unwrap()
    }

    fn verifier(&self, at: UnixTime) -> Verifier {
        Verifier::builder(ClientIds::new([&self.payload.aud]).unwrap())
            .jwks_source(FixedJwks::new(KEYS))
            .clock(ManualClock::at(at))
            .build()
            .unwrap()
    }

    fn at_its_time(&self) -> Verifier {
        self.verifier(UnixTime::from_secs(self.clock_hint))
    }
}

async fn fault(verifier: &Verifier, token: &str) -> TokenFault {
    let outcome = match UnverifiedToken::parse(token) {
        Ok(token) => verifier.verify(&token).await,
        Err(fault) => Err(fault.into()),
    };
    match outcome {
        Err(VerifyError::Rejected(fault)) => fault,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn apples_identity_tokens_verify_at_their_time() {
    for fixture in [RELAY_EMAIL, NO_EMAIL] {
        let genuine = Genuine::read(fixture);
        let token = UnverifiedToken::parse(&genuine.token).unwrap();
        let identity = genuine.at_its_time().verify(&token).await.unwrap();
        assert_eq!(Some(identity.subject().as_str()), genuine.payload.sub.as_deref());
        assert_eq!(identity.client_id().as_str(), genuine.payload.aud);
        assert_eq!(identity.expires_at().as_secs(), genuine.payload.exp);
        assert_eq!(
            identity.email().map(siwa_proxy::verify::Email::address),
            genuine.payload.email.as_deref()
        );
    }
}

#[tokio::test]
async fn the_relay_address_of_2021_is_verified_and_private_although_apple_wrote_strings() {
    let genuine = Genuine::read(RELAY_EMAIL);
    let token = UnverifiedToken::parse(&genuine.token).unwrap();
    let identity = genuine.at_its_time().verify(&token).await.unwrap();
    let email = identity.email().unwrap();
    assert!(email.is_verified() && email.is_private());
}

#[tokio::test]
async fn one_person_keeps_the_subject_when_the_address_is_gone() {
    let mut seen = Vec::new();
    for fixture in [RELAY_EMAIL, NO_EMAIL] {
        let genuine = Genuine::read(fixture);
        let token = UnverifiedToken::parse(&genuine.token).unwrap();
        let identity = genuine.at_its_time().verify(&token).await.unwrap();
        seen.push((identity.subject().clone(), identity.email().is_some()));
    }
    let [(before, with_address), (after, still_with_one)] = seen.try_into().unwrap();
    assert_eq!(before, after);
    assert_eq!((with_address, still_with_one), (true, false));
}

#[tokio::test]
async fn they_carry_the_hash_of_a_code_and_say_that_nonces_are_supported() {
    for fixture in [RELAY_EMAIL, NO_EMAIL] {
        let genuine = Genuine::read(fixture);
        let token = UnverifiedToken::parse(&genuine.token).unwrap();
        let identity = genuine.at_its_time().verify(&token).await.unwrap();
        let fault = identity.check_code("another code").unwrap_err();
        assert!(matches!(fault, TokenFault::CodeHash(Mismatch::Different)), "{fault:?}");
        let fault = identity.check_nonce(&ExpectedNonce::new("n").unwrap()).unwrap_err();
        assert!(matches!(fault, TokenFault::Nonce(Mismatch::Missing)), "{fault:?}");
    }
}

#[tokio::test]
async fn changing_any_one_character_makes_them_worthless() {
    for fixture in [RELAY_EMAIL, NO_EMAIL] {
        let genuine = Genuine::read(fixture);
        let verifier = genuine.at_its_time();
        for place in 0..genuine.token.len() {
            let mut altered = genuine.token.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            let code = fault(&verifier, &altered).await.code();
            let expected =
                ["token_malformed", "token_signature", "token_unknown_key", "token_algorithm"];
            assert!(expected.contains(&code), "{code} at {place}");
        }
    }
}

#[tokio::test]
async fn twenty_five_hours_later_they_have_expired() {
    for fixture in [RELAY_EMAIL, NO_EMAIL] {
        let genuine = Genuine::read(fixture);
        let later =
            UnixTime::from_secs(genuine.clock_hint).saturating_add(Duration::from_hours(25));
        let fault = fault(&genuine.verifier(later), &genuine.token).await;
        assert!(matches!(fault, TokenFault::Expired { .. }), "{fault:?}");
    }
}

#[tokio::test]
async fn the_genuine_notification_is_signed_rightly_and_still_proves_nobody() {
    let genuine = Genuine::read(NOTIFICATION);
    let fault = fault(&genuine.at_its_time(), &genuine.token).await;
    assert!(matches!(fault, TokenFault::Notification), "{fault:?}");
}

#[tokio::test]
async fn a_token_for_another_app_of_the_same_apple_is_refused() {
    let genuine = Genuine::read(NO_EMAIL);
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
        .jwks_source(FixedJwks::new(KEYS))
        .clock(ManualClock::at(UnixTime::from_secs(genuine.clock_hint)))
        .build()
        .unwrap();
    let fault = fault(&verifier, &genuine.token).await;
    assert_eq!(
        fault.to_string(),
        "the token is meant for com.gameroasters.stack4, which is not a client id accepted here"
    );
}
