//! Too many, and trouble.

use super::*;

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

        fn poll_accept(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
            match self.0.pop() {
                Some(error) => Poll::Ready(Err(error)),
                None => Accept::poll_accept(&mut self.1, cx),
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
