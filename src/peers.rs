//! Who is at the other end of a connection, and whose word about others is believed.
//!
//! A peer is a plain [`SocketAddr`], as the server puts it into each request's extensions. A peer of a Unix domain socket
//! has no address: it is [`NOWHERE`], which no network of a list contains. Only the word `unix` in a list means it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use http::HeaderMap;
use ipnet::{IpNet, Ipv6Net};

/// The peer that has no address: 0.0.0.0, from which no packet can come (RFC 1122 §3.2.1.3).
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Whether `peer` is somewhere.
pub(crate) const fn has_address(peer: IpAddr) -> bool {
    !peer.is_unspecified()
}

/// A list of peers; empty by default, and then it contains nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    nets: Vec<IpNet>,
    unix: bool,
}

/// The proof that a peer is listed, which only [`Peers::listed`] gives: what needs a listed peer's word asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed(());

/// One entry of such a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerRange {
    /// Everybody within a network, which may be a single address.
    Net(IpNet),
    /// Everybody who connects to a Unix domain socket: the file's permissions say who can.
    Unix,
}

impl FromStr for PeerRange {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_no_single_address| text.parse()).map(Self::Net)
    }
}

impl FromIterator<PeerRange> for Peers {
    fn from_iter<I: IntoIterator<Item = PeerRange>>(ranges: I) -> Self {
        let mut peers = Self::default();
        for range in ranges {
            match range {
                PeerRange::Net(net) => peers.nets.push(net),
                PeerRange::Unix => peers.unix = true,
            }
        }
        peers
    }
}

impl Peers {
    /// The networks in the list.
    pub(crate) fn nets(&self) -> &[IpNet] {
        &self.nets
    }

    /// Whether `peer` is listed.
    pub(crate) fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if has_address(peer) { self.nets.iter().any(|net| net.contains(&peer)) } else { self.unix }
    }

    /// The proof that `peer` is listed, if it is.
    pub(crate) fn listed(&self, peer: IpAddr) -> Option<Listed> {
        self.contains(peer).then_some(Listed(()))
    }

    /// Whether nobody is listed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.nets.is_empty() && !self.unix
    }

    /// The client on whose behalf `peer` sent `headers`: the peer itself, unless it is one of these. Then it is the last
    /// hop of `X-Forwarded-For` that is not: each of these appended the address from which it was called, so from the
    /// right the list is true until the first stranger, and whatever stands before that one is the stranger's invention.
    pub(crate) fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        for hop in hops {
            let Some(hop) = address_of(hop.trim()) else { break };
            client = hop;
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// The address of a hop, with or without a port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']').parse();
    let address = bare.ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))?;
    let address = address.to_canonical();
    has_address(address).then_some(address)
}

/// What one subscriber holds: an IPv4 address, or the /64 of an IPv6 one, within which anybody can take any address
/// (RFC 6177 §2).
pub(crate) fn subscriber_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Net::new(address, 64).map_or(IpAddr::V6(address), |net| IpAddr::V6(net.network()))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(list: &[&str]) -> Peers {
        list.iter().map(|range| range.parse::<PeerRange>().unwrap()).collect()
    }

    fn client(list: &[&str], peer: &str, forwarded_for: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded_for {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        peers(list).client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_peer_without_an_address_is_listed_by_its_word_alone() {
        let everything = peers(&["0.0.0.0/0", "::/0", "0.0.0.0"]);
        assert!(everything.contains("192.0.2.1".parse().unwrap()));
        assert!(!everything.contains(NOWHERE.ip()));
        assert!(!everything.contains("::ffff:0.0.0.0".parse().unwrap()));
        assert!(peers(&["unix"]).contains(NOWHERE.ip()));
        assert!(!peers(&["unix"]).contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() {
        assert!(peers(&["10.0.0.0/8"]).contains("::ffff:10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn a_stranger_is_the_client_whatever_it_says() {
        assert_eq!(client(&[], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn behind_listed_peers_the_client_is_the_last_hop_that_is_not_listed() {
        let list = &["10.0.0.0/8", "2001:db8::/32"];
        for (lines, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9,10.0.0.2", "2001:db8::1"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:4860::8]:4711, [2001:db8::5]"], "2001:4860::8"),
            (&["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
            (&["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["1.1.1.1, 0.0.0.0"], "10.0.0.1"),
            (&["garbage"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(list, "10.0.0.1", lines), expected, "{lines:?}");
        }
        assert_eq!(client(&["unix"], "0.0.0.0", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn a_subscriber_is_an_ipv4_address_or_an_ipv6_64() {
        for (client, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let subscriber = subscriber_of(client.parse().unwrap());
            assert_eq!(subscriber, expected.parse::<IpAddr>().unwrap());
        }
    }
}
