//! Where connections come from, and whose they are said to be.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    process::Stdio,
};

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::support::{
    House, PATIENCE, Recorder, Reply, get, open,
    program::{BINARY, Program, command, command_of, free_address},
    read_reply, read_reply_from,
};

fn request(bearer: &str, more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nAuthorization: {bearer}\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn several_addresses_serve_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("siwa.sock");
    let listen =
        format!("server.listen = ['127.0.0.1:0', '[::1]:0', 'unix:{}?mode=600']", path.display());
    let house = House::with(&listen).await;
    assert_eq!(house.get("/", &[]).await.status, 401);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(request("", "").as_bytes()).await.unwrap();
    assert_eq!(read_reply_from(&mut stream).await.status, 401);
}

#[tokio::test]
async fn a_peer_of_a_unix_domain_socket_is_unknown_and_believed_only_by_its_word() {
    for (trusted, forwarded_for, forwarded) in [
        // Whatever network is listed, it does not contain who has no address.
        ("['0.0.0.0/8', '127.0.0.0/8']", None, r#"for=unknown;host="app.example";proto=http"#),
        (
            "['unix']",
            Some("203.0.113.9"),
            r#"for=203.0.113.9, for=unknown;host="app.example";proto=http"#,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.sock");
        let house = House::with(&format!(
            "server.listen = ['127.0.0.1:0', 'unix:{}']\nserver.trusted_peers = {trusted}",
            path.display()
        ))
        .await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let more = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n";
        stream.write_all(request(&house.bearer(), more).as_bytes()).await.unwrap();
        assert_eq!(read_reply_from(&mut stream).await.status, 200);
        let arrived = house.application.only_request();
        assert_eq!(arrived.header("x-forwarded-for").first().copied(), forwarded_for);
        assert_eq!(arrived.header("forwarded"), [forwarded]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_systemd_hands_over_are_served() {
    let apple = Apple::start(std::sync::Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let public = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = (public.local_addr().unwrap(), admin.local_addr().unwrap());

    // As systemd does it: descriptors from 3 on, and the variables name the process that is to take them.
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
                  export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut shell = command_of("sh");
    shell
        .args(["-c", script, BINARY, "serve", "--listen", "systemd", "--client-id"])
        .args(["com.example.app", "--admin-listen", "systemd:1"])
        .args(["--upstream", &format!("http://{}", application.address)])
        .args(["--jwks-url", &apple.jwks_url()])
        .stdin(Stdio::from(OwnedFd::from(public)))
        .stdout(Stdio::from(OwnedFd::from(admin)));
    let program = Program::of(&mut shell, addresses.0, addresses.1).await;
    // The parent's copies go with the command: what answers is the child.
    drop(shell);

    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    let reply = get(program.address, "/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn without_a_socket_that_was_handed_over_nothing_starts() {
    let output = command()
        .args(["serve", "--listen", "systemd", "--client-id", "a", "--admin-listen"])
        .args([&free_address().to_string(), "--upstream", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8(output.stderr).unwrap();
    let why = "cannot listen on systemd (server.listen): no socket was handed over";
    assert!(said.contains(why), "{said}");
}

/// Sends `header` and a request behind it.
async fn behind(header: &[u8], house: &House) -> Reply {
    let mut stream = open(house.address).await;
    let whole = [header, request(&house.bearer(), "").as_bytes()].concat();
    stream.write_all(&whole).await.unwrap();
    read_reply(&mut stream).await
}

/// A header of version 2 from 203.0.113.9:4711, with this command.
fn version_2(command: u8) -> Vec<u8> {
    let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, 0x11, 0, 12][..], &addresses].concat()
}

const FROM_LOOPBACK: &str = "server.proxy_protocol_peers = ['127.0.0.1']";

#[tokio::test]
async fn a_listed_balancer_says_whose_connection_it_is() {
    let house = House::with(FROM_LOOPBACK).await;
    let version_1 = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec();
    for (header, peer) in [
        (version_1, "203.0.113.9"),
        (version_2(1), "203.0.113.9"),
        // Its own health check, and somebody whom it does not know: then the peer is the balancer.
        (version_2(0), "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        assert_eq!(behind(&header, &house).await.status, 200, "{header:?}");
        let arrived = house.application.requests().pop().unwrap();
        assert_eq!(arrived.header("x-forwarded-for"), [peer], "{header:?}");
    }
}

#[tokio::test]
async fn a_listed_balancer_that_says_nothing_or_nonsense_is_not_served() {
    let house = House::with(FROM_LOOPBACK).await;
    for header in [&b""[..], b"PROXY TCP4 nobody\r\n", b"PROXY TCP4 0.0.0.0 10.0.0.1 1 2\r\n"] {
        let mut stream = open(house.address).await;
        let whole = [header, request(&house.bearer(), "").as_bytes()].concat();
        stream.write_all(&whole).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the end in time").ok();
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert!(house.application.requests().is_empty());
}

#[tokio::test]
async fn a_stranger_cannot_say_whose_connection_it_is() {
    for settings in ["", "server.proxy_protocol_peers = ['10.0.0.0/8', 'unix']"] {
        let house = House::with(settings).await;
        let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";
        assert_eq!(behind(line, &house).await.status, 400);
        assert_eq!(behind(&version_2(1), &house).await.status, 400);
        assert!(house.application.requests().is_empty());
    }
}

#[tokio::test]
async fn a_header_that_is_late_ends_the_connection() {
    let settings = format!("{FROM_LOOPBACK}\nserver.header_read_timeout = '50ms'");
    let house = House::build(&settings, std::sync::Arc::new(SystemClock), |_| {}).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"PROXY TCP4 203").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end in time").ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn the_announced_address_is_whom_lists_of_peers_look_at() {
    let settings = format!("{FROM_LOOPBACK}\nserver.trusted_peers = ['127.0.0.1']");
    let house = House::with(&settings).await;
    let mut stream = open(house.address).await;
    let spoof = request(&house.bearer(), "X-Forwarded-For: 6.6.6.6\r\n");
    stream.write_all(&[&version_2(1), spoof.as_bytes()].concat()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.status, 200);
    assert_eq!(house.application.only_request().header("x-forwarded-for"), ["203.0.113.9"]);
}
