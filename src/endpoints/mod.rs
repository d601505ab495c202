//! The doors; each renders the same decision in its own way.

mod apple_check;
mod browser;
mod cors;
mod doors;
mod entrance;
mod exchange;
mod exits;
mod finished;
mod gate;
mod grant;
mod json;
mod notifications;
mod once;
mod original;
mod pages;
mod personal_claims;
mod proxy;
mod recorder;
mod revocations;
mod routes;
mod sign_in;
mod whole_body;

use std::{
    convert::Infallible,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower::Service;

pub(crate) use self::{
    apple_check::AppleCheck,
    browser::{
        AndroidApp, BrowserDoor, BrowserKeeper, BrowserOrigin, BrowserParts, BrowserPlace,
        BrowserSettings, CrossOrigin, Login, Origins, SESSION_COOKIE,
    },
    cors::{AllowOrigins, Cors, Credentials, Preflight},
    doors::{DoorPaths, Doors, DoorsParts, ExtAuthz, ExtAuthzParts, ExtAuthzSettings},
    gate::Gate,
    notifications::{
        NotificationSettings, Notifications, Surroundings as NotificationSurroundings,
    },
    pages::{Page, Pages, PagesParts},
    proxy::{Destination, Proxy, ProxyBody, ProxyParts},
    recorder::Recorder,
    revocations::{AdminToken, RevocationsView},
    routes::{Access, AmbiguousPaths, Conflict, Host, PathPattern, Route, Routes, Rule},
    sign_in::{AppDoor, NonceRule, SignInParts, SignInPlace, SignInSettings},
    whole_body::Readers as BodyReaders,
};
use self::{entrance::Entrance, exits::answer_browser};
use crate::authn::Rejection;

/// Our own paths first, everything else to the application. Where there is an application there are no own paths but
/// those that are configured: they must not shadow the application's.
#[derive(Debug)]
pub(crate) struct Router {
    pages: Pages,
    notifications: Option<Notifications>,
    apps: Option<AppDoor>,
    browser: Option<BrowserDoor>,
    doors: Doors,
    ext_authz: ExtAuthz,
    proxy: Proxy,
}

impl Router {
    /// Answers at `pages`, `doors` and `ext_authz`, and gives everything else to `proxy`.
    pub(crate) const fn new(pages: Pages, doors: Doors, ext_authz: ExtAuthz, proxy: Proxy) -> Self {
        Self { pages, notifications: None, apps: None, browser: None, doors, ext_authz, proxy }
    }

    /// Takes notifications besides.
    pub(crate) fn with_notifications(self, notifications: Option<Notifications>) -> Self {
        Self { notifications, ..self }
    }

    /// Signs apps in besides.
    pub(crate) fn with_apps(self, apps: Option<AppDoor>) -> Self {
        Self { apps, ..self }
    }

    /// Signs browsers in besides.
    pub(crate) fn with_browser(self, browser: Option<BrowserDoor>) -> Self {
        Self { browser, ..self }
    }

    /// The answer to `request`, which is refused before anybody has looked at it.
    pub(crate) fn refuse<B: Body>(
        &self,
        request: &Request<B>,
        rejection: Rejection,
    ) -> Response<ProxyBody> {
        let refusal = match self.entrance_of(request) {
            Entrance::Notifications(door) => door.refuse(request, rejection),
            Entrance::TwoExits(door) | Entrance::App(door, _) => door.refuse(request, rejection),
            Entrance::Browser(door, ..) => door.refuse(request, rejection),
            Entrance::Page(_) => self.pages.refuse(request, &rejection),
            Entrance::Door(door) => self.doors.refuse(door, request, rejection),
            Entrance::ExtAuthz(form) => return self.ext_authz.refuse(form, request, &rejection),
            Entrance::Proxy => return self.proxy.refuse(request, &rejection),
        };
        refusal.map(ProxyBody::rejected)
    }

    /// The answer to `request`.
    fn answer(&self, request: Request<Incoming>) -> Answering {
        match self.entrance_of(&request) {
            Entrance::Notifications(door) => ours(door.clone().answer(request)),
            Entrance::TwoExits(door) => {
                at_once(door.refuse(&request, Rejection::SeveralCredentials))
            }
            Entrance::Browser(door, place, apps) => {
                ours(answer_browser(door.clone(), place, apps.cloned(), request))
            }
            Entrance::App(door, place) => ours(door.clone().answer(place, request)),
            Entrance::Page(page) => at_once(self.pages.answer(page, &request)),
            Entrance::Door(door) => self.doors.answer(door, request),
            Entrance::ExtAuthz(form) => self.ext_authz.answer(form, request),
            Entrance::Proxy => self.proxy.answer(request),
        }
    }

    /// The same for every request, at the price of a pointer.
    pub(crate) fn share(self) -> SharedRouter {
        SharedRouter(Arc::new(self))
    }
}

/// What becomes of an answer of our own.
fn ours(answering: impl Future<Output = Response<Bytes>> + Send + 'static) -> Answering {
    Box::pin(async { Ok(answering.await.map(ProxyBody::rejected)) })
}

/// Likewise, where there is nothing to wait for.
fn at_once(answer: Response<Bytes>) -> Answering {
    Box::pin(std::future::ready(Ok(answer.map(ProxyBody::rejected))))
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<ProxyBody>, Infallible>> + Send>>;

/// A [`Router`] as a service. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct SharedRouter(Arc<Router>);

impl Deref for SharedRouter {
    type Target = Router;

    fn deref(&self) -> &Router {
        &self.0
    }
}

impl Service<Request<Incoming>> for SharedRouter {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        self.answer(request)
    }
}
