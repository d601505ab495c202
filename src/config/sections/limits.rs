//! `[limits]`.

use std::num::{NonZeroU32, NonZeroUsize};

use serde::{Deserialize, Serialize};

use crate::{
    peers::Peers,
    server::{LimitSettings, RateSettings},
};

/// `[limits]`: how many requests, and how often. What holds for connections is below `[server]`, and how
/// long a request may take below `[upstream]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    /// Requests in flight at once, on all connections; default 10 000. One more is answered 503 at once, and may be sent
    /// again. Fewer keeps the application from drowning, and memory bounded; more refuses fewer bursts.
    max_requests: NonZeroUsize,

    /// Requests a second that one client may send in the long run; as many as it likes by default. More is answered 429. A
    /// client is an IPv4 address or an IPv6 /64: the peer's, or behind `server.trusted_peers` the one that they forward.
    /// People behind one address share its rate, and all unlisted peers of Unix domain sockets share one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_second: Option<NonZeroU32>,

    /// Requests that one client may send at once after a silence; default 50. It means nothing without `rate_per_second`.
    /// More suits pages that fetch many things at once; fewer is stricter.
    rate_burst: NonZeroU32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let settings = LimitSettings::default();
        Self {
            max_requests: settings.max_requests,
            rate_per_second: None,
            rate_burst: const { NonZeroU32::MIN.saturating_add(49) },
        }
    }
}

impl LimitsSection {
    pub(super) fn check(self, trusted_peers: &Peers) -> LimitSettings {
        let Self { max_requests, rate_per_second, rate_burst } = self;

        let rate = rate_per_second.map(|per_second| RateSettings {
            per_second,
            burst: rate_burst,
            trusted_peers: trusted_peers.clone(),
        });
        LimitSettings { max_requests, rate }
    }
}
