//! The composition root: settings in, running servers out. The only file that sees all of the house.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use http::{HeaderValue, Response};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    authn::{
        Assertion, AssertionKeys, Authenticator, Dialect, IdentityHeaders, Realm, Rejection,
        RejectionBody,
    },
    clock::{Clock, SystemClock},
    config::{AssertionSettings, JwksFrom, Published, Settings, UpstreamEntry},
    endpoints::{Destination, Page, Pages, Proxy, ProxyBody, ProxyParts, Router},
    server::{
        Admin, Asker, Drained, Inherited, Limit, Limits, ListenOn, Listener, Readiness, Server,
        ServerSettings, Signals, Tls,
    },
    telemetry::{Metrics, RequestLabels, RouteLabel},
    upstream::{ForwardingRules, Streams, Upstream},
    verify::{BuildError, CanarySettings, FileJwks, HttpsJwks, Verifier, VerifierBuilder},
};

pub use crate::upstream::TlsError;

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
        let verifier = build_verifier(&settings, &clock, &metrics, &tasks)?;

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
        let router = build_router(&settings, verifier, &surroundings)?;
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
        let refuse = refusal(settings.realm.clone(), metrics.clone());
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

/// The answer to a request that met a limit: one of the table, like every other no.
fn refusal(
    realm: Realm,
    metrics: Metrics,
) -> impl Fn(Limit, &Asker) -> Response<ProxyBody> + Clone + Send + 'static {
    move |limit, Asker { method, version, headers }| {
        let rejection = match limit {
            Limit::Requests => Rejection::Shed,
            Limit::Rate(retry_after) => Rejection::RateLimited { retry_after },
            Limit::Time(limit) => Rejection::RequestTimedOut { limit },
        };
        let (outcome, fault) = (rejection.code(), rejection.fault().as_str());
        let labels = RequestLabels { door: "proxy", route: RouteLabel::none(), outcome, fault };
        metrics.requests.get_or_create(&labels).inc();
        rejection
            .render(Dialect::of(method, *version, headers), &realm)
            .map(RejectionBody::rejected)
    }
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

/// What every room of one running proxy shares.
struct Surroundings {
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    tasks: TaskTracker,
    streams: Streams,
}

fn build_router(
    settings: &Settings,
    verifier: Verifier,
    surroundings: &Surroundings,
) -> Result<Router, TlsError> {
    let entries = settings.upstreams.iter();
    let applications = entries
        .map(|entry| build_destination(settings, entry, surroundings))
        .collect::<Result<Vec<_>, _>>()?;
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
        metrics: surroundings.metrics.clone(),
    });
    let published = settings.assertion.iter().filter(|it| it.published == Published::Everywhere);
    let page = |it: &AssertionSettings| Page {
        path: AssertionKeys::PATH,
        content_type: JWK_SET,
        body: it.keys.page(),
    };
    Ok(Router::new(Pages::new(published.map(page)), proxy))
}

/// RFC 7517 §8.5.2.
const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

fn build_destination(
    settings: &Settings,
    entry: &UpstreamEntry,
    surroundings: &Surroundings,
) -> Result<Destination, TlsError> {
    let Surroundings { clock, metrics, .. } = surroundings;
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
    let upstream = Upstream::new(
        entry.settings.clone(),
        surroundings.tasks.clone(),
        surroundings.streams.clone(),
        metrics.clone(),
    )?;
    Ok(Destination { upstream, rules: Arc::new(rules) })
}
