//! How long to wait between fetches. Chance is in it, so that a fleet that started together does not fetch together.

use std::time::Duration;

/// The first pause after a failure, doubled with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const LONGEST: Duration = Duration::from_mins(1);

/// `period` ± 10 %. `chance` is from 0 to 1, each value as likely as any other.
pub(super) fn regular(period: Duration, chance: f64) -> Duration {
    period.mul_f64(0.9 + 0.2 * chance)
}

/// A pause that doubles with each of the `failures`, the first included, and never passes `period`; half of it is by
/// `chance`.
pub(super) fn after_failures(failures: u32, period: Duration, chance: f64) -> Duration {
    let earlier = failures.saturating_sub(1);
    let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
    let doubled = FIRST.min(period).saturating_mul(factor);
    doubled.min(LONGEST.min(period)).mul_f64(0.5 + 0.5 * chance)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a simulation of one day counts no further")]
mod tests {
    use std::collections::BTreeMap;

    use fastrand::Rng;

    use super::*;

    const FLEET: u32 = 1000;
    const PERIOD: Duration = Duration::from_mins(15);
    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    /// How often a fleet that starts in the same instant fetches, in each stretch of `unit`, if its pauses are `pause`.
    fn fetches(
        unit: Duration,
        end: Duration,
        pause: impl Fn(u32, f64) -> Duration,
    ) -> BTreeMap<u64, u32> {
        let mut chance = Rng::with_seed(7);
        let mut counts = BTreeMap::new();
        for _ in 0..FLEET {
            let (mut now, mut round) = (Duration::ZERO, 0);
            while now < end {
                *counts.entry(stretch(now, unit)).or_default() += 1;
                round += 1;
                now += pause(round, chance.f64());
            }
        }
        counts
    }

    fn stretch(now: Duration, unit: Duration) -> u64 {
        now.as_secs() / unit.as_secs()
    }

    /// The most fetches in one stretch of `unit` between `from` and `to`.
    fn peak(counts: &BTreeMap<u64, u32>, unit: Duration, from: Duration, to: Duration) -> u32 {
        let stretches = counts.range(stretch(from, unit)..stretch(to, unit));
        stretches.map(|(_, count)| *count).max().unwrap()
    }

    #[test]
    fn a_thousand_that_start_together_are_spread_over_the_whole_period_within_a_day() {
        let counts = fetches(MINUTE, DAY, |_, chance| regular(PERIOD, chance));
        let peak = |from, to| peak(&counts, MINUTE, from, to);
        let (quarter, hour) = (Duration::from_mins(13), Duration::from_hours(1));
        // 67 a minute is what there would be if all were spread evenly.
        assert_eq!(peak(Duration::ZERO, MINUTE), FLEET);
        assert!((300..400).contains(&peak(quarter, quarter + 5 * MINUTE)), "{counts:?}");
        assert!((100..170).contains(&peak(4 * hour, 5 * hour)), "{counts:?}");
        assert!((67..100).contains(&peak(23 * hour, 24 * hour)), "{counts:?}");
    }

    #[test]
    fn no_pause_is_further_from_the_period_than_a_tenth() {
        for chance in [0.0, 0.3, 0.7, 1.0] {
            let pause = regular(PERIOD, chance);
            assert!((PERIOD.mul_f64(0.9)..=PERIOD.mul_f64(1.1)).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn a_thousand_that_all_fail_do_not_come_back_all_at_once() {
        const SECOND: Duration = Duration::from_secs(1);

        let counts = fetches(SECOND, 60 * MINUTE, |failures, chance| {
            after_failures(failures, PERIOD, chance)
        });
        // 22 a second is what there would be if all were spread evenly.
        let last = peak(&counts, SECOND, 50 * MINUTE, 60 * MINUTE);
        assert!((22..50).contains(&last), "{last}");
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_minute_and_never_pass_the_period() {
        let longest = |failures, period| after_failures(failures, period, 1.0);
        let seconds = Duration::from_secs;
        assert_eq!([1, 2, 3, 6].map(|n| longest(n, PERIOD)), [1, 2, 4, 32].map(seconds));
        assert_eq!([7, 33, u32::MAX].map(|n| longest(n, PERIOD)), [MINUTE; 3]);
        assert_eq!(longest(5, seconds(3)), seconds(3));
        assert_eq!(after_failures(3, PERIOD, 0.0), seconds(2));
    }
}
