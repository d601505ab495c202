//! What must hold of every gateway that asks us, whichever it is.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use siwa_proxy::{
    clock::UnixTime,
    sim::{Apple, faults::Fault, presets, token::TokenTemplate},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{free_address, is_up};
use crate::{
    header_spoofing::{NAMES, assert_none, assert_ours_alone, spellings},
    support::{
        House, Reply, Request, exchange, get, open, process::ProcessGroup, read_head, spawn,
    },
};

/// A gateway, by the files that we ship for it.
pub(super) struct Kind {
    /// The settings of the verifier beside it.
    pub(super) settings: &'static str,
    /// How it is started.
    pub(super) command: fn(&Places<'_>) -> Command,
    /// What its callers get for a malformed credential.
    pub(super) malformed: u16,
    /// What its callers get when the verifier is dead.
    pub(super) unreachable: u16,
    /// What its callers get while it listens and has not read its files, if it listens so early.
    pub(super) not_yet: Option<u16>,
}

/// What stands in the shipped files, and differs from test to test.
pub(super) struct Places<'a> {
    pub(super) folder: &'a Path,
    pub(super) gateway: SocketAddr,
    verifier: SocketAddr,
    application: SocketAddr,
}

impl<'a> Places<'a> {
    pub(super) const fn new(
        folder: &'a Path,
        gateway: SocketAddr,
        verifier: SocketAddr,
        application: SocketAddr,
    ) -> Self {
        Self { folder, gateway, verifier, application }
    }

    /// A shipped file for these places.
    pub(super) fn fill_in(&self, text: &str) -> String {
        let port = |address: SocketAddr| format!("port_value: {} ", address.port());
        text.replace("port_value: 8080 ", &port(self.gateway))
            .replace("port_value: 4180 ", &port(self.verifier))
            .replace("port_value: 3000 ", &port(self.application))
            .replace(":8080", &format!(":{}", self.gateway.port()))
            .replace("127.0.0.1:4180", &self.verifier.to_string())
            .replace("127.0.0.1:3000", &self.application.to_string())
            .replace("abns@siwa-proxy-asks", &format!("abns@siwa-proxy-{}", self.gateway.port()))
    }
}

/// Routes beside those of the shipped settings.
const ROUTES: &str = "
    [[route]]
    path = '/public/*'
    access = 'public'
    [[route]]
    path = '/web/*'
    client_ids = ['com.example.web']
    [[route]]
    path = '/readable/*'
    methods = ['GET']
    access = 'public'
";

/// A running gateway, its application, and the verifier that it asks.
pub(super) struct Gateway {
    pub(super) house: House,
    pub(super) way: Way,
    pub(super) address: SocketAddr,
    _program: ProcessGroup,
    _folder: TempDir,
}

impl Gateway {
    pub(super) async fn start(kind: &Kind) -> Self {
        let gateway = Self::troubled(kind, |_| {}).await;
        gateway.house.ready().await;
        gateway
    }

    pub(super) async fn troubled(kind: &Kind, before: impl FnOnce(&Apple)) -> Self {
        let settings = kind.settings.replace("127.0.0.1:4180", "127.0.0.1:0");
        let settings =
            settings.replace("\"com.example.app\"", "\"com.example.app\", \"com.example.web\"");
        let house = House::troubled_verifier(&(settings + ROUTES), before).await;
        let way = Way::to(house.address).await;
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let places = Places {
            folder: folder.path(),
            gateway: address,
            verifier: way.address,
            application: house.application.address,
        };
        let program = ProcessGroup::start(&mut (kind.command)(&places));
        is_up(address, kind.not_yet).await;
        Self { house, way, address, _program: program, _folder: folder }
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        get(self.address, path, headers).await
    }

    /// Sends these lines on a connection of their own.
    pub(super) async fn send(&self, line: &str, lines: &str) -> Reply {
        let request =
            format!("{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{lines}\r\n");
        exchange(self.address, request).await
    }

    /// How many requests reached the application.
    pub(super) fn arrived(&self) -> usize {
        self.house.application.requests().len()
    }

    pub(super) fn bearer(&self) -> String {
        self.house.bearer()
    }
}

