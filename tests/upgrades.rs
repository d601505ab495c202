//! WebSocket and other protocols behind HTTP/1.1: judged like any request, then bytes both ways until the end.

use std::{net::SocketAddr, time::SystemTime};

use futures_util::SinkExt;
use http::{HeaderValue, Request};
use siwa_proxy::{clock::UnixTime, sim::token::TokenTemplate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::{
    limits::h2,
    support::{House, application, exchange, exchange_h2, open, read_head},
};

/// An application that says back what it is told.
async fn echo() -> SocketAddr {
    application(|stream, _| async {
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

fn asking(bearer: Option<&str>) -> Request<()> {
    let mut request = "ws://app.example/chat".into_client_request().unwrap();
    if let Some(bearer) = bearer {
        request.headers_mut().insert("authorization", HeaderValue::from_str(bearer).unwrap());
    }
    request
}

async fn connect(house: &House, bearer: &str) -> WebSocketStream<TcpStream> {
    let stream = open(house.address).await;
    client_async(asking(Some(bearer)), stream).await.unwrap().0
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Result<Message, Error>> {
    tokio::time::timeout(crate::support::PATIENCE, socket.next()).await.expect("a message in time")
}

#[tokio::test]
async fn a_websocket_carries_messages_of_a_mebibyte_pings_and_a_close_both_ways() {
    let house = House::before(echo().await, "").await;
    let mut socket = connect(&house, &house.bearer()).await;
    for message in [Message::text("hello"), Message::binary(vec![7; 1 << 20]), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut socket).await.unwrap().unwrap(), message);
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = next(&mut socket).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    assert_eq!(house.metric("siwa_upgraded_streams").await, 1);

    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Ok(Message::Close(_)))));
    assert!(next(&mut socket).await.is_none());
}

#[tokio::test]
async fn a_websocket_without_a_token_is_401_and_the_application_hears_nothing() {
    let house = House::start().await;
    let refused = client_async(asking(None), open(house.address).await).await.unwrap_err();
    let Error::Http(response) = refused else { panic!("{refused:?}") };
    assert_eq!(response.status(), 401);
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn an_upgrade_that_the_application_declines_is_an_ordinary_answer() {
    let house = House::start().await;
    let bearer = house.bearer();
    let refused = client_async(asking(Some(&bearer)), open(house.address).await).await.unwrap_err();
    let Error::Http(response) = refused else { panic!("{refused:?}") };
    assert_eq!(response.status(), 200);
    let request = house.application.only_request();
    assert_eq!(request.header("connection"), ["upgrade"]);
    assert_eq!(request.header("upgrade"), ["websocket"]);
    assert_eq!(request.header("x-apple-sub").len(), 1);
    assert!(request.header("authorization").is_empty());
}

#[tokio::test]
async fn an_upgrade_to_http2_or_beside_a_body_is_never_forwarded() {
    let house = House::start().await;
    let bearer = house.bearer();
    let wishes = [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Upgrade: websocket\r\n\r\n",
    ];
    for (sent, wish) in (1..).zip(wishes) {
        let mut stream = open(house.address).await;
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n{wish}");
        stream.write_all(head.as_bytes()).await.unwrap();
        house.application.received(sent).await;
        let request = house.application.requests().pop().unwrap();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(request.header(name).is_empty(), "{wish}: {request:?}");
        }
    }
}

#[tokio::test]
async fn an_application_that_upgrades_unasked_or_to_something_else_is_502() {
    let house = House::start().await;
    let bearer = house.bearer();
    house.application.answer(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
    );
    for wish in ["", "Connection: upgrade\r\nUpgrade: websocket\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n{wish}\r\n");
        let mut stream = open(house.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 502 "), "{wish}: {head}");
    }
}

#[tokio::test]
async fn another_protocol_is_joined_byte_for_byte_in_both_directions() {
    let application = application(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        let switching =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\nfirst";
        stream.write_all(switching.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.write_all(b"last").await.unwrap();
    })
    .await;
    let house = House::before(application, "").await;
    let mut stream = open(house.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: upgrade\r\nUpgrade: ECHO/1\r\n\r\nearly",
        house.bearer()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("upgrade: echo/1\r\n"), "{head}");
    stream.write_all(b" and late ").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "firstearly and late last");
}

