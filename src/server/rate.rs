//! How often one client may ask: GCRA, a leaky bucket per subscriber.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter, clock::Clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use http::HeaderMap;
use tokio::time::{Instant, sleep};

use crate::peers::{Peers, subscriber_of};

/// Time between two clearings of those who have been quiet.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// How often one client may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RateSettings {
    /// Requests a second, in the long run.
    pub(crate) per_second: NonZeroU32,
    /// Requests at once, after a silence.
    pub(crate) burst: NonZeroU32,
    /// The proxies in front of us: behind these the client is whom `X-Forwarded-For` names.
    pub(crate) trusted_peers: Peers,
}

/// The buckets. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    trusted_peers: Peers,
    buckets: Arc<Buckets>,
}

type Buckets =
    RateLimiter<IpAddr, DashMapStateStore<IpAddr>, TokioClock, NoOpMiddleware<std::time::Instant>>;

impl Rate {
    pub(super) fn new(settings: RateSettings) -> Self {
        let RateSettings { per_second, burst, trusted_peers } = settings;
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let buckets = Arc::new(RateLimiter::dashmap_with_clock(quota, TokioClock));
        Self { trusted_peers, buckets }
    }

    /// Takes one request off the bucket of the client behind `peer`.
    ///
    /// All peers without an address that are not trusted share one bucket: nothing tells them apart.
    ///
    /// # Errors
    ///
    /// The bucket is empty: the time until there is one in it.
    pub(super) fn take(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Duration> {
        let client = subscriber_of(self.trusted_peers.client_behind(peer, headers));
        self.buckets
            .check_key(&client)
            .map_err(|not_until| not_until.wait_time_from(TokioClock.now()))
    }

    /// Forgets those whose bucket is full again, from time to time, for ever: else every address ever seen would stay.
    pub(super) async fn keep_small(self) {
        loop {
            sleep(SWEEP_EVERY).await;
            self.buckets.retain_recent();
            self.buckets.shrink_to_fit();
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
    use crate::peers::{NOWHERE, PeerRange};

    fn rate(burst: u32, trusted: &[&str]) -> Rate {
        Rate::new(RateSettings {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(burst).unwrap(),
            trusted_peers: trusted.iter().map(|peer| peer.parse::<PeerRange>().unwrap()).collect(),
        })
    }

    fn takes(rate: &Rate, peer: &str, forwarded_for: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded_for.parse().unwrap());
        rate.take(peer.parse().unwrap(), &headers).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_burst_a_request_must_wait_for_its_turn() {
        let rate = rate(2, &[]);
        let ask = || rate.take("192.0.2.1".parse().unwrap(), &HeaderMap::new());
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        let wait = ask().unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(ask(), Ok(()));
        assert!(ask().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_ipv4_address_and_each_ipv6_64_has_its_own_bucket() {
        let rate = rate(1, &[]);
        assert!(takes(&rate, "192.0.2.1", ""));
        assert!(!takes(&rate, "::ffff:192.0.2.1", ""));
        assert!(takes(&rate, "192.0.2.2", ""));
        assert!(takes(&rate, "2001:db8::1", ""));
        assert!(!takes(&rate, "2001:db8::2:3:4", ""));
        assert!(takes(&rate, "2001:db8:0:1::1", ""));
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_trusted_peer_the_client_is_whom_it_names() {
        let rate = rate(1, &["10.0.0.0/8"]);
        assert!(takes(&rate, "10.0.0.1", "203.0.113.1"));
        assert!(takes(&rate, "10.0.0.1", "203.0.113.2"));
        assert!(!takes(&rate, "10.0.0.2", "203.0.113.1"));
        assert!(!takes(&rate, "10.0.0.1", "6.6.6.6, 203.0.113.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_cannot_name_somebody_else() {
        let rate = rate(1, &["10.0.0.0/8"]);
        assert!(takes(&rate, "192.0.2.1", "203.0.113.1"));
        assert!(!takes(&rate, "192.0.2.1", "203.0.113.2"));
        assert!(takes(&rate, &NOWHERE.ip().to_string(), "203.0.113.1"));
        assert!(!takes(&rate, &NOWHERE.ip().to_string(), "203.0.113.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_quiet_is_forgotten() {
        let rate = rate(1, &[]);
        assert!(takes(&rate, "192.0.2.1", ""));
        assert_eq!(rate.buckets.len(), 1);
        let sweeping = tokio_util::task::TaskTracker::new().spawn(rate.clone().keep_small());
        sleep(SWEEP_EVERY * 2).await;
        assert_eq!(rate.buckets.len(), 0);
        sweeping.abort();
    }
}
