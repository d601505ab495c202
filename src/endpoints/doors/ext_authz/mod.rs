//! Envoy's `ext_authz`
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter>), which Istio and Envoy
//! Gateway are made of too.
//!
//! | form | asked | yes | no |
//! |---|---|---|---|
//! | gRPC | `Check`, with the request inside | `OkHttpResponse` | `DeniedHttpResponse` |
//! | HTTP | the request itself, behind a path prefix | 200, identity headers | the answer for the client |
//!
//! The request that is asked about is what the gateway wrote, not what a client wrote into it, so that nobody need be listed
//! for it to count: who asks without being a gateway learns what would become of a request, and nothing is forwarded.
//! `X-Envoy-Original-Path` and the like are headers like any other.
//!
//! A browser that has to sign in is denied by a redirect, and its session goes on by a cookie that the gateway adds to the
//! application's answer. What takes longer than a gateway waits (Apple, about somebody's consent) is known the next time.
//!
//! An Envoy that is told `failure_mode_allow` takes for a yes whatever it takes for our failure: a late answer, a gRPC error,
//! and in the HTTP form any status from 500 up. So every no is one that it cannot mistake: in time, whatever happens; in the
//! gRPC form a message under the status 0; in the HTTP form 424 for what is 503 elsewhere.

mod asked;
#[cfg(feature = "ext-authz")]
mod grpc;
mod http_form;
mod in_time;
mod verdict;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use self::{
    asked::{Asked, is_behind},
    in_time::decide_by,
    verdict::{Allowed, Client},
};
use super::super::{
    Answering,
    browser::ForBrowser,
    exchange::{Exchange, Head},
    gate::{Admitted, Gate, Passage},
    original::OriginalRequest,
    proxy::ProxyBody,
};
use crate::{authn::Rejection, peers::Peers, telemetry::Metrics};

/// Where Envoy asks, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtAuthzSettings {
    /// What stands before the path of the request that the HTTP form asks about.
    pub(crate) prefixes: Vec<Box<str>>,
    /// Whether the gRPC form and its health checks are served.
    pub(crate) grpc: bool,
    /// Time within which an answer is given; default 150 ms, as Envoy waits 200 ms unless told otherwise. Less, if the
    /// gateway says that it waits less.
    pub(crate) timeout: Duration,
}

impl Default for ExtAuthzSettings {
    fn default() -> Self {
        Self { prefixes: Vec::new(), grpc: false, timeout: Duration::from_millis(150) }
    }
}

/// Where the gRPC form is asked.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By `envoy.service.auth.v3.Authorization/Check`.
    #[cfg(feature = "ext-authz")]
    Check,
    /// By `grpc.health.v1.Health`, whether it is well.
    #[cfg(feature = "ext-authz")]
    Health,
    /// By the request itself, behind the prefix of this number.
    Http(usize),
}

impl ExtAuthzSettings {
    /// The form of a request to `path`, if it comes to this door.
    pub(crate) fn find(&self, path: &str) -> Option<Form> {
        #[cfg(feature = "ext-authz")]
        if let Some(form) = grpc::form_of(path).filter(|_| self.grpc) {
            return Some(form);
        }
        self.prefixes.iter().position(|prefix| is_behind(prefix, path)).map(Form::Http)
    }

    /// Where it is: the prefixes, and the gRPC form's path.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(|prefix| &**prefix).chain(self.grpc.then_some(CHECK))
    }

    /// Whether anybody can ask.
    pub(crate) const fn is_open(&self) -> bool {
        self.grpc || !self.prefixes.is_empty()
    }
}

/// The door at which Envoy asks.
#[derive(Clone, Debug)]
pub(crate) struct ExtAuthz(Arc<ExtAuthzParts>);

/// What [`ExtAuthz`] is made of.
pub(crate) struct ExtAuthzParts {
    /// Decides who may pass.
    pub(crate) gate: Arc<Gate>,
    /// Where it is, and how fast.
    pub(crate) settings: ExtAuthzSettings,
    /// Whose names for requests are taken over.
    pub(crate) trusted_peers: Peers,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Whether requests should be sent here.
    #[cfg_attr(not(feature = "ext-authz"), expect(dead_code, reason = "for the gRPC form alone"))]
    pub(crate) is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for ExtAuthzParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtAuthzParts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ExtAuthz {
    /// What the log and the metrics call it.
    const NAME: &str = "ext_authz";

    pub(crate) fn new(parts: ExtAuthzParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The form of a request to `path`, if it comes to this door.
    pub(crate) fn find(&self, path: &str) -> Option<Form> {
        self.0.settings.find(path)
    }

    pub(in crate::endpoints) fn answer(&self, form: Form, request: Request<Incoming>) -> Answering {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            Ok::<_, Infallible>(match form {
                #[cfg(feature = "ext-authz")]
                Form::Check => parts.check(request).await,
                #[cfg(feature = "ext-authz")]
                Form::Health => grpc::tell_health(&*parts.is_ready, request).await,
                Form::Http(prefix) => parts.answer_http(prefix, request).await,
            })
        })
    }

    /// The answer to a request that was refused before it came here: one that is no failure in Envoy's eyes.
    pub(in crate::endpoints) fn refuse<B>(
        &self,
        form: Form,
        request: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        match form {
            #[cfg(feature = "ext-authz")]
            Form::Check => self.0.refuse_call(request, rejection),
            // Who has too much to do is well.
            #[cfg(feature = "ext-authz")]
            Form::Health => grpc::health(&*self.0.is_ready),
            Form::Http(_) => self.0.refuse_http(request, rejection),
        }
    }
}

impl ExtAuthzParts {
    /// When an answer is due that the gateway waits `patience` for, if it says so. A quarter of it is for the way back.
    fn deadline(&self, patience: Option<Duration>) -> Instant {
        let timeout = self.settings.timeout;
        Instant::now() + patience.map_or(timeout, |patience| timeout.min(patience / 4 * 3))
    }

    fn begin<'a>(&self, head: impl Into<Head<'a>>) -> Exchange {
        Exchange::of(head, ExtAuthz::NAME, &self.trusted_peers, &self.metrics)
    }

    async fn judge(&self, asked: &Asked, exchange: &mut Exchange) -> Result<Allowed, Rejection> {
        let passage = self.gate.decide(&asked.original, &asked.headers, exchange).await?;
        let allowed = Allowed::of(passage, asked)?;
        Ok(Allowed { set_cookie: exchange.for_browser().cookie.take(), ..allowed })
    }
}
