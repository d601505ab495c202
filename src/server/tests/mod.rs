//! The server as its peers see it: through real sockets. Waits end by an event; [`soon`] only turns a hang into a failure.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, yield_now},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::service_fn;

use super::{accept::Accept, *};
use crate::clock::SystemClock;

mod connections;
mod draining;
mod limits;

const SHORT: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_hours(1);

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("this hangs")
}

/// Settings under which nothing times out, so that a test shortens what it is about.
fn patient() -> ServerSettings {
    ServerSettings {
        header_read_timeout: NEVER,
        keep_alive_timeout: NEVER,
        drain_timeout: NEVER,
        h2_ping_interval: None,
        ..ServerSettings::default()
    }
}

/// A server in the background.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    metrics: Metrics,
    server: JoinHandle<Drained>,
}

impl Running {
    async fn start<S: HttpService<Full<Bytes>>>(settings: ServerSettings, service: S) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::start_from(listener, address, settings, service)
    }

    fn start_from<A, S>(
        listener: A,
        address: SocketAddr,
        settings: ServerSettings,
        service: S,
    ) -> Self
    where
        A: Accept + 'static,
        S: HttpService<Full<Bytes>>,
    {
        let (shutdown, metrics) = (CancellationToken::new(), Metrics::new());
        let server =
            Server::new(settings, metrics.clone()).serve(listener, service, shutdown.clone());
        Self { address, shutdown, metrics, server: TaskTracker::new().spawn(server) }
    }

    async fn connect(&self) -> Client {
        Client(BufReader::new(TcpStream::connect(self.address).await.unwrap()))
    }

    async fn connect_h2(
        &self,
    ) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
        let io = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        (requests, TaskTracker::new().spawn(connection))
    }

    async fn has_connections(&self, expected: i64) {
        soon(async {
            while self.metrics.connections.get() != expected {
                yield_now().await;
            }
        })
        .await;
    }

    async fn drained(self) -> Drained {
        self.shutdown.cancel();
        soon(self.server).await.unwrap()
    }
}

/// An HTTP/1 peer that sends whatever bytes it likes.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One response: its head in lower case, and its body by `Content-Length`.
    async fn response(&mut self) -> (String, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(
                soon(self.0.read_line(&mut head)).await.unwrap(),
                0,
                "ended within the head: {head:?}"
            );
        }
        let head = head.to_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .split('\r')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let mut body = vec![0; length];
        soon(self.0.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// What still comes until the server closes.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }

    fn address(&self) -> SocketAddr {
        self.0.get_ref().local_addr().unwrap()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// Says what it was asked and by whom.
fn echo() -> impl HttpService<Full<Bytes>> {
    service_fn(async |request: Request<Incoming>| {
        let peer = request.extensions().get::<SocketAddr>().unwrap();
        let line =
            format!("{} {} {:?} {peer}", request.method(), request.uri().path(), request.version());
        Ok::<_, Infallible>(Response::new(Full::from(line)))
    })
}

/// A service whose requests wait until the test lets them go.
#[derive(Clone)]
struct Gate {
    entered: Arc<Semaphore>,
    exit: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), exit: Arc::new(Semaphore::new(0)) }
    }

    async fn has_entered(&self) {
        soon(self.entered.acquire()).await.unwrap().forget();
    }

    fn open(&self) {
        self.exit.add_permits(1);
    }

    fn service(&self) -> impl HttpService<Full<Bytes>> + use<> {
        let gate = self.clone();
        service_fn(move |_: Request<Incoming>| {
            let gate = gate.clone();
            async move {
                gate.entered.add_permits(1);
                gate.exit.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Response::new(Full::from("done")))
            }
        })
    }
}
