//! Being told to stop.

use super::*;

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
