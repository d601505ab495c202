//! The application behind us: a pooled client that takes [`UpstreamRequest`]s and nothing else.

mod arrival;
mod body;
mod request;

use std::{error::Error, io, pin::pin, time::Duration};

use http::{
    HeaderValue, Response,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};
use url::Url;

use self::body::Activity;
pub(crate) use self::{
    arrival::{Arrival, TrustedPeers, X_REQUEST_ID},
    body::{BodyFault, BodyLimits, StreamedBody},
    request::{
        CredentialForwarding, ForwardingRules, HostForwarding, Pseudonym, UpstreamRequest, host_of,
    },
};
use crate::authn::Rejection;

/// Where the application is: `http://` and an authority, nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamUrl(Authority);

impl UpstreamUrl {
    /// Takes `url` for the address of an application.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for an operator.
    pub(crate) fn new(url: &Url) -> Result<Self, &'static str> {
        if url.scheme() != "http" {
            return Err("must begin with http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not name a user");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "must end after host and port: paths are forwarded byte for byte, so there is none to add",
            );
        }
        let authority = url.authority().parse().map_err(|_invalid| "must name a host")?;
        Ok(Self(authority))
    }

    /// Host and port, as `Host` names them.
    pub(crate) fn host(&self) -> HeaderValue {
        HeaderValue::from_str(self.0.as_str()).unwrap_or(HeaderValue::from_static(""))
    }

    /// The address as text.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.0)
    }
}

/// How long the application may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamSettings {
    /// Where it is.
    pub(crate) url: UpstreamUrl,
    /// The longest that connecting may take.
    pub(crate) connect_timeout: Duration,
    /// The longest from the last byte of the request to the head of the response.
    pub(crate) response_timeout: Duration,
    /// The longest silence inside a response's body.
    pub(crate) idle_timeout: Duration,
    /// How long an unused connection is kept. Shorter than the application's own keep-alive, so that it does not close a
    /// connection under our hands.
    pub(crate) pool_idle_timeout: Duration,
}

/// The client of the application.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, StreamedBody>,
    settings: UpstreamSettings,
}

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .build(connector);
        Self { client, settings }
    }

    /// The same application over the same connections, under timeouts of its own where there are some.
    pub(crate) fn with_timeouts(&self, response: Option<Duration>, idle: Option<Duration>) -> Self {
        let mut other = self.clone();
        other.settings.response_timeout = response.unwrap_or(self.settings.response_timeout);
        other.settings.idle_timeout = idle.unwrap_or(self.settings.idle_timeout);
        other
    }

    /// Sends `request` and returns the response with its body still to come.
    ///
    /// A request is sent again only if the pooled connection it was given to died before taking anything of it.
    pub(crate) async fn send(
        &self,
        request: UpstreamRequest<StreamedBody>,
    ) -> Result<Response<StreamedBody>, UpstreamError> {
        let request = request
            .addressed_to(Scheme::HTTP, self.settings.url.0.clone())
            .map_err(UpstreamError::Target)?;
        let activity = request.body().activity();
        let response = self.wait_while_it_moves(self.client.request(request), &activity).await?;
        let (mut parts, body) = response.into_parts();
        request::remove_hop_by_hop(&mut parts.headers);
        let limits = BodyLimits { idle_timeout: self.settings.idle_timeout, max_bytes: None };
        Ok(Response::from_parts(parts, StreamedBody::of_response(body, limits)))
    }

    /// The time to answer starts anew with every frame of the request: a slow upload is no slow application.
    async fn wait_while_it_moves(
        &self,
        response: impl Future<Output = Result<Response<Incoming>, ClientError>>,
        activity: &Activity,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut response = pin!(response);
        loop {
            let deadline = activity.last() + self.settings.response_timeout;
            match timeout_at(deadline, response.as_mut()).await {
                Ok(outcome) => return outcome.map_err(UpstreamError::Client),
                Err(_elapsed)
                    if activity.last() + self.settings.response_timeout > Instant::now() => {}
                Err(_elapsed) => return Err(UpstreamError::NoResponse),
            }
        }
    }
}

/// How the exchange with the application failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The target cannot be put into a request line.
    #[error("the target cannot be forwarded")]
    Target(#[source] http::Error),
    /// It did not answer in time.
    #[error("no response in time")]
    NoResponse,
    /// The connection could not be made, or broke.
    #[error("the exchange broke off")]
    Client(#[source] ClientError),
}

impl UpstreamError {
    /// Whose fault it was, as the answer to the caller.
    pub(crate) fn into_rejection(self) -> Rejection {
        match &self {
            Self::Target(_) => Rejection::BadRequest("the target cannot be forwarded"),
            Self::NoResponse => Rejection::UpstreamTimedOut,
            Self::Client(error) => match BodyFault::behind(error) {
                Some(BodyFault::TooLarge { limit }) => Rejection::BodyTooLarge { limit: *limit },
                Some(BodyFault::TimedOut) => Rejection::BodyTimedOut,
                Some(BodyFault::Broken(_)) => Rejection::BadRequest("the request's body broke off"),
                None if connecting_timed_out(error) => Rejection::UpstreamTimedOut,
                None => Rejection::UpstreamUnreachable,
            },
        }
    }
}

fn connecting_timed_out(error: &ClientError) -> bool {
    let io_error = body::causes(error).find_map(<dyn Error>::downcast_ref::<io::Error>);
    error.is_connect() && io_error.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_http_host_and_port() {
        let new = |url: &str| UpstreamUrl::new(&url.parse().unwrap());
        for url in ["http://127.0.0.1:3000", "http://app/", "http://[::1]:80"] {
            assert!(new(url).is_ok(), "{url}");
        }
        for url in [
            "https://app",
            "ftp://app",
            "http://u:p@app",
            "http://app/base",
            "http://app/?q",
            "http://app/#f",
        ] {
            assert!(new(url).is_err(), "{url}");
        }
    }
}
