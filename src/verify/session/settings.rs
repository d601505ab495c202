//! What the operator says of sessions.

use std::time::Duration;

/// How long sessions live, and how they are checked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// How long an access token lives: for so long it is good without a word from anybody, but that its session was ended
    /// or its subject revoked.
    pub access_lifetime: Duration,
    /// How long a refresh token lives, which is how long a session may lie idle.
    pub refresh_lifetime: Duration,
    /// How long a session lives at most, however often it is renewed, from when Apple issued the token that it began with.
    /// A shorter one holds for all sessions, a longer one for those that begin from then on.
    pub absolute_lifetime: Duration,
    /// For how long a refresh token that was used may be used again, by a client whose answer was lost.
    pub refresh_reuse_grace: Duration,
    /// How often Apple is asked, when a session is renewed, whether its grant still holds.
    pub apple_check_every: Duration,
    /// For how long beyond that Apple may be out of reach before the session is no longer renewed.
    pub apple_grace: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        const fn days(days: u64) -> Duration {
            Duration::from_hours(days.saturating_mul(24))
        }
        Self {
            access_lifetime: Duration::from_mins(15),
            refresh_lifetime: days(30),
            absolute_lifetime: days(180),
            refresh_reuse_grace: Duration::from_secs(10),
            apple_check_every: days(1),
            apple_grace: days(7),
        }
    }
}
