//! The rooms of the house, each built from the settings that it needs.

use std::sync::Arc;

use http::{HeaderValue, Response};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    authn::{
        Assertion, AssertionKeys, Authenticator, Dialect, IdentityHeaders, Realm, Rejection,
        RejectionBody,
    },
    clock::Clock,
    config::{AssertionSettings, JwksFrom, Published, Settings, UpstreamEntry},
    endpoints::{
        Destination, NotificationSurroundings, Notifications, Page, Pages, Proxy, ProxyBody,
        ProxyParts, Recorder, Router,
    },
    server::{Asker, Limit},
    telemetry::{Metrics, RequestLabels, RouteLabel},
    upstream::{ForwardingRules, Streams, TlsError, Upstream},
    verify::{
        BuildError, CanarySettings, FileJwks, HttpsJwks, Revocations, Verifier, VerifierBuilder,
    },
};

/// The answer to a request that met a limit: one of the table, like every other no.
pub(super) fn refusal(
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

pub(super) fn build_verifier(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    tasks: &TaskTracker,
    revocations: Option<Revocations>,
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
    if let Some(revocations) = revocations {
        builder = builder.revocations(revocations);
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
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) streams: Streams,
}

pub(super) fn build_router(
    settings: &Settings,
    verifier: Verifier,
    recorder: Option<&Recorder>,
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
    let notifications = settings.notifications.clone().zip(recorder.cloned());
    let notifications = notifications.map(|(door, recorder)| {
        let surroundings = NotificationSurroundings {
            verifier: verifier.clone(),
            recorder,
            trusted_peers: settings.trusted_peers.clone(),
            realm: settings.realm.clone(),
            metrics: surroundings.metrics.clone(),
        };
        Notifications::new(door, surroundings)
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
    Ok(Router::new(Pages::new(published.map(page)), proxy).with_notifications(notifications))
}

/// RFC 7517 §8.5.2.
pub(super) const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

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
