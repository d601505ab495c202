//! The one decision of all doors, and where a request that passes goes.

use std::sync::Arc;

use super::{browser::build_keeper, surroundings::Surroundings};
use crate::{
    authn::{Assertion, Authenticator, IdentityHeaders, SessionCookieName},
    config::{AssertionSettings, Settings, UpstreamEntry},
    endpoints::{Destination, Gate, SESSION_COOKIE},
    telemetry::RouteLabel,
    upstream::{ForwardingRules, HostForwarding, Upstream},
    verify::Verifier,
};

/// The one decision of all doors.
pub(super) fn build_gate(
    settings: &Settings,
    verifier: &Verifier,
    upstreams: &[Upstream],
    surroundings: &Surroundings,
) -> Gate {
    let applications: Vec<_> = settings
        .upstreams
        .iter()
        .zip(upstreams)
        .map(|(entry, upstream)| (upstream, Arc::new(rules_of(settings, entry, surroundings))))
        .collect();
    let elsewhere = Arc::new(rules_of_the_doors(settings, surroundings));
    let routes = settings.routes.clone().map(|name, to| {
        let (upstream, rules) = match applications.get(to.upstream) {
            None => (None, &elsewhere),
            Some((upstream, rules)) => {
                (Some(upstream.with_timeouts(to.response_timeout, to.idle_timeout)), rules)
            }
        };
        Destination { upstream, rules: Arc::clone(rules), label: RouteLabel::new(name) }
    });
    let authenticator = Authenticator::new(verifier.clone(), settings.identity.realm.clone())
        .with_policy(settings.policy.clone());
    let browsers = build_keeper(settings, verifier, surroundings);
    // Whoever takes a cookie for a credential keeps other sites' pages from using it.
    let cookie = browsers.as_ref().and_then(|_| SessionCookieName::new(SESSION_COOKIE));
    let authenticator = authenticator.with_session_cookie(cookie);
    Gate { authenticator, routes, cors: settings.cors.clone(), browsers }
}

/// How identities are told to an application of our own.
fn rules_of(
    settings: &Settings,
    entry: &UpstreamEntry,
    surroundings: &Surroundings,
) -> ForwardingRules {
    ForwardingRules {
        identity_headers: identity_headers(settings, Some(&entry.audience), surroundings),
        credential: entry.credential,
        host: entry.host.clone(),
        via: settings.via.clone(),
    }
}

/// How identities are told to a gateway that forwards to an application of its own.
fn rules_of_the_doors(settings: &Settings, surroundings: &Surroundings) -> ForwardingRules {
    ForwardingRules {
        identity_headers: identity_headers(
            settings,
            settings.doors.audience.as_ref(),
            surroundings,
        ),
        credential: settings.ext_authz.credential,
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
        settings.identity.headers.clone(),
        settings.identity.unverified_email,
        metrics.clone(),
    )
    .with_own(settings.identity.own_headers.clone());
    match (&settings.assertion, audience) {
        (Some(AssertionSettings { keys, issuer, .. }), Some(audience)) => {
            let (keys, issuer, clock) = (keys.clone(), Arc::clone(issuer), Arc::clone(clock));
            identity_headers.with_assertion(Assertion::new(keys, issuer, audience.as_str(), clock))
        }
        _ => identity_headers,
    }
}
