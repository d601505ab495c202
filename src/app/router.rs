//! The service for callers: all doors before one gate.

use std::sync::{Arc, Once};

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tracing::info;

use super::{
    browser::build_browser, gate::build_gate, sign_in::build_sign_in, surroundings::Surroundings,
};
use crate::{
    authn::{AssertionKeys, Rejection},
    config::{AssertionSettings, Published, Settings},
    endpoints::{
        Doors, DoorsParts, ExtAuthz, ExtAuthzParts, NotificationSurroundings, Notifications, Page,
        Pages, PagesParts, Proxy, ProxyBody, ProxyParts, Router, SharedRouter,
    },
    server::Limit,
    upstream::Upstream,
    verify::Verifier,
};

/// RFC 7517 §8.5.2.
pub(super) const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

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
        paths: settings.doors.paths.clone(),
        trusted_peers: settings.server.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
    });
    let readiness = surroundings.readiness.clone();
    let ext_authz = ExtAuthz::new(ExtAuthzParts {
        gate: Arc::clone(&gate),
        settings: settings.ext_authz.settings.clone(),
        trusted_peers: settings.server.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
        is_ready: Box::new(move || readiness.is_ready()),
    });
    let proxy = Proxy::new(ProxyParts {
        gate: Arc::clone(&gate),
        trusted_peers: settings.server.trusted_peers.clone(),
        limits: settings.server.request_body,
        metrics: surroundings.metrics.clone(),
        told_of_cookies: Once::new(),
    });
    let published = settings.assertion.iter().filter(|it| it.published == Published::Everywhere);
    let page = |it: &AssertionSettings| Page {
        path: AssertionKeys::PATH,
        content_type: JWK_SET,
        body: it.keys.page(),
    };
    let pages = Pages::new(PagesParts {
        pages: published.map(page).collect(),
        trusted_peers: settings.server.trusted_peers.clone(),
        realm: settings.identity.realm.clone(),
        metrics: surroundings.metrics.clone(),
    });
    Router::new(pages, doors, ext_authz, proxy)
        .with_browser(build_browser(settings, &gate, &verifier, surroundings))
        .with_apps(build_sign_in(settings, &verifier, surroundings))
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
        trusted_peers: settings.server.trusted_peers.clone(),
        realm: settings.identity.realm.clone(),
        metrics: metrics.clone(),
        max_requests: settings.limits.max_requests.get(),
    };
    Some(Notifications::new(door, surroundings))
}

/// That nothing is forwarded may be a forgotten setting.
fn say_who_forwards(settings: &Settings) {
    if settings.upstreams.is_empty() {
        let doors = settings.doors.paths.all().chain(settings.ext_authz.settings.all());
        let doors = doors.collect::<Vec<_>>().join(" ");
        info!(doors, "no application is configured: other gateways ask, and nothing is forwarded");
    }
}

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
