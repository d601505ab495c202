//! The composition root: settings in, running servers out. The only file that sees all of the house.

mod build;
mod revocation;

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{
    build::{JWK_SET, Surroundings, build_router, build_verifier, refusal},
    revocation::build_recorder,
};
use crate::{
    authn::AssertionKeys,
    clock::{Clock, SystemClock},
    config::Settings,
    endpoints::RevocationsView,
    server::{
        Admin, Drained, Inherited, Limits, ListenOn, Listener, Readiness, Server, ServerSettings,
        Signals, Tls,
    },
    telemetry::Metrics,
    upstream::Streams,
    verify::BuildError,
};

pub use crate::{store::StoreError, upstream::TlsError, webhooks::PostError};

/// A proxy with its sockets bound, ready to run.
#[derive(Debug)]
pub struct App {
    public: Vec<Listener>,
    admin: Vec<Listener>,
    tls: Option<Tls>,
    metrics: Metrics,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

/// Why a proxy could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A place cannot be listened on.
    #[error("cannot listen on {place}")]
    Listen {
        /// Which, as it is configured.
        place: String,
        /// Why not.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The verifier cannot be built.
    #[error("cannot set up the verifier")]
    Verifier(#[from] BuildError),
    /// TLS towards the application cannot be set up.
    #[error("cannot set up TLS towards the application")]
    UpstreamTls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("cannot set up the store")]
    Store(#[from] StoreError),
    /// Webhooks cannot be sent.
    #[error("cannot set up the webhooks")]
    Webhooks(#[source] PostError),
    /// The signals that end a process cannot be heard.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

impl App {
    /// Binds the sockets that `settings` name, and reads the certificate if there is to be one.
    ///
    /// # Errors
    ///
    /// [`AppError::Listen`], [`AppError::Tls`].
    pub async fn bind(settings: Settings) -> Result<Self, AppError> {
        let metrics = Metrics::new();
        let tls = match settings.tls.clone() {
            None => None,
            Some(files) => Some(
                Tls::load(files, metrics.clone())
                    .await
                    .map_err(|error| AppError::Tls(error.into()))?,
            ),
        };
        let mut inherited = Inherited::default();
        // The admin listener first: of what systemd hands over it takes one, and the public ones may take the rest.
        let admin = listen(&settings.admin_listen, &mut inherited).await?;
        let mut public = Vec::new();
        for on in &settings.listen {
            public.extend(listen(on, &mut inherited).await?);
        }
        Ok(Self { public, admin, tls, metrics, settings, clock: Arc::new(SystemClock) })
    }

    /// Tells the time by `clock`, for tests that move it.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Where callers connect to: the first TCP address.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        first_address(&self.public)
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    ///
    /// Not on a TCP address.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        first_address(&self.admin)
    }

    /// Runs until SIGTERM or SIGINT, then finishes what is in flight; a second signal drops it.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it cannot start.
    pub async fn run_until_signalled(self) -> Result<(), AppError> {
        let mut signals = Signals::install().map_err(AppError::Signals)?;
        let shutdown = CancellationToken::new();
        let running = self.run(shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            signal = signals.next() => info!(signal, "shutting down"),
        }
        shutdown.cancel();
        tokio::select! {
            ended = &mut running => ended,
            signal = signals.next() => {
                warn!(signal, "signalled again: dropping what is in flight");
                Ok(())
            }
        }
    }

    /// Runs until `shutdown`, then finishes what is in flight.
    ///
    /// # Errors
    ///
    /// [`AppError::Verifier`] when it cannot start.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let Self { public, admin, tls, metrics, settings, clock } = self;
        let (readiness, tasks) = (Readiness::default(), TaskTracker::new());
        let stop_admin = CancellationToken::new();
        let recorder = build_recorder(&settings, &clock, &metrics, &tasks)?;
        let list = recorder.as_ref().map(|recorder| recorder.revocations.clone());
        let verifier = build_verifier(&settings, &clock, &metrics, &tasks, list)?;

        let keys = readiness.latch("keys");
        let waiting = verifier.clone();
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move {
            waiting.ready().await;
            keys.open();
            info!("ready");
        }));

        let streams = Streams::default();
        let _none_outlives_this_future = streams.end_on_drop();
        let surroundings = Surroundings {
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            streams: streams.clone(),
        };
        let router = build_router(&settings, verifier, recorder.as_ref(), &surroundings)?;
        if let Some(recorder) = &recorder {
            revocation::start(recorder, readiness.latch("revocations"), &tasks, &stop_admin)?;
        }
        let mut door = Admin::new(readiness.clone(), metrics.clone(), clock);
        if let Some(assertion) = &settings.assertion {
            door = door.with_page(AssertionKeys::PATH, JWK_SET, assertion.keys.page());
        }
        // The second server's connections are nobody's concern, and health is told until the last request is done.
        let door = RevocationsView::new(door, settings.admin_token.clone().zip(recorder));
        tasks.spawn({
            let server = Server::new(ServerSettings::default(), Metrics::new());
            let serving = server.serve(admin, door, CancellationToken::new());
            stop_admin.clone().run_until_cancelled_owned(serving)
        });

        let limits = Limits::new(settings.limits.clone(), metrics.clone());
        tasks.spawn(stop_admin.clone().run_until_cancelled_owned(limits.clone().keep_small()));
        if let Some(tls) = tls.clone() {
            tasks.spawn(stop_admin.clone().run_until_cancelled_owned(tls.keep_fresh()));
        }
        let close = CancellationToken::new();
        tasks.spawn({
            let (close, delay) = (close.clone(), settings.drain_delay);
            async move {
                shutdown.cancelled().await;
                readiness.drain();
                // Whoever balances load needs a moment to notice; until then we go on as before.
                sleep(delay).await;
                close.cancel();
            }
        });

        for listener in &public {
            info!(address = listener.describe(), "listening");
        }
        let refuse = refusal(router.clone());
        let drain_timeout = settings.server.drain_timeout;
        let server = Server::new(settings.server, metrics).with_tls(tls);
        let serving = server.serve(public, limits.in_front_of(router, refuse), close.clone());
        let deadline = async {
            close.cancelled().await;
            Instant::now() + drain_timeout
        };
        let (drained, deadline) = tokio::join!(serving, deadline);
        streams.drain_until(deadline).await;
        match drained {
            Drained::All => info!("every request was finished"),
            Drained::Aborted { connections } => warn!(connections, "dropped at the deadline"),
        }
        stop_admin.cancel();
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

/// Resolves on the first SIGTERM or SIGINT: for what runs without an [`App`].
///
/// # Errors
///
/// [`AppError::Signals`].
pub async fn signalled() -> Result<(), AppError> {
    let mut signals = Signals::install().map_err(AppError::Signals)?;
    signals.next().await;
    Ok(())
}

async fn listen(on: &ListenOn, inherited: &mut Inherited) -> Result<Vec<Listener>, AppError> {
    Listener::bind(on, inherited)
        .await
        .map_err(|source| AppError::Listen { place: on.to_string(), source })
}

fn first_address(listeners: &[Listener]) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "no TCP address is listened on");
    listeners.iter().find_map(Listener::address).ok_or_else(none)
}
