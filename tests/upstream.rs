//! Every kind of application, and every way in which one fails.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixListener},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    House, PATIENCE, Reply, application, application_that_tells, exchange, open, read_head,
    serve_http, spawn,
};

async fn get(house: &House) -> Reply {
    house.get("/a?b=c", &[("Authorization", &house.bearer())]).await
}

async fn post(house: &House, body: &str) -> Reply {
    let request = format!(
        "POST /a HTTP/1.1\r\nHost: app.example\r\nAuthorization: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        house.bearer(),
        body.len()
    );
    exchange(house.address, request).await
}

#[tokio::test]
async fn an_application_may_speak_http2_without_tls() {
    let address = application(|stream, _| serve_http(stream)).await;
    for url in [
        format!("upstream.url = 'h2c://{address}'"),
        format!("upstream.url = 'http://{address}'\nupstream.protocol = 'h2'"),
    ] {
        let house = House::with(&url).await;
        let said = get(&house).await.body;
        assert_eq!(
            said, "HTTP/2.0 GET http://app.example/a?b=c host=None body= trailers=0",
            "the host is `:authority` and nothing else"
        );
        assert!(post(&house, "hello").await.body.contains("body=hello"));
    }
}

#[tokio::test]
async fn requests_share_one_http2_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = application(move |stream, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        serve_http(stream)
    })
    .await;
    let house = House::with(&format!("upstream.url = 'h2c://{address}'")).await;
    let house = &house;
    let (a, b, c, d) = tokio::join!(get(house), get(house), post(house, "x"), get(house));
    assert!([a, b, c, d].iter().all(|reply| reply.status == 200));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_application_may_listen_on_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(serve_http(stream));
        }
    });
    for extra in ["", "\nupstream.protocol = 'h2'"] {
        let house = House::with(&format!("upstream.url = 'unix:{}'{extra}", path.display())).await;
        assert!(get(&house).await.body.contains("GET "));
    }
    let house = House::with("upstream.url = 'unix:/nowhere/app.sock'").await;
    assert_eq!(get(&house).await.status, 502);
}

/// An authority, and what it has signed for `app.internal`.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// An application for `app.internal` that offers `protocols`, and insists on a certificate if `clients` says so.
    async fn application(&self, protocols: &[&str], clients: Option<&Self>) -> SocketAddr {
        let (certificate, key) = self.sign("app.internal");
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        application(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_http(stream).await;
                }
            }
        })
        .await
    }

    fn write_to(&self, folder: &Path) -> String {
        let path = folder.join("ca.pem");
        std::fs::write(&path, self.issuer.pem()).unwrap();
        path.display().to_string()
    }
}

