//! Sockets: from a bound listener to requests, under limits, until told to stop.
//!
//! [`Server`] serves any tower service and knows nothing of what the service does. The life of a connection:
//!
//! 1. **accept** (`accept.rs`, `listener.rs`): a permit first, so that `max_connections` holds for all listeners together;
//!    trouble with accepting is waited out;
//! 2. **announce** (`proxy_protocol.rs`): listed balancers say whose connection it is, under the header-read timeout;
//! 3. **secure** (`tls/`): a handshake under its own timeout; HTTP/1 or HTTP/2 by ALPN. Without TLS: **sniff**
//!    (`sniff.rs`), HTTP/1 or HTTP/2 by the first bytes, under the header-read timeout;
//! 4. **serve** (`http1.rs`, `http2.rs`): heads and idleness are bounded in size and time, and so is the patience with a peer
//!    that does not take what it asked for (`send_clock.rs`);
//! 5. **drain**: on shutdown the listeners close, idle connections close at once, requests in flight are finished, and
//!    what is not done at the deadline is dropped.
//!
//! # What a request carries
//!
//! Extensions of plain foreign types, so that nobody has to know this module to read them:
//!
//! - [`std::net::SocketAddr`], the peer: of the connection, or as a listed balancer announced it. An IPv4 peer of an IPv6
//!   socket appears as IPv4, and a peer of a Unix domain socket is [`crate::peers::NOWHERE`];
//! - [`http::uri::Scheme`]: `https` if the connection is secured here, else none.
//!
//! What goes on after an upgrade is the business of whoever upgraded; here the connection counts as open, and keeps its
//! permit, for as long as anybody holds its stream.
//!
//! Beside it: the second listener's service ([`Admin`]), [`Readiness`] and the process's [`Signals`].

mod accept;
mod admin;
mod connection;
mod head_clock;
mod held;
mod http1;
mod http2;
mod kept_body;
mod limits;
mod listen_on;
mod listener;
mod proxy_protocol;
mod rate;
mod readiness;
mod seldom;
mod send_clock;
mod settings;
mod signals;
mod sniff;
#[cfg(test)]
mod tests;
mod tls;
mod write_through;

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use http_body::Body;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::telemetry::Metrics;

use self::{
    accept::{Accept, Acceptor},
    connection::{Connection, HttpService, Open, Shared, Stop},
    seldom::unless,
};
pub(crate) use self::{
    admin::{Admin, OwnPage, OwnPages},
    kept_body::KeptBody,
    limits::{Limit, LimitSettings, LimitedBody, Limits},
    listen_on::ListenOn,
    listener::{Inherited, Listener},
    rate::RateSettings,
    readiness::{Latch, Readiness, Told},
    settings::ServerSettings,
    signals::{Hangups, Signals},
    tls::{ClientCertificates, Pem, Tls, TlsSettings},
};

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every connection was finished.
    All,
    /// The deadline came first.
    Aborted {
        /// Connections that were dropped with a request on them.
        connections: usize,
    },
}

/// Serves HTTP/1 and HTTP/2.
#[derive(Debug)]
pub(crate) struct Server {
    settings: ServerSettings,
    tls: Option<Tls>,
    metrics: Metrics,
}

impl Server {
    /// A server under `settings` that moves the connection gauge of `metrics`.
    pub(crate) fn new(settings: ServerSettings, metrics: Metrics) -> Self {
        Self { settings, tls: None, metrics }
    }

    /// Secures every connection by `tls`; without, none is.
    pub(crate) fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Serves `service` on `listener`, which may be several in one (a `Vec`), until `shutdown`, then drains.
    ///
    /// Dropping the future drops the listener and every connection, finished or not: that is how a drain is cut short.
    pub(crate) async fn serve<A, S, B>(
        self,
        listener: A,
        service: S,
        shutdown: CancellationToken,
    ) -> Drained
    where
        A: Accept,
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { settings, tls, metrics } = self;
        let limit = settings.max_connections.get().min(Semaphore::MAX_PERMITS);
        let drain_timeout = settings.drain_timeout;
        let permits = Arc::new(Semaphore::new(limit));
        let tasks = TaskTracker::new();
        let stop = Stop { gracefully: shutdown, at_once: CancellationToken::new() };
        let _none_outlives_this_future = stop.at_once.clone().drop_guard();
        let shared = Arc::new(Shared {
            settings,
            tls,
            tasks: tasks.clone(),
            stop: stop.clone(),
            send_timeouts: metrics.send_timeouts.clone(),
        });

        let (until, errors) = (stop.gracefully.clone(), metrics.accept_errors.clone());
        let mut acceptor = Acceptor::new(listener, Arc::clone(&permits), until, errors);
        while let Some((io, peer, permit)) = acceptor.next().await {
            let open = Open::count(metrics.connections.clone(), permit);
            let connection = Connection::new(io, peer, open, Arc::clone(&shared));
            let at_once = stop.at_once.clone().cancelled_owned();
            tasks.spawn(unless(at_once, connection.serve(service.clone())));
        }

        // Closes the listener: from here on the next connection is refused, not left waiting in the backlog.
        drop(acceptor);
        tasks.close();
        if timeout(drain_timeout, tasks.wait()).await.is_ok() {
            return Drained::All;
        }
        let connections = limit.saturating_sub(permits.available_permits());
        warn!(connections, "the drain deadline has passed, dropping connections");
        stop.at_once.cancel();
        tasks.wait().await;
        Drained::Aborted { connections }
    }
}
