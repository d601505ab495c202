//! The accept loop: a permit, then a connection; trouble is waited out and never ends the loop.

use std::{
    future::{self, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connection::Io;

/// The pause after an error that is ours (no file descriptor left, no memory): the next try would fail as well, and a
/// loop without a pause would burn a core until a connection closes.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Accept: Send {
    /// What a connection is made of.
    type Io: Io;

    /// The next connection and its peer.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Io, SocketAddr)>>;
}

/// Several listeners as one, under one permit at a time: a permit each would leave some with those that nobody calls.
impl<T: Accept> Accept for Vec<T> {
    type Io = T::Io;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(T::Io, SocketAddr)>> {
        let ready = self.iter_mut().enumerate().find_map(|(at, listener)| {
            let Poll::Ready(accepted) = listener.poll_accept(cx) else { return None };
            Some((at, accepted))
        });
        let Some((at, accepted)) = ready else { return Poll::Pending };
        // Whoever had its turn is asked last the next time.
        self.rotate_left(at + 1);
        Poll::Ready(accepted)
    }
}

impl Accept for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let (stream, peer) = ready!(Self::poll_accept(self, cx))?;
        // Heads and small frames go out at once; hyper gathers its writes, so Nagle's algorithm has nothing to add.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        // A socket bound to `::` sees IPv4 peers as `::ffff:192.0.2.1`, which no list of IPv4 networks contains.
        Poll::Ready(Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()))))
    }
}

/// Yields connections, each with its permit, until shutdown.
#[derive(Debug)]
pub(super) struct Acceptor<A> {
    listener: A,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    errors: Counter,
    failing: bool,
}

impl<A: Accept> Acceptor<A> {
    pub(super) fn new(
        listener: A,
        permits: Arc<Semaphore>,
        shutdown: CancellationToken,
        errors: Counter,
    ) -> Self {
        Self { listener, permits, shutdown, errors, failing: false }
    }

    /// The next connection; `None` from shutdown on, when those that wait in the backlog are taken as well: to their
    /// peers they are open, and closing the listener would reset them with their requests.
    pub(super) async fn next(&mut self) -> Option<(A::Io, SocketAddr, OwnedSemaphorePermit)> {
        let shutdown = self.shutdown.clone();
        if let Some(connection) = shutdown.run_until_cancelled(self.accept()).await {
            return connection;
        }
        tokio::select! {
            biased;
            waiting = self.accept() => waiting,
            () = future::ready(()) => None,
        }
    }

    async fn accept(&mut self) -> Option<(A::Io, SocketAddr, OwnedSemaphorePermit)> {
        // The permit comes first: what we cannot serve stays in the backlog, where the peer can give up on it.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        loop {
            match poll_fn(|cx| self.listener.poll_accept(cx)).await {
                Ok((io, peer)) => {
                    self.recovered();
                    return Some((io, peer, permit));
                }
                Err(error) if is_of_one_connection(&error) => {
                    debug!(%error, "a connection ended before its accept");
                }
                Err(error) => {
                    self.failed(&error);
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.errors.inc();
        if !self.failing {
            warn!(%error, "connections cannot be accepted");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if self.failing {
            info!("connections are accepted again");
        }
        self.failing = false;
    }
}

/// Linux hands errors that wait on the new socket to `accept(2)`: those say nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
