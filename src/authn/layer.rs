//! The decision as tower layers, for axum, tonic and everything else that is a [`Service`].

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use tower::{Layer, Service};

use super::{Authenticator, Dialect, Policy, Rejection, RejectionBody};
use crate::verify::Identity;

/// Wraps services in [`RequireIdentity`].
#[derive(Clone, Debug)]
pub struct RequireIdentityLayer(Door);

/// Wraps services in [`OptionalIdentity`].
#[derive(Clone, Debug)]
pub struct OptionalIdentityLayer(Door);

/// Lets a request through to `S` only with an `Arc<`[`Identity`]`>` in its extensions.
///
/// The identity headers of a request are not looked at: behind this layer the extension is the identity, and a header is
/// whatever the caller wrote.
#[derive(Clone, Debug)]
pub struct RequireIdentity<S> {
    inner: S,
    door: Door,
}

/// Lets a request through to `S` with an `Arc<`[`Identity`]`>` in its extensions if it carries a good credential, and
/// without one if it carries none. A bad credential is refused all the same.
#[derive(Clone, Debug)]
pub struct OptionalIdentity<S> {
    inner: S,
    door: Door,
}

impl RequireIdentityLayer {
    /// Lets requests through that `authenticator` can put an identity to.
    #[must_use]
    pub const fn new(authenticator: Authenticator) -> Self {
        Self(Door { authenticator, policy: Policy::permissive() })
    }

    /// Of those, lets only pass whom `policy` does too.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self(Door { policy, ..self.0 })
    }
}

impl OptionalIdentityLayer {
    /// Puts an identity to requests where `authenticator` can.
    #[must_use]
    pub const fn new(authenticator: Authenticator) -> Self {
        Self(Door { authenticator, policy: Policy::permissive() })
    }

    /// Of those who present a credential, lets only pass whom `policy` does too.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self(Door { policy, ..self.0 })
    }
}

impl<S> Layer<S> for RequireIdentityLayer {
    type Service = RequireIdentity<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireIdentity { inner, door: self.0.clone() }
    }
}

impl<S> Layer<S> for OptionalIdentityLayer {
    type Service = OptionalIdentity<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OptionalIdentity { inner, door: self.0.clone() }
    }
}

type Answering<R, E> = Pin<Box<dyn Future<Output = Result<Response<RejectionBody<R>>, E>> + Send>>;

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequireIdentity<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Future: Send>
        + Clone
        + Send
        + 'static,
    ReqBody: Send + 'static,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = Answering<ResBody, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (inner, door) = (take_ready(&mut self.inner), self.door.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let decision = door.authenticator.require(&head.headers, &door.policy).await;
            door.answer(decision.map(Some), head, body, inner).await
        })
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for OptionalIdentity<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Future: Send>
        + Clone
        + Send
        + 'static,
    ReqBody: Send + 'static,
{
    type Response = Response<RejectionBody<ResBody>>;
    type Error = S::Error;
    type Future = Answering<ResBody, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (inner, door) = (take_ready(&mut self.inner), self.door.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let decision = door.authenticator.identify(&head.headers, &door.policy).await;
            door.answer(decision, head, body, inner).await
        })
    }
}

/// What both services are made of, besides the one question in which they differ.
#[derive(Clone, Debug)]
struct Door {
    authenticator: Authenticator,
    policy: Policy,
}

impl Door {
    async fn answer<S, ReqBody, ResBody>(
        &self,
        decision: Result<Option<Arc<Identity>>, Rejection>,
        mut head: Parts,
        body: ReqBody,
        mut inner: S,
    ) -> Result<Response<RejectionBody<ResBody>>, S::Error>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        match decision {
            Ok(identity) => {
                // An extension that somebody further out has put there is not what was decided here.
                head.extensions.remove::<Arc<Identity>>();
                if let Some(identity) = identity {
                    head.extensions.insert(identity);
                }
                let response = inner.call(Request::from_parts(head, body)).await?;
                Ok(response.map(RejectionBody::inner))
            }
            Err(rejection) => {
                let dialect = Dialect::of(&head.method, head.version, &head.headers);
                let response = rejection.render(dialect, self.authenticator.realm());
                Ok(response.map(RejectionBody::rejected))
            }
        }
    }
}

/// Readiness belongs to the service that was polled, so that one takes the request and its fresh clone stays behind.
fn take_ready<S: Clone>(inner: &mut S) -> S {
    let clone = inner.clone();
    mem::replace(inner, clone)
}
