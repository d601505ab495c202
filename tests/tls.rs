//! Callers who connect by TLS.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ALL_VERSIONS, ProtocolVersion, version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{
    House, PATIENCE, Reply, eventually, open, read_reply, read_reply_from,
    secure::{Authority, Client},
    spawn,
};

/// Asks for `/` on a connection of its own.
async fn get(client: &Client, house: &House) -> io::Result<Reply> {
    let mut stream = client.connect(house.address).await?;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        house.bearer()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut text = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an answer in time")?;
    Ok(Reply::parse(&text))
}

async fn reaches(house: &House, metric: &str, least: u64) {
    eventually(metric, async || house.metric(metric).await >= least).await;
}

#[tokio::test]
async fn http_1_goes_by_tls_1_2_and_by_tls_1_3_and_the_application_is_told() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    for (version, expected) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        for protocols in [&[][..], &["http/1.1"], &["http/1.1", "h2"]] {
            let client = authority.client(&[version], protocols);
            let stream = client.connect(house.address).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        }
        assert_eq!(get(&authority.client(&[version], &[]), &house).await.unwrap().status, 200);
    }
    for request in house.application.requests() {
        assert_eq!(request.header("x-forwarded-proto"), ["https"]);
        assert_eq!(
            request.header("forwarded"),
            [r#"for=127.0.0.1;host="app.example";proto=https"#]
        );
    }
}

#[tokio::test]
async fn http_2_is_what_a_caller_gets_who_offers_it() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    let client = authority.client(ALL_VERSIONS, &["h2", "http/1.1"]);
    let stream = client.connect(house.address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    let (mut requests, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    spawn(connection);
    let request = http::Request::get("https://app.example/")
        .header("authorization", house.bearer())
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = requests.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(house.application.only_request().header("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn after_alpn_nothing_is_sniffed() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    let client = authority.client(ALL_VERSIONS, &["http/1.1"]);
    let mut stream = client.connect(house.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().ok();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_their_reason() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let house = House::with(&authority.configuration()).await;
    let failed = |reason: &str| format!("siwa_tls_handshake_failures_total{{reason=\"{reason}\"}}");

    let mut plain = open(house.address).await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap().ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    reaches(&house, &failed("not_tls"), 1).await;

    drop(open(house.address).await);
    reaches(&house, &failed("closed"), 1).await;

    let distrustful = stranger.client(ALL_VERSIONS, &[]);
    assert!(distrustful.connect(house.address).await.is_err());
    reaches(&house, &failed("refused"), 1).await;

    let foreign = authority.client(ALL_VERSIONS, &["spdy/3"]);
    assert!(foreign.connect(house.address).await.is_err());
    reaches(&house, &failed("incompatible"), 1).await;
}

#[tokio::test]
async fn a_handshake_that_is_not_over_in_time_is() {
    let authority = Authority::new();
    let settings = authority.configuration() + "handshake_timeout = '50ms'\n";
    let house = House::with(&settings).await;
    let mut silent = open(house.address).await;
    // The beginning of a record of a handshake.
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("the end in time").ok();
    reaches(&house, "siwa_tls_handshake_failures_total{reason=\"timeout\"}", 1).await;
}

#[tokio::test]
async fn a_required_client_certificate_must_be_one_of_the_authoritys() {
    let (authority, other) = (Authority::new(), Authority::new());
    let settings = format!(
        "{}client_authorities = '{}'\n",
        authority.configuration(),
        authority.path("authority.pem").display()
    );
    let house = House::with(&settings).await;
    assert_eq!(get(&authority.client_of(&authority), &house).await.unwrap().status, 200);
    assert!(get(&authority.client(ALL_VERSIONS, &[]), &house).await.is_err());
    reaches(&house, "siwa_tls_handshake_failures_total{reason=\"no_certificate\"}", 1).await;
    assert!(get(&authority.client_of(&other), &house).await.is_err());
    reaches(&house, "siwa_tls_handshake_failures_total{reason=\"bad_certificate\"}", 1).await;
    assert_eq!(house.application.requests().len(), 1);
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_absent_but_not_wrong() {
    let (authority, other) = (Authority::new(), Authority::new());
    let settings = format!(
        "{}client_authorities = '{}'\nclient_certificates = 'optional'\n",
        authority.configuration(),
        authority.path("authority.pem").display()
    );
    let house = House::with(&settings).await;
    assert_eq!(get(&authority.client_of(&authority), &house).await.unwrap().status, 200);
    assert_eq!(get(&authority.client(ALL_VERSIONS, &[]), &house).await.unwrap().status, 200);
    assert!(get(&authority.client_of(&other), &house).await.is_err());
}

/// The certificate that a new connection sees.
async fn certificate(client: &Client, house: &House) -> Vec<u8> {
    let stream = client.connect(house.address).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn sees_another(client: &Client, house: &House, old: &[u8]) {
    let changed = async { while certificate(client, house).await == old {} };
    timeout(PATIENCE, changed).await.expect("the new certificate is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_under_load_without_a_failed_request() {
    let authority = Authority::new();
    let house = Arc::new(House::with(&authority.configuration()).await);
    let client = authority.client(ALL_VERSIONS, &[]);
    let mut old_connection = client.connect(house.address).await.unwrap();

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (client, house) = (client.clone(), Arc::clone(&house));
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(get(&client, &house).await.unwrap().status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let old = certificate(&client, &house).await;
        authority.renew();
        sees_another(&client, &house, &old).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in load {
        caller.await.expect("no request fails");
    }
    assert!(answered.load(Ordering::Relaxed) > 0);

    old_connection
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_reply_from(&mut old_connection).await.status, 401);
}

/// Waits until the files have been looked at since, and could not be used.
async fn looked_in_vain(house: &House) {
    let failures = "siwa_tls_reload_failures_total";
    // One may have been under way; the second one is sure to have begun since.
    reaches(house, failures, house.metric(failures).await + 2).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    let client = authority.client(ALL_VERSIONS, &[]);
    let old = certificate(&client, &house).await;

    // A key that does not belong to the certificate, then none at all, then no certificate.
    let (server, key) = (authority.path("server.pem"), authority.path("server.key"));
    let good = fs::read(&key).unwrap();
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    looked_in_vain(&house).await;
    assert_eq!(certificate(&client, &house).await, old);
    fs::remove_file(&key).unwrap();
    looked_in_vain(&house).await;
    assert_eq!(certificate(&client, &house).await, old);
    fs::write(&key, good).unwrap();
    fs::write(&server, "no certificate").unwrap();
    looked_in_vain(&house).await;
    assert_eq!(certificate(&client, &house).await, old);

    authority.renew();
    sees_another(&client, &house, &old).await;
}

#[tokio::test]
async fn the_end_of_the_certificate_is_a_metric() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    // What rcgen writes by default: the year 4096.
    let expiry =
        house.metric("siwa_tls_certificate_expiry_timestamp_seconds{certificate=\"server\"}").await;
    assert_eq!(expiry, 67_090_118_400);
}

#[tokio::test]
async fn the_admin_listener_speaks_no_tls() {
    let authority = Authority::new();
    let house = House::with(&authority.configuration()).await;
    let mut stream = open(house.admin).await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut stream).await.status, 200);
}
