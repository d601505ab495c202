//! The server as its peers see it: through real sockets. Waits end by an event; [`soon`] only turns a hang into a failure.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
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

#[tokio::test]
async fn an_http_1_request_reaches_the_service_with_its_peers_address() {
    let server = Running::start(patient(), echo()).await;
    let mut client = server.connect().await;
    for path in ["/first", "/second"] {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n")).await;
        let (head, body) = client.response().await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(body, format!("GET {path} HTTP/1.1 {}", client.address()));
    }
}

#[tokio::test]
async fn an_http_2_request_reaches_the_service_with_its_peers_address() {
    let server = Running::start(patient(), echo()).await;
    let (mut requests, _connection) = server.connect_h2().await;
    let request = Request::get("http://a.example/").body(Empty::new()).unwrap();
    let body =
        soon(requests.send_request(request)).await.unwrap().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"GET / HTTP/2.0 127.0.0.1:"), "{body:?}");
}

#[tokio::test]
async fn what_only_begins_like_the_preface_is_http_1() {
    let server = Running::start(patient(), echo()).await;
    let mut client = server.connect().await;
    client.send("PRI").await;
    server.has_connections(1).await;
    client.send(" /odd HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(client.response().await.1.starts_with("PRI /odd HTTP/1.1"));
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_closed_in_time() {
    let server =
        Running::start(ServerSettings { header_read_timeout: SHORT, ..patient() }, echo()).await;
    assert_eq!(server.connect().await.rest().await, "");
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_preface_that_stalls_is_closed_in_time() {
    let server =
        Running::start(ServerSettings { header_read_timeout: SHORT, ..patient() }, echo()).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    // With bytes of ours unread the close may be a reset; either way it comes.
    let mut rest = Vec::new();
    soon(client.0.read_to_end(&mut rest)).await.ok();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_head_that_is_late_is_answered_408() {
    let server =
        Running::start(ServerSettings { header_read_timeout: SHORT, ..patient() }, echo()).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a.ex").await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_second_head_that_is_late_is_answered_408_too() {
    let server =
        Running::start(ServerSettings { header_read_timeout: SHORT, ..patient() }, echo()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.response().await;
    client.send("GET /").await;
    assert!(client.response().await.0.starts_with("http/1.1 408"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let settings =
        ServerSettings { header_read_timeout: SHORT, keep_alive_timeout: 4 * SHORT, ..patient() };
    let server = Running::start(settings, echo()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.response().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_idle_http_2_connection_is_asked_to_go() {
    let server =
        Running::start(ServerSettings { keep_alive_timeout: SHORT, ..patient() }, echo()).await;
    let (_requests, connection) = server.connect_h2().await;
    soon(connection).await.unwrap().unwrap();
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431() {
    let server =
        Running::start(ServerSettings { max_header_bytes: 10_000, ..patient() }, echo()).await;
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "x".repeat(1_000_000))).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 431"), "{head}");
}

#[tokio::test]
async fn a_head_just_within_the_limit_is_served() {
    let server =
        Running::start(ServerSettings { max_header_bytes: 10_000, ..patient() }, echo()).await;
    let mut client = server.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "x".repeat(9_000))).await;
    assert!(client.response().await.0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_not_lost_in_a_reset() {
    let server = Running::start(patient(), echo()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 8000000\r\n\r\n").await;
    client.send(vec![b'x'; 8_000_000]).await;
    assert!(client.response().await.0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_request_in_flight_at_shutdown_is_finished_and_nobody_else_is_let_in() {
    let gate = Gate::closed();
    let server = Running::start(patient(), gate.service()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.has_entered().await;

    server.shutdown.cancel();
    // Until the listener is closed a connect may still succeed, or be reset in the backlog.
    let refusal = |result: io::Result<_>| {
        result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    soon(async {
        while !refusal(TcpStream::connect(server.address).await) {
            yield_now().await;
        }
    })
    .await;

    gate.open();
    let (head, body) = client.response().await;
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "done");
    drop(client);
    assert_eq!(server.drained().await, Drained::All);
}

#[tokio::test]
async fn an_http_2_request_in_flight_at_shutdown_is_finished() {
    let gate = Gate::closed();
    let server = Running::start(patient(), gate.service()).await;
    let (mut requests, connection) = server.connect_h2().await;
    let response =
        requests.send_request(Request::get("http://a.example/").body(Empty::new()).unwrap());
    let response = TaskTracker::new().spawn(response);
    gate.has_entered().await;

    server.shutdown.cancel();
    gate.open();
    assert_eq!(soon(response).await.unwrap().unwrap().collect().await.unwrap().to_bytes(), "done");
    soon(connection).await.unwrap().unwrap();
    assert_eq!(server.drained().await, Drained::All);
}

#[tokio::test]
async fn idle_and_silent_connections_close_at_shutdown() {
    let server = Running::start(patient(), echo()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    let (_requests, idle_h2) = server.connect_h2().await;
    idle.send(GET).await;
    idle.response().await;
    server.has_connections(3).await;

    // No deadline helps here (it is `NEVER`), and no peer closes first.
    assert_eq!(server.drained().await, Drained::All);
    assert_eq!(silent.rest().await, "");
    assert_eq!(idle.rest().await, "");
    soon(idle_h2).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_http_2_peer_that_ignores_goaway_does_not_hold_up_shutdown() {
    let server = Running::start(patient(), echo()).await;
    let mut client = server.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let mut settings = [0; 9];
    soon(client.0.read_exact(&mut settings)).await.unwrap();
    assert_eq!(server.drained().await, Drained::All);
}

#[tokio::test]
async fn the_deadline_drops_a_request_that_is_stuck() {
    let gate = Gate::closed();
    let server =
        Running::start(ServerSettings { drain_timeout: SHORT, ..patient() }, gate.service()).await;
    let metrics = server.metrics.clone();
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.has_entered().await;
    assert_eq!(server.drained().await, Drained::Aborted { connections: 1 });
    assert_eq!(metrics.connections.get(), 0);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_deadline_drops_a_stuck_http_2_stream() {
    let gate = Gate::closed();
    let server =
        Running::start(ServerSettings { drain_timeout: SHORT, ..patient() }, gate.service()).await;
    let (mut requests, _connection) = server.connect_h2().await;
    let response =
        requests.send_request(Request::get("http://a.example/").body(Empty::new()).unwrap());
    let response = TaskTracker::new().spawn(response);
    gate.has_entered().await;
    assert_eq!(server.drained().await, Drained::Aborted { connections: 1 });
    assert!(soon(response).await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let gate = Gate::closed();
    let server = Running::start(patient(), gate.service()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.has_entered().await;
    server.server.abort();
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn at_the_limit_the_next_connection_waits_for_one_to_close() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<Incoming>| {
            seen.lock().unwrap().push(*request.extensions().get::<SocketAddr>().unwrap());
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok"))) }
        }
    });
    let server =
        Running::start(ServerSettings { max_connections: NonZeroUsize::MIN, ..patient() }, service)
            .await;
    let mut first = server.connect().await;
    first.send(GET).await;
    first.response().await;

    let mut second = server.connect().await;
    second.send(GET).await;
    first.send(GET).await;
    first.response().await;
    assert_eq!(*seen.lock().unwrap(), [first.address(), first.address()]);
    assert_eq!(server.metrics.connections.get(), 1);

    drop(first);
    second.response().await;
    assert_eq!(seen.lock().unwrap().last(), Some(&second.address()));
    drop(second);
    server.has_connections(0).await;
}

#[tokio::test]
async fn accepting_goes_on_after_errors() {
    /// Fails as often as it has errors left.
    struct Failing(Vec<io::Error>, TcpListener);

    impl Accept for Failing {
        type Io = TcpStream;

        async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
            match self.0.pop() {
                Some(error) => Err(error),
                None => Accept::accept(&mut self.1).await,
            }
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let out_of_descriptors = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    let errors = vec![io::ErrorKind::ConnectionAborted.into(), out_of_descriptors];
    let server = Running::start_from(Failing(errors, listener), address, patient(), echo());
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.response().await.0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_panic_costs_one_connection_and_no_permit() {
    let service = service_fn(async |request: Request<Incoming>| {
        assert_eq!(request.uri().path(), "/", "a bug in the service");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
    });
    let settings = ServerSettings { max_connections: NonZeroUsize::MIN, ..patient() };
    let server = Running::start(settings, service).await;
    let mut unlucky = server.connect().await;
    unlucky.send("GET /panic HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(unlucky.rest().await, "");

    let mut client = server.connect().await;
    client.send(GET).await;
    assert_eq!(client.response().await.1, "ok");
}

#[tokio::test]
async fn the_admin_pages_are_served() {
    let readiness = Readiness::default();
    let admin = Admin::new(readiness.clone(), Metrics::new(), Arc::new(SystemClock));
    let server = Running::start(patient(), admin).await;
    let mut client = server.connect().await;

    let keys = readiness.latch("keys");
    client.send("GET /readyz HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "not ready: keys\n");

    keys.open();
    client.send("GET /readyz HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(client.response().await.0.starts_with("http/1.1 200"));

    readiness.drain();
    client.send("GET /readyz HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert_eq!(client.response().await.1, "not ready: draining\n");
}
