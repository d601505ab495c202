//! What is told, whatever it is about: a JSON object with `type`, `timestamp` and `data`, and an id.

use serde::{Deserialize, Serialize};
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
    /// Who brought it about.
    pub(super) lane: Lane,
}

/// Who brings an event about. What comes first is delivered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lane {
    /// Apple tells of it.
    #[default]
    Apple,
    /// Somebody deletes their account.
    Deletion,
    /// Somebody signs in, as often as they like.
    SignIn,
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
        let id = notification.id.to_string();
        Some(Self { id, body: body_of(kind.as_str(), *at, &data), lane: Lane::Apple })
    }

    /// That `identity` signed in with `token` `at` this moment. A `name` comes with the first sign-in alone, and nobody vouches
    /// for it, nor for its absence. Who presents the token again is told of under the same id.
    pub(crate) fn of_sign_in(
        token: &str,
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
        let id = made_of(&["sign-in", token, if name.is_some() { "named" } else { "" }]);
        Self { id, body: body_of("sign-in", at, &data), lane: Lane::SignIn }
    }

    /// That `identity` has deleted their account with the application `at` this moment. Apple tells of those alone who delete
    /// their account with Apple. All sessions that one token began tell of it under the same id.
    pub(crate) fn of_deletion(identity: &Identity, at: UnixTime) -> Self {
        let data = about_identity(identity);
        let kind = "account-deleted-by-user";
        let (issuer, signed_in) = (identity.issuer().as_str(), identity.issued_at().to_string());
        let (app, subject) = (identity.client_id().as_str(), identity.subject().as_str());
        let id = made_of(&[kind, issuer, app, subject, &signed_in]);
        Self { id, body: body_of(kind, at, &data), lane: Lane::Deletion }
    }
}

fn body_of(kind: &str, at: UnixTime, data: &Map<String, Value>) -> String {
    json!({ "type": kind, "timestamp": at.to_string(), "data": data }).to_string()
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

/// An id that the same `parts` have again, and from which they cannot be read.
fn made_of(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(blake3::hash(part.as_bytes()).as_bytes());
    }
    hasher.finalize().to_hex().chars().take(32).collect()
}
