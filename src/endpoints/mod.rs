//! The doors; each renders the same decision in its own way.

mod cors;
mod doors;
mod exchange;
mod gate;
mod original;
mod pages;
mod proxy;
mod routes;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

pub(crate) use self::{
    cors::{AllowOrigins, Cors, Credentials, Preflight},
    doors::{DoorPaths, Doors, DoorsParts, ExtAuthz, ExtAuthzParts, ExtAuthzSettings},
    gate::Gate,
    pages::{Page, Pages},
    proxy::{Destination, Proxy, ProxyBody, ProxyParts},
    routes::{Access, AmbiguousPaths, Conflict, Host, PathPattern, Route, Routes, Rule},
};
use crate::authn::Rejection;

/// Our own paths first, everything else to the application. Where there is an application there are no own paths but
/// those that are configured: they must not shadow the application's.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pages: Pages,
    doors: Doors,
    ext_authz: ExtAuthz,
    proxy: Proxy,
}

impl Router {
    /// Answers at `pages`, `doors` and `ext_authz`, and gives everything else to `proxy`.
    pub(crate) const fn new(pages: Pages, doors: Doors, ext_authz: ExtAuthz, proxy: Proxy) -> Self {
        Self { pages, doors, ext_authz, proxy }
    }

    /// The answer to `request`, which is refused before anybody has looked at it.
    pub(crate) fn refuse<B>(
        &self,
        request: &Request<B>,
        rejection: Rejection,
    ) -> Response<ProxyBody> {
        let path = request.uri().path();
        if let Some(door) = self.doors.find(path) {
            return self.doors.refuse(door, request, rejection).map(ProxyBody::rejected);
        }
        match self.ext_authz.find(path) {
            Some(form) => self.ext_authz.refuse(form, request, &rejection),
            None => self.proxy.refuse(request, &rejection),
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
        let path = request.uri().path();
        if let Some(page) = self.pages.answer(request.method(), path) {
            return Box::pin(std::future::ready(Ok(page.map(ProxyBody::rejected))));
        }
        if let Some(door) = self.doors.find(path) {
            return self.doors.answer(door, request);
        }
        match self.ext_authz.find(path) {
            Some(form) => self.ext_authz.answer(form, request),
            None => self.proxy.call(request),
        }
    }
}
