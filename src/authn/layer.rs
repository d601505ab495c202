//! The decision as a tower layer, for axum, tonic and everything else that is a [`Service`].

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::{Layer, Service};

use super::{Authenticator, RejectionBody};

/// Wraps services in [`RequireIdentity`].
#[derive(Clone, Debug)]
pub struct RequireIdentityLayer {
    authenticator: Authenticator,
}

impl RequireIdentityLayer {
    /// Lets requests through that `authenticator` can put an identity to.
    #[must_use]
    pub const fn new(authenticator: Authenticator) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for RequireIdentityLayer {
    type Service = RequireIdentity<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireIdentity { inner, authenticator: self.authenticator.clone() }
    }
}

/// Lets a request through to `S` only with an `Arc<`[`Identity`](crate::verify::Identity)`>` in its extensions.
///
/// The identity headers of a request are not looked at: behind this layer the extension is the identity, and a header is
/// whatever the caller wrote.
#[derive(Clone, Debug)]
pub struct RequireIdentity<S> {
    inner: S,
    authenticator: Authenticator,
}

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
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // Readiness belongs to the service that was polled, so that one takes
        // the request and its fresh clone stays behind.
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        let authenticator = self.authenticator.clone();

        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match authenticator.require(&parts.headers).await {
                Ok(identity) => {
                    parts.extensions.insert(identity);
                    let response = ready.call(Request::from_parts(parts, body)).await?;
                    Ok(response.map(RejectionBody::inner))
                }
                Err(rejection) => {
                    let response = rejection.render(&parts.headers, authenticator.realm());
                    Ok(response.map(RejectionBody::rejected))
                }
            }
        })
    }
}
