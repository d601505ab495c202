//! A socket, an application, and every task between the two, so that a toy server can be stopped and started again.

use std::{
    fmt, io, mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, rt, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::answer::Answer;

/// What answers the requests.
pub(super) type Application = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;
/// An answer on its way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Why a toy server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It mints tokens for whoever asks, so it must not be reachable from another machine.
    #[error(
        "{0} is not a loopback address; the simulator mints tokens for whoever asks and listens on loopback only"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A running server. Dropping it ends its connections and frees its port.
pub(super) struct Host {
    address: SocketAddr,
    application: Application,
    running: Mutex<Option<Running>>,
}

struct Running {
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Host {
    /// Serves `application` on `address`; port 0 picks a free one.
    pub(super) async fn start(
        address: SocketAddr,
        application: Application,
    ) -> Result<Self, StartError> {
        let bind_error = |source| StartError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let running = Mutex::new(Some(Running::start(listener, Arc::clone(&application))));
        Ok(Self { address, application, running })
    }

    /// Where it listens, or did before it was stopped.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and refuses new ones. Returns when nothing runs any more.
    pub(super) async fn stop(&self) {
        let Some(Running { tasks, stop }) = self.replace(None) else { return };
        drop(stop);
        tasks.close();
        tasks.wait().await;
    }

    /// Listens again on the same port. Stops first, if that has not been done.
    pub(super) async fn restart(&self) -> Result<(), StartError> {
        self.stop().await;
        let address = self.address;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Bind { address, source })?;
        drop(self.replace(Some(Running::start(listener, Arc::clone(&self.application)))));
        Ok(())
    }

    fn replace(&self, running: Option<Running>) -> Option<Running> {
        mem::replace(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner), running)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Running {
    fn start(listener: TcpListener, application: Application) -> Self {
        let spawner = Spawner { tasks: TaskTracker::new(), stop: CancellationToken::new() };
        rt::Executor::execute(&spawner, accept(listener, application, spawner.clone()));
        Self { tasks: spawner.tasks, stop: spawner.stop.drop_guard() }
    }
}

/// Spawns tasks that are counted, and that end where they stand when the server stops.
#[derive(Clone)]
struct Spawner {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}

async fn accept(listener: TcpListener, application: Application, spawner: Spawner) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                rt::Executor::execute(
                    &spawner,
                    serve(stream, Arc::clone(&application), spawner.clone()),
                );
            }
            // Mostly "too many open files": let the connections that hold them end.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(stream: TcpStream, application: Application, spawner: Spawner) {
    let service = service_fn(move |request| application(request));
    // How a connection ended is its client's business: the toy drops some on purpose.
    drop(auto::Builder::new(spawner).serve_connection(TokioIo::new(stream), service).await);
}
