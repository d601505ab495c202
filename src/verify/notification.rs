//! What Apple tells about a user, signed by the same keys as identity tokens and no identity.

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

use super::{
    error::{ClaimProblem, TokenFault},
    identity::{ClientId, Subject},
    json,
    printable::Printable,
};
use crate::clock::UnixTime;

/// A server-to-server notification whose signature, issuer, audience and times were right. Only a
/// [`Verifier`](super::Verifier) makes one.
///
/// <https://developer.apple.com/documentation/signinwithapple/processing-changes-for-sign-in-with-apple-accounts>
pub struct SignedNotification {
    id: Box<str>,
    client_id: ClientId,
    other_client_ids: Box<[ClientId]>,
    issued_at: UnixTime,
    refused_from: UnixTime,
    event: Map<String, Value>,
    kind: Printable,
}

/// What a notification says of itself.
pub(super) struct Stamps<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) client_id: ClientId,
    pub(super) other_client_ids: Box<[ClientId]>,
    pub(super) issued_at: UnixTime,
    pub(super) refused_from: UnixTime,
}

impl SignedNotification {
    /// `exp` − `iat` of those that Apple sends.
    pub(super) const LIFETIME: Duration = Duration::from_hours(24);
    /// The most characters of an id, of which Apple's have 22.
    const LONGEST_ID: usize = 255;
    /// An `event_time` beyond is in milliseconds, as Apple sends it; below it is in seconds, as Apple's page shows it. In
    /// seconds this is the year 5138.
    const FIRST_MILLIS: u64 = 100_000_000_000;

    /// Reads `events`: JSON inside a string, as Apple sends it, or an object, as Apple's page shows it.
    pub(super) fn read(stamps: Stamps<'_>, events: &Value) -> Result<Self, TokenFault> {
        let Stamps { id, client_id, other_client_ids, issued_at, refused_from } = stamps;
        let event = match events {
            Value::Object(event) => event.clone(),
            Value::String(text) => json::parse_object(text.as_bytes())
                .map_err(|_not_shown| TokenFault::wrong_type("events"))?
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(TokenFault::wrong_type("events"));
            }
        };
        let kind = event.get("type").and_then(Value::as_str);
        let kind = Printable::new(kind.ok_or_else(|| TokenFault::wrong_type("events"))?);
        let id = match id {
            Some(id) => check_id(id)?.into(),
            // Two that say the same are one.
            None => blake3::hash(format!("{issued_at} {event:?}").as_bytes()).to_string().into(),
        };
        Ok(Self { id, client_id, other_client_ids, issued_at, refused_from, event, kind })
    }

    /// What tells it from others (`jti`, RFC 7519 §4.1.7). Apple may send one twice, and so may anybody who has seen it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The app that it was sent for; the first, if it names several.
    #[must_use]
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The other apps that it names, of which Apple names none.
    #[must_use]
    pub const fn other_client_ids(&self) -> &[ClientId] {
        &self.other_client_ids
    }

    /// When Apple wrote it.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The moment from which it would not be accepted any more: until then its [`id`](Self::id) must be remembered.
    #[must_use]
    pub const fn refused_from(&self) -> UnixTime {
        self.refused_from
    }

    /// The kind of event, as Apple names it.
    #[must_use]
    pub const fn kind(&self) -> &Printable {
        &self.kind
    }

    /// Whom it is about.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Claim`] when it does not say so, or not as a subject is written.
    pub fn subject(&self) -> Result<Subject, TokenFault> {
        let claim = "events";
        let problem = ClaimProblem::Illegal;
        let text = self.event.get("sub").and_then(Value::as_str);
        let text = text.ok_or(TokenFault::Claim { claim, problem: ClaimProblem::WrongType })?;
        Subject::new(text).ok_or(TokenFault::Claim { claim, problem })
    }

    /// When it happened; when it was written, if that is not said, or said to be later than that.
    #[must_use]
    pub fn event_time(&self) -> UnixTime {
        let time = self.event.get("event_time").and_then(Value::as_u64);
        let seconds = time.map(|time| if time >= Self::FIRST_MILLIS { time / 1000 } else { time });
        seconds.map_or(self.issued_at, |time| UnixTime::from_secs(time).min(self.issued_at))
    }

    /// The address that it is about, if it is about one.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.event.get("email").and_then(Value::as_str).filter(|address| !address.is_empty())
    }

    /// Whether that is an address of Apple's relay.
    #[must_use]
    pub fn is_private_email(&self) -> Option<bool> {
        self.event.get("is_private_email").and_then(json::boolean)
    }
}

