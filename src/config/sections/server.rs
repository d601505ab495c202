//! `[server]`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    super::{ServerEntry, byte_size::ByteSize, problems::Problems},
    LONGEST, check_at_most, check_positive,
    peers::check_peers,
    places::{ListenPlace, ListenPlaces},
};
use crate::{
    server::{ListenOn, ServerSettings},
    upstream::BodyLimits,
};

/// `[server]`: where the proxy listens, and how patient it is with those who connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerSection {
    /// Where callers connect to, one place or several; default `0.0.0.0:4180`, every IPv4 interface. `127.0.0.1` keeps other
    /// machines out, which suits a gateway on the same one; `[::]` adds IPv6; port 0 takes any free one. `unix:/run/a.sock`
    /// is a Unix domain socket, for its owner and group, or `unix:/run/a.sock?mode=666` for everybody. `systemd` is every
    /// socket that systemd hands over, `systemd:0` the first of them.
    listen: ListenPlaces,

    /// Where `/livez`, `/readyz` and `/metrics` are served, written likewise; default `127.0.0.1:4181`. Open it to the
    /// network that probes and scrapes, and to no other: it asks nobody who they are. It must not be the public address.
    admin_listen: ListenPlace,

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

    /// The longest that a caller may take nothing of its response, while there is something to take; default 60 s. Then its
    /// connection, or its HTTP/2 stream, is ended. Shorter frees the application from callers that do not read sooner;
    /// longer is kinder to bad networks.
    #[serde(with = "humantime_serde")]
    send_timeout: Duration,

    /// Size of one request's head, and of its trailers; default 64 KiB. More is answered 431. Larger admits bigger cookies
    /// and tokens, and lets each connection hold more memory.
    max_header_bytes: ByteSize,

    /// Header lines of one HTTP/1 request; default 100. More is answered 431. HTTP/2 is bounded by `max_header_bytes` alone,
    /// for which each line counts 32 bytes more than it has.
    max_headers: NonZeroUsize,

    /// Time at shutdown from `/readyz` turning red to the listeners closing; none by default. Set it to the time that a load
    /// balancer takes to notice, and no caller meets a closed door; longer makes every restart longer.
    #[serde(with = "humantime_serde")]
    drain_delay: Duration,

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

    /// HTTP/2 streams that a peer may open and reset before they were looked at; default 20. More ends its connection. Few
    /// bound what a "rapid reset" costs; fewer also hit impatient, honest clients.
    h2_max_pending_resets: NonZeroUsize,

    /// HTTP/2 streams that we reset because the peer violated the protocol; default 1024. More ends its connection. Few
    /// bound what "made you reset" costs.
    h2_max_local_resets: NonZeroUsize,

    /// Time between HTTP/2 pings, which find peers that vanished without a word; default 30 s. Shorter finds them sooner
    /// and wakes mobile radios more often. `0s` sends none, and a vanished peer is kept for as long as the system does.
    #[serde(with = "humantime_serde")]
    h2_ping_interval: Duration,

    /// Time that a peer has to answer such a ping before its connection counts as dead; default 20 s. Longer is kinder to
    /// bad networks.
    #[serde(with = "humantime_serde")]
    h2_ping_timeout: Duration,

    /// The balancers, as addresses (`10.0.0.7`), networks (`10.0.0.0/8`) or `unix`, that say by the PROXY protocol, version 1
    /// or 2, whose connection each is; nobody by default. A listed one must say so on every connection; from anybody else it
    /// is garbage. An address that others can use lets them forge theirs.
    proxy_protocol_peers: Vec<String>,

    /// The peers, as addresses (`10.0.0.7`), networks (`10.0.0.0/8`) or `unix` for everybody who connects to a Unix domain
    /// socket of ours, whose `Forwarded` and `X-Forwarded-*` headers are
    /// believed and extended; nobody by default. From everybody else they are replaced. A gateway in front that is not
    /// listed hides the callers' addresses from the application; an address that others can use lets them forge theirs.
    trusted_peers: Vec<String>,
}

impl Default for ServerSection {
    fn default() -> Self {
        let settings = ServerSettings::default();
        Self {
            listen: ListenPlaces(vec![tcp(Ipv4Addr::UNSPECIFIED, 4180)]),
            admin_listen: tcp(Ipv4Addr::LOCALHOST, 4181),
            max_connections: settings.max_connections,
            header_read_timeout: settings.header_read_timeout,
            keep_alive_timeout: settings.keep_alive_timeout,
            send_timeout: settings.send_timeout,
            max_header_bytes: ByteSize(settings.max_header_bytes as u64),
            max_headers: at_least_one(settings.max_headers),
            drain_delay: Duration::ZERO,
            drain_timeout: settings.drain_timeout,
            max_body_bytes: None,
            body_idle_timeout: Duration::from_mins(1),
            h2_max_concurrent_streams: settings.h2_max_concurrent_streams,
            h2_max_pending_resets: at_least_one(settings.h2_max_pending_resets),
            h2_max_local_resets: at_least_one(settings.h2_max_local_resets),
            h2_ping_interval: settings.h2_ping_interval.unwrap_or(Duration::ZERO),
            h2_ping_timeout: settings.h2_ping_timeout,
            proxy_protocol_peers: Vec::new(),
            trusted_peers: Vec::new(),
        }
    }
}

