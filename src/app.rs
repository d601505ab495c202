//! The composition root: settings in, running servers out. The only file that sees all of the house.

use std::{io, net::SocketAddr, sync::Arc};

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    authn::{Assertion, AssertionKeys, Authenticator, IdentityHeaders},
    clock::{Clock, SystemClock},
    config::{AssertionSettings, JwksFrom, Published, Settings, UpstreamEntry},
    endpoints::{Destination, Page, Pages, Proxy, ProxyParts, Router},
    server::{Admin, Drained, Readiness, Server, ServerSettings, Signals},
    telemetry::Metrics,
    upstream::{ForwardingRules, Upstream},
    verify::{BuildError, CanarySettings, FileJwks, HttpsJwks, Verifier, VerifierBuilder},
};

/// A proxy with its sockets bound, ready to run.
#[derive(Debug)]
pub struct App {
    public: TcpListener,
    admin: TcpListener,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

/// Why a proxy could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The verifier cannot be built.
    #[error("cannot set up the verifier")]
    Verifier(#[from] BuildError),
    /// The signals that end a process cannot be heard.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

impl App {
    /// Binds the sockets that `settings` name.
    ///
    /// # Errors
    ///
    /// [`AppError::Listen`].
    pub async fn bind(settings: Settings) -> Result<Self, AppError> {
        let public = listen(settings.listen).await?;
        let admin = listen(settings.admin_listen).await?;
        Ok(Self { public, admin, settings, clock: Arc::new(SystemClock) })
    }

    /// Tells the time by `clock`, for tests that move it.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Where callers connect to.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
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
        let Self { public, admin, settings, clock } = self;
        let (metrics, readiness, tasks) =
            (Metrics::new(), Readiness::default(), TaskTracker::new());
        let verifier = build_verifier(&settings, &clock, &metrics, &tasks)?;

        let keys = readiness.latch("keys");
        let (waiting, stop) = (verifier.clone(), shutdown.clone());
        tasks.spawn(stop.run_until_cancelled_owned(async move {
            waiting.ready().await;
            keys.open();
            info!("ready");
        }));

        let router = build_router(&settings, verifier, &clock, &metrics);
        let mut door = Admin::new(readiness.clone(), metrics.clone(), clock);
        if let Some(assertion) = &settings.assertion {
            door = door.with_page(AssertionKeys::PATH, JWK_SET, assertion.keys.page());
        }
        // The second server's connections are nobody's concern, and health is told until the last request is done.
        let stop_admin = CancellationToken::new();
        tasks.spawn({
            let server = Server::new(ServerSettings::default(), Metrics::new());
            let serving = server.serve(admin, door, CancellationToken::new());
            stop_admin.clone().run_until_cancelled_owned(serving)
        });

        let listening = public.local_addr().map(|address| address.to_string()).unwrap_or_default();
        info!(address = listening, "listening");
        let drained = {
            let red = shutdown.clone();
            let readiness = readiness.clone();
            tasks.spawn(async move {
                red.cancelled().await;
                readiness.drain();
            });
            Server::new(settings.server, metrics).serve(public, router, shutdown).await
        };
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

async fn listen(address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| AppError::Listen { address, source })
}

fn build_verifier(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    tasks: &TaskTracker,
) -> Result<Verifier, BuildError> {
    if !settings.jwks_from.is_apple() {
        warn!(
            "the keys do not come from Apple: whoever provides them can be anybody to the application"
        );
    }
    let mut builder = Verifier::builder(settings.client_ids.clone())
        .issuer(settings.issuer.clone())
        .jwks_settings(settings.jwks.clone())
        .leeway(settings.leeway)
        .verdict_capacity(settings.verdict_capacity)
        .clock(Arc::clone(clock))
        .metrics(metrics.clone())
        .tasks(tasks.clone());
    if let Some(age) = settings.max_token_age {
        builder = builder.max_token_age(age);
    }
    with_canary(with_source(builder, settings)?, settings).build()
}

fn with_source(
    builder: VerifierBuilder,
    settings: &Settings,
) -> Result<VerifierBuilder, BuildError> {
    let builder = match &settings.jwks_cache_file {
        Some(path) => builder.cache_file(path),
        None => builder,
    };
    Ok(match &settings.jwks_from {
        JwksFrom::Url(url) => {
            builder.jwks_source(HttpsJwks::with_options(url.clone(), &settings.jwks_https)?)
        }
        JwksFrom::File(path) => builder.jwks_source(FileJwks::new(path.clone())),
    })
}

fn with_canary(builder: VerifierBuilder, settings: &Settings) -> VerifierBuilder {
    if settings.canary {
        builder.canary(CanarySettings::default().https(settings.jwks_https.clone()))
    } else {
        builder
    }
}

fn build_router(
    settings: &Settings,
    verifier: Verifier,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Router {
    let entries = settings.upstreams.iter();
    let applications: Vec<_> =
        entries.map(|entry| build_destination(settings, entry, clock, metrics)).collect();
    let routes = settings.routes.clone().map(|to| {
        let Destination { upstream, rules } = &applications[to.upstream];
        let upstream = upstream.with_timeouts(to.response_timeout, to.idle_timeout);
        Destination { upstream, rules: Arc::clone(rules) }
    });
    let proxy = Proxy::new(ProxyParts {
        authenticator: Authenticator::new(verifier, settings.realm.clone())
            .with_policy(settings.policy.clone()),
        routes,
        cors: settings.cors.clone(),
        trusted_peers: settings.trusted_peers.clone(),
        limits: settings.request_body,
        metrics: metrics.clone(),
    });
    let published = settings.assertion.iter().filter(|it| it.published == Published::Everywhere);
    let page = |it: &AssertionSettings| Page {
        path: AssertionKeys::PATH,
        content_type: JWK_SET,
        body: it.keys.page(),
    };
    Router::new(Pages::new(published.map(page)), proxy)
}

/// RFC 7517 §8.5.2.
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

fn build_destination(
    settings: &Settings,
    entry: &UpstreamEntry,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Destination {
    let mut identity_headers = IdentityHeaders::new(
        settings.identity_headers.clone(),
        settings.unverified_email,
        metrics.clone(),
    );
    if let Some(AssertionSettings { keys, issuer, .. }) = &settings.assertion {
        let (keys, issuer, clock) = (keys.clone(), Arc::clone(issuer), Arc::clone(clock));
        let assertion = Assertion::new(keys, issuer, entry.audience.as_str(), clock);
        identity_headers = identity_headers.with_assertion(assertion);
    }
    let rules = ForwardingRules {
        identity_headers,
        credential: entry.credential,
        host: entry.host.clone(),
        via: settings.via.clone(),
    };
    Destination { upstream: Upstream::new(entry.settings.clone()), rules: Arc::new(rules) }
}
