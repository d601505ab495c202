//! Which protocol it is, and how long a head may take.

use super::*;

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
