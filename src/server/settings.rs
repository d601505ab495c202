//! The limits of one listener.

use std::{num::NonZeroUsize, time::Duration};

use crate::peers::Peers;

/// How many connections there may be, how long each may dawdle and how much it may send before it is a request.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    /// Connections open at once; default 10 000. At the limit the next one waits in the kernel's backlog until one
    /// closes. Keep it below the process's limit of file descriptors, of which a proxied request takes two.
    pub(crate) max_connections: NonZeroUsize,

    /// Time from the first byte of a request's head to its last; default 10 s. For a connection's first request it
    /// counts from the accept, so a peer that says nothing is gone after it too. A late HTTP/1 head is answered 408.
    /// Shorter frees connections from slow senders sooner; longer is kinder to bad networks.
    pub(crate) header_read_timeout: Duration,

    /// Time that a connection may stay open between requests; default 75 s. Should be longer than that of a load
    /// balancer in front, else it sends requests into connections that are just closing.
    pub(crate) keep_alive_timeout: Duration,

    /// Time that a peer may take nothing of what it is owed; default 60 s. Then its connection is closed, or if only one of
    /// its HTTP/2 streams is without a window, that stream is reset. It counts from the last byte that got through, and
    /// only while there is one to send.
    pub(crate) send_timeout: Duration,

    /// Bytes of one request's head, and of its trailers; default 64 KiB. More is answered 431.
    pub(crate) max_header_bytes: usize,

    /// Header lines of one HTTP/1 request; default 100. More is answered 431. HTTP/2 counts bytes alone, and each line as
    /// 32 more than it has (RFC 9113 §6.5.2).
    pub(crate) max_headers: usize,

    /// Whether it is kept how the names of an HTTP/1 request's headers were spelt; by default it is not, as it costs time.
    pub(crate) preserve_header_case: bool,

    /// The balancers that say by the PROXY protocol whose connection each is; nobody by default. They must then say so on
    /// every connection, and what anybody else says is not looked at: it is garbage to HTTP.
    pub(crate) proxy_protocol_peers: Peers,

    /// Time that requests in flight get to finish at shutdown; default 30 s. Should be shorter than the patience of
    /// whoever stops the process, `terminationGracePeriodSeconds` in Kubernetes.
    pub(crate) drain_timeout: Duration,

    /// Requests in flight on one HTTP/2 connection; default 200. The peer is told, and keeps further ones back.
    pub(crate) h2_max_concurrent_streams: u32,

    /// HTTP/2 streams that a peer may open and reset before we saw them; default 20. More ends the connection: what bounds
    /// "rapid reset" (CVE-2023-44487).
    pub(crate) h2_max_pending_resets: usize,

    /// HTTP/2 streams that we reset because the peer violated the protocol; default 1024. More ends the connection: what
    /// bounds "made you reset" (CVE-2025-8671).
    pub(crate) h2_max_local_resets: usize,

    /// Time between HTTP/2 pings, which find peers that vanished without a word; default 30 s, `None` sends none.
    pub(crate) h2_ping_interval: Option<Duration>,

    /// Time that a peer has to answer a ping before the connection counts as dead; default 20 s.
    pub(crate) h2_ping_timeout: Duration,
}

impl ServerSettings {
    /// The default of `max_headers`, which is hyper's.
    pub(crate) const MAX_HEADERS: usize = 100;
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            header_read_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_mins(1),
            max_header_bytes: 64 * 1024,
            max_headers: Self::MAX_HEADERS,
            preserve_header_case: false,
            proxy_protocol_peers: Peers::default(),
            drain_timeout: Duration::from_secs(30),
            h2_max_concurrent_streams: 200,
            h2_max_pending_resets: 20,
            h2_max_local_resets: 1024,
            h2_ping_interval: Some(Duration::from_secs(30)),
            h2_ping_timeout: Duration::from_secs(20),
        }
    }
}

const DEFAULT_MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