#[tokio::test]
async fn a_websocket_ends_with_its_token_and_says_1008() {
    let house = House::before(echo().await, "apple.leeway = '0s'").await;
    let mut socket = connect(&house, &soon_over(&house)).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::text("hello"));
    let Some(Ok(Message::Close(Some(close)))) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Policy);
    assert!(next(&mut socket).await.is_none());
}

#[tokio::test]
async fn a_websocket_outlives_its_token_if_it_is_told_to() {
    let extra = "apple.leeway = '0s'\nupstream.upgrades = 'outlive_token'";
    let house = House::before(echo().await, extra).await;
    let bearer = soon_over(&house);
    let mut socket = connect(&house, &bearer).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
    );
    let expired = async { while exchange(house.address, &request).await.status != 401 {} };
    tokio::time::timeout(crate::support::PATIENCE, expired).await.expect("the token expires");
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::text("still here"));
}

#[tokio::test]
async fn upgrades_that_are_to_be_ignored_are_ordinary_requests() {
    let house = House::with("upstream.upgrades = 'ignore'").await;
    let bearer = house.bearer();
    let refused = client_async(asking(Some(&bearer)), open(house.address).await).await.unwrap_err();
    assert!(matches!(refused, Error::Http(response) if response.status() == 200));
    assert!(house.application.only_request().header("upgrade").is_empty());
}

#[tokio::test]
async fn at_shutdown_a_websocket_may_go_on_until_the_deadline_and_then_hears_1001() {
    let house = House::before(echo().await, "server.drain_timeout = '300ms'").await;
    let mut socket = connect(&house, &house.bearer()).await;
    house.shutdown.cancel();
    socket.send(Message::text("one more")).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::text("one more"));
    let Some(Ok(Message::Close(Some(close)))) = next(&mut socket).await else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Away);
    assert!(next(&mut socket).await.is_none());
}

#[tokio::test]
async fn a_connect_by_http2_is_refused_whether_it_names_a_protocol_or_not() {
    const ENABLE_CONNECT_PROTOCOL: [u8; 2] = [0, 8];
    const PROTOCOL_ERROR: u32 = 1;
    let house = House::start().await;
    let mut stream = open(house.address).await;
    let literal = |name: &str, value: &str| {
        let length = |text: &str| [u8::try_from(text.len()).unwrap()];
        [&[0][..], &length(name), name.as_bytes(), &length(value), value.as_bytes()].concat()
    };
    let connect = [literal(":method", "CONNECT"), literal(":authority", "a")].concat();
    let path = [literal(":scheme", "http"), literal(":path", "/chat")].concat();
    let extended = [&connect[..], &path, &literal(":protocol", "websocket")].concat();
    // END_HEADERS without END_STREAM: a tunnel stays open.
    let head = h2::frame(h2::HEADERS, 0x4, 1, &extended);
    let begin = [h2::PREFACE, &h2::frame(h2::SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&begin).await.unwrap();
    // RFC 8441 §3: a client may ask only a server that has said that it may.
    let settings = h2::next(&mut stream, h2::SETTINGS, 0).await;
    assert!(settings.chunks(6).all(|setting| setting[..2] != ENABLE_CONNECT_PROTOCOL));
    stream.write_all(&head).await.unwrap();
    let reset = h2::next(&mut stream, h2::RST_STREAM, 1).await;
    assert_eq!(reset, PROTOCOL_ERROR.to_be_bytes());

    let plain = Request::connect("app.example:80").header("authorization", house.bearer());
    let plain = plain.body(String::new()).unwrap();
    let reply = exchange_h2(house.address, plain).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (501, Some("unsupported")));
    assert_eq!(house.application.requests(), []);
}

/// A credential that is good for two or three seconds more.
fn soon_over(house: &House) -> String {
    #[expect(clippy::disallowed_methods, reason = "the proxy of this test lives by the real clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let template = TokenTemplate::native().issued_at(UnixTime::from_secs(now));
    house.bearer_of(&template.claim("exp", now + 3))
}
