//! What is told, whatever it is about: a JSON object with `type`, `timestamp` and `data`, and an id.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    apple::{AccountEvent, Notification},
    clock::UnixTime,
    verify::{ClientId, Email, Identity, RealUserStatus, Subject},
};

/// Something that receivers are told. It does not print what it says.
pub(crate) struct Event {
    /// What tells it from others, for receivers that must not act twice.
    pub(super) id: String,
    /// What is sent, exactly.
    pub(super) body: String,
}

impl Event {
    /// What Apple told; nothing of an event that nobody knows.
    pub(crate) fn of_notification(notification: &Notification) -> Option<Self> {
        let AccountEvent::Known { kind, subject, at, relay } = &notification.event else {
            return None;
        };
        let mut data = about(subject, &notification.client_id);
        if let Some(relay) = relay {
            data.insert("email".to_owned(), relay.address().into());
            tell(&mut data, "is_private_email", relay.is_private());
        }
        Some(Self::new(notification.id.to_string(), kind.as_str(), *at, &data))
    }

    /// That `identity` signed in `at` this moment. A `name` comes with the first sign-in alone, and nobody vouches for it.
    pub(crate) fn of_sign_in(
        identity: &Identity,
        name: Option<&impl Serialize>,
        at: UnixTime,
    ) -> Self {
        let mut data = about_identity(identity);
        let email = identity.email();
        tell(&mut data, "email", email.map(Email::address));
        tell(&mut data, "email_verified", email.map(Email::is_verified));
        tell(&mut data, "is_private_email", email.map(Email::is_private));
        let status = identity.real_user_status().map(RealUserStatus::as_wire);
        tell(&mut data, "real_user_status", status);
        tell(&mut data, "transfer_sub", identity.transfer_subject().map(Subject::as_str));
        data.insert("first".to_owned(), name.is_some().into());
        tell(&mut data, "name_unverified", name);
        Self::new(made_id(), "sign-in", at, &data)
    }

    /// That `identity` has deleted their account with the application `at` this moment. Apple tells of those alone who delete
    /// their account with Apple.
    pub(crate) fn of_deletion(identity: &Identity, at: UnixTime) -> Self {
        let data = about_identity(identity);
        Self::new(made_id(), "account-deleted-by-user", at, &data)
    }

    fn new(id: String, kind: &str, at: UnixTime, data: &Map<String, Value>) -> Self {
        let body = json!({ "type": kind, "timestamp": at.to_string(), "data": data });
        Self { id, body: body.to_string() }
    }
}

/// Whom it is about, as which app knows them.
fn about(subject: &Subject, client_id: &ClientId) -> Map<String, Value> {
    let member = |name: &str, text: &str| (name.to_owned(), Value::from(text));
    Map::from_iter([member("sub", subject.as_str()), member("client_id", client_id.as_str())])
}

/// Likewise, and who vouches for them: without the issuer a subject does not say who it is.
fn about_identity(identity: &Identity) -> Map<String, Value> {
    let mut data = about(identity.subject(), identity.client_id());
    data.insert("issuer".to_owned(), identity.issuer().as_str().into());
    data
}

/// Tells what there is to tell.
fn tell(data: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    // Strings, flags and numbers: serialising them cannot fail.
    if let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) {
        data.insert(name.to_owned(), value);
    }
}

/// As long as Apple's; it need not be hard to guess.
fn made_id() -> String {
    (0..22).map(|_| fastrand::alphanumeric()).collect()
}
