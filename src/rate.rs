//! How often one client may ask: GCRA, a leaky bucket per subscriber.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use tokio::time::Instant;

use crate::peers::subscriber_of;

/// The buckets. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Rate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    buckets: Buckets,
    since: Instant,
    /// Whole minutes after `since` at which those who have been quiet were last forgotten.
    swept: AtomicU64,
}

type Buckets =
    RateLimiter<IpAddr, DashMapStateStore<IpAddr>, TokioClock, NoOpMiddleware<std::time::Instant>>;

impl Rate {
    /// So many `per_second` in the long run, and a `burst` at once after a silence.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let buckets = RateLimiter::dashmap_with_clock(quota, TokioClock);
        Self(Arc::new(Shared { buckets, since: Instant::now(), swept: AtomicU64::new(0) }))
    }

    /// Takes one off the bucket of `client`, who shares it with all others that one subscriber can be.
    ///
    /// # Errors
    ///
    /// The bucket is empty: the time until there is one in it.
    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        self.keep_small();
        let taken = self.0.buckets.check_key(&subscriber_of(client));
        taken.map_err(|not_until| not_until.wait_time_from(TokioClock.now()))
    }

    /// Forgets those whose bucket is full again, once a minute: else every address ever seen would stay.
    fn keep_small(&self) {
        let Shared { buckets, since, swept } = &*self.0;
        let minute = since.elapsed().as_secs() / 60;
        let is_due = swept.load(Ordering::Relaxed) < minute;
        if is_due && swept.fetch_max(minute, Ordering::Relaxed) < minute {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

/// The runtime's clock, which tests can move.
#[derive(Clone, Copy, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(burst: u32) -> Rate {
        Rate::new(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap())
    }

    fn takes(rate: &Rate, client: &str) -> bool {
        rate.take(client.parse().unwrap()).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_burst_a_request_must_wait_for_its_turn() {
        let rate = rate(2);
        let ask = || rate.take("192.0.2.1".parse().unwrap());
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        let wait = ask().unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(ask(), Ok(()));
        assert!(ask().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_ipv4_address_and_each_ipv6_64_has_its_own_bucket() {
        let rate = rate(1);
        assert!(takes(&rate, "192.0.2.1"));
        assert!(!takes(&rate, "::ffff:192.0.2.1"));
        assert!(takes(&rate, "192.0.2.2"));
        assert!(takes(&rate, "2001:db8::1"));
        assert!(!takes(&rate, "2001:db8::2:3:4"));
        assert!(takes(&rate, "2001:db8:0:1::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_quiet_is_forgotten() {
        let rate = rate(1);
        assert!(takes(&rate, "192.0.2.1"));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(takes(&rate, "192.0.2.2"));
        assert_eq!(rate.0.buckets.len(), 2);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(takes(&rate, "192.0.2.3"));
        assert_eq!(rate.0.buckets.len(), 1);
    }
}