/// The way from the gateway to the verifier: it counts connections, and can be cut off.
pub(super) struct Way {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Way {
    async fn to(verifier: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) =
            (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&connections);
        let accepting = spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                open.spawn(pass_on(stream, verifier));
            }
        });
        Self { address, connections, accepting }
    }

    /// Ends every connection and takes no more, as the death of the process behind it would.
    pub(super) async fn cut(&mut self) {
        self.accepting.abort();
        assert!((&mut self.accepting).await.unwrap_err().is_cancelled());
    }
}

async fn pass_on(mut stream: TcpStream, verifier: SocketAddr) {
    if let Ok(mut onward) = TcpStream::connect(verifier).await {
        drop(copy_bidirectional(&mut stream, &mut onward).await);
    }
}

pub(super) async fn tells_the_application_who_it_is(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    let reply = gateway.get("/a?b=c", &[("Authorization", &gateway.bearer())]).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let received = gateway.house.application.only_request();
    assert_eq!(received.line(), "GET /a?b=c HTTP/1.1");
    assert_ours_alone(&received, &[presets::EMAIL], "a good token");
    assert_eq!(received.header("authorization"), [""; 0]);
}

pub(super) async fn refuses_with_the_challenge(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    let long_ago = UnixTime::from_secs(1_700_000_000);
    let expired = gateway.house.bearer_of(&TokenTemplate::native().issued_at(long_ago));
    let good = gateway.bearer();
    for (lines, status, challenge) in [
        (String::new(), 401, "Bearer realm=\"siwa-proxy\""),
        ("Authorization: Bearer a.b.c\r\n".to_owned(), 401, "error=\"invalid_token\""),
        (format!("Authorization: {expired}\r\n"), 401, "the token expired at"),
        (format!("Authorization: {good}x\r\n"), 401, "error=\"invalid_token\""),
    ] {
        let reply = gateway.send("GET /", &lines).await;
        assert_eq!(reply.status, status, "{lines}");
        assert_eq!(reply.header("www-authenticate").len(), 1, "{reply:?}");
        assert!(reply.header("www-authenticate")[0].contains(challenge), "{reply:?}");
    }
    let reply = gateway.get("/web/", &[("Authorization", &good)]).await;
    assert_eq!(reply.status, 403);
    let twice = [("Authorization", good.as_str()), ("Authorization", "Bearer a.b.c")];
    let status = gateway.get("/", &twice).await.status;
    assert!([kind.malformed, 400, 401].contains(&status), "{status}");
    assert_eq!(gateway.arrived(), 0);
}

pub(super) async fn judges_the_request_that_the_caller_sent(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    for (line, status) in [
        ("GET /public/a", 200),
        ("POST /public/a", 200),
        ("GET /readable/a", 200),
        ("DELETE /readable/a", 401),
        ("GET /", 401),
        ("GET /public/../admin", kind.malformed),
        ("GET /public/%2e%2e/admin", kind.malformed),
        ("GET /public//admin", kind.malformed),
    ] {
        for lies in [
            "",
            "X-Original-Method: GET\r\nX-Original-URI: /public/\r\n",
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /public/\r\nX-Forwarded-Host: x\r\n",
            "X_Original_URI: /public/\r\nX-Envoy-Original-Path: /public/\r\n",
        ] {
            let before = gateway.arrived();
            let reply = gateway.send(line, lies).await;
            assert_eq!(reply.status, status, "{line} {lies}");
            assert_eq!(gateway.arrived() - before, usize::from(status == 200), "{line} {lies}");
            let request = gateway.house.application.requests().pop();
            assert!(request.is_none_or(|request| !request.line().contains("admin")), "{line}");
        }
    }
}

/// Of a gateway that tidies paths up: both the application and we are told what is left.
pub(super) async fn judges_the_request_as_it_is_tidied_up(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    for (line, status, forwarded) in [
        ("GET /public/a", 200, "GET /public/a"),
        ("POST /public/a", 200, "POST /public/a"),
        ("GET /readable/a", 200, "GET /readable/a"),
        ("DELETE /readable/a", 401, ""),
        ("GET /", 401, ""),
        ("GET /public/../admin", 401, ""),
        ("GET /public/%2e%2e/admin", 401, ""),
        ("GET /public//a", 200, "GET /public/a"),
        ("GET /public/%2fa", 400, ""),
        ("GET /public/..%5cadmin", 400, ""),
        ("GET /public/a#b", 400, ""),
    ] {
        for lies in [
            "",
            "X-Envoy-Original-Path: /public/\r\nX-Original-URI: /public/\r\n",
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /public/\r\nX-Envoy-Original-Method: GET\r\n",
        ] {
            let before = gateway.arrived();
            let reply = gateway.send(line, lies).await;
            assert_eq!(reply.status, status, "{line} {lies}");
            assert_eq!(gateway.arrived() - before, usize::from(status == 200), "{line}");
            if status == 200 {
                let received = gateway.house.application.requests().pop().unwrap();
                assert_eq!(received.line(), format!("{forwarded} HTTP/1.1"));
            }
        }
    }
}

