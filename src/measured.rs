//! What `benches/` measures and nobody else needs: steps of a request that are not public by themselves.

use std::sync::Arc;

use http::{HeaderMap, Method, Request};

use crate::{
    authn::{IdentityHeaders, Policy, UnverifiedEmail},
    endpoints::{Access, AmbiguousPaths, PathPattern, Route, Routes, Rule},
    peers::Peers,
    telemetry::Metrics,
    upstream::{
        Arrival, CredentialForwarding, ForwardingRules, HostForwarding, Pseudonym, UpstreamRequest,
        WellFormed,
    },
    verify::Identity,
};

/// Requests on behalf of somebody, rebuilt for an application by the default rules.
#[derive(Debug)]
pub struct Rebuilding {
    rules: ForwardingRules,
    trusted: Peers,
}

impl Default for Rebuilding {
    fn default() -> Self {
        let set = IdentityHeaders::DEFAULT;
        let rules = ForwardingRules {
            identity_headers: IdentityHeaders::new(set, UnverifiedEmail::LeaveOut, Metrics::new()),
            credential: CredentialForwarding::Remove,
            host: HostForwarding::Keep,
            via: Pseudonym::new("siwa-proxy"),
        };
        Self { rules, trusted: Peers::default() }
    }
}

impl Rebuilding {
    /// Whether a request with these `headers` could be rebuilt on behalf of `identity`.
    #[must_use]
    pub fn run(&self, headers: HeaderMap, identity: &Identity) -> bool {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        let arrival = Arrival::new(request.extensions(), request.headers(), &self.trusted);
        let Ok(checked) = WellFormed::check(&request) else { return false };
        UpstreamRequest::on_behalf_of(Box::new(request), checked, identity, &arrival, &self.rules)
            .is_ok()
    }
}

/// A table of routes, half of them exact paths and half prefixes.
#[derive(Debug)]
pub struct Routing(Option<Routes<()>>);

impl Routing {
    /// A table of `count` routes below `/service-N/`.
    #[must_use]
    pub fn of(count: usize) -> Self {
        let rule = |number: usize| {
            let rest = if number.is_multiple_of(2) { "*" } else { "health" };
            let path = PathPattern::parse(&format!("/service-{number}/{rest}")).ok()?;
            let access = if number.is_multiple_of(2) { Access::Required } else { Access::Public };
            Some((Rule { path, hosts: Vec::new(), methods: Vec::new() }, route(number, access)))
        };
        let rules = (0..count).filter_map(rule).collect();
        // No two of these rules are about the same path.
        Self(Routes::new(rules, route(count, Access::Required)).ok())
    }

    /// Whether `path` has a route on which it may be asked for.
    #[must_use]
    pub fn run(&self, path: &str) -> bool {
        let Some(routes) = &self.0 else { return false };
        routes.find(&Method::GET, "app.example", path).is_ok()
    }
}

fn route(number: usize, access: Access) -> Route<()> {
    Route {
        name: Arc::from(format!("service-{number}")),
        access,
        policy: Policy::permissive(),
        ambiguous_paths: AmbiguousPaths::Refuse,
        destination: (),
    }
}
