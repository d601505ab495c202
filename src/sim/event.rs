//! What happened to an account: the `events` claim of a server-to-server notification.

use serde_json::Value;

use crate::clock::UnixTime;

use super::token::write_object;

/// One account event, as Apple words it inside a notification.
#[derive(Clone, Debug)]
pub struct Event {
    kind: String,
    subject: String,
    time: Option<UnixTime>,
    email: Option<String>,
    wording: Wording,
}

/// Which of two ways to word an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wording {
    /// As in genuine notifications: JSON inside a JSON string, its time in milliseconds.
    #[default]
    AsSent,
    /// As on Apple's page: an object, its time in seconds, in a notification without `exp`.
    AsDocumented,
}

impl Event {
    /// An event of any `kind`, known to Apple or not, about `subject`. Its time is the notification's own.
    #[must_use]
    pub fn new(kind: &str, subject: &str) -> Self {
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        Self { kind, subject, time: None, email: None, wording: Wording::default() }
    }

    /// The person stopped using Sign in with Apple with this group of apps.
    #[must_use]
    pub fn consent_revoked(subject: &str) -> Self {
        Self::new("consent-revoked", subject)
    }

    /// The person deleted their Apple Account, in the spelling of today's documentation; older documentation and
    /// libraries say `account-delete`.
    #[must_use]
    pub fn account_deleted(subject: &str) -> Self {
        Self::new("account-deleted", subject)
    }

    /// The person stopped the relay from forwarding mail.
    #[must_use]
    pub fn email_disabled(subject: &str, email: &str) -> Self {
        Self::new("email-disabled", subject).email(email)
    }

    /// The person let the relay forward mail again.
    #[must_use]
    pub fn email_enabled(subject: &str, email: &str) -> Self {
        Self::new("email-enabled", subject).email(email)
    }

    /// The same event, having happened at `time`.
    #[must_use]
    pub fn at(self, time: UnixTime) -> Self {
        Self { time: Some(time), ..self }
    }

    /// The same event, about the relay address `email`.
    #[must_use]
    pub fn email(self, email: &str) -> Self {
        Self { email: Some(email.to_owned()), ..self }
    }

    /// The same event, worded as Apple's page shows it, and not as Apple sends it.
    #[must_use]
    pub fn as_documented(self) -> Self {
        Self { wording: Wording::AsDocumented, ..self }
    }

    pub(super) const fn wording(&self) -> Wording {
        self.wording
    }

    /// The claim's value. A boolean in it is a string either way.
    pub(super) fn claim(&self, issued_at: UnixTime) -> Value {
        let seconds = self.time.unwrap_or(issued_at).as_secs();
        let time = match self.wording {
            Wording::AsSent => seconds.saturating_mul(1000),
            Wording::AsDocumented => seconds,
        };
        let mut members = vec![
            ("type", Value::from(self.kind.as_str())),
            ("sub", Value::from(self.subject.as_str())),
            ("event_time", Value::from(time)),
        ];
        if let Some(email) = &self.email {
            members.push(("email", Value::from(email.as_str())));
            members.push(("is_private_email", Value::from("true")));
        }
        match self.wording {
            Wording::AsSent => Value::from(write_object(members)),
            Wording::AsDocumented => {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_in_a_string_with_milliseconds() {
        let claim =
            Event::email_disabled("001", "a@example.com").claim(UnixTime::from_secs(1_700_000_000));
        assert_eq!(
            claim.as_str().unwrap(),
            r#"{"type":"email-disabled","sub":"001","event_time":1700000000000,"email":"a@example.com","is_private_email":"true"}"#
        );
    }

    #[test]
    fn as_documented_it_is_an_object_with_seconds() {
        let claim = Event::consent_revoked("001").as_documented().claim(UnixTime::from_secs(60));
        let expected =
            serde_json::json!({"type": "consent-revoked", "sub": "001", "event_time": 60});
        assert_eq!(claim, expected);
    }

    #[test]
    fn an_event_may_be_older_than_its_notification() {
        let event = Event::account_deleted("001").at(UnixTime::from_secs(5));
        assert_eq!(
            event.claim(UnixTime::from_secs(60)),
            r#"{"type":"account-deleted","sub":"001","event_time":5000}"#
        );
    }
}
