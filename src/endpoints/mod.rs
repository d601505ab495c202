//! The doors; each renders the same decision in its own way.

mod apple_check;
mod browser;
mod cors;
mod doors;
mod exchange;
mod finished;
mod gate;
mod grant;
mod notifications;
mod once;
mod original;
mod pages;
mod personal_claims;
mod proxy;
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
use http::{Request, Response, header::AUTHORIZATION};
use http_body::Body;
use hyper::body::Incoming;
use tower::Service;

use self::browser::carries_session;
pub(crate) use self::{
    apple_check::AppleCheck,
    browser::{
        AndroidApp, Browser, BrowserKeeper, BrowserOrigin, BrowserParts, BrowserPlace,
        BrowserSettings, CrossOrigin, Login, Origins, SESSION_COOKIE,
    },
    cors::{AllowOrigins, Cors, Credentials, Preflight},
    doors::{DoorPaths, Doors, DoorsParts, ExtAuthz, ExtAuthzParts, ExtAuthzSettings},
    gate::Gate,
    notifications::{
        NotificationSettings, Notifications, Recorder, Surroundings as NotificationSurroundings,
    },
    pages::{Page, Pages},
    proxy::{Destination, Proxy, ProxyBody, ProxyParts},
    revocations::{AdminToken, RevocationsView},
    routes::{Access, AmbiguousPaths, Conflict, Host, PathPattern, Route, Routes, Rule},
    sign_in::{NonceRule, SignIn, SignInParts, SignInPlace, SignInSettings},
    whole_body::Readers as BodyReaders,
};
use crate::authn::Rejection;

/// Our own paths first, everything else to the application. Where there is an application there are no own paths but
/// those that are configured: they must not shadow the application's.
#[derive(Debug)]
pub(crate) struct Router {
    pages: Pages,
    notifications: Option<Notifications>,
    sign_in: Option<SignIn>,
    browser: Option<Browser>,
    doors: Doors,
    ext_authz: ExtAuthz,
    proxy: Proxy,
}

impl Router {
    /// Answers at `pages`, `doors` and `ext_authz`, and gives everything else to `proxy`.
    pub(crate) const fn new(pages: Pages, doors: Doors, ext_authz: ExtAuthz, proxy: Proxy) -> Self {
        Self { pages, notifications: None, sign_in: None, browser: None, doors, ext_authz, proxy }
    }

    /// Takes notifications besides.
    pub(crate) fn with_notifications(self, notifications: Option<Notifications>) -> Self {
        Self { notifications, ..self }
    }

    /// Signs apps in besides.
    pub(crate) fn with_sign_in(self, sign_in: Option<SignIn>) -> Self {
        Self { sign_in, ..self }
    }

    /// Signs browsers in besides.
    pub(crate) fn with_browser(self, browser: Option<Browser>) -> Self {
        Self { browser, ..self }
    }

    /// The door at which browsers sign in, and what a request is for there. Apps may sign out at the same path.
    fn browser_at<B: Body>(&self, request: &Request<B>) -> Option<(&Browser, BrowserPlace)> {
        let (door, path) = (self.browser.as_ref()?, request.uri().path());
        let place = door.find(path)?;
        let is_an_apps = self.sign_in_at(path).is_some() && comes_with_token(request);
        (!is_an_apps).then_some((door, place))
    }

    /// The door at which apps sign in, and what a request for `path` is for there.
    fn sign_in_at(&self, path: &str) -> Option<(&SignIn, SignInPlace)> {
        let door = self.sign_in.as_ref()?;
        Some((door, door.find(path)?))
    }

    /// The door at which apps sign in, if somebody signs out there by a token and by a browser's cookie: one of two sessions
    /// would go on, and nobody could say which.
    fn signs_out_twice_at<B>(&self, request: &Request<B>) -> Option<&SignIn> {
        let (door, place) = self.sign_in_at(request.uri().path())?;
        let headers = request.headers();
        let by_both = headers.contains_key(AUTHORIZATION) && carries_session(headers);
        (self.browser.is_some() && place == SignInPlace::Logout && by_both).then_some(door)
    }

