//! One event on its way to one target, as it is stored and as it is sent.

use serde::{Deserialize, Serialize};

use super::{Event, Target, event::Lane};
use crate::clock::UnixTime;

/// An event that waits. It does not print what it says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// What tells it from others, for receivers that must not act twice.
    pub(super) id: String,
    /// What is sent, exactly.
    pub(super) body: String,
    /// Who brought it about.
    #[serde(default)]
    pub(super) lane: Lane,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When it may be tried next, in seconds since 1970.
    pub(super) not_before: u64,
    /// When it is given up, in seconds since 1970.
    pub(super) give_up_at: u64,
}

impl Delivery {
    /// The last word of the keys of sign-ins.
    const SIGN_IN: &str = "sign-in";

    /// Of `event`, which was not tried yet.
    pub(super) fn of(event: &Event, give_up_at: UnixTime) -> Self {
        Self {
            id: event.id.clone(),
            body: event.body.clone(),
            lane: event.lane,
            attempts: 0,
            not_before: 0,
            give_up_at: give_up_at.as_secs(),
        }
    }

    /// Its name in the store: one for each target. What Apple tells under an id does not take the place of something else that
    /// it told under that; what callers bring about is one under its id, as they can repeat it as often as they like.
    pub(super) fn key(&self, target: &Target) -> String {
        let last = match self.lane {
            Lane::Apple => name_of(&self.body),
            Lane::Deletion => "deletion".to_owned(),
            Lane::SignIn => Self::SIGN_IN.to_owned(),
        };
        format!("{} {} {last}", target.name(), self.id)
    }

    /// Whether what is stored under `key` is told of a sign-in.
    pub(super) fn is_key_of_sign_in(key: &str) -> bool {
        key.rsplit(' ').next() == Some(Self::SIGN_IN)
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

    /// Whether what is stored under `key` is for this one.
    pub(super) fn has_key(&self, key: &str) -> bool {
        key.split(' ').next() == Some(&*self.name())
    }
}

/// A short name for `text`, from which it cannot be read.
fn name_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}
