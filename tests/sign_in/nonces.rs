//! Nonces: one of ours makes a replay impossible; one of the client's own ties the token to what it started.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    config::Settings,
    sim::token::TokenTemplate,
};

use super::{ON, house, house_at, key_file, refused, sign_in, twenty_at_once, with_key};
use crate::support::{House, Reply, notifying::post};

const REQUIRED: &str = "sign_in.nonce = 'required'";

/// A nonce that `house` issues.
async fn issued(house: &House) -> String {
    let reply = post(house.address, "/auth/apple/nonce", "", "").await;
    assert_eq!((reply.status, &reply.json()["expires_in"]), (200, &json!(600)), "{reply:?}");
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    reply.json()["nonce"].as_str().unwrap().to_owned()
}

fn hashed(nonce: &str) -> String {
    let hash = digest(&SHA256, nonce.as_bytes());
    hash.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Signs in with a token that echoes `claim`, and `nonce` beside it.
async fn with_nonce(house: &House, claim: &str, nonce: impl Into<Value>) -> Reply {
    let token = house.apple.mint(&TokenTemplate::native().nonce(claim));
    sign_in(house.address, &json!({ "identityToken": token, "nonce": nonce.into() })).await
}

#[tokio::test]
async fn a_nonce_of_ours_signs_in_once_verbatim_or_hashed() {
    for extra in [REQUIRED, ""] {
        let house = house(extra).await;
        for echo in [str::to_owned, hashed] {
            let nonce = issued(&house).await;
            assert_eq!(with_nonce(&house, &echo(&nonce), &*nonce).await.status, 200);
            let again = with_nonce(&house, &echo(&nonce), &*nonce).await;
            refused(&again, 401, "Invalid nonce", "nonce_spent");
        }
    }
}

#[tokio::test]
async fn a_replayed_token_is_refused_where_a_nonce_is_required() {
    let house = house(REQUIRED).await;
    let nonce = issued(&house).await;
    let token = house.apple.mint(&TokenTemplate::native().nonce(&nonce));
    let body = json!({ "identityToken": token, "nonce": nonce });
    assert_eq!(sign_in(house.address, &body).await.status, 200);
    refused(&sign_in(house.address, &body).await, 401, "Invalid nonce", "nonce_spent");
    // Another nonce of ours does not make it fresh, nor does none.
    let body = json!({ "identityToken": token, "nonce": issued(&house).await });
    refused(&sign_in(house.address, &body).await, 401, "Invalid token", "token_nonce");
    let body = json!({ "identityToken": token });
    refused(&sign_in(house.address, &body).await, 400, "nonce missing", "nonce_missing");
}

#[tokio::test]
async fn a_token_that_holds_a_nonce_of_ours_does_not_sign_in_without_it() {
    let house = house("").await;
    let nonce = issued(&house).await;
    let token = house.apple.mint(&TokenTemplate::native().nonce(&nonce));
    let bare = json!({ "identityToken": token });
    refused(&sign_in(house.address, &bare).await, 400, "nonce missing", "nonce_missing");
    let whole = json!({ "identityToken": token, "nonce": nonce });
    assert_eq!(sign_in(house.address, &whole).await.status, 200);
    refused(&sign_in(house.address, &bare).await, 400, "nonce missing", "nonce_missing");
    let other = json!({ "identityToken": token, "nonce": issued(&house).await });
    refused(&sign_in(house.address, &other).await, 401, "Invalid token", "token_nonce");
}

#[tokio::test]
async fn of_many_who_use_one_nonce_at_once_one_signs_in() {
    let house = house(REQUIRED).await;
    let nonce = issued(&house).await;
    let token = house.apple.mint(&TokenTemplate::native().nonce(&nonce));
    let body = json!({ "identityToken": token, "nonce": nonce });
    let statuses = twenty_at_once(house.address, &body).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
}

#[tokio::test]
async fn only_a_nonce_that_we_issued_counts_where_one_is_required() {
    let house = house(REQUIRED).await;
    refused(&with_nonce(&house, "raw", "raw").await, 401, "Invalid nonce", "nonce_unknown");
    let stranger = House::with(&with_key(&key_file(2), REQUIRED)).await;
    let theirs = issued(&stranger).await;
    refused(&with_nonce(&house, &theirs, &*theirs).await, 401, "Invalid nonce", "nonce_unknown");
    let replica = House::with(&with_key(&key_file(1), REQUIRED)).await;
    let ours = issued(&replica).await;
    assert_eq!(with_nonce(&house, &ours, &*ours).await.status, 200, "the key is the same");
}

#[tokio::test]
async fn a_token_without_a_nonce_is_refused_where_one_is_required_even_if_apple_excuses_it() {
    let house = house(REQUIRED).await;
    for template in
        [TokenTemplate::native(), TokenTemplate::native().claim("nonce_supported", false)]
    {
        let token = house.apple.mint(&template);
        let body = json!({ "identityToken": token, "nonce": issued(&house).await });
        refused(&sign_in(house.address, &body).await, 401, "Invalid token", "token_nonce");
    }
}

#[tokio::test]
async fn a_nonce_of_ours_ends_after_ten_minutes() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = house_at(&clock, REQUIRED).await;
    let [one, other] = [issued(&house).await, issued(&house).await];
    clock.advance(Duration::from_secs(599));
    assert_eq!(with_nonce(&house, &one, &*one).await.status, 200);
    clock.advance(Duration::from_secs(1));
    refused(&with_nonce(&house, &other, &*other).await, 401, "Invalid nonce", "nonce_expired");
}

#[tokio::test]
async fn a_nonce_of_the_clients_own_is_compared_verbatim_and_hashed() {
    let house = House::with(ON).await;
    let body =
        |token: &str, name: &str, nonce: &str| json!({ "identityToken": token, name: nonce });
    for name in ["nonce", "rawNonce", "raw_nonce"] {
        for claim in ["raw".to_owned(), hashed("raw")] {
            let token = house.apple.mint(&TokenTemplate::native().nonce(&claim));
            assert_eq!(sign_in(house.address, &body(&token, name, "raw")).await.status, 200);
            let other = sign_in(house.address, &body(&token, name, "other")).await;
            refused(&other, 401, "Invalid token", "token_nonce");
        }
    }
    let bare = house.apple.mint(&TokenTemplate::native());
    let missing = sign_in(house.address, &body(&bare, "nonce", "raw")).await;
    refused(&missing, 401, "Invalid token", "token_nonce");
    for nothing in [Value::Null, json!("")] {
        assert_eq!(with_nonce(&house, "raw", nothing).await.status, 200, "none is asked for");
    }
}

#[test]
fn a_nonce_cannot_be_required_without_a_key_to_seal_it() {
    let text = format!("apple.client_ids = ['com.example.app']\n{ON}\n{REQUIRED}\n");
    let problem = Settings::from_toml(&text).unwrap_err().to_string();
    let expected =
        "sign_in.nonce: needs sessions.key_files: nonces are sealed with them (from config.toml:3)";
    assert_eq!(problem, expected);
}
