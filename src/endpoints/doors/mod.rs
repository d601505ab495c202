//! The doors at which other gateways ask: may this request pass, and as whom?
//!
//! | door | who asks | yes | no |
//! |---|---|---|---|
//! | [`auth_request`] | nginx, HAProxy | 200, identity headers | 401, 403 or 503, without a body |
//! | [`forward_auth`] | Traefik, Caddy | 200, identity headers | the proxy's own answer, for the client |
//! | [`ext_authz`] | Envoy, Istio, Envoy Gateway | what to set and to remove | the answer for the client |
//! | [`userinfo`] | the client itself | 200, who it is as JSON | the proxy's own answer |
//!
//! The gateway reports the *original request*, and its word counts if it is one of `server.trusted_peers` and says all of
//! it. Otherwise the report changes nothing: the request is one that nobody has seen, and passes if it may pass on every
//! route.
//!
//! Where browsers sign in, the application is not to see their session's cookie. nginx and Caddy take our cookies out by their
//! own means; Traefik can only put the `Cookie` of an answer in the request's place, and asks for one by `?tell=cookies`, and
//! Envoy likewise, which is always told. Such an answer holds cookies that no script may read, so that it is given to a
//! listed gateway alone, and callers must not get to a door by themselves.

mod auth_request;
mod ext_authz;
mod forward_auth;
mod userinfo;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response,
    header::{COOKIE, ORIGIN},
    request::Parts,
};

pub(super) use self::ext_authz::Form;
pub(crate) use self::ext_authz::{ExtAuthz, ExtAuthzParts, ExtAuthzSettings};
use super::{
    Answering,
    browser::ForBrowser,
    exchange::{Exchange, Head},
    gate::{Admitted, Gate, Passage},
    original::OriginalRequest,
};
use crate::{
    authn::{Dialect, Realm, Rejection, RejectionBody},
    peers::{Listed, Peers},
    telemetry::{Metrics, Outcome},
    upstream::CookiesLeft,
};

/// Where the doors are: exact paths; a door without one is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DoorPaths {
    /// Of [`Door::AuthRequest`].
    pub(crate) auth_request: Vec<Box<str>>,
    /// Of [`Door::ForwardAuth`].
    pub(crate) forward_auth: Vec<Box<str>>,
    /// Of [`Door::UserInfo`].
    pub(crate) userinfo: Vec<Box<str>>,
}

/// A door, by the contract of those who knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// nginx's `auth_request`, and whoever else looks at nothing but the status.
    AuthRequest,
    /// Traefik's `ForwardAuth` and Caddy's `forward_auth`: the answer goes to the client unless it is a yes.
    ForwardAuth,
    /// The caller asks who it is.
    UserInfo,
}

impl DoorPaths {
    /// The door at `path`.
    pub(crate) fn find(&self, path: &str) -> Option<Door> {
        let is_at = |paths: &[Box<str>]| paths.iter().any(|own| **own == *path);
        [
            (&self.auth_request, Door::AuthRequest),
            (&self.forward_auth, Door::ForwardAuth),
            (&self.userinfo, Door::UserInfo),
        ]
        .into_iter()
        .find_map(|(paths, door)| is_at(paths).then_some(door))
    }

    /// Every path.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let Self { auth_request, forward_auth, userinfo } = self;
        [auth_request, forward_auth, userinfo].into_iter().flatten().map(|path| &**path)
    }

    /// Whether another gateway can ask anywhere.
    pub(crate) const fn takes_reports(&self) -> bool {
        !self.auth_request.is_empty() || !self.forward_auth.is_empty()
    }
}

impl Door {
    /// What the log and the metrics call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AuthRequest => "auth_request",
            Self::ForwardAuth => "forward_auth",
            Self::UserInfo => "userinfo",
        }
    }

    /// The refusal in the shape that this door's askers take for one. The asker's own dialect does not count: a gRPC refusal
    /// is HTTP's 200, which to a gateway is a yes.
    fn refuse(
        self,
        rejection: &Rejection,
        realm: &Realm,
        for_browser: &mut ForBrowser,
    ) -> Response<Bytes> {
        match self {
            Self::AuthRequest => {
                let mut response = rejection.render(Dialect::AuthRequest, realm);
                // It takes no redirect for an answer, and can be told to make one of this.
                response.headers_mut().extend(for_browser.way());
                response
            }
            Self::ForwardAuth | Self::UserInfo => {
                // Traefik hands no relative one on: it takes it to lead from where it asked.
                for_browser.lead_from_origin();
                for_browser.or(|| rejection.render(Dialect::Http, realm))
            }
        }
    }
}

/// All doors but the proxy itself.
#[derive(Clone, Debug)]
pub(crate) struct Doors(Arc<DoorsParts>);

