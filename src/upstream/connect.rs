//! Connecting to the application: name lookup, socket, TLS, all within one time limit.

use std::{error::Error, fmt, io, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::timeout,
};
use tower::Service;

use super::{
    socket::{Pulse, Socket},
    tls::{Tls, TlsError, TlsSettings},
    url::{HttpVersion, Remote, UpstreamUrl},
};

/// A byte stream to the application.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Wire for IO {}

/// How long a request waited for a new connection: an extension of the response to one that had none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected(pub(crate) Duration);

/// An open connection on which nothing was said yet.
pub(super) struct Link {
    pub(super) wire: Box<dyn Wire>,
    pub(super) pulse: Pulse,
    pub(super) version: HttpVersion,
}

/// Makes connections to one application.
#[derive(Clone)]
pub(super) struct Connector {
    remote: Remote,
    /// Looks names up, and tries IPv6 and IPv4 side by side (RFC 8305).
    tcp: HttpConnector,
    tls: Option<Tls>,
    /// None where the application chooses.
    version: Option<HttpVersion>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        url: &UpstreamUrl,
        version: Option<HttpVersion>,
        tls: &TlsSettings,
        timeout: Duration,
    ) -> Result<Self, TlsError> {
        let version = version.or_else(|| url.version());
        let tls = match url.host() {
            Some(host) if url.is_tls() => Some(Tls::new(tls, host, version)?),
            _ => None,
        };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Ok(Self { remote: url.remote.clone(), tcp, tls, version, timeout })
    }

    /// Whether a connection may turn out to be one that many requests share.
    pub(super) fn may_speak_http2(&self) -> bool {
        self.version != Some(HttpVersion::Http1)
    }

    /// Whether a connection can be had that is upgraded: only HTTP/1.1 can (RFC 9113 §8.6).
    pub(super) fn can_upgrade(&self) -> bool {
        self.version != Some(HttpVersion::Http2)
    }

    /// A connection that speaks what was agreed.
    pub(super) async fn connect(&self) -> Result<Link, ConnectError> {
        self.in_time(self.link(false)).await
    }

    /// A connection that speaks HTTP/1.1, whatever else the application would rather speak.
    pub(super) async fn connect_http1(&self) -> Result<Link, ConnectError> {
        self.in_time(self.link(true)).await
    }

    async fn in_time(
        &self,
        link: impl Future<Output = Result<Link, ConnectError>>,
    ) -> Result<Link, ConnectError> {
        timeout(self.timeout, link).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn link(&self, only_http1: bool) -> Result<Link, ConnectError> {
        let socket = self.socket().await?;
        let pulse = socket.pulse();
        let Some(tls) = &self.tls else {
            let version = self.version.unwrap_or(HttpVersion::Http1);
            return Ok(Link { wire: Box::new(socket), pulse, version });
        };
        let (stream, chosen) =
            tls.connect(socket, only_http1).await.map_err(ConnectError::Handshake)?;
        let forced = if only_http1 { Some(HttpVersion::Http1) } else { self.version };
        // An application that does not know ALPN speaks what was forced, or what everybody spoke before there was ALPN.
        let version = chosen.or(forced).unwrap_or(HttpVersion::Http1);
        Ok(Link { wire: Box::new(stream), pulse, version })
    }

    async fn socket(&self) -> Result<Socket, ConnectError> {
        match &self.remote {
            Remote::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Ok(Socket::from(stream.map_err(|error| ConnectError::Unreachable(error.into()))?))
            }
            Remote::Tcp(authority) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let uri = Uri::builder().scheme(scheme).authority(authority.clone());
                let uri = uri.path_and_query("/").build();
                let uri = uri.map_err(|error| ConnectError::Unreachable(error.into()))?;
                let stream = self.tcp.clone().call(uri).await;
                let stream = stream.map_err(|error| ConnectError::Unreachable(error.into()))?;
                Ok(Socket::from(stream.into_inner()))
            }
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// It took too long.
    #[error("connecting took too long")]
    TimedOut,
    /// The name is not known, or nobody listens there.
    #[error("the address cannot be connected to")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The other side is not who it should be, or does not want to know us.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// HTTP could not begin.
    #[error("HTTP could not begin")]
    Http(#[source] hyper::Error),
}
