//! The identity tokens and notifications that Apple has been seen to issue.

use std::time::Duration;

use super::{
    event::{Event, Wording},
    token::{Claim, TokenTemplate},
};

/// The client id (`aud`) of a token that says no other.
pub const CLIENT_ID: &str = "com.example.app";
/// The subject (`sub`) of a token that says no other.
pub const SUBJECT: &str = "001999.0a1b2c3d4e5f60718293a4b5c6d7e8f9.0918";
/// The address of a person who shares theirs.
pub const EMAIL: &str = "jane@example.com";
/// The address of a person who hides theirs behind Apple's relay.
pub const RELAY_EMAIL: &str = "dpdcnf87nu@privaterelay.appleid.com";
/// The authorization code that a token's `c_hash` is made from if no other is named.
pub const CODE: &str = "c0ffee0c0ffee0c0ffee0c0ffee0c0ff.0.abcd.sample-authorization-code";
/// The access token that a refreshed token's `at_hash` is made from if no other is named.
pub const ACCESS_TOKEN: &str = "a0ffee0c0ffee0c0ffee0c0ffee0c0ff.0.abcd.sample-access-token";

/// `exp` - `iat` of today's tokens.
const DAY: Duration = Duration::from_hours(24);

impl TokenTemplate {
    /// From an iOS or macOS app, by a person who shares their address.
    #[must_use]
    pub fn native() -> Self {
        Self::no_email().claim("email", EMAIL).claim("email_verified", true)
    }

    /// From an app, by a person who hides their address: only then is there an `is_private_email`.
    #[must_use]
    pub fn relay_email() -> Self {
        Self::native().claim("email", RELAY_EMAIL).claim("is_private_email", true)
    }

    /// From an app that did not ask for the address.
    #[must_use]
    pub fn no_email() -> Self {
        Self::bare()
            .claim("sub", SUBJECT)
            .code(CODE)
            .deferred("auth_time", Claim::IssuedAt)
            .claim("nonce_supported", true)
    }

    /// As until February 2024, when `email_verified` and `is_private_email` were strings.
    #[must_use]
    pub fn legacy_string_booleans() -> Self {
        Self::relay_email().claim("email_verified", "true").claim("is_private_email", "true")
    }

    /// From a managed account at work or school, whose address Apple has not verified.
    #[must_use]
    pub fn work_and_school() -> Self {
        Self::native()
            .claim("email", "jane@school.example")
            .claim("email_verified", false)
            .claim("org_id", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")
    }

    /// From the token endpoint for a refresh token: six claims, no address.
    #[must_use]
    pub fn refresh_grant() -> Self {
        Self::bare().claim("sub", SUBJECT).access_token(ACCESS_TOKEN)
    }

    /// As in 2019: ten minutes to live, and hardly a claim.
    #[must_use]
    pub fn minutes_2019() -> Self {
        Self::no_email()
            .without("auth_time")
            .without("nonce_supported")
            .lifetime(Duration::from_mins(10))
    }

    /// A server-to-server notification: signed by the same keys, with no `sub` of its own. Apple's page shows none with an
    /// `exp`.
    #[must_use]
    pub fn notification(event: Event) -> Self {
        let jti: String = (0..22).map(|_| fastrand::alphanumeric()).collect();
        let bare = match event.wording() {
            Wording::AsSent => Self::bare(),
            Wording::AsDocumented => Self::bare().without("exp"),
        };
        bare.claim("jti", jti).deferred("events", Claim::Events(event))
    }

    fn bare() -> Self {
        Self::empty(DAY)
            .deferred("iss", Claim::Issuer)
            .claim("aud", CLIENT_ID)
            .deferred("exp", Claim::Expiry)
            .deferred("iat", Claim::IssuedAt)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::UnixTime;

    fn claims(template: &TokenTemplate) -> Value {
        let signing_input =
            template.signing_input("KID", "https://appleid.apple.com", UnixTime::from_secs(1_000));
        let (_, payload) = signing_input.split_once('.').unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }

    #[test]
    fn a_native_token_says_what_apples_do() {
        let expected = json!({
            "iss": "https://appleid.apple.com",
            "aud": CLIENT_ID,
            "exp": 87_400,
            "iat": 1_000,
            "sub": SUBJECT,
            "c_hash": claims(&TokenTemplate::no_email())["c_hash"],
            "email": EMAIL,
            "email_verified": true,
            "auth_time": 1_000,
            "nonce_supported": true,
        });
        assert_eq!(claims(&TokenTemplate::native()), expected);
    }

    #[test]
    fn is_private_email_is_there_for_relay_addresses_only() {
        assert_eq!(claims(&TokenTemplate::relay_email())["is_private_email"], true);
        for template in
            [TokenTemplate::native(), TokenTemplate::no_email(), TokenTemplate::work_and_school()]
        {
            assert_eq!(claims(&template).get("is_private_email"), None);
        }
    }

    #[test]
    fn booleans_used_to_be_strings() {
        let claims = claims(&TokenTemplate::legacy_string_booleans());
        assert_eq!(
            (&claims["email_verified"], &claims["is_private_email"]),
            (&json!("true"), &json!("true"))
        );
    }

    #[test]
    fn a_school_address_is_not_verified() {
        let claims = claims(&TokenTemplate::work_and_school());
        assert_eq!(claims["email_verified"], false);
        assert!(claims["org_id"].is_string());
    }

    #[test]
    fn a_refreshed_token_has_six_claims() {
        let claims = claims(&TokenTemplate::refresh_grant());
        let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["at_hash", "aud", "exp", "iat", "iss", "sub"]);
    }

    #[test]
    fn a_token_of_2019_lives_ten_minutes() {
        let claims = claims(&TokenTemplate::minutes_2019());
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_000), &json!(1_600)));
    }

    #[test]
    fn a_notification_has_its_subject_inside_the_event_only() {
        let claims = claims(&TokenTemplate::notification(Event::consent_revoked("001")));
        let events: Value = serde_json::from_str(claims["events"].as_str().unwrap()).unwrap();
        assert_eq!(
            events,
            json!({"type": "consent-revoked", "sub": "001", "event_time": 1_000_000})
        );
        assert_eq!(claims.get("sub"), None);
        assert_eq!(claims["exp"], 87_400);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    }

    #[test]
    fn the_sample_subject_has_the_form_of_apples() {
        let parts: Vec<usize> = SUBJECT.split('.').map(str::len).collect();
        assert_eq!((parts, SUBJECT.len()), (vec![6, 32, 4], 44));
    }
}
