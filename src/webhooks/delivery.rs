//! One event on its way to one target, as it is stored and as it is sent.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Target;
use crate::{
    apple::{AccountEvent, Notification},
    clock::UnixTime,
    verify::Identity,
};

/// An event that waits. It does not print what it says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// What tells it from others, for receivers that must not act twice.
    pub(super) id: String,
    /// What is sent, exactly.
    pub(super) body: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When it may be tried next, in seconds since 1970.
    pub(super) not_before: u64,
    /// When it is given up, in seconds since 1970.
    pub(super) give_up_at: u64,
}

impl Delivery {
    /// What receivers are told of `notification`; nothing of an event that nobody knows.
    pub(super) fn of(notification: &Notification, give_up_at: UnixTime) -> Option<Self> {
        let AccountEvent::Known { kind, subject, at, relay } = &notification.event else {
            return None;
        };
        let mut told = json!({
            "sub": subject.as_str(),
            "client_id": notification.client_id.as_str(),
        });
        if let (Some(relay), Some(members)) = (relay, told.as_object_mut()) {
            members.insert("email".to_owned(), relay.address().into());
            if let Some(is_private) = relay.is_private() {
                members.insert("is_private_email".to_owned(), is_private.into());
            }
        }
        Some(Self::new(&notification.id, kind.as_str(), *at, &told, give_up_at))
    }

    /// What receivers are told of somebody who has deleted their account with the application: Apple tells of those alone who
    /// delete their account with Apple.
    pub(super) fn of_deletion(identity: &Identity, at: UnixTime, give_up_at: UnixTime) -> Self {
        let told = json!({
            "sub": identity.subject().as_str(),
            "client_id": identity.client_id().as_str(),
        });
        let id = format!("deletion-{:032x}", fastrand::u128(..));
        Self::new(&id, Self::DELETION, at, &told, give_up_at)
    }

    /// The `type` of an event that is of the person's doing, and not of Apple's telling.
    const DELETION: &str = "account-deleted-by-user";

    fn new(id: &str, kind: &str, at: UnixTime, told: &Value, give_up_at: UnixTime) -> Self {
        let body = json!({ "type": kind, "timestamp": at.to_string(), "data": told });
        Self {
            id: id.to_owned(),
            body: body.to_string(),
            attempts: 0,
            not_before: 0,
            give_up_at: give_up_at.as_secs(),
        }
    }

    /// Its name in the store: one for each target. Something else under the same id does not take its place.
    pub(super) fn key(&self, target: &Target) -> String {
        format!("{} {} {}", target.name(), self.id, name_of(&self.body))
    }

    pub(super) fn to_text(&self) -> String {
        // Strings and numbers: serialising them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Target {
    /// The name in the store, from which a URL with a secret in it cannot be read.
    pub(super) fn name(&self) -> String {
        name_of(self.url.as_str())
    }
}

/// A short name for `text`, from which it cannot be read.
fn name_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}