pub(super) async fn lets_no_spoofed_header_through(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    let bearer = format!("Authorization: {}\r\n", gateway.bearer());
    let mut arrived = 0;
    for (line, credential, as_somebody) in
        [("GET /", &*bearer, true), ("GET /public/", "", false), ("GET /public/", &*bearer, false)]
    {
        for spelling in NAMES.into_iter().flat_map(spellings) {
            let lines = format!(
                "{credential}{spelling}: spoof\r\n{spelling}: spoof again\r\nConnection: {spelling}\r\n"
            );
            let reply = gateway.send(line, &lines).await;
            // A gateway may also refuse a name that it does not like.
            arrived += usize::from(reply.status == 200);
            assert!(matches!(reply.status, 200 | 400), "{spelling}: {reply:?}");
            assert_eq!(gateway.arrived(), arrived, "{spelling}");
            let Some(received) = gateway.house.application.requests().pop() else { continue };
            if as_somebody {
                assert_ours_alone(&received, &[presets::EMAIL], &spelling);
            } else if reply.status == 200 {
                assert_none(&received, &spelling);
            }
        }
    }
    assert!(arrived >= 2 * NAMES.len() * 3, "{arrived} were let through at all");
}

pub(super) async fn lets_no_spoofed_email_through_where_there_is_none(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    let bearer = gateway.house.bearer_of(&TokenTemplate::no_email());
    let lines = format!("Authorization: {bearer}\r\nX-Apple-Email: spoof@example.com\r\n");
    assert_eq!(gateway.send("GET /", &lines).await.status, 200);
    let received = gateway.house.application.requests().pop().unwrap();
    assert_ours_alone(&received, &[], "no email in the token");
}

/// What reaches the application of a request with identity headers for trailers.
pub(super) async fn with_spoofed_trailers(kind: &Kind) -> Request {
    let gateway = Gateway::start(kind).await;
    let bearer = gateway.bearer();
    let trailers = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {bearer}\r\nTE: trailers\r\n\
         Trailer: X-Apple-Email\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
         X-Apple-Email: spoof\r\nX_Apple_Email: spoof\r\n\r\n"
    );
    let reply = exchange(gateway.address, trailers).await;
    assert_eq!(reply.status, 200);
    gateway.house.application.only_request()
}

pub(super) async fn lets_no_spoofed_trailer_through(kind: &Kind) {
    assert_ours_alone(&with_spoofed_trailers(kind).await, &[presets::EMAIL], "trailers");
}

pub(super) async fn stays_closed_while_there_are_no_keys(kind: &Kind) {
    for fault in [Fault::Reset, Fault::Hang] {
        let gateway = Gateway::troubled(kind, |apple| apple.fail_with(fault)).await;
        let lines = format!("Authorization: {}\r\nX-Apple-Sub: spoof\r\n", gateway.bearer());
        let reply = gateway.send("GET /", &lines).await;
        assert!(matches!(reply.status, 502..=504), "{reply:?}");
        assert_eq!(gateway.arrived(), 0);
    }
}

pub(super) async fn stays_closed_while_keys_are_slow(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    gateway.house.apple.fail_with(Fault::Slow(Duration::from_secs(15)));
    let strange = siwa_proxy::sim::keys::SigningKey::generate();
    let token = gateway.house.apple.mint_with(&strange, &TokenTemplate::native());
    let lines = format!("Authorization: Bearer {token}\r\nX-Apple-Sub: spoof\r\n");
    let reply = gateway.send("GET /", &lines).await;
    // A key set that is young enough to know better says 401 at once.
    assert!(matches!(reply.status, 401 | 502..=504), "{reply:?}");
    assert_eq!(gateway.arrived(), 0);
    let reply = gateway.get("/", &[("Authorization", &gateway.bearer())]).await;
    assert_eq!(reply.status, 200, "who has a known key does not wait");
}

