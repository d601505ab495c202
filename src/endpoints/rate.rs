//! How often one client may ask what costs us a verification: GCRA, a leaky bucket per subscriber.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use crate::peers::subscriber_of;

/// The buckets.
#[derive(Debug)]
pub(super) struct Rate {
    buckets: Buckets,
    taken: AtomicU32,
}

type Buckets = RateLimiter<
    IpAddr,
    DashMapStateStore<IpAddr>,
    MonotonicClock,
    NoOpMiddleware<std::time::Instant>,
>;

impl Rate {
    /// Requests between two clearings of those who have been quiet.
    const SWEEP_EVERY: u32 = 1024;

    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let buckets = RateLimiter::dashmap_with_clock(quota, MonotonicClock);
        Self { buckets, taken: AtomicU32::new(0) }
    }

    /// Takes one off the bucket of `client`.
    ///
    /// # Errors
    ///
    /// The bucket is empty: the time until there is one in it.
    pub(super) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        if self.taken.fetch_add(1, Ordering::Relaxed).is_multiple_of(Self::SWEEP_EVERY) {
            self.buckets.retain_recent();
        }
        let taken = self.buckets.check_key(&subscriber_of(client));
        taken.map_err(|not_until| not_until.wait_time_from(MonotonicClock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sender_has_a_bucket_of_its_own() {
        let two = NonZeroU32::new(2).unwrap();
        let rate = Rate::new(NonZeroU32::MIN, two);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        assert!(rate.take(one).is_ok() && rate.take(one).is_ok());
        assert!(rate.take(one).is_err());
        assert!(rate.take(other).is_ok());
    }
}
