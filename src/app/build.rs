//! The rooms of the house, each built from the settings that it needs.

use std::sync::{Arc, Once};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::{
    browser::{build_browser, build_keeper},
    sign_in::build_sign_in,
};
use crate::{
    apple::TokenEndpoint,
    authn::{
        Assertion, AssertionKeys, Authenticator, IdentityHeaders, Rejection, SessionCookieName,
    },
    clock::Clock,
    config::{AdditionalKeys, AssertionSettings, JwksFrom, Published, Settings, UpstreamEntry},
    endpoints::{
        AppleCheck, Destination, Doors, DoorsParts, ExtAuthz, ExtAuthzParts, Gate,
        NotificationSettings, NotificationSurroundings, Notifications, Page, Pages, Proxy,
        ProxyBody, ProxyParts, Recorder, Router, SESSION_COOKIE, SharedRouter, SignInSettings,
    },
    server::{Limit, Readiness},
    telemetry::Metrics,
    upstream::{ForwardingRules, HostForwarding, Streams, TlsError, Upstream},
    verify::{
        BuildError, CanarySettings, FileJwks, HttpsJwks, HttpsOptions, KeySource, Sessions,
        Verifier, VerifierBuilder,
    },
};

/// The answer to a request that met a limit: one of the table, on the way out of every other no.
pub(super) fn refusal(
    router: SharedRouter,
) -> impl Fn(Limit, &Request<Incoming>) -> Response<ProxyBody> + Clone + Send + 'static {
    move |limit, request| {
        let rejection = match limit {
            Limit::Requests => Rejection::Shed,
            Limit::Rate(retry_after) => Rejection::RateLimited { retry_after },
        };
        router.refuse(request, rejection)
    }
}