impl ServerSection {
    /// Less would refuse requests of ordinary browsers.
    const LEAST_HEADER_BYTES: usize = 4 * 1024;
    /// Each connection may hold this much before anyone has said who they are.
    const MOST_HEADER_BYTES: usize = 1024 * 1024;

    pub(super) fn check(self, problems: &mut Problems) -> Option<ServerEntry> {
        self.check_times(problems);
        let Self {
            listen: ListenPlaces(listen),
            admin_listen: ListenPlace(admin_listen),
            max_connections,
            header_read_timeout,
            keep_alive_timeout,
            send_timeout,
            max_header_bytes,
            max_headers,
            drain_delay,
            drain_timeout,
            max_body_bytes,
            body_idle_timeout,
            h2_max_concurrent_streams,
            h2_max_pending_resets,
            h2_max_local_resets,
            h2_ping_interval,
            h2_ping_timeout,
            proxy_protocol_peers,
            trusted_peers,
        } = self;

        let listen: Vec<ListenOn> = listen.into_iter().map(|ListenPlace(on)| on).collect();
        check_places(problems, &listen, &admin_listen);
        if h2_max_concurrent_streams == 0 {
            problems.note("server.h2_max_concurrent_streams", "must be at least 1");
        }
        let trusted_peers = check_peers(problems, "server.trusted_peers", &trusted_peers);
        let proxy_protocol_peers =
            check_peers(problems, "server.proxy_protocol_peers", &proxy_protocol_peers);

        let settings = ServerSettings {
            max_connections,
            header_read_timeout,
            keep_alive_timeout,
            send_timeout,
            max_header_bytes: Self::check_header_bytes(problems, max_header_bytes)?,
            max_headers: max_headers.get(),
            preserve_header_case: false,
            proxy_protocol_peers,
            drain_timeout,
            h2_max_concurrent_streams,
            h2_max_pending_resets: h2_max_pending_resets.get(),
            h2_max_local_resets: h2_max_local_resets.get(),
            h2_ping_interval: (!h2_ping_interval.is_zero()).then_some(h2_ping_interval),
            h2_ping_timeout,
        };
        let request_body = BodyLimits {
            idle_timeout: body_idle_timeout,
            max_bytes: max_body_bytes.map(|ByteSize(bytes)| bytes),
        };
        Some(ServerEntry {
            listen,
            admin_listen,
            settings,
            drain_delay,
            request_body,
            trusted_peers,
        })
    }

    fn check_times(&self, problems: &mut Problems) {
        for (key, time) in [
            ("server.header_read_timeout", self.header_read_timeout),
            ("server.keep_alive_timeout", self.keep_alive_timeout),
            ("server.send_timeout", self.send_timeout),
            ("server.body_idle_timeout", self.body_idle_timeout),
            ("server.h2_ping_timeout", self.h2_ping_timeout),
        ] {
            check_positive(problems, key, time);
        }
        for (key, time) in [
            ("server.drain_delay", self.drain_delay),
            ("server.drain_timeout", self.drain_timeout),
            ("server.h2_ping_interval", self.h2_ping_interval),
        ] {
            check_at_most(problems, key, LONGEST, time);
        }
    }

    pub(super) fn admin_listen(self) -> ListenOn {
        self.admin_listen.0
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

const fn tcp(address: Ipv4Addr, port: u16) -> ListenPlace {
    ListenPlace(ListenOn::Tcp(SocketAddr::new(IpAddr::V4(address), port)))
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

/// There is one, and health and metrics are never on the public port.
fn check_places(problems: &mut Problems, listen: &[ListenOn], admin_listen: &ListenOn) {
    if listen.is_empty() {
        problems.note("server.listen", "must name at least one place");
    }
    let is_free = matches!(admin_listen, ListenOn::Tcp(address) if address.port() == 0);
    if listen.contains(admin_listen) && !is_free {
        let what = "must not be server.listen: health and metrics are not for callers";
        problems.note_clash("server.admin_listen", "server.listen", what);
    }
    if *admin_listen == ListenOn::Systemd(None) {
        problems.note("server.admin_listen", "must say which socket, such as systemd:1");
    }
}