/// What [`Doors`] are made of.
#[derive(Debug)]
pub(crate) struct DoorsParts {
    /// Decides who may pass.
    pub(crate) gate: Arc<Gate>,
    /// Where they are.
    pub(crate) paths: DoorPaths,
    /// Whose word about the original request is believed.
    pub(crate) trusted_peers: Peers,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

impl Doors {
    pub(crate) fn new(parts: DoorsParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The door at `path`.
    pub(super) fn find(&self, path: &str) -> Option<Door> {
        self.0.paths.find(path)
    }

    /// The answer to a request that came to `door`, which is refused before anybody has looked at it.
    pub(super) fn refuse<B>(
        &self,
        door: Door,
        request: &Request<B>,
        rejection: Rejection,
    ) -> Response<Bytes> {
        let exchange = self.0.begin(door, request);
        self.0.conclude(door, Err(rejection), request.headers(), exchange)
    }

    /// Answers a request that came to `door`. Its body is not read.
    pub(super) fn answer<B: Send + 'static>(&self, door: Door, request: Request<B>) -> Answering {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, _unread) = request.into_parts();
            Ok(parts.answer(door, head).await.map(RejectionBody::rejected))
        })
    }
}

impl DoorsParts {
    async fn answer(&self, door: Door, head: Parts) -> Response<Bytes> {
        let mut exchange = self.begin(door, &head);
        let decided = match door {
            Door::AuthRequest | Door::ForwardAuth => {
                exchange.run(|exchange| self.judge(door, &head, exchange)).await
            }
            Door::UserInfo => {
                exchange.run(|exchange| userinfo::answer(&self.gate, &head, exchange)).await
            }
        };
        self.conclude(door, decided, &head.headers, exchange)
    }

    fn begin<'a>(&self, door: Door, head: impl Into<Head<'a>>) -> Exchange {
        Exchange::of(head, door.name(), &self.trusted_peers, &self.metrics)
    }

    /// What was decided, in the shape of this door, on its way to whoever `asked_with` these headers.
    fn conclude(
        &self,
        door: Door,
        decided: Result<Response<Bytes>, Rejection>,
        asked_with: &HeaderMap,
        mut exchange: Exchange,
    ) -> Response<Bytes> {
        let (mut response, came_to) = match decided {
            Ok(response) => (response, Ok(Outcome::Allowed)),
            Err(rejection) => {
                let response = door.refuse(&rejection, self.gate.realm(), exchange.for_browser());
                (response, Err(rejection))
            }
        };
        if door != Door::AuthRequest {
            self.gate.allow_origin(response.headers_mut(), asked_with.get(ORIGIN));
        }
        exchange.finish(response, came_to.as_ref().copied())
    }

    async fn judge(
        &self,
        door: Door,
        head: &Parts,
        exchange: &mut Exchange,
    ) -> Result<Response<Bytes>, Rejection> {
        let original = match exchange.arrival().listed() {
            Some(gateway) => original_of(door, head, gateway)?,
            None => None,
        };
        let Some(original) = original else {
            let passage = self.gate.decide_unseen(&head.headers, exchange).await?;
            return allow(&passage, &head.headers);
        };
        let passage = self.gate.decide(&original, &head.headers, exchange).await?;
        let mut response = allow(&passage, &head.headers)?;
        let wants_cookies = door == Door::ForwardAuth && forward_auth::wants_cookies(head);
        if wants_cookies && self.gate.browsers.is_some() {
            tell_cookies(response.headers_mut(), &passage, &head.headers);
        }
        Ok(response)
    }
}

/// The request that a listed gateway reports at `door`; none unless it says all of it.
fn original_of(
    door: Door,
    head: &Parts,
    by: Listed,
) -> Result<Option<OriginalRequest<'static>>, Rejection> {
    let report = match door {
        Door::AuthRequest => auth_request::report(head)?,
        Door::ForwardAuth => forward_auth::report(head)?,
        Door::UserInfo => None,
    };
    report.map(|report| OriginalRequest::reported(report, by)).transpose()
}

/// The yes, with the identity headers that the gateway is to set, and those alone.
fn allow(passage: &Passage<'_>, asked_with: &HeaderMap) -> Result<Response<Bytes>, Rejection> {
    passage.check_method(asked_with)?;
    let mut response = Response::new(Bytes::new());
    if let Admitted::As(identity) = &passage.admitted {
        let identity_headers = &passage.destination.rules.identity_headers;
        identity_headers.replace(response.headers_mut(), identity);
    }
    Ok(response)
}

/// The cookies that the application is to see: all that a gateway forwards which puts them in the request's place.
fn tell_cookies(headers: &mut HeaderMap, passage: &Passage<'_>, asked_with: &HeaderMap) {
    match passage.destination.rules.cookies_left(asked_with) {
        CookiesLeft::All => {
            let lines = asked_with.get_all(COOKIE).iter();
            headers.extend(lines.map(|line| (COOKIE, line.clone())));
        }
        CookiesLeft::Some(cookies) => drop(headers.insert(COOKIE, cookies)),
        CookiesLeft::None => {}
    }
}
