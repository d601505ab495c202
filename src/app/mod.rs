//! The composition root: settings in, running servers out. The only file that sees all of the house.

mod browser;
mod build;
mod health;
mod healthcheck;
mod rehearsal;
mod reload;
mod revocation;
mod rooms;
mod sessions;
mod sign_in;
mod swappable;
mod watching;

use std::{convert::Infallible, error::Error, io, net::SocketAddr, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{
    build::Surroundings,
    health::{await_keys, describe},
    reload::{Doors, LastReload, Reloader},
    revocation::build_recorder,
    rooms::Rooms,
    sessions::build_sessions,
};
use crate::{
    apple::TokenEndpoint,
    clock::{Clock, SystemClock},
    config::{Flags, Settings},
    endpoints::{AppleCheck, RevocationsView},
    server::{
        Admin, Drained, Hangups, Inherited, ListenOn, Listener, Readiness, Server, ServerSettings,
        Signals, Tls,
    },
    telemetry::Metrics,
    upstream::Streams,
    verify::{BuildError, HttpsError},
};

pub use self::{
    healthcheck::{NotWell, Question, healthcheck},
    rehearsal::{Finding, probe, rehearse},
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
    flags: Option<Flags>,
    reload: Arc<Notify>,
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
    /// Apple cannot be asked.
    #[error("cannot set up TLS towards Apple")]
    TokenEndpoint(#[from] HttpsError),
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
        for warning in settings.warnings().lines() {
            warn!(warning, "doubtful settings");
        }
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
        let (clock, reload) = (Arc::new(SystemClock), Arc::default());
        Ok(Self { public, admin, tls, metrics, settings, clock, flags: None, reload })
    }

    /// Tells the time by `clock`, for tests that move it.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Reads the settings again, as `flags` say, when their files change and on SIGHUP. Without this it never does.
    #[must_use]
    pub fn with_reloads(self, flags: Flags) -> Self {
        Self { flags: Some(flags), ..self }
    }

    /// Where callers connect to: the first TCP address.
    ///
    /// # Errors
    ///
    /// No TCP address is listened on.
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

    /// Runs until SIGTERM or SIGINT, then finishes what is in flight; a second signal drops it. SIGHUP has the settings
    /// read again, if they ever are.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it cannot start.
    pub async fn run_until_signalled(self) -> Result<(), AppError> {
        let mut signals = Signals::install().map_err(AppError::Signals)?;
        let hangups = self.flags.as_ref().map(|_| Hangups::install());
        let hangups = hangups.transpose().map_err(AppError::Signals)?;
        let reloading = pass_on(hangups, Arc::clone(&self.reload));
        let shutdown = CancellationToken::new();
        let running = self.run(shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            signal = signals.next() => info!(signal, "shutting down"),
            never = reloading => match never {},
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
    /// [`AppError`] when it cannot start.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let Self { public, admin, tls, metrics, settings, clock, flags, reload } = self;
        let (readiness, tasks, streams) =
            (Readiness::default(), TaskTracker::new(), Streams::default());
        let _none_outlives_this_future = streams.end_on_drop();
        let stop_admin = CancellationToken::new();
        let recorder = build_recorder(&settings, &clock, &metrics, &tasks)?;
        let sessions = build_sessions(&settings, recorder.as_ref(), &clock, &metrics, &tasks);
        let token_endpoint = token_endpoint(&settings, &clock, &metrics)?;
        let admin_token = settings.admin_token.clone();
        let surroundings = Surroundings {
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            streams: streams.clone(),
            readiness: readiness.clone(),
            recorder: recorder.clone(),
            sessions: sessions.clone(),
            notifications: settings.notifications.clone(),
            sign_in: settings.sign_in.clone(),
            apple_check: AppleCheck::new(token_endpoint.clone(), Arc::clone(&clock), tasks.clone()),
            token_endpoint,
        };
        let (server, drain_delay) = (settings.server.clone(), settings.drain_delay);
        let rooms = Rooms::new(settings, &surroundings)?;
        let serving = rooms.serving(&surroundings);
        let (verifier, verifiers) = watch::channel(rooms.verifier.clone());
        let first_keys = await_keys(verifiers.clone(), readiness.latch("keys"));
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(first_keys));
        if let Some(recorder) = &recorder {
            revocation::start(recorder, readiness.latch("revocations"), &tasks, &stop_admin)?;
        }
        if let Some(sessions) = &sessions {
            sessions::start(sessions, readiness.latch("sessions"), &tasks, &stop_admin);
        }

        let last = LastReload::started(clock.now());
        describe(&readiness, &public, &surroundings, &last);
        let door = Admin::new(readiness.clone(), metrics.clone(), clock);
        let admin_pages = door.pages();
        admin_pages.set(rooms.admin_pages());
        // The second server's connections are nobody's concern, and health is told until the last request is done.
        let door = RevocationsView::new(door, admin_token.zip(recorder), verifiers);
        tasks.spawn({
            let server = Server::new(ServerSettings::default(), Metrics::new());
            let serving = server.serve(admin, door, CancellationToken::new());
            stop_admin.clone().run_until_cancelled_owned(serving)
        });
        let doors = Doors { serving: serving.clone(), admin_pages, verifier, last };
        let reloader = Reloader::new(rooms, doors, surroundings);
        tasks.spawn(stop_admin.clone().run_until_cancelled_owned(reloader.run(flags, reload)));
        if let Some(tls) = tls.clone() {
            tasks.spawn(stop_admin.clone().run_until_cancelled_owned(tls.keep_fresh()));
        }
        let close = CancellationToken::new();
        tasks.spawn({
            let close = close.clone();
            async move {
                shutdown.cancelled().await;
                readiness.drain();
                // Whoever balances load needs a moment to notice; until then we go on as before.
                sleep(drain_delay).await;
                close.cancel();
            }
        });

        for listener in &public {
            info!(address = listener.describe(), "listening");
        }
        let drain_timeout = server.drain_timeout;
        let server = Server::new(server, metrics).with_tls(tls);
        let serving = server.serve(public, serving, close.clone());
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

/// Where Apple is asked in our apps' names, if there is a key to sign with.
fn token_endpoint(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<TokenEndpoint>, HttpsError> {
    let new = |api| TokenEndpoint::new(api, Arc::clone(clock), metrics.clone());
    settings.apple_api.clone().map(new).transpose()
}

/// Has every SIGHUP told to whoever reloads.
async fn pass_on(hangups: Option<Hangups>, reload: Arc<Notify>) -> Infallible {
    let Some(mut hangups) = hangups else { return std::future::pending().await };
    loop {
        hangups.next().await;
        reload.notify_one();
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