#[tokio::test]
async fn an_application_may_speak_tls_and_chooses_the_version_of_http() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = authority.write_to(folder.path());
    for (offered, protocol, spoken) in [
        (&["h2", "http/1.1"][..], "auto", "HTTP/2.0 "),
        (&["http/1.1"][..], "auto", "HTTP/1.1 "),
        (&[][..], "auto", "HTTP/1.1 "),
        (&["h2", "http/1.1"][..], "http1", "HTTP/1.1 "),
        (&[][..], "h2", "HTTP/2.0 "),
    ] {
        let address = authority.application(offered, None).await;
        let house = House::with(&format!(
            "upstream.url = 'https://{address}'\nupstream.server_name = 'app.internal'\n\
             upstream.ca_file = '{ca}'\nupstream.protocol = '{protocol}'"
        ))
        .await;
        for _ in 0..2 {
            let reply = get(&house).await;
            assert!(reply.body.starts_with(spoken), "{offered:?} {protocol}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn an_application_that_cannot_prove_who_it_is_is_502() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = other.write_to(folder.path());
    let address = authority.application(&[], None).await;
    for (case, tls) in [
        ("another authority", format!("server_name = 'app.internal'\nca_file = '{ca}'")),
        ("the system's authorities", "server_name = 'app.internal'".to_owned()),
    ] {
        let house = House::with(&format!("[upstream]\nurl = 'https://{address}'\n{tls}")).await;
        let reply = get(&house).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (502, Some("upstream_unreachable")),
            "{case}"
        );
    }
    let ca = authority.write_to(folder.path());
    let wrong_name = format!("[upstream]\nurl = 'https://{address}'\nca_file = '{ca}'");
    assert_eq!(get(&House::with(&wrong_name).await).await.status, 502);
}

#[tokio::test]
async fn an_application_that_insists_on_a_certificate_gets_ours() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write_to(folder.path());
    let (certificate, key) = clients.sign("siwa-proxy");
    let (chain_file, key_file) = (folder.path().join("own.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    let address = authority.application(&["h2"], Some(&clients)).await;
    let tls = format!(
        "[upstream]\nurl = 'https://{address}'\nserver_name = 'app.internal'\nca_file = '{ca}'\n"
    );
    assert_eq!(get(&House::with(&tls).await).await.status, 502);
    let ours = format!(
        "client_certificate_file = '{}'\nclient_key_file = '{}'",
        chain_file.display(),
        key_file.display()
    );
    assert_eq!(get(&House::with(&format!("{tls}{ours}")).await).await.status, 200);
}

#[tokio::test]
async fn header_names_are_written_as_the_application_needs_them() {
    let house = House::with("upstream.header_case = 'title'").await;
    house.get("/", &[("Authorization", &house.bearer()), ("x-mine", "1")]).await;
    let head = house.application.only_request().head;
    for line in ["\r\nHost: app.example", "\r\nX-Mine: 1", "\r\nX-Apple-Sub: "] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn header_names_are_kept_byte_for_byte_for_an_application_that_needs_it() {
    let house = House::with("upstream.header_case = 'preserve'").await;
    house.application.answer("HTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\nX-rEPLY: 1\r\n\r\n");
    let ask = async |more: &str| {
        let mut stream = open(house.address).await;
        let bearer = house.bearer();
        let head = format!("GET / HTTP/1.1\r\nhOST: a\r\nAuthorization: {bearer}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await.unwrap();
        (house.application.requests().pop().unwrap().head, answer)
    };
    let (head, answer) = ask("X-mIXED: 1\r\nx-Mixed: 2\r\n").await;
    for line in ["\r\nhOST: a", "\r\nX-mIXED: 1", "\r\nx-Mixed: 2", "\r\nx-apple-sub: 0"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(answer.contains("\r\nX-rEPLY: 1"), "{answer}");

    // Who poses as us does not choose how we spell what we say.
    for posing in [
        "X-APPLE-sub: me\r\n",
        "x-FORWARDED-for: 1.2.3.4\r\n",
        "X_Apple_Sub: me\r\n",
        "Connection: close, x-apple-sub\r\nX-APPLE-sub: me\r\n",
        "Connection: X-Forwarded-For\r\nx-FORWARDED-for: 1.2.3.4\r\n",
    ] {
        let (head, _) = ask(&format!("X-mIXED: 1\r\n{posing}")).await;
        for line in
            ["\r\nhost: a", "\r\nx-mixed: 1", "\r\nx-apple-sub: 0", "\r\nx-forwarded-for: 127"]
        {
            assert!(head.contains(line), "{posing}: {head}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_not_known_is_502() {
    let house = House::with("upstream.url = 'http://no-such-host.invalid:80'").await;
    let reply = get(&house).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (502, Some("upstream_unreachable")));
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_504() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let settings = format!("upstream.url = 'https://{address}'\nupstream.connect_timeout = '50ms'");
    let house = House::with(&settings).await;
    let reply = get(&house).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("upstream_timed_out")));
}

#[tokio::test]
async fn an_exchange_that_takes_too_long_is_504_or_breaks_off() {
    let silent = application(|mut stream, number| async move {
        read_head(&mut stream).await;
        if number > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let settings = format!("upstream.url = 'http://{silent}'\nupstream.total_timeout = '100ms'");
    let house = House::with(&settings).await;
    let reply = get(&house).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("request_timed_out")));
    let reply = get(&house).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "half"));
    assert_eq!(house.metric("siwa_requests_timed_out_total").await, 2);
    let broken = "siwa_upstream_broken_responses_total{reason=\"too_long\"}";
    assert_eq!(house.metric(broken).await, 1);
}

#[tokio::test]
async fn an_application_that_breaks_off_before_or_in_its_head_is_502() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Le", "nonsense\r\n\r\n"] {
        let address = application(move |mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(said.as_bytes()).await.unwrap();
        })
        .await;
        let house = House::with(&format!("upstream.url = 'http://{address}'")).await;
        assert_eq!(get(&house).await.status, 502, "{said:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (address, mut told) = application_that_tells().await;
    let house = House::with(&format!("upstream.url = 'http://{address}'")).await;
    let mut stream = open(house.address).await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(told.recv().await, Some("asked"));
    drop(stream);
    assert_eq!(told.recv().await, Some("left"));
}

#[tokio::test]
async fn a_connection_is_used_again_unless_the_application_says_close() {
    let house = House::start().await;
    for _ in 0..3 {
        get(&house).await;
    }
    let kept = house.application.connections();
    house
        .application
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    for _ in 0..3 {
        assert_eq!(get(&house).await.status, 200);
    }
    assert!(house.application.connections() >= kept + 2, "{kept}");
}

/// Answers requests on keep-alive connections, each of which it closes after one answer without saying so. What still
/// arrives after that is told of: nobody can tell that it was not taken.
async fn closes_in_silence(mut stream: TcpStream, late: UnboundedSender<()>) {
    let Some(head) = read_head(&mut stream).await else { return };
    if head.starts_with("POST") {
        read_head(&mut stream).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    stream.shutdown().await.unwrap();
    if read_head(&mut stream).await.is_some() {
        late.send(()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_survive_an_application_that_closes_idle_connections() {
    let (late, mut came_late) = unbounded_channel();
    let address = application(move |stream, _| closes_in_silence(stream, late.clone())).await;
    let house = House::with(&format!("upstream.url = 'http://{address}'")).await;
    let bearer = house.bearer();
    let clients = (0..4).map(|_| spawn(ask(house.address, bearer.clone(), 2500)));
    let mut lost = 0;
    for client in clients.collect::<Vec<_>>() {
        lost += client.await.unwrap();
    }
    // What the application can have taken is not sent again; all else is. It may still be reading the last of them.
    for number in 1..=lost {
        let late = timeout(PATIENCE, came_late.recv()).await;
        late.unwrap_or_else(|_| panic!("{lost} are lost, of which it saw {}", number - 1)).unwrap();
    }
    assert!(came_late.try_recv().is_err(), "{lost} are lost, and one more came late");
}

/// Sends `count` requests, with and without a body, one after the other on one connection; how many were answered 502?
async fn ask(address: SocketAddr, bearer: String, count: usize) -> usize {
    let mut stream = open(address).await;
    let get = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n");
    let post = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\n\r\n"
    );
    let mut lost = 0;
    for number in 0..count {
        let request = if number % 2 == 0 { &get } else { &post };
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap().to_ascii_lowercase();
        let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        match &head[9..12] {
            "200" => {}
            "502" => lost += 1,
            other => panic!("{other}"),
        }
    }
    lost
}
