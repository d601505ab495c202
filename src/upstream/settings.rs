//! What the operator decides about the application.

use std::time::Duration;

use super::{HeaderCase, HttpVersion, TlsSettings, UpstreamUrl};

/// How the application is spoken to, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamSettings {
    /// Where it is.
    pub(crate) url: UpstreamUrl,
    /// The version of HTTP to speak; none for what the URL's scheme says.
    pub(crate) version: Option<HttpVersion>,
    /// How it proves who it is, and how we do.
    pub(crate) tls: TlsSettings,
    /// The longest that connecting may take, name lookup and TLS included.
    pub(crate) connect_timeout: Duration,
    /// The longest from the last byte of the request to the head of the response.
    pub(crate) response_timeout: Duration,
    /// The longest silence inside a response's body.
    pub(crate) idle_timeout: Duration,
    /// The longest that a whole exchange may take, to the last byte of the response; none for no limit.
    pub(crate) total_timeout: Option<Duration>,
    /// How long an unused connection is kept. Shorter than the application's own keep-alive, so that it does not close a
    /// connection under our hands.
    pub(crate) pool_idle_timeout: Duration,
    /// The time between HTTP/2 pings; none for no pings.
    pub(crate) h2_ping_interval: Option<Duration>,
    /// How header names are written.
    pub(crate) header_case: HeaderCase,
    /// What becomes of requests for another protocol.
    pub(crate) upgrades: Upgrades,
}

/// What becomes of a request for another protocol, such as WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Upgrades {
    /// It is passed on, and the stream ends with the token that opened it.
    #[default]
    EndWithToken,
    /// It is passed on, and the stream goes on for as long as both sides like.
    OutliveToken,
    /// It is passed on as an ordinary request, without the wish.
    Ignore,
}
