//! Sockets: from a bound listener to requests, under limits, until told to stop.
//!
//! [`Server`] serves any tower service and knows nothing of what the service does. The life of a connection:
//!
//! 1. **accept** (`accept.rs`): a permit first, so that `max_connections` holds; trouble with accepting is waited out;
//! 2. **sniff** (`sniff.rs`): HTTP/1 or HTTP/2 by the first bytes, under the header-read timeout;
//! 3. **serve** (`http1.rs`, `http2.rs`): heads and idleness are bounded in size and time; every request carries the
//!    peer's `std::net::SocketAddr` as an extension;
//! 4. **drain**: on shutdown the listener closes, idle connections close at once, requests in flight are finished, and
//!    what is not done at the deadline is dropped.
//!
//! Beside it: the second listener's service ([`Admin`]), [`Readiness`] and the process's [`Signals`].

mod accept;
mod admin;
mod connection;
mod head_clock;
mod http1;
mod http2;
mod readiness;
mod settings;
mod signals;
mod sniff;
#[cfg(test)]
mod tests;

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use http_body::Body;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::telemetry::Metrics;

use self::{
    accept::{Accept, Acceptor},
    connection::{Connection, HttpService, Open, Stop},
};
pub(crate) use self::{
    admin::Admin, readiness::Readiness, settings::ServerSettings, signals::Signals,
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

/// Serves HTTP/1 and HTTP/2 on one listener.
#[derive(Debug)]
pub(crate) struct Server {
    settings: Arc<ServerSettings>,
    metrics: Metrics,
}

impl Server {
    /// A server under `settings` that moves the connection gauge of `metrics`.
    pub(crate) fn new(settings: ServerSettings, metrics: Metrics) -> Self {
        Self { settings: Arc::new(settings), metrics }
    }

    /// Serves `service` on `listener`, a bound `TcpListener`, until `shutdown`, then drains.
    ///
    /// Each request has the peer's [`std::net::SocketAddr`] in its extensions (a plain one, so that nobody has to know
    /// this module to read it); an IPv4 peer of an IPv6 socket appears as IPv4.
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
        let limit = self.settings.max_connections.get().min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(limit));
        let tasks = TaskTracker::new();
        let stop = Stop { gracefully: shutdown, at_once: CancellationToken::new() };
        let _none_outlives_this_future = stop.at_once.clone().drop_guard();

        let mut acceptor = Acceptor::new(listener, Arc::clone(&permits), stop.gracefully.clone());
        while let Some((io, peer, permit)) = acceptor.next().await {
            let connection = Connection {
                io,
                peer,
                open: Open::count(self.metrics.connections.clone(), permit),
                settings: Arc::clone(&self.settings),
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            let at_once = stop.at_once.clone();
            tasks.spawn(at_once.run_until_cancelled_owned(connection.serve(service.clone())));
        }

        // Closes the listener: from here on the next connection is refused, not left waiting in the backlog.
        drop(acceptor);
        tasks.close();
        if timeout(self.settings.drain_timeout, tasks.wait()).await.is_ok() {
            return Drained::All;
        }
        let connections = limit.saturating_sub(permits.available_permits());
        warn!(connections, "the drain deadline has passed, dropping connections");
        stop.at_once.cancel();
        tasks.wait().await;
        Drained::Aborted { connections }
    }
}
