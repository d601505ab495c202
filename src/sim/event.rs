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
}

impl Event {
    /// An event of any `kind`, known to Apple or not, about `subject`. Its time is the notification's own.
    #[must_use]
    pub fn new(kind: &str, subject: &str) -> Self {
        Self { kind: kind.to_owned(), subject: subject.to_owned(), time: None, email: None }
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

    /// The claim's value: JSON inside a JSON string, its time in milliseconds, its boolean a string, all as in genuine
    /// notifications and unlike Apple's documentation.
    pub(super) fn claim(&self, issued_at: UnixTime) -> Value {
        let time = self.time.unwrap_or(issued_at).as_secs().saturating_mul(1000);
        let mut members = vec![
            ("type", Value::from(self.kind.as_str())),
            ("sub", Value::from(self.subject.as_str())),
            ("event_time", Value::from(time)),
        ];
        if let Some(email) = &self.email {
            members.push(("email", Value::from(email.as_str())));
            members.push(("is_private_email", Value::from("true")));
        }
        Value::from(write_object(members))
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
    fn an_event_may_be_older_than_its_notification() {
        let event = Event::account_deleted("001").at(UnixTime::from_secs(5));
        assert_eq!(
            event.claim(UnixTime::from_secs(60)),
            r#"{"type":"account-deleted","sub":"001","event_time":5000}"#
        );
    }
}
