//! The doors; each renders the same decision in its own way.

mod cors;
mod doors;
mod exchange;
mod gate;
mod notifications;
mod original;
mod pages;
mod proxy;
mod revocations;
mod routes;
mod whole_body;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

pub(crate) use self::{
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
};
use crate::authn::Rejection;

/// Our own paths first, everything else to the application. Where there is an application there are no own paths but
/// those that are configured: they must not shadow the application's. Clones share all.
#[derive(Clone, Debug)]
pub(crate) struct Router(Arc<AllDoors>);

#[derive(Debug)]
struct AllDoors {
    pages: Pages,
    notifications: Option<Notifications>,
    doors: Doors,
    ext_authz: ExtAuthz,
    proxy: Proxy,
}

impl Router {
    /// Answers at `pages`, `doors`, `ext_authz` and, if they are taken, `notifications`; and gives everything else to `proxy`.
    pub(crate) fn new(
        pages: Pages,
        notifications: Option<Notifications>,
        doors: Doors,
        ext_authz: ExtAuthz,
        proxy: Proxy,
    ) -> Self {
        Self(Arc::new(AllDoors { pages, notifications, doors, ext_authz, proxy }))
    }

    /// The answer to `request`, which is refused before anybody has looked at it.
    pub(crate) fn refuse<B>(
        &self,
        request: &Request<B>,
        rejection: Rejection,
    ) -> Response<ProxyBody> {
        let AllDoors { doors, ext_authz, proxy, .. } = &*self.0;
        let path = request.uri().path();
        if let Some(door) = doors.find(path) {
            return doors.refuse(door, request, rejection).map(ProxyBody::rejected);
        }
        match ext_authz.find(path) {
            Some(form) => ext_authz.refuse(form, request, &rejection),
            None => proxy.refuse(request, &rejection),
        }
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let AllDoors { pages, notifications, doors, ext_authz, proxy } = &*self.0;
        let path = request.uri().path();
        if let Some(door) = notifications.as_ref().filter(|door| door.is_at(path)) {
            let answering = door.clone().answer(request);
            return Box::pin(async { Ok(answering.await.map(ProxyBody::rejected)) });
        }
        if let Some(page) = pages.answer(request.method(), path) {
            return Box::pin(std::future::ready(Ok(page.map(ProxyBody::rejected))));
        }
        if let Some(door) = doors.find(path) {
            return doors.answer(door, request);
        }
        match ext_authz.find(path) {
            Some(form) => ext_authz.answer(form, request),
            None => proxy.clone().call(request),
        }
    }
}
