//! Asking a running proxy how it is, at the admin listener that the settings name: for images without a shell.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{config::Flags, server::ListenOn};

/// What a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether requests should be sent to it.
    Ready,
    /// Whether it should go on running.
    Alive,
}

/// Why a proxy is not well, as far as can be told from here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotWell {
    /// It says so.
    #[error("{place} says no:\n{answer}")]
    SaysNo {
        /// Who was asked.
        place: String,
        /// What it says.
        answer: String,
    },
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

/// Asks the proxy whose admin listener `flags` and the environment name, and waits no longer than `patience`. Other
/// settings are not looked at: whether they can be used, the proxy itself knows best.
///
/// # Errors
///
/// [`NotWell`].
pub async fn healthcheck(
    flags: &Flags,
    question: Question,
    patience: Duration,
) -> Result<(), NotWell> {
    let admin = flags.admin_listen();
    let place = admin.to_string();
    let asking = async {
        match &admin {
            ListenOn::Tcp(address) => {
                ask(TcpStream::connect(reachable(*address)).await?, question).await
            }
            ListenOn::Unix { path, .. } => ask(UnixStream::connect(path).await?, question).await,
            ListenOn::Systemd(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    };
    let answer = timeout(patience, asking).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
    let answer = answer.map_err(|source| match admin {
        ListenOn::Systemd(_) => NotWell::Nowhere,
        ListenOn::Tcp(_) | ListenOn::Unix { .. } => {
            NotWell::Silent { place: place.clone(), source }
        }
    })?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
    Err(NotWell::SaysNo { place, answer: body.trim_end().to_owned() })
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

/// More than the admin listener has to say about its health.
const LONGEST_ANSWER: u64 = 64 * 1024;

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question,
) -> io::Result<String> {
    let path = match question {
        Question::Ready => "/readyz",
        Question::Alive => "/livez",
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
