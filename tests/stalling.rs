//! Callers who do not take what they asked for, and those who only look like it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Duration, sleep, timeout},
};

use crate::{
    limits::h2,
    support::{House, PATIENCE, application, open, read_head, secure::Authority},
};

/// Answers `head` and chunks without end, and tells when whoever listened has left.
async fn endless(head: &'static str) -> (SocketAddr, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel(1);
    let address = application(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
            while stream.write_all(&chunk).await.is_ok() {}
            tell.send(()).await.unwrap();
        }
    })
    .await;
    (address, told)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn patient_for(send_timeout: &str, application: SocketAddr) -> House {
    House::before(application, &format!("server.send_timeout = '{send_timeout}'")).await
}

/// Asks, and leaves the answer where it is.
async fn ask(house: &House, more: &str) -> TcpStream {
    let mut stream = open(house.address).await;
    let bearer = house.bearer();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn told(mut left: mpsc::Receiver<()>) {
    timeout(PATIENCE, left.recv()).await.expect("the application is released").unwrap();
}

async fn is(house: &House, metric: &str, value: u64) {
    let reached = async { while house.metric(metric).await != value {} };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{metric} becomes {value}"));
}

#[tokio::test]
async fn a_caller_who_reads_nothing_loses_connection_and_application() {
    let (application, left) = endless(CHUNKED).await;
    let house = patient_for("100ms", application).await;
    let _unread = ask(&house, "").await;
    told(left).await;
    is(&house, "siwa_connections", 0).await;
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 1);
}

#[tokio::test]
async fn a_caller_by_tls_who_reads_nothing_loses_them_too() {
    let (application, left) = endless(CHUNKED).await;
    let authority = Authority::new();
    let house = House::with(&format!(
        "upstream.url = 'http://{application}'\nserver.send_timeout = '100ms'\n{}",
        authority.configuration()
    ))
    .await;
    let client = authority.client(rustls::ALL_VERSIONS, &[]);
    let mut unread = client.connect(house.address).await.unwrap();
    let bearer = house.bearer();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n");
    unread.write_all(head.as_bytes()).await.unwrap();
    told(left).await;
    is(&house, "siwa_connections", 0).await;
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 1);
}

#[tokio::test]
async fn an_upgraded_stream_whose_caller_reads_nothing_ends_too() {
    let (application, left) = endless(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: flood\r\n\r\n",
    )
    .await;
    let house = patient_for("100ms", application).await;
    let _unread = ask(&house, "Connection: upgrade\r\nUpgrade: flood\r\n").await;
    told(left).await;
    is(&house, "siwa_connections", 0).await;
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 1);
}

/// An HTTP/2 connection that has asked on stream 1, with the settings and the frames that are given.
async fn ask_h2(house: &House, settings: &[u8], more: &[u8]) -> TcpStream {
    let mut stream = open(house.address).await;
    let asking = h2::get_with(1, "authorization", &house.bearer());
    let whole = [h2::PREFACE, &h2::frame(h2::SETTINGS, 0, 0, settings), &asking, more].concat();
    stream.write_all(&whole).await.unwrap();
    stream
}

/// `SETTINGS_INITIAL_WINDOW_SIZE` = 0 (RFC 9113 §6.5.2).
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
const CANCEL: u32 = 8;

#[tokio::test]
async fn an_http2_stream_without_a_window_is_reset_and_its_connection_lives_on() {
    let (application, left) = endless(CHUNKED).await;
    let house = patient_for("100ms", application).await;
    let mut stream = ask_h2(&house, &NO_WINDOW, &[]).await;
    assert_eq!(h2::next(&mut stream, h2::RST_STREAM, 1).await, CANCEL.to_be_bytes());
    told(left).await;
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 1);
    assert_eq!(house.metric("siwa_requests_in_flight").await, 0);

    stream.write_all(&h2::frame(h2::PING, 0, 0, b"are you?")).await.unwrap();
    assert_eq!(h2::next(&mut stream, h2::PING, 0).await, b"are you?");
}

#[tokio::test]
async fn an_http2_caller_who_grants_windows_and_reads_nothing_loses_the_connection() {
    let (application, left) = endless(CHUNKED).await;
    let house = patient_for("100ms", application).await;
    let most = [0, 4, 0x7f, 0xff, 0xff, 0xff];
    let window = h2::frame(h2::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let _unread = ask_h2(&house, &most, &window).await;
    told(left).await;
    is(&house, "siwa_connections", 0).await;
}

#[tokio::test]
async fn a_slow_reader_is_served_for_longer_than_the_timeout() {
    const MEBIBYTE: u64 = 1 << 20;
    let (application, _left) = endless(CHUNKED).await;
    let house = patient_for("2s", application).await;
    let mut slow = ask(&house, "").await;
    for _ in 0..32 {
        sleep(Duration::from_millis(100)).await;
        let mut piece = (&mut slow).take(MEBIBYTE);
        let read = tokio::io::copy(&mut piece, &mut tokio::io::sink()).await.unwrap();
        assert_eq!(read, MEBIBYTE);
    }
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 0);
}

/// Says something, is silent for many timeouts, and says the rest.
async fn laconic() -> SocketAddr {
    application(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(format!("{CHUNKED}5\r\nfirst\r\n").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(500)).await;
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    })
    .await
}

#[tokio::test]
async fn a_stream_without_news_is_not_ended() {
    let house = patient_for("20ms", laconic().await).await;
    let mut stream = ask(&house, "Connection: close\r\n").await;
    let reply = crate::support::read_reply(&mut stream).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "firstlast"));

    let mut stream = ask_h2(&house, &[], &[]).await;
    assert_eq!(h2::next(&mut stream, h2::DATA, 1).await, b"first");
    assert_eq!(h2::next(&mut stream, h2::DATA, 1).await, b"last");
    assert_eq!(house.metric("siwa_send_timeouts_total").await, 0);
}
