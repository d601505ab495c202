//! How keys are kept fresh.

use std::time::Duration;

use super::JwkSet;

/// How keys are kept fresh. Apple sends `Cache-Control: no-store`, so that freshness is ours to set.
///
/// Every duration but the grace lies between [`SHORTEST`](Self::SHORTEST) and [`LONGEST`](Self::LONGEST); others are
/// refused when a verifier is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// Time between fetches, ± 10 % so that a fleet spreads out. Shorter notices a withdrawn key sooner.
    pub refresh_every: Duration,
    /// How long the last good set is used while fetching fails. Longer rides out an outage of Apple's; shorter drops a
    /// withdrawn key sooner.
    pub keep_while_failing: Duration,
    /// The least time between two fetches that unknown `kid`s cause, so that made-up tokens cannot make us hammer
    /// Apple.
    pub unknown_key_cooldown: Duration,
    /// How long a key stays usable that a successful fetch does not list any more. Zero ends it at once: Apple
    /// withdraws a key that is not to be believed in no other way. Longer spares tokens that outlive their key.
    pub removed_key_grace: Duration,
}

impl JwksSettings {
    /// The longest set that is read, in bytes. Apple's has about 1,450.
    pub const MAX_BYTES: usize = JwkSet::MAX_BYTES;
    /// The shortest of the durations that bound something: zero would fetch without a pause.
    pub const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest: nothing here is sensibly longer than a year, and clocks overflow far beyond.
    pub const LONGEST: Duration = Duration::from_hours(366 * 24);

    pub(in super::super) fn check(&self) -> Result<(), InvalidDuration> {
        InvalidDuration::check("refresh_every", self.refresh_every)?;
        InvalidDuration::check("keep_while_failing", self.keep_while_failing)?;
        InvalidDuration::check("unknown_key_cooldown", self.unknown_key_cooldown)?;
        // Here zero has a meaning.
        InvalidDuration::check("removed_key_grace", self.removed_key_grace.max(Self::SHORTEST))
    }
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_mins(15),
            keep_while_failing: Duration::from_hours(24),
            unknown_key_cooldown: Duration::from_secs(30),
            removed_key_grace: Duration::ZERO,
        }
    }
}

/// A duration that is too short or too long to be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{setting} is {given:?}, and must lie between {shortest:?} and {longest:?}",
    shortest = JwksSettings::SHORTEST,
    longest = JwksSettings::LONGEST
)]
#[non_exhaustive]
pub struct InvalidDuration {
    /// Which setting.
    pub setting: &'static str,
    /// What it was said to be.
    pub given: Duration,
}

impl InvalidDuration {
    pub(in super::super) fn check(setting: &'static str, given: Duration) -> Result<(), Self> {
        if (JwksSettings::SHORTEST..=JwksSettings::LONGEST).contains(&given) {
            Ok(())
        } else {
            Err(Self { setting, given })
        }
    }
}
