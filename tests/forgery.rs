//! Attacks are a table: a name, how the token is made, and the fault that must be found. Adding an attack is adding a row.
//!
//! Every row is run through the library and through a socket, cold, again, and beside a good token whose verdict is
//! remembered. The other way round, unusual tokens that are legitimate must pass.

mod attacks;
mod legitimate;
pub(crate) mod workshop;

use siwa_proxy::{
    ClientIds, UnverifiedToken, Verifier, VerifyError,
    clock::ManualClock,
    sim::Apple,
    verify::{HttpsJwks, TrustedUrl},
};

use self::workshop::{NOW, Workshop};
use crate::support::{House, exchange};

/// One way to try.
struct Attack {
    name: &'static str,
    forge: fn(&Workshop) -> String,
    /// The reason code of the fault that must be found.
    fault: &'static str,
}

/// One unusual token that is good.
struct Oddity {
    name: &'static str,
    make: fn(&Workshop) -> String,
}

fn verifier_for(apple: &Apple) -> Verifier {
    let keys = TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap();
    Verifier::builder(ClientIds::new(["com.example.app", "com.example.web"]).unwrap())
        .jwks_source(HttpsJwks::new(keys).unwrap())
        .clock(ManualClock::at(NOW))
        .build()
        .unwrap()
}

async fn outcome(verifier: &Verifier, token: &str) -> &'static str {
    let judged = match UnverifiedToken::parse(token) {
        Ok(token) => verifier.verify(&token).await,
        Err(fault) => Err(fault.into()),
    };
    match judged {
        Ok(_) => "accepted",
        Err(VerifyError::Rejected(fault)) => fault.code(),
        Err(VerifyError::KeysUnavailable(_)) => "keys_unavailable",
        Err(VerifyError::RevocationsUnavailable(_)) => "revocations_unavailable",
    }
}

#[tokio::test]
async fn no_attack_passes_the_library_cold_or_warm() {
    let workshop = Workshop::open().await;
    let mut wrong = Vec::new();
    for Attack { name, forge, fault } in attacks::all() {
        // A fresh verifier is cold; the second attempt meets whatever the first one left behind.
        let verifier = verifier_for(&workshop.apple);
        let token = forge(&workshop);
        let cold = outcome(&verifier, &token).await;
        let again = outcome(&verifier, &token).await;
        assert_eq!(outcome(&verifier, &workshop.good()).await, "accepted");
        let warm = outcome(&verifier, &token).await;
        if [cold, again, warm] != [fault; 3] {
            wrong.push(format!("{name}: expected {fault}, found {cold}, {again}, {warm}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test]
async fn no_attack_passes_the_proxy_cold_or_warm() {
    let house = House::at(ManualClock::at(NOW)).await;
    let workshop = Workshop::beside(&house.apple);
    let mut wrong = Vec::new();
    let mut good = 0;
    for Attack { name, forge, fault } in attacks::all() {
        let token = forge(&workshop);
        // HTTP trims a field value, so that white space around a token is no longer there to be judged.
        if token.trim() != token {
            continue;
        }
        for _cold_then_warm in 0..2 {
            let request = request_with(token.as_bytes());
            let reply = exchange(house.address, request).await;
            // Bytes that no field value may hold end at the HTTP parser, which knows no problem details.
            let found = match serde_json::from_str::<serde_json::Value>(&reply.body) {
                Ok(problem) => problem["code"].as_str().unwrap().to_owned(),
                Err(_) => "bad_field_value".to_owned(),
            };
            let legal = !token.bytes().any(|byte| byte < b' ' || byte == 0x7f);
            let expected = if legal { fault } else { "bad_field_value" };
            if found != expected || reply.status == 200 {
                wrong
                    .push(format!("{name}: expected {expected}, found {found} ({})", reply.status));
            }
            let reply = exchange(house.address, request_with(workshop.good().as_bytes())).await;
            assert_eq!(reply.status, 200);
            good += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(
        house.application.requests().len(),
        good,
        "only good tokens reached the application"
    );
}

fn request_with(token: &[u8]) -> Vec<u8> {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ";
    [head, token, b"\r\n\r\n"].concat()
}

#[tokio::test]
async fn unusual_tokens_that_are_legitimate_pass_the_library_and_the_proxy() {
    let house = House::at(ManualClock::at(NOW)).await;
    let workshop = Workshop::beside(&house.apple);
    let verifier = verifier_for(workshop.apple());
    let mut wrong = Vec::new();
    for Oddity { name, make } in legitimate::all() {
        let token = make(&workshop);
        let found = outcome(&verifier, &token).await;
        let status = exchange(house.address, request_with(token.as_bytes())).await.status;
        if (found, status) != ("accepted", 200) {
            wrong.push(format!("{name}: {found}, {status}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test]
async fn the_tables_of_forgeries_are_as_long_as_they_should_be_and_name_each_row_once() {
    let mut names: Vec<_> = attacks::all().iter().map(|attack| attack.name).collect();
    assert!(names.len() >= 90, "{}", names.len());
    assert!(legitimate::all().len() >= 20);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[tokio::test]
async fn any_single_bit_changed_makes_a_token_worthless() {
    let workshop = Workshop::open().await;
    let verifier = verifier_for(workshop.apple());
    let good = workshop.good();
    assert_eq!(outcome(&verifier, &good).await, "accepted");
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut altered = good.clone().into_bytes();
            altered[place] ^= 1 << bit;
            // Half of the changes leave UTF-8, and with it what a token can be.
            let Ok(altered) = String::from_utf8(altered) else { continue };
            assert_ne!(outcome(&verifier, &altered).await, "accepted", "bit {bit} of byte {place}");
        }
    }
}

/// A verdict is looked for before each character is judged, so that none of these may find one.
#[tokio::test]
async fn a_remembered_token_with_an_odd_character_more_is_refused() {
    let house = House::start().await;
    let bearer = house.bearer();
    for odd in ["=", "!", "+", "/", "~", "é", "\"", "\u{1}", "."] {
        assert_eq!(house.status(&bearer).await, 200);
        for forged in [format!("{bearer}{odd}"), bearer.replacen('.', &format!("{odd}."), 1)] {
            let status = house.status(&forged).await;
            assert!(matches!(status, 400 | 401), "{odd:?}: {status}");
        }
    }
    assert_eq!(house.application.requests().len(), 9, "the good ones alone");
}
