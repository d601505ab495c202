//! The composition root: settings in, running servers out. The only folder that sees all of the house.

mod admin_client;
mod background;
mod browser;
mod exposed;
mod gate;
mod health;
mod healthcheck;
mod rehearsal;
mod reload;
mod revocation;
mod rooms;
mod router;
mod running;
mod sessions;
mod sign_in;
mod surroundings;
mod swappable;
mod upstreams;
mod verifier;
mod watching;

use std::{convert::Infallible, error::Error, io, net::SocketAddr, sync::Arc};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    clock::{Clock, SystemClock},
    config::{Flags, Settings},
    server::{Hangups, Inherited, ListenOn, Listener, Signals, Tls},
    telemetry::Metrics,
    verify::{BuildError, HttpsError},
};

pub use self::{
    admin_client::{AdminAnswer, AdminClient, NotAnswered},
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
    #[error("cannot listen on {place} ({key})")]
    Listen {
        /// Which, as it is configured.
        place: String,
        /// The key of the settings that names it.
        key: &'static str,
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
        let admin =
            listen("server.admin_listen", &settings.server.admin_listen, &mut inherited).await?;
        let mut public = Vec::new();
        for on in &settings.server.listen {
            public.extend(listen("server.listen", on, &mut inherited).await?);
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

async fn listen(
    key: &'static str,
    on: &ListenOn,
    inherited: &mut Inherited,
) -> Result<Vec<Listener>, AppError> {
    let bound = Listener::bind(on, inherited).await;
    bound.map_err(|error| AppError::Listen {
        place: on.to_string(),
        key,
        source: with_suspicion(error),
    })
}

/// Whoever has the address is most often an earlier one of us.
fn with_suspicion(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    io::Error::new(error.kind(), format!("{error}; another siwa-proxy may run here"))
}

fn first_address(listeners: &[Listener]) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, "no TCP address is listened on");
    listeners.iter().find_map(Listener::address).ok_or_else(none)
}
