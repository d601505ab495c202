//! The application behind us: a pooled client that takes [`UpstreamRequest`]s and nothing else.
//!
//! An [`UpstreamRequest`] is rebuilt (`request.rs`), gets a connection that is kept or made (`pool.rs`, `connect.rs`,
//! `tls.rs`), and its response is streamed back (`body.rs`). If the client wished for another protocol (`upgrade.rs`) and
//! the application agrees, both are joined (`tunnel.rs`).

mod account;
mod addressing;
mod arrival;
mod bell;
mod body;
mod connect;
mod cookies;
mod error;
#[cfg(test)]
mod fixtures;
mod frames;
mod hop_by_hop;
mod host;
mod idle;
mod line;
mod pool;
mod request;
mod settings;
mod socket;
mod tasks;
mod tls;
mod tunnel;
mod upgrade;
mod url;
mod well_formed;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use self::tls::TlsError;
use self::{
    account::Exchanged,
    addressing::{for_http1, for_http2},
    body::Activity,
    connect::{ConnectError, Connector},
    hop_by_hop::remove_hop_by_hop,
    pool::{Connection, Leased, Pool, PoolSettings},
    tasks::Tasks,
    tunnel::Tunnel,
};
pub(crate) use self::{
    arrival::{Arrival, Shown, X_REQUEST_ID},
    body::{BodyFault, BodyLimits, StreamedBody},
    connect::Connected,
    cookies::{CookiesLeft, remove_set_in_our_name},
    error::UpstreamError,
    host::Host,
    pool::HeaderCase,
    request::{CredentialForwarding, ForwardingRules, HostForwarding, Pseudonym, UpstreamRequest},
    settings::{Upgrades, UpstreamSettings},
    tasks::Streams,
    tls::{ClientCertificate, TlsSettings},
    upgrade::UpgradeWish,
    url::{HttpVersion, UpstreamUrl},
    well_formed::WellFormed,
};
use crate::{alarm::Alarms, authn::Standing, telemetry::Metrics};

/// The client of the application.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pool: Arc<Pool>,
    settings: Arc<UpstreamSettings>,
    streams: Streams,
    alarms: Arc<Alarms>,
    metrics: Metrics,
}

impl Upstream {
    /// A client whose connections are tasks of `tasks` for as long as it lives, and whose upgraded streams are `streams`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when TLS towards the application cannot be set up.
    pub(crate) fn new(
        settings: UpstreamSettings,
        tasks: TaskTracker,
        streams: Streams,
        metrics: Metrics,
    ) -> Result<Self, TlsError> {
        let UpstreamSettings { url, version, tls, connect_timeout, .. } = &settings;
        let connector = Connector::new(url, *version, tls, *connect_timeout)?;
        let keeping = PoolSettings {
            idle_timeout: settings.pool_idle_timeout,
            h2_ping_interval: settings.h2_ping_interval,
            header_case: settings.header_case,
        };
        let pool = Pool::new(connector, keeping, Tasks::new(tasks), metrics.clone());
        let (settings, alarms) = (Arc::new(settings), Arc::default());
        Ok(Self { pool, settings, streams, alarms, metrics })
    }

    /// The same application over the same connections, under timeouts of its own where there are some.
    pub(crate) fn with_timeouts(&self, response: Option<Duration>, idle: Option<Duration>) -> Self {
        let mut settings = UpstreamSettings::clone(&self.settings);
        settings.response_timeout = response.unwrap_or(settings.response_timeout);
        settings.idle_timeout = idle.unwrap_or(settings.idle_timeout);
        Self { settings: Arc::new(settings), ..self.clone() }
    }

    /// Where the application is.
    pub(crate) fn origin(&self) -> String {
        self.settings.url.origin()
    }

