//! A token may be good for one sign-in.

use std::time::Duration;

use serde_json::json;
use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::token::TokenTemplate,
};

use super::{ON, house_at, refused, sign_in, twenty_at_once};
use crate::support::House;

const ONCE: &str = "sign_in.path = '/auth/apple'\nsign_in.single_use = true";

#[tokio::test]
async fn a_token_signs_in_once_and_goes_on_being_a_credential() {
    let house = House::with(ONCE).await;
    let [one, other] = [(); 2]
        .map(|()| house.apple.mint(&TokenTemplate::native().claim("jti", fastrand::u64(..))));
    for token in [&one, &other] {
        let body = json!({ "identityToken": token });
        assert_eq!(sign_in(house.address, &body).await.status, 200);
        refused(&sign_in(house.address, &body).await, 401, "Invalid token", "token_spent");
    }
    let bearer = format!("Bearer {one}");
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
}

#[tokio::test]
async fn unless_it_is_asked_for_a_client_may_try_again() {
    let house = House::with(ON).await;
    let body = json!({ "identityToken": house.apple.mint(&TokenTemplate::native()) });
    for _ in 0..3 {
        assert_eq!(sign_in(house.address, &body).await.status, 200);
    }
}

#[tokio::test]
async fn of_many_who_use_one_token_at_once_one_signs_in() {
    let house = House::with(ONCE).await;
    let body = json!({ "identityToken": house.apple.mint(&TokenTemplate::native()) });
    let statuses = twenty_at_once(house.address, &body).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 19, "{statuses:?}");
}

#[tokio::test]
async fn a_token_that_apple_issued_long_ago_signs_nobody_in_and_goes_on_being_a_credential() {
    for (extra, limit) in [("", 600), ("sign_in.max_token_age = '1m'", 60)] {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let house = house_at(&clock, extra).await;
        let token = house.apple.mint(&TokenTemplate::native());
        let body = json!({ "identityToken": token });
        // With the leeway, by default 30 seconds.
        clock.advance(Duration::from_secs(limit + 29));
        assert_eq!(sign_in(house.address, &body).await.status, 200);
        clock.advance(Duration::from_secs(1));
        refused(&sign_in(house.address, &body).await, 401, "Invalid token", "token_too_old");
        let bearer = format!("Bearer {token}");
        assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
    }
}

#[tokio::test]
async fn a_restart_does_not_forget_which_tokens_signed_in() {
    let folder = tempfile::tempdir().unwrap();
    let kept = format!("{ONCE}\nstore.file = '{}'", folder.path().join("store").display());
    let first = House::with(&kept).await;
    let token = first.apple.mint(&TokenTemplate::native());
    let body = json!({ "identityToken": token });
    assert_eq!(sign_in(first.address, &body).await.status, 200);
    let apple = std::sync::Arc::clone(&first.apple);
    first.end().await;
    let second = House::with(&format!("{kept}\njwks.url = '{}'", apple.jwks_url())).await;
    refused(&sign_in(second.address, &body).await, 401, "Invalid token", "token_spent");
}

#[tokio::test]
async fn a_refused_sign_in_uses_nothing_up() {
    let house = House::with(ONCE).await;
    let token = house.apple.mint(&TokenTemplate::native().nonce("right"));
    let body = |nonce: &str| json!({ "identityToken": token, "nonce": nonce });
    refused(&sign_in(house.address, &body("wrong")).await, 401, "Invalid token", "token_nonce");
    assert_eq!(sign_in(house.address, &body("right")).await.status, 200);
}