fn check_id(id: &str) -> Result<&str, TokenFault> {
    let legal = (1..=SignedNotification::LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic());
    let problem = ClaimProblem::Illegal;
    if legal { Ok(id) } else { Err(TokenFault::Claim { claim: "jti", problem }) }
}

impl fmt::Debug for SignedNotification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedNotification")
            .field("kind", &self.kind)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::claims::fixtures::{self, NOW},
        *,
    };

    fn receive_at(change: Value, now: u64) -> Result<SignedNotification, TokenFault> {
        let mut claims = json!({
            "sub": null, "jti": "B94OdD03pFsaYaN-Ftv7mA",
            "events": {"type": "consent-revoked", "sub": "001", "event_time": NOW - 5},
        });
        let Value::Object(change) = change else { panic!("not an object") };
        claims.as_object_mut().unwrap().extend(change);
        fixtures::receive(claims, UnixTime::from_secs(now))
    }

    fn receive(change: Value) -> Result<SignedNotification, TokenFault> {
        receive_at(change, NOW + 60)
    }

    fn fault(change: Value) -> &'static str {
        receive(change).unwrap_err().code()
    }

    #[test]
    fn events_are_an_object_or_json_in_a_string() {
        let text = r#"{"type":"consent-revoked","sub":"001","event_time":1699999995000}"#;
        for events in [json!(text), serde_json::from_str(text).unwrap()] {
            let notification = receive(json!({ "events": events })).unwrap();
            assert_eq!(notification.kind().as_str(), "consent-revoked");
            assert_eq!(notification.subject().unwrap().as_str(), "001");
            assert_eq!(notification.event_time(), UnixTime::from_secs(NOW - 5));
            assert_eq!(notification.client_id().as_str(), "com.example.app");
        }
    }

    #[test]
    fn events_of_any_other_kind_are_refused() {
        let twice = r#"{"type":"consent-revoked","type":"email-enabled","sub":"001"}"#;
        for events in [json!("{"), json!([]), json!(1), json!({}), json!("[]"), json!(twice)] {
            assert_eq!(fault(json!({ "events": events })), "token_claim", "{events}");
        }
        assert_eq!(fault(json!({ "events": null })), "token_claim", "an identity token");
    }

    #[test]
    fn event_time_is_in_seconds_or_milliseconds_and_never_later_than_the_notification() {
        for (time, expected) in [
            (json!(NOW - 5), NOW - 5),
            (json!((NOW - 5) * 1000 + 999), NOW - 5),
            (json!(NOW + 3600), NOW),
            (json!(u64::MAX), NOW),
            (json!("yesterday"), NOW),
            (Value::Null, NOW),
        ] {
            let events = json!({"type": "consent-revoked", "sub": "001", "event_time": time});
            let notification = receive(json!({ "events": events })).unwrap();
            assert_eq!(notification.event_time().as_secs(), expected, "{time}");
        }
    }

    #[test]
    fn exp_is_enforced_if_it_is_there_and_stands_for_a_day_if_not() {
        let last = NOW + 86_400 + 30;
        for exp in [Value::Null, json!(NOW + 86_400)] {
            assert!(receive_at(json!({ "exp": exp }), last - 1).is_ok());
            let late = receive_at(json!({ "exp": exp }), last);
            assert_eq!(late.unwrap_err().code(), "token_expired");
        }
        assert_eq!(fault(json!({ "exp": NOW - 100 })), "token_expired");
    }

    #[test]
    fn issuer_audience_and_time_are_those_of_identity_tokens() {
        assert_eq!(fault(json!({"aud": "com.example.other"})), "token_audience");
        assert_eq!(fault(json!({"iss": "https://account.apple.com"})), "token_issuer");
        assert_eq!(fault(json!({"iat": NOW + 600})), "token_not_yet_valid");
        assert_eq!(fault(json!({"iat": null})), "token_claim");
    }

    #[test]
    fn what_has_no_id_is_known_by_what_it_says() {
        let id = |change| receive(change).unwrap().id().to_owned();
        assert_eq!(id(json!({})), "B94OdD03pFsaYaN-Ftv7mA");
        assert_eq!(id(json!({"jti": null})), id(json!({"jti": null})));
        assert_ne!(id(json!({"jti": null})), id(json!({"jti": null, "iat": NOW + 1})));
        assert_eq!(fault(json!({"jti": "a b"})), "token_claim");
    }

    #[test]
    fn it_does_not_print_whom_it_is_about() {
        let events = json!({"type": "email-enabled", "sub": "secret", "email": "secret@a.example"});
        let printed = format!("{:?}", receive(json!({ "events": events })).unwrap());
        assert!(!printed.contains("secret") && printed.contains("email-enabled"), "{printed}");
    }
}