pub(super) async fn stays_closed_when_the_verifier_is_dead(kind: &Kind) {
    let mut gateway = Gateway::start(kind).await;
    let lines = format!("Authorization: {}\r\nX-Apple-Sub: spoof\r\n", gateway.bearer());
    assert_eq!(gateway.send("GET /", &lines).await.status, 200);
    gateway.way.cut().await;
    for line in ["GET /", "GET /public/", "POST /public/"] {
        let reply = gateway.send(line, &lines).await;
        assert_eq!(reply.status, kind.unreachable, "{line}");
    }
    assert_eq!(gateway.arrived(), 1);
}

pub(super) async fn passes_upgrades_on(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    gateway.house.application.answer(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let wish = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (credential, expected) in [(gateway.bearer(), "101"), ("Bearer a.b.c".to_owned(), "401")] {
        let mut stream = open(gateway.address).await;
        let request =
            format!("GET /ws HTTP/1.1\r\nHost: a\r\nAuthorization: {credential}\r\n{wish}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert_eq!(head.split(' ').nth(1), Some(expected), "{head}");
    }
    let received = gateway.house.application.only_request();
    assert_ours_alone(&received, &[presets::EMAIL], "an upgrade");
    assert_eq!(received.header("upgrade"), ["websocket"]);
}

/// What goes through an upgrade is never asked about: to HTTP/2 it would be requests.
pub(super) async fn passes_no_other_upgrade_on(kind: &Kind) {
    let gateway = Gateway::start(kind).await;
    let wish = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    for upgrade in ["h2c", "websocket, h2c", "H2C"] {
        let lines = wish.replace("Upgrade: h2c", &format!("Upgrade: {upgrade}"));
        let mut stream = open(gateway.address).await;
        let request = format!(
            "GET /public/x HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n{lines}\r\n",
            gateway.bearer()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_head(&mut stream).await.unwrap();
    }
    for received in gateway.house.application.requests() {
        assert!(received.header("upgrade").iter().all(|to| *to != "h2c" && *to != "H2C"));
        assert!(received.header("http2-settings").is_empty(), "{received:?}");
    }
}

pub(super) async fn keeps_its_connections_to_us(kind: &Kind) {
    const CALLERS: usize = 4;
    const REQUESTS: usize = 250;

    let gateway = Gateway::start(kind).await;
    let bearer = gateway.bearer();
    for caller in 0..CALLERS {
        let mut stream = open(gateway.address).await;
        for number in 0..REQUESTS {
            // Every fifth is refused, which must not cost the connection either.
            let credential = if number % 5 == 0 { "Basic eDp5" } else { &bearer };
            let request =
                format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {credential}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (status, head) = read_answer(&mut stream).await;
            let expected = if number % 5 == 0 { 401 } else { 200 };
            assert_eq!(status, expected, "{caller} {number}: {head}");
            if status == 401 {
                // Whether the caller's own connection survives a refusal is the gateway's affair.
                stream = open(gateway.address).await;
            }
        }
    }
    assert_eq!(gateway.arrived(), CALLERS * REQUESTS * 4 / 5);
    let connections = gateway.way.connections.load(Ordering::Relaxed);
    assert!(connections <= 16, "{connections} connections for {} requests", CALLERS * REQUESTS);
}

/// Reads one answer with a length: its status and its head.
async fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let head = read_head(stream).await.unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

/// The tests of one gateway: those that all have in common, and `$more`.
macro_rules! tests {
    ($needs:literal, $kind:path, $($more:ident),+ $(,)?) => {
        gateway::tests!(
            @each $needs,
            $kind,
            tells_the_application_who_it_is,
            refuses_with_the_challenge,
            lets_no_spoofed_header_through,
            lets_no_spoofed_email_through_where_there_is_none,
            stays_closed_while_there_are_no_keys,
            stays_closed_while_keys_are_slow,
            stays_closed_when_the_verifier_is_dead,
            passes_upgrades_on,
            passes_no_other_upgrade_on,
            keeps_its_connections_to_us,
            $($more),+
        );
    };
    (@each $needs:literal, $kind:path, $($name:ident),+) => {
        mod tests {
            use super::super::gateway;
            $(
                #[tokio::test]
                #[ignore = $needs]
                async fn $name() {
                    gateway::$name(&$kind).await;
                }
            )+
        }
    };
}
pub(super) use tests;
