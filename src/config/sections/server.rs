//! `[server]`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    super::{byte_size::ByteSize, problems::Problems},
    LONGEST, check_at_most, check_positive,
};
use crate::{
    server::ServerSettings,
    upstream::{BodyLimits, TrustedPeers},
};

/// `[server]`: where the proxy listens, and how patient it is with those who connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerSection {
    /// Where callers connect to; default `0.0.0.0:4180`, every IPv4 interface. `127.0.0.1` keeps other machines out,
    /// which suits a gateway on the same one; `[::]` adds IPv6. Port 0 takes any free one.
    listen: SocketAddr,

    /// Where `/livez`, `/readyz` and `/metrics` are served; default `127.0.0.1:4181`. Open it to the network that probes
    /// and scrapes, and to no other: it asks nobody who they are. It must not be the public address.
    admin_listen: SocketAddr,

    /// Connections open at once; default 10 000. At the limit the next one waits in the kernel's queue until one closes.
    /// More needs more file descriptors, two for each proxied request (`ulimit -n`); fewer bounds memory more tightly.
    max_connections: NonZeroUsize,

    /// Time that a request's head may take from its first byte to its last, or a new connection to its first request;
    /// default 10 s. A late one is answered 408. Shorter frees connections from slow senders sooner; longer is kinder to
    /// bad networks.
    #[serde(with = "humantime_serde")]
    header_read_timeout: Duration,

    /// Time that a connection may stay open between requests; default 75 s. Shorter frees idle connections sooner; shorter
    /// than that of a load balancer in front, it makes the balancer send requests into connections that are just closing.
    #[serde(with = "humantime_serde")]
    keep_alive_timeout: Duration,

    /// Size of one request's head, and of its trailers; default 64 KiB. More is answered 431. Larger admits bigger cookies
    /// and tokens, and lets each connection hold more memory.
    max_header_bytes: ByteSize,

    /// Time that requests in flight get to finish at shutdown; default 30 s. Longer spares slow requests; longer than the
    /// patience of whoever stops the process (`terminationGracePeriodSeconds` in Kubernetes), it is cut short from
    /// outside. `0s` drops them at once.
    #[serde(with = "humantime_serde")]
    drain_timeout: Duration,

    /// Size of one request's body; no limit by default, as bodies are passed on as they come and never held. A limit
    /// protects an application that has none; a longer body is answered 413, or breaks off if it did not say its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_body_bytes: Option<ByteSize>,

    /// The longest silence inside a request's body; default 60 s. A longer one is answered 408. Shorter frees the
    /// application from stalled uploads sooner; longer lets clients pause.
    #[serde(with = "humantime_serde")]
    body_idle_timeout: Duration,

    /// Requests in flight on one HTTP/2 connection; default 200. The peer is told, and keeps further ones back. More
    /// serves a gateway with few connections better; fewer shares the application more evenly.
    h2_max_concurrent_streams: u32,

    /// Time between HTTP/2 pings, which find peers that vanished without a word; default 30 s. Shorter finds them sooner
    /// and wakes mobile radios more often. `0s` sends none, and a vanished peer is kept for as long as the system does.
    #[serde(with = "humantime_serde")]
    h2_ping_interval: Duration,

    /// Time that a peer has to answer such a ping before its connection counts as dead; default 20 s. Longer is kinder to
    /// bad networks.
    #[serde(with = "humantime_serde")]
    h2_ping_timeout: Duration,

    /// The peers, as addresses (`10.0.0.7`) or networks (`10.0.0.0/8`), whose `Forwarded` and `X-Forwarded-*` headers are
    /// believed and extended; nobody by default. From everybody else they are replaced. A gateway in front that is not
    /// listed hides the callers' addresses from the application; an address that others can use lets them forge theirs.
    trusted_peers: Vec<String>,
}

impl Default for ServerSection {
    fn default() -> Self {
        let settings = ServerSettings::default();
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4180),
            admin_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4181),
            max_connections: settings.max_connections,
            header_read_timeout: settings.header_read_timeout,
            keep_alive_timeout: settings.keep_alive_timeout,
            max_header_bytes: ByteSize(settings.max_header_bytes as u64),
            drain_timeout: settings.drain_timeout,
            max_body_bytes: None,
            body_idle_timeout: Duration::from_mins(1),
            h2_max_concurrent_streams: settings.h2_max_concurrent_streams,
            h2_ping_interval: settings.h2_ping_interval.unwrap_or(Duration::ZERO),
            h2_ping_timeout: settings.h2_ping_timeout,
            trusted_peers: Vec::new(),
        }
    }
}

