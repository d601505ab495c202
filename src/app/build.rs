//! The rooms of the house, each built from the settings that it needs.

use std::sync::Arc;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    authn::{Assertion, AssertionKeys, Authenticator, IdentityHeaders, Policy, Rejection},
    clock::Clock,
    config::{AdditionalKeys, AssertionSettings, JwksFrom, Published, Settings, UpstreamEntry},
    endpoints::{
        Destination, Doors, DoorsParts, Gate, NotificationSurroundings, Notifications, Page, Pages,
        Proxy, ProxyBody, ProxyParts, Recorder, Router,
    },
    server::Limit,
    telemetry::Metrics,
    upstream::{
        CredentialForwarding, ForwardingRules, HostForwarding, Streams, TlsError, Upstream,
    },
    verify::{
        BuildError, CanarySettings, FileJwks, HttpsJwks, HttpsOptions, KeySource, Revocations,
        Verifier, VerifierBuilder,
    },
};

/// The answer to a request that met a limit: one of the table, on the way out of every other no.
pub(super) fn refusal(
    router: Router,
) -> impl Fn(Limit, &Request<Incoming>) -> Response<ProxyBody> + Clone + Send + 'static {
    move |limit, request| {
        let rejection = match limit {
            Limit::Requests => Rejection::Shed,
            Limit::Rate(retry_after) => Rejection::RateLimited { retry_after },
        };
        router.refuse(request, rejection)
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
    for keys in &settings.additional_keys {
        warn!(
            issuer = keys.issuer.as_str(),
            "tokens of a further issuer are accepted: it can name any subject"
        );
        builder = builder.add_source(additional_source(keys, &settings.jwks_https)?);
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

/// A list of denied addresses looks as if it kept people out, and keeps out only those who show a verified address.
fn warn_of_missed_denials(settings: &Settings) {
    for (route, policy) in missed_denials(settings) {
        warn!(
            route,
            policy,
            "deny_emails bars nobody without a verified address: set require_verified_email, or deny subjects"
        );
    }
}

/// The routes of which that is true, and which policy it is: a route's own, or the one of all.
fn missed_denials(settings: &Settings) -> Vec<(&str, &'static str)> {
    let all = &settings.policy;
    let missed_by = |here: &Policy| {
        if here.may_miss_denied_emails() && !all.requires_verified_email() {
            Some("route.policy")
        } else if all.may_miss_denied_emails() && !here.requires_verified_email() {
            Some("policy")
        } else {
            None
        }
    };
    let routes = settings.routes.policies();
    routes.filter_map(|(name, here)| Some((name, missed_by(here)?))).collect()
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
    warn_of_missed_denials(settings);
    let entries = settings.upstreams.iter();
    let applications = entries
        .map(|entry| build_destination(settings, entry, surroundings))
        .collect::<Result<Vec<_>, _>>()?;
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
    warn_of_ignored_reports(settings);
    let authenticator = Authenticator::new(verifier.clone(), settings.realm.clone())
        .with_policy(settings.policy.clone());
    let gate = Arc::new(Gate { authenticator, routes, cors: settings.cors.clone() });
    let doors = Doors::new(DoorsParts {
        gate: Arc::clone(&gate),
        paths: settings.doors.clone(),
        trusted_peers: settings.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
    });
    let notifications = settings.notifications.clone().zip(recorder.cloned());
    let notifications = notifications.map(|(door, recorder)| {
        let surroundings = NotificationSurroundings {
            verifier,
            recorder,
            trusted_peers: settings.trusted_peers.clone(),
            realm: settings.realm.clone(),
            metrics: surroundings.metrics.clone(),
        };
        Notifications::new(door, surroundings)
    });
    let proxy = Proxy::new(ProxyParts {
        gate,
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
    let pages = Pages::new(published.map(page));
    Ok(Router::new(pages, doors, proxy).with_notifications(notifications))
}

/// RFC 7517 §8.5.2.
pub(super) const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

/// A gateway whose word is not believed cannot tell on which route a request is.
fn warn_of_ignored_reports(settings: &Settings) {
    let ignored = settings.doors.takes_reports() && settings.trusted_peers.is_empty();
    if ignored && settings.routes.differ() {
        warn!(
            "routes differ in who may pass, and server.trusted_peers lists no gateway: what gateways report is ignored, \
             and a request passes only if it may pass on every route"
        );
    }
}

fn build_destination(
    settings: &Settings,
    entry: &UpstreamEntry,
    surroundings: &Surroundings,
) -> Result<Destination, TlsError> {
    let rules = ForwardingRules {
        identity_headers: identity_headers(settings, Some(&entry.audience), surroundings),
        credential: entry.credential,
        host: entry.host.clone(),
        via: settings.via.clone(),
    };
    let upstream = Upstream::new(
        entry.settings.clone(),
        surroundings.tasks.clone(),
        surroundings.streams.clone(),
        surroundings.metrics.clone(),
    )?;
    Ok(Destination { upstream: Some(upstream), rules: Arc::new(rules) })
}

/// How identities are told to a gateway that forwards to an application of its own.
fn rules_of_the_doors(settings: &Settings, surroundings: &Surroundings) -> ForwardingRules {
    ForwardingRules {
        identity_headers: identity_headers(settings, settings.audience.as_ref(), surroundings),
        credential: CredentialForwarding::default(),
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
    );
    match (&settings.assertion, audience) {
        (Some(AssertionSettings { keys, issuer, .. }), Some(audience)) => {
            let (keys, issuer, clock) = (keys.clone(), Arc::clone(issuer), Arc::clone(clock));
            identity_headers.with_assertion(Assertion::new(keys, issuer, audience.as_str(), clock))
        }
        _ => identity_headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes of which is said that their denials miss somebody.
    fn said_of(more: &str) -> Vec<(String, &'static str)> {
        let minimal = include_str!("../../config/minimal.toml");
        let settings = Settings::from_toml(&format!("{minimal}\n{more}")).unwrap();
        let missed = missed_denials(&settings);
        missed.into_iter().map(|(route, policy)| (route.to_owned(), policy)).collect()
    }

    #[test]
    fn it_is_said_at_the_start_where_a_denied_address_need_not_be_shown() {
        let deny = "[policy]\ndeny_emails = ['example.com']\n";
        let verified = "require_verified_email = true\n";
        let route =
            |policy: &str| format!("[[route]]\npath = '/a'\nname = 'a'\npolicy = {policy}\n");
        let deny_here = route("{ deny_emails = ['example.com'] }");
        let said =
            |more: &str| said_of(more).into_iter().map(|(_, policy)| policy).collect::<Vec<_>>();
        assert_eq!(said(""), Vec::<&str>::new());
        assert_eq!(said(deny), ["policy"]);
        assert_eq!(said(&format!("{deny}{verified}")), Vec::<&str>::new());
        assert_eq!(said_of(&deny_here), [("a".to_owned(), "route.policy")]);
        assert_eq!(said(&format!("[policy]\n{verified}{deny_here}")), Vec::<&str>::new());
        // Where the route asks for a verified address, what holds everywhere misses nobody there.
        let asked_here = route("{ require_verified_email = true }");
        assert_eq!(said(&format!("{deny}{asked_here}")), ["policy"], "elsewhere it does");
    }
}
