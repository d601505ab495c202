//! Asking a running proxy at its admin listener, from the machine on which it runs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{
    config::{Flags, Settings},
    server::ListenOn,
};

/// Whoever asks a proxy.
#[derive(Debug)]
pub struct AdminClient {
    /// As it is configured.
    place: String,
    reached: Reached,
    patience: Duration,
}

#[derive(Debug)]
enum Reached {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What the proxy answers.
#[derive(Debug)]
pub struct AdminAnswer {
    /// How it went.
    pub status: StatusCode,
    /// What it says.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnswered {
    /// It does not answer.
    #[error("nobody answers at {place}: is it running, with this admin listener?")]
    Silent {
        /// Who was asked.
        place: String,
        /// Why there is no answer.
        source: io::Error,
    },
    /// The socket is systemd's, and only systemd knows where it is.
    #[error("the admin listener is a socket of systemd's: name its address by --admin-listen")]
    Nowhere,
}

impl AdminClient {
    /// Asks the proxy that runs by `settings`, and gives it as long as `patience` to answer.
    ///
    /// # Errors
    ///
    /// [`NotAnswered::Nowhere`].
    pub fn of(settings: &Settings, patience: Duration) -> Result<Self, NotAnswered> {
        Self::at(&settings.server.admin_listen, patience)
    }

    /// The same, without looking at other settings: whether they can be used, the proxy itself knows best.
    ///
    /// # Errors
    ///
    /// [`NotAnswered::Nowhere`].
    pub fn named_by(flags: &Flags, patience: Duration) -> Result<Self, NotAnswered> {
        Self::at(&flags.admin_listen(), patience)
    }

    fn at(on: &ListenOn, patience: Duration) -> Result<Self, NotAnswered> {
        let reached = match on {
            ListenOn::Tcp(address) => Reached::Tcp(reachable(*address)),
            ListenOn::Unix { path, .. } => Reached::Unix(path.clone()),
            ListenOn::Systemd(_) => return Err(NotAnswered::Nowhere),
        };
        Ok(Self { place: on.to_string(), reached, patience })
    }

    /// Who is asked.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks, showing `token` if there is one, and waits for the whole answer.
    ///
    /// # Errors
    ///
    /// [`NotAnswered::Silent`].
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: String,
    ) -> Result<AdminAnswer, NotAnswered> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONNECTION, "close");
        let request = match token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(Full::from(body)).map_err(io::Error::other);
        let asking = async { self.exchange(request?).await };
        let answer = timeout(self.patience, Box::pin(asking)).await;
        let answer = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
        answer.map_err(|source| NotAnswered::Silent { place: self.place.clone(), source })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> io::Result<AdminAnswer> {
        match &self.reached {
            Reached::Tcp(address) => exchange_on(TcpStream::connect(address).await?, request).await,
            Reached::Unix(path) => exchange_on(UnixStream::connect(path).await?, request).await,
        }
    }
}

/// More than the list of a million subjects has, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024 * 1024;

async fn exchange_on(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> io::Result<AdminAnswer> {
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let asking = async move {
        let (head, body) =
            requests.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(io::Error::other)?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(AdminAnswer { status: head.status, text })
    };
    // How the connection ends is told by the answer, too.
    let (answer, _ended) = tokio::join!(asking, connection);
    answer
}

/// Where a listener on all interfaces can be connected to.
const fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_this_machine() {
        for (listening, asked) in [
            ("0.0.0.0:4181", "127.0.0.1:4181"),
            ("[::]:4181", "[::1]:4181"),
            ("192.0.2.1:4181", "192.0.2.1:4181"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn a_socket_of_systemds_cannot_be_asked() {
        let on = ListenOn::Systemd(Some(1));
        let refused = AdminClient::at(&on, Duration::from_secs(1)).unwrap_err();
        assert!(matches!(refused, NotAnswered::Nowhere));
    }
}
