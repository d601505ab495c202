//! Time as an argument: [`Clock`] says what time it is, so that tests can say otherwise.
//!
//! This is the only file that reads the system's wall clock. Durations inside the process (timeouts, cooldowns, the age
//! of a key set) are measured with `tokio::time::Instant`, which steps of the wall clock do not touch.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Whole seconds since 1970-01-01T00:00:00Z: the `NumericDate` of RFC 7519 §2, without fractions, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment `seconds` after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This moment moved later by the whole seconds of `duration`; the end of time if that is passed.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, as people read it: `2026-11-21T09:18:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Past the year 9999 there is no RFC 3339 to print, and a claim may say anything.
        const LAST_PRINTABLE: u64 = 253_402_300_799;
        if self.0 > LAST_PRINTABLE {
            return write!(f, "{} seconds after 1970", self.0);
        }
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

/// Not a time.
#[derive(Debug, thiserror::Error)]
#[error("must be a time in UTC (2026-11-21T09:18:00Z) or seconds since 1970")]
pub struct InvalidTime;

impl FromStr for UnixTime {
    type Err = InvalidTime;

    /// RFC 3339 in UTC, or seconds since the epoch.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        let since_epoch =
            humantime::parse_rfc3339_weak(text).ok().map(|time| time.duration_since(UNIX_EPOCH));
        since_epoch.and_then(Result::ok).map(|since| Self(since.as_secs())).ok_or(InvalidTime)
    }
}

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current wall-clock time.
    fn now(&self) -> UnixTime;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> UnixTime {
        (**self).now()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the Clock that everybody else has to ask"
    )]
    fn now(&self) -> UnixTime {
        // A clock set before 1970 reads as 1970: every token is then "issued in the future" and refused.
        UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_secs())))
    }

    /// Shows `now` from here on.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.as_secs(), Ordering::SeqCst);
    }

    /// Moves the time later by the whole seconds of `duration`.
    pub fn advance(&self, duration: Duration) {
        self.set(self.now().saturating_add(duration));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_prints_as_rfc_3339() {
        assert_eq!(UnixTime::from_secs(1_612_345_678).to_string(), "2021-02-03T09:47:58Z");
        assert_eq!(
            UnixTime::from_secs(u64::MAX).to_string(),
            "18446744073709551615 seconds after 1970"
        );
    }

    #[test]
    fn time_is_read_as_rfc_3339_and_as_seconds() {
        for text in ["2021-02-03T09:47:58Z", "2021-02-03 09:47:58", "1612345678"] {
            assert_eq!(text.parse::<UnixTime>().unwrap(), UnixTime::from_secs(1_612_345_678));
        }
        for text in ["", "yesterday", "-1", "2021-02-03T09:47:58+01:00", "1969-12-31T00:00:00Z"] {
            assert!(text.parse::<UnixTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_manual_clock_moves_for_all_its_clones() {
        let clock = ManualClock::at(UnixTime::from_secs(100));
        let clone = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clone.now(), UnixTime::from_secs(105));
    }
}