/// Which verifier judges after one that judged by other settings.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'a> {
    /// There was none, or its keys come from elsewhere.
    None,
    /// This one, by other rules: its keys are as good as before, and its verdicts are not.
    Keys(&'a Verifier),
    /// This very one.
    Same(&'a Verifier),
}

pub(super) fn build_verifier(
    settings: &Settings,
    earlier: Earlier<'_>,
    surroundings: &Surroundings,
) -> Result<Verifier, BuildError> {
    let Surroundings { clock, metrics, tasks, recorder, sessions, .. } = surroundings;
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
    if let Some(recorder) = recorder {
        builder = builder.revocations(recorder.revocations.clone());
    }
    if let Some(sessions) = sessions {
        builder = builder.sessions(sessions.clone());
    }
    match earlier {
        Earlier::None => with_canary(with_sources(builder, settings)?, settings).build(),
        Earlier::Keys(verifier) => builder.keys_of(verifier).build(),
        Earlier::Same(verifier) => Ok(verifier.clone()),
    }
}

fn with_sources(
    mut builder: VerifierBuilder,
    settings: &Settings,
) -> Result<VerifierBuilder, BuildError> {
    for keys in &settings.additional_keys {
        builder = builder.add_source(additional_source(keys, &settings.jwks_https)?);
    }
    with_source(builder, settings)
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

fn additional_source(keys: &AdditionalKeys, https: &HttpsOptions) -> Result<KeySource, BuildError> {
    let issuer = keys.issuer.clone();
    Ok(match &keys.from {
        JwksFrom::Url(url) => KeySource::new(issuer, HttpsJwks::with_options(url.clone(), https)?),
        JwksFrom::File(path) => KeySource::new(issuer, FileJwks::new(path.clone())),
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
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) streams: Streams,
    pub(super) readiness: Readiness,
    /// The store, and the list that every verifier asks; as the process was started with.
    pub(super) recorder: Option<Recorder>,
    /// Our own sessions, if there are any; as the process was started with.
    pub(super) sessions: Option<Sessions>,
    /// Where Apple's notifications are taken; as the process was started with.
    pub(super) notifications: Option<NotificationSettings>,
    /// Where apps sign in; as the process was started with.
    pub(super) sign_in: Option<SignInSettings>,
    /// Where Apple is asked in our apps' names, if we have a key to sign with; as the process was started with.
    pub(super) token_endpoint: Option<TokenEndpoint>,
    /// Asks there whether consents still stand.
    pub(super) apple_check: AppleCheck,
}

/// The clients of all applications. Where an application is spoken to as by the `earlier` settings, its connections stay: by
/// the same values, and with the same in the files that they name.
pub(super) fn build_upstreams(
    settings: &Settings,
    earlier: Option<(&Settings, &[Upstream])>,
    surroundings: &Surroundings,
) -> Result<Vec<Upstream>, TlsError> {
    let Surroundings { tasks, streams, metrics, .. } = surroundings;
    let changes = earlier
        .map_or_else(Vec::new, |(earlier, _)| settings.written().changes_since(earlier.written()));
    let kept = |entry: &UpstreamEntry| {
        let (earlier, upstreams) = earlier?;
        if changes.iter().any(|key| names_file_of(&entry.section, key)) {
            return None;
        }
        let same = earlier.upstreams.iter().position(|it| it.settings == entry.settings)?;
        upstreams.get(same).cloned()
    };
    let new = |entry: &UpstreamEntry| {
        Upstream::new(entry.settings.clone(), tasks.clone(), streams.clone(), metrics.clone())
    };
    let entries = settings.upstreams.iter();
    entries.map(|entry| kept(entry).map_or_else(|| new(entry), Ok)).collect()
}

fn names_file_of(section: &str, key: &str) -> bool {
    let key = key.strip_prefix(section).and_then(|key| key.strip_prefix('.'));
    key.is_some_and(|key| key.ends_with("_file"))
}

pub(super) fn build_router(
    settings: &Settings,
    verifier: Verifier,
    upstreams: &[Upstream],
    surroundings: &Surroundings,
) -> SharedRouter {
    say_who_forwards(settings);
    let gate = Arc::new(build_gate(settings, &verifier, upstreams, surroundings));
    let doors = Doors::new(DoorsParts {
        gate: Arc::clone(&gate),
        paths: settings.doors.clone(),
        trusted_peers: settings.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
    });
    let readiness = surroundings.readiness.clone();
    let ext_authz = ExtAuthz::new(ExtAuthzParts {
        gate: Arc::clone(&gate),
        settings: settings.ext_authz.clone(),
        trusted_peers: settings.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
        is_ready: Box::new(move || readiness.is_ready()),
    });
    let proxy = Proxy::new(ProxyParts {
        gate: Arc::clone(&gate),
        trusted_peers: settings.trusted_peers.clone(),
        limits: settings.request_body,
        metrics: surroundings.metrics.clone(),
        told_of_cookies: Once::new(),
    });
    let published = settings.assertion.iter().filter(|it| it.published == Published::Everywhere);
    let page = |it: &AssertionSettings| Page {
        path: AssertionKeys::PATH,
        content_type: JWK_SET,
        body: it.keys.page(),
    };
    Router::new(Pages::new(published.map(page)), doors, ext_authz, proxy)
        .with_browser(build_browser(settings, &gate, &verifier, surroundings))
        .with_sign_in(build_sign_in(settings, &verifier, surroundings))
        .with_notifications(build_notifications(settings, verifier, surroundings))
        .share()
}

/// The door for Apple's notifications, if there is to be one.
fn build_notifications(
    settings: &Settings,
    verifier: Verifier,
    surroundings: &Surroundings,
) -> Option<Notifications> {
    let Surroundings { recorder, notifications, metrics, .. } = surroundings;
    let (door, recorder) = notifications.clone().zip(recorder.clone())?;
    let surroundings = NotificationSurroundings {
        verifier,
        recorder,
        trusted_peers: settings.trusted_peers.clone(),
        realm: settings.realm.clone(),
        metrics: metrics.clone(),
        max_requests: settings.limits.max_requests.get(),
    };
    Some(Notifications::new(door, surroundings))
}

/// The one decision of all doors.
fn build_gate(
    settings: &Settings,
    verifier: &Verifier,
    upstreams: &[Upstream],
    surroundings: &Surroundings,
) -> Gate {
    let applications: Vec<Destination> = settings
        .upstreams
        .iter()
        .zip(upstreams)
        .map(|(entry, upstream)| build_destination(settings, entry, upstream, surroundings))
        .collect();
    let elsewhere =
        Destination { upstream: None, rules: Arc::new(rules_of_the_doors(settings, surroundings)) };
    let routes = settings.routes.clone().map(|to| match applications.get(to.upstream) {
        None => elsewhere.clone(),
        Some(Destination { upstream, rules }) => {
            let with_timeouts =
                |it: &Upstream| it.with_timeouts(to.response_timeout, to.idle_timeout);
            let upstream = upstream.as_ref().map(with_timeouts);
            Destination { upstream, rules: Arc::clone(rules) }
        }
    });
    let authenticator = Authenticator::new(verifier.clone(), settings.realm.clone())
        .with_policy(settings.policy.clone());
    let browsers = build_keeper(settings, verifier, surroundings);
    // Whoever takes a cookie for a credential keeps other sites' pages from using it.
    let cookie = browsers.as_ref().and_then(|_| SessionCookieName::new(SESSION_COOKIE));
    let authenticator = authenticator.with_session_cookie(cookie);
    Gate { authenticator, routes, cors: settings.cors.clone(), browsers }
}

/// RFC 7517 §8.5.2.
pub(super) const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

/// That nothing is forwarded may be a forgotten setting.
fn say_who_forwards(settings: &Settings) {
    if settings.upstreams.is_empty() {
        let doors = settings.doors.all().chain(settings.ext_authz.all());
        let doors = doors.collect::<Vec<_>>().join(" ");
        info!(doors, "no application is configured: other gateways ask, and nothing is forwarded");
    }
}

fn build_destination(
    settings: &Settings,
    entry: &UpstreamEntry,
    upstream: &Upstream,
    surroundings: &Surroundings,
) -> Destination {
    let rules = ForwardingRules {
        identity_headers: identity_headers(settings, Some(&entry.audience), surroundings),
        credential: entry.credential,
        host: entry.host.clone(),
        via: settings.via.clone(),
    };
    Destination { upstream: Some(upstream.clone()), rules: Arc::new(rules) }
}

/// How identities are told to a gateway that forwards to an application of its own.
fn rules_of_the_doors(settings: &Settings, surroundings: &Surroundings) -> ForwardingRules {
    ForwardingRules {
        identity_headers: identity_headers(settings, settings.audience.as_ref(), surroundings),
        credential: settings.gateway_credential,
        host: HostForwarding::default(),
        via: settings.via.clone(),
    }
}

/// The headers for an application, with an assertion if there is a key to sign it and an `audience` to sign it for.
fn identity_headers(
    settings: &Settings,
    audience: Option<&String>,
    Surroundings { clock, metrics, .. }: &Surroundings,
) -> IdentityHeaders {
    let identity_headers = IdentityHeaders::new(
        settings.identity_headers.clone(),
        settings.unverified_email,
        metrics.clone(),
    )
    .with_own(settings.own_headers.clone());
    match (&settings.assertion, audience) {
        (Some(AssertionSettings { keys, issuer, .. }), Some(audience)) => {
            let (keys, issuer, clock) = (keys.clone(), Arc::clone(issuer), Arc::clone(clock));
            identity_headers.with_assertion(Assertion::new(keys, issuer, audience.as_str(), clock))
        }
        _ => identity_headers,
    }
}