    /// The door at which apps sign in, if somebody signs out there as a browser, and with a body: what is in it may be a token
    /// of an app.
    fn exit_beside<B: Body>(&self, request: &Request<B>) -> Option<&SignIn> {
        let (door, place) = self.sign_in_at(request.uri().path())?;
        (place == SignInPlace::Logout && has_body(request)).then_some(door)
    }

    /// The answer to `request`, which is refused before anybody has looked at it.
    pub(crate) fn refuse<B: Body>(
        &self,
        request: &Request<B>,
        rejection: Rejection,
    ) -> Response<ProxyBody> {
        let path = request.uri().path();
        if let Some(door) = self.doors.find(path) {
            return self.doors.refuse(door, request, rejection).map(ProxyBody::rejected);
        }
        if let Some((door, _)) = self.browser_at(request) {
            return door.refuse(request, rejection).map(ProxyBody::rejected);
        }
        if let Some((door, _)) = self.sign_in_at(path) {
            return door.refuse(request, rejection).map(ProxyBody::rejected);
        }
        match self.ext_authz.find(path) {
            Some(form) => self.ext_authz.refuse(form, request, &rejection),
            None => self.proxy.refuse(request, &rejection),
        }
    }

    /// The answer to `request`.
    fn answer(&self, request: Request<Incoming>) -> Answering {
        let path = request.uri().path();
        if let Some(door) = self.notifications.as_ref().filter(|door| door.is_at(path)) {
            let answering = door.clone().answer(request);
            return Box::pin(async { Ok(answering.await.map(ProxyBody::rejected)) });
        }
        if let Some(door) = self.signs_out_twice_at(&request) {
            let answer = door.refuse(&request, Rejection::SeveralCredentials);
            return Box::pin(std::future::ready(Ok(answer.map(ProxyBody::rejected))));
        }
        if let Some((door, place)) = self.browser_at(&request) {
            let apps = self.exit_beside(&request).cloned();
            let answering = answer_browser(door.clone(), place, apps, request);
            return Box::pin(async { Ok(answering.await.map(ProxyBody::rejected)) });
        }
        if let Some((door, place)) = self.sign_in_at(path) {
            let answering = door.clone().answer(place, request);
            return Box::pin(async { Ok(answering.await.map(ProxyBody::rejected)) });
        }
        if let Some(page) = self.pages.answer(request.method(), path) {
            return Box::pin(std::future::ready(Ok(page.map(ProxyBody::rejected))));
        }
        if let Some(door) = self.doors.find(path) {
            return self.doors.answer(door, request);
        }
        match self.ext_authz.find(path) {
            Some(form) => self.ext_authz.answer(form, request),
            None => self.proxy.answer(request),
        }
    }

    /// The same for every request, at the price of a pointer.
    pub(crate) fn share(self) -> SharedRouter {
        SharedRouter(Arc::new(self))
    }
}

/// Whether who signs out does so as an app, by a token in a header or in the body. A browser brings a cookie besides; what is
/// in its body is looked at before it signs out.
fn comes_with_token<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(AUTHORIZATION) || (has_body(request) && !carries_session(headers))
}

/// Whether something may follow the head of `request`.
fn has_body<B: Body>(request: &Request<B>) -> bool {
    !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0)
}

/// The answer to a browser at `place`, unless it brings what an app signs out by at `apps`, the same place.
async fn answer_browser(
    door: Browser,
    place: BrowserPlace,
    apps: Option<SignIn>,
    mut request: Request<Incoming>,
) -> Response<Bytes> {
    if let Some(apps) = apps
        && let Err(rejection) = apps.check_no_token(&mut request).await
    {
        return apps.refuse(&request, rejection);
    }
    door.answer(place, request).await
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