/// What `[server]` settles.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) settings: ServerSettings,
    pub(super) request_body: BodyLimits,
    pub(super) trusted_peers: TrustedPeers,
}

impl ServerSection {
    /// Less would refuse requests of ordinary browsers.
    const LEAST_HEADER_BYTES: usize = 4 * 1024;
    /// Each connection may hold this much before anyone has said who they are.
    const MOST_HEADER_BYTES: usize = 1024 * 1024;

    pub(super) fn check(self, problems: &mut Problems) -> Option<Checked> {
        let Self {
            listen,
            admin_listen,
            max_connections,
            header_read_timeout,
            keep_alive_timeout,
            max_header_bytes,
            drain_timeout,
            max_body_bytes,
            body_idle_timeout,
            h2_max_concurrent_streams,
            h2_ping_interval,
            h2_ping_timeout,
            trusted_peers,
        } = self;

        check_apart(problems, listen, admin_listen);
        check_positive(problems, "server.header_read_timeout", header_read_timeout);
        check_positive(problems, "server.keep_alive_timeout", keep_alive_timeout);
        check_positive(problems, "server.body_idle_timeout", body_idle_timeout);
        check_positive(problems, "server.h2_ping_timeout", h2_ping_timeout);
        check_at_most(problems, "server.drain_timeout", LONGEST, drain_timeout);
        check_at_most(problems, "server.h2_ping_interval", LONGEST, h2_ping_interval);
        if h2_max_concurrent_streams == 0 {
            problems.note("server.h2_max_concurrent_streams", "must be at least 1");
        }
        let trusted_peers = TrustedPeers::new(check_peers(problems, &trusted_peers));

        let settings = ServerSettings {
            max_connections,
            header_read_timeout,
            keep_alive_timeout,
            max_header_bytes: Self::check_header_bytes(problems, max_header_bytes)?,
            drain_timeout,
            h2_max_concurrent_streams,
            h2_ping_interval: (!h2_ping_interval.is_zero()).then_some(h2_ping_interval),
            h2_ping_timeout,
        };
        let request_body = BodyLimits {
            idle_timeout: body_idle_timeout,
            max_bytes: max_body_bytes.map(|ByteSize(bytes)| bytes),
        };
        Some(Checked { listen, admin_listen, settings, request_body, trusted_peers })
    }

    fn check_header_bytes(problems: &mut Problems, ByteSize(bytes): ByteSize) -> Option<usize> {
        let bytes = usize::try_from(bytes)
            .ok()
            .filter(|bytes| (Self::LEAST_HEADER_BYTES..=Self::MOST_HEADER_BYTES).contains(bytes));
        if bytes.is_none() {
            problems.note("server.max_header_bytes", "must be between 4KiB and 1MiB");
        }
        bytes
    }
}

/// Health and metrics are never on the public port.
fn check_apart(problems: &mut Problems, listen: SocketAddr, admin_listen: SocketAddr) {
    if listen == admin_listen && listen.port() != 0 {
        let what = "must not be server.listen: health and metrics are not for callers";
        problems.note_clash("server.admin_listen", "server.listen", what);
    }
}

fn check_peers(problems: &mut Problems, peers: &[String]) -> Vec<IpNet> {
    peers.iter().filter_map(|peer| check_peer(problems, peer)).collect()
}

fn check_peer(problems: &mut Problems, peer: &str) -> Option<IpNet> {
    let Some(net) = peer.parse().ok().or_else(|| peer.parse::<IpAddr>().ok().map(IpNet::from))
    else {
        let what = format!("`{peer}` is neither an address nor a network such as 10.0.0.0/8");
        problems.note("server.trusted_peers", what);
        return None;
    };
    if net.prefix_len() == 0 {
        let what = format!("`{peer}` is the whole Internet: list the proxies in front of this one");
        problems.note("server.trusted_peers", what);
    }
    Some(net)
}