    /// Connects, TLS and all, and says nothing.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub(crate) async fn probe(&self) -> Result<(), ConnectError> {
        self.pool.connector().connect().await.map(drop)
    }

    /// Sends `request` and returns the response with its body still to come.
    ///
    /// A request is sent again only if the kept connection it was given to died before taking anything of it.
    pub(crate) async fn send(
        &self,
        request: UpstreamRequest<StreamedBody>,
    ) -> Result<Response<StreamedBody>, UpstreamError> {
        let (mut request, id) = request.into_request_and_id();
        self.spell(&mut request);
        let exchanged = Exchanged::begin(id, self.metrics.clone());
        let activity = request.body().activity();
        let exchange = pin!(self.exchange(request, activity.as_ref(), exchanged.started()));
        let (response, lease) = self.in_time(exchange, activity.as_ref(), &exchanged).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::UnaskedUpgrade);
        }
        Ok(self.received(response, exchanged).map(|body| body.over(lease)))
    }

    /// Sends `request` with `wish`. If the application grants it, the client is joined with it once it has our answer,
    /// until `token_ends` or `standing` does if streams end with their tokens.
    pub(crate) async fn send_with_wish(
        &self,
        request: UpstreamRequest<StreamedBody>,
        wish: UpgradeWish,
        token_ends: Option<Instant>,
        standing: Option<Standing>,
    ) -> Result<Response<StreamedBody>, UpstreamError> {
        if self.settings.upgrades == Upgrades::Ignore || !self.pool.connector().can_upgrade() {
            return self.send(request).await;
        }
        let (mut request, id) = request.into_request_and_id();
        let exchanged = Exchanged::begin(id, self.metrics.clone());
        wish.write_into(request.headers_mut());
        self.spell(&mut request);
        for_http1(&mut request);
        let activity = request.body().activity();
        let exchange = async {
            // A connection of its own: it will not come back, and one that was never used is not about to be closed.
            let mut sender = self.pool.to_upgrade().await?;
            Ok(sender.send_request(*request).await?)
        };
        let mut response = self.in_time(pin!(exchange), activity.as_ref(), &exchanged).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.received(response, exchanged));
        }

        let ends_with_token = self.settings.upgrades == Upgrades::EndWithToken;
        let protocol = wish.granted(&response).ok_or(UpstreamError::UnaskedUpgrade)?;
        let tunnel = Tunnel {
            client: wish.client,
            application: hyper::upgrade::on(&mut response),
            is_websocket: UpgradeWish::is_websocket(&protocol),
            until: token_ends.filter(|_| ends_with_token),
            standing: standing.filter(|_| ends_with_token),
            stop: self.streams.stopped(),
            open: self.metrics.upgraded_streams.clone(),
        };
        self.streams.spawn(tunnel.run());
        let mut response = self.received(response, exchanged);
        upgrade::switch(&mut response, protocol);
        Ok(response)
    }

    /// Leaves `request` the spelling of its header names if it is to be kept.
    fn spell(&self, request: &mut Request<StreamedBody>) {
        if self.settings.header_case != HeaderCase::Preserve {
            request.extensions_mut().clear();
        }
    }

    async fn exchange(
        &self,
        mut request: Box<Request<StreamedBody>>,
        upload: Option<&Activity>,
        now: Instant,
    ) -> Result<Leased, UpstreamError> {
        if let Some(kept) = self.pool.kept(now) {
            self.address(&mut request, &kept)?;
            let mut failed = match kept.send(request, upload, &self.pool).await {
                Ok(leased) => return Ok(leased),
                Err(failed) => failed,
            };
            let Some(unsent) = failed.take_message() else {
                return Err(failed.into_error().into());
            };
            self.metrics.upstream_retries.inc();
            request = Box::new(unsent);
        }
        let dialled = Instant::now();
        // Connecting is rare and needs much room, which every other request would have to find as well.
        let fresh = Box::pin(self.pool.fresh()).await?;
        let connected = Connected(dialled.elapsed());
        self.address(&mut request, &fresh)?;
        let leased = fresh.send(request, upload, &self.pool).await;
        let (mut response, lease) = leased.map_err(TrySendError::into_error)?;
        response.extensions_mut().insert(connected);
        Ok((response, lease))
    }

    /// Makes `request` what the protocol of `connection` wants. It may have been made ready for another one before.
    fn address(
        &self,
        request: &mut Request<StreamedBody>,
        connection: &Connection,
    ) -> Result<(), UpstreamError> {
        match connection.version() {
            HttpVersion::Http1 => for_http1(request),
            HttpVersion::Http2 => {
                let scheme = self.settings.url.http_scheme();
                for_http2(request, scheme).map_err(UpstreamError::Target)?;
            }
        }
        Ok(())
    }

    /// The time to answer starts anew with every frame of the request: a slow upload is no slow application.
    async fn in_time<T>(
        &self,
        mut response: Pin<&mut impl Future<Output = Result<T, UpstreamError>>>,
        activity: Option<&Activity>,
        exchanged: &Exchanged,
    ) -> Result<T, UpstreamError> {
        let at_the_latest = self.settings.total_timeout.map(|total| exchanged.started() + total);
        let deadline = || {
            let last = activity.map_or_else(|| exchanged.started(), Activity::last);
            let silent_for_too_long = last + self.settings.response_timeout;
            at_the_latest.map_or(silent_for_too_long, |at| at.min(silent_for_too_long))
        };
        let mut alarm = self.alarms.take(deadline());
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            ready!(alarm.poll(deadline(), cx));
            Poll::Ready(Err(self.no_response(exchanged)))
        });
        let outcome = outcome.await;
        self.alarms.give_back(alarm);
        outcome
    }

    fn no_response(&self, exchanged: &Exchanged) -> UpstreamError {
        match self.settings.total_timeout {
            Some(limit) if exchanged.started().elapsed() >= limit => {
                self.metrics.requests_timed_out.inc();
                UpstreamError::TookTooLong { limit }
            }
            _ => UpstreamError::NoResponse,
        }
    }

    /// The response as it goes on to the client.
    fn received(
        &self,
        response: Response<Incoming>,
        exchanged: Exchanged,
    ) -> Response<StreamedBody> {
        let (mut parts, body) = response.into_parts();
        settle_length(&mut parts.headers);
        remove_hop_by_hop(&mut parts.headers);
        // Each hop has a version of its own (RFC 9110 §2.5).
        parts.version = Version::default();
        let limits = BodyLimits { idle_timeout: self.settings.idle_timeout, max_bytes: None };
        let body = StreamedBody::of_response(body, limits);
        let body = if parts.status == StatusCode::NOT_MODIFIED { body.head_only() } else { body };
        let at_the_latest = self.settings.total_timeout.map(|total| exchanged.started() + total);
        let body = body.until(at_the_latest).told_by(exchanged.answered(parts.status));
        Response::from_parts(parts, body)
    }
}

/// Leaves one opinion about where the body ends: that of `Transfer-Encoding` where there is one, else one number, however
/// often it was told (RFC 9112 §6.3).
fn settle_length(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(told) = lines.next() else { return };
    if lines.next().is_none() && told.as_bytes().iter().all(u8::is_ascii_digit) {
        return;
    }
    // Those that differ do not get here: the answer was refused.
    let first = told.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
    if let Ok(length) = HeaderValue::from_bytes(first.trim_ascii()) {
        headers.insert(CONTENT_LENGTH, length);
    }
}
