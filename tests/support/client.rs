//! A client that writes bytes and reads bytes, so that nothing is tidied up on the way.

use std::{error::Error, net::SocketAddr};

use http::{HeaderName, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{PATIENCE, spawn};

/// An HTTP/1.1 answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The values of all lines named `name`.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let chunked =
            headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        // A head alone may announce what is not sent: it answers a HEAD, or was read so far.
        let body = if chunked && !body.is_empty() { unchunk(body).0 } else { body.to_owned() };
        Self { status, headers, body }
    }
}

/// What is in the chunks of `body`, which must be whole, and what follows the last one (RFC 9112 §7.1).
pub(super) fn unchunk(body: &str) -> (String, &str) {
    let mut whole = String::new();
    let mut left = body;
    while let Some((size, rest)) = left.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (whole, rest);
        }
        whole.push_str(&rest[..size]);
        left = &rest[size + 2..];
    }
    panic!("the body broke off: {body:?}");
}

/// Sends a GET and returns the answer.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = lines.concat();
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n"),
    )
    .await
}

/// Sends exactly `bytes` on a connection of its own and returns the answer, read to the end.
pub(crate) async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Reply {
    let mut stream = open(address).await;
    // The other side may refuse before it has read everything.
    drop(stream.write_all(bytes.as_ref()).await);
    read_reply(&mut stream).await
}

/// A connection to `address`.
pub(crate) async fn open(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Reads an answer to the end of the connection.
pub(crate) async fn read_reply(stream: &mut TcpStream) -> Reply {
    read_reply_from(stream).await
}

/// Reads an answer to the end of any kind of connection.
pub(crate) async fn read_reply_from(stream: &mut (impl AsyncRead + Unpin)) -> Reply {
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an answer in time").unwrap();
    Reply::parse(&text)
}

/// Sends `request` in HTTP/2 with prior knowledge (RFC 9113 §3.3) and returns the answer.
pub(crate) async fn exchange_h2<B>(address: SocketAddr, request: http::Request<B>) -> Reply
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let io = TokioIo::new(open(address).await);
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    spawn(connection);
    let response = requests.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = head.headers.iter().map(header).collect();
    Reply {
        status: head.status.as_u16(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}
