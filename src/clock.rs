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
    /// Past the year 9999 there is no RFC 3339 to print, and a claim may say anything.
    const LAST_PRINTABLE: u64 = 253_402_300_799;

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
        if self.0 > Self::LAST_PRINTABLE {
            return write!(f, "{} seconds after 1970", self.0);
        }
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).fmt(f)
    }
}

/// A moment to the microsecond, for a line of the log: nothing is decided by it, so that it is no argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogTime(Duration);

impl LogTime {
    /// The machine's time.
    pub(crate) fn now() -> Self {
        Self(since_epoch())
    }
}

impl fmt::Display for LogTime {
    /// RFC 3339 in UTC: `2026-11-21T09:18:00.123456Z`. A clock that is set beyond the year 9999 stands still there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.min(Duration::from_secs(UnixTime::LAST_PRINTABLE));
        humantime::format_rfc3339_micros(UNIX_EPOCH + since).fmt(f)
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
    fn now(&self) -> UnixTime {
        UnixTime(since_epoch().as_secs())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the Clock that everybody else has to ask")]
fn since_epoch() -> Duration {
    // A clock set before 1970 reads as 1970: every token is then "issued in the future" and refused.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
    fn the_time_of_a_line_has_six_digits_of_a_second_and_an_end() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_612_345_678, 1_200, "2021-02-03T09:47:58.001200Z"),
            (u64::MAX, 0, "9999-12-31T23:59:59.000000Z"),
        ] {
            let time =
                LogTime(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)));
            assert_eq!(time.to_string(), text);
        }
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
