//! How often one client may ask, whoever stands between it and us.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use http::HeaderMap;

use crate::{peers::Peers, rate::Rate};

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

/// How often each client has asked. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ClientRate {
    trusted_peers: Peers,
    rate: Rate,
}

impl ClientRate {
    pub(super) fn new(settings: RateSettings) -> Self {
        let RateSettings { per_second, burst, trusted_peers } = settings;
        Self { trusted_peers, rate: Rate::new(per_second, burst) }
    }

    /// Takes one request off the bucket of the client behind `peer`.
    ///
    /// All peers without an address that are not trusted share one bucket: nothing tells them apart.
    ///
    /// # Errors
    ///
    /// The bucket is empty: the time until there is one in it.
    pub(super) fn take(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Duration> {
        self.rate.take(self.trusted_peers.client_behind(peer, headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{NOWHERE, PeerRange};

    fn rate(burst: u32, trusted: &[&str]) -> ClientRate {
        ClientRate::new(RateSettings {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(burst).unwrap(),
            trusted_peers: trusted.iter().map(|peer| peer.parse::<PeerRange>().unwrap()).collect(),
        })
    }

    fn takes(rate: &ClientRate, peer: &str, forwarded_for: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded_for.parse().unwrap());
        rate.take(peer.parse().unwrap(), &headers).is_ok()
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
}
