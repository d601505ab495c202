//! Every limit and timeout, reached from outside.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    sign_in,
    support::{
        House, Log, PATIENCE, Recorder, eventually, exchange, exchange_h2, get, notifying, open,
        program::Program, read_reply,
    },
};

#[tokio::test]
async fn max_headers_is_reached() {
    let lines =
        |count: usize| (0..count).map(|n| format!("X-{n}: v\r\n")).collect::<Vec<_>>().concat();
    for (settings, most) in [("", 100), ("server.max_headers = 20", 20)] {
        let house = House::with(settings).await;
        let head = |count| {
            format!("GET / HTTP/1.1\r\n{}Connection: close\r\nHost: a\r\n\r\n", lines(count))
        };
        assert_eq!(exchange(house.address, head(most - 2)).await.status, 401);
        assert_eq!(exchange(house.address, head(most - 1)).await.status, 431);
    }
}

#[tokio::test]
async fn max_header_bytes_is_reached() {
    let house = House::with("server.max_header_bytes = '4KiB'").await;
    let long = "x".repeat(9_000);
    assert_eq!(house.get("/", &[("X-Long", &long)]).await.status, 431);
}

#[tokio::test]
async fn header_read_timeout_is_reached() {
    let house = House::with("server.header_read_timeout = '100ms'").await;
    let mut late = open(house.address).await;
    late.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
    assert_eq!(read_reply(&mut late).await.status, 408);
}

#[tokio::test]
async fn keep_alive_timeout_is_reached() {
    let house = House::with("server.keep_alive_timeout = '50ms'").await;
    let mut idle = open(house.address).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut idle).await.status, 401);
}

#[tokio::test]
async fn max_connections_is_reached_by_all_listeners_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("siwa.sock");
    let listen = format!("listen = ['127.0.0.1:0', 'unix:{}']", path.display());
    let house = House::with(&format!("[server]\nmax_connections = 1\n{listen}")).await;
    let mut first = open(house.address).await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut begun = [0; 12];
    first.read_exact(&mut begun).await.unwrap();

    let mut second = tokio::net::UnixStream::connect(&path).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(house.metric("siwa_connections").await, 1);
    drop(first);
    assert_eq!(crate::support::read_reply_from(&mut second).await.status, 401);
    // A listener that nobody calls keeps no place for itself: each is served as often as it is called.
    for _ in 0..3 {
        assert_eq!(house.get("/", &[]).await.status, 401);
    }
}

/// Holds one request at the application, which does not answer.
async fn stuck(house: &House) -> TcpStream {
    house.application.stall();
    let mut stream = open(house.address).await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
    stream.write_all(head.as_bytes()).await.unwrap();
    house.application.received(1).await;
    stream
}

#[tokio::test]
async fn max_requests_is_reached_and_the_next_one_is_shed() {
    let house = House::with("limits.max_requests = 1").await;
    let stuck = stuck(&house).await;
    let reply = house.get("/", &[]).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, vec!["1"]));
    assert_eq!(reply.json()["code"], "shed");
    let grpc = http::Request::post("http://a.example/service/method")
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    let reply = exchange_h2(house.address, grpc).await;
    assert_eq!((reply.status, reply.header("grpc-status")), (200, vec!["14"]));
    assert_eq!(house.metric("siwa_requests_shed_total").await, 2);
    // Health is not behind it.
    assert_eq!(get(house.admin, "/readyz", &[]).await.status, 200);

    drop(stuck);
    let served = async { while house.get("/", &[]).await.status != 401 {} };
    timeout(PATIENCE, served).await.expect("its place is free again");
}

#[tokio::test]
async fn a_refusal_by_a_limit_leaves_by_the_door_and_is_told_of_like_every_other() {
    let log = Log::default();
    let _until_the_end = log.listen();
    let settings = format!(
        "limits.max_requests = 1\ncors.allow_origins = ['https://page.example']\n{}",
        rate(3, "server.trusted_peers = ['127.0.0.1']")
    );
    let house = House::with(&settings).await;
    let _stuck = stuck(&house).await;
    let ask = async |id: &str, client: &str| {
        let page = ("Origin", "https://page.example");
        house.get("/", &[page, ("X-Request-Id", id), ("X-Forwarded-For", client)]).await
    };
    let limited = async {
        loop {
            let reply = ask("the-second", "203.0.113.9").await;
            if reply.status == 429 {
                return reply;
            }
        }
    };
    let shed = ask("the-first", "198.51.100.1").await;
    let limited = timeout(PATIENCE, limited).await.expect("it is limited");
    for (reply, status, id, code, fault) in [
        (shed, 503, "the-first", "shed", "us"),
        (limited, 429, "the-second", "rate_limited", "caller"),
    ] {
        assert_eq!((reply.status, reply.header("x-request-id")), (status, vec![id]));
        assert_eq!(reply.header("access-control-allow-origin"), ["https://page.example"]);
        let labels =
            format!("{{door=\"proxy\",route=\"none\",outcome=\"{code}\",fault=\"{fault}\"}}");
        assert!(house.metric(&format!("siwa_requests_total{labels}")).await >= 1, "{labels}");
        let lines = log.lines_with(&["access", id]);
        assert!(lines.iter().any(|line| line.contains(code)), "{lines:?}");
    }
}

#[tokio::test]
async fn a_request_that_meets_a_limit_is_refused_and_counted_at_the_door_that_it_came_to() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/assertion/one.pem");
    let house = House::with(&format!(
        "{}\n{}\nlimits.max_requests = 1\ndoors.auth_request = ['/ask']\ndoors.userinfo = ['/who']\n\
         ext_authz.path_prefixes = ['/envoy']\nassertion.key_files = ['{key}']\nassertion.publish = true",
        notifying::ON,
        sign_in::ON,
    ))
    .await;
    let _stuck = stuck(&house).await;
    for (path, door, status) in [
        (notifying::PATH, "notifications", 503),
        ("/auth/apple", "sign_in", 503),
        ("/auth/apple/logout", "sign_in", 503),
        ("/.well-known/siwa-proxy/jwks.json", "pages", 503),
        ("/ask", "auth_request", 503),
        ("/who", "userinfo", 503),
        ("/envoy/orders", "ext_authz", 424),
        ("/orders", "proxy", 503),
    ] {
        let shed = format!(
            "siwa_requests_total{{door=\"{door}\",route=\"none\",outcome=\"shed\",fault=\"us\"}}"
        );
        let before = house.metric(&shed).await;
        let reply = house.get(path, &[]).await;
        assert_eq!((reply.status, reply.header("x-request-id").len()), (status, 1), "{path}");
        assert_eq!(reply.header("cache-control"), ["no-store"], "{path}");
        assert_eq!(house.metric(&shed).await, before + 1, "{path}");
    }
    let told = "siwa_notifications_total{event=\"none\",outcome=\"shed\"}";
    assert_eq!(house.metric(told).await, 1);
}

#[tokio::test]
async fn a_notification_that_comes_too_often_is_counted_at_its_own_door() {
    let house = House::with(&rate(1, notifying::ON)).await;
    let limited = async {
        loop {
            let reply = notifying::post_notification(house.address, "a.b.c").await;
            if reply.status == 429 {
                return reply;
            }
        }
    };
    let reply = timeout(PATIENCE, limited).await.expect("it is limited");
    assert_eq!(reply.header("retry-after"), ["1"]);
    for told in [
        r#"siwa_requests_total{door="notifications",route="none",outcome="rate_limited",fault="caller"}"#,
        r#"siwa_notifications_total{event="none",outcome="rate_limited"}"#,
    ] {
        assert_eq!(house.metric(told).await, 1, "{told}");
    }
}

/// One request every now and then in the long run, and this many at once.
fn rate(burst: u32, more: &str) -> String {
    format!("limits.rate_per_second = 1\nlimits.rate_burst = {burst}\n{more}")
}

#[tokio::test]
async fn rate_per_second_is_reached_by_one_address_alone() {
    let house = House::with(&rate(2, "server.listen = '0.0.0.0:0'")).await;
    let statuses = async || {
        let mut found = Vec::new();
        for _ in 0..3 {
            found.push(house.get("/", &[("X-Forwarded-For", "203.0.113.9")]).await.status);
        }
        found
    };
    // A second may pass on a busy machine, and give one back.
    let first = statuses().await;
    assert_eq!(first[..2], [401, 401]);
    let limited = async {
        loop {
            let reply = house.get("/", &[("X-Forwarded-For", "198.51.100.1")]).await;
            if reply.status == 429 {
                return reply;
            }
        }
    };
    let reply = timeout(PATIENCE, limited).await.expect("it is limited");
    assert_eq!(reply.header("retry-after"), ["1"]);
    assert_eq!(reply.json()["code"], "rate_limited");
    assert!(house.metric("siwa_requests_rate_limited_total").await >= 1);

    // Another address has its own: 127.0.0.2 is this machine as well.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let port = house.address.port();
    let mut other = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut other).await.status, 401);
}

#[tokio::test]
async fn behind_a_trusted_peer_the_rate_is_that_of_the_client_it_names() {
    let house = House::with(&rate(1, "server.trusted_peers = ['127.0.0.1']")).await;
    let ask = async |client: &str| house.get("/", &[("X-Forwarded-For", client)]).await.status;
    // Each of these is met for the first time, the last of each line excepted.
    for (first, same) in [
        ("203.0.113.1", "203.0.113.1"),
        ("203.0.113.2", "6.6.6.6, 203.0.113.2"),
        ("2001:db8::1", "2001:db8::ffff:2"),
    ] {
        assert_eq!(ask(first).await, 401, "{first}");
        let limited = async { while ask(same).await != 429 {} };
        timeout(PATIENCE, limited).await.unwrap_or_else(|_| panic!("{same} is limited"));
    }
    assert_eq!(ask("2001:db8:0:1::1").await, 401);
}

#[tokio::test]
async fn without_room_for_verdicts_every_request_is_judged_anew_and_none_is_counted_as_remembered()
{
    for (capacity, misses) in [(0, 3), (10, 1)] {
        let house = House::with(&format!("verdicts.capacity = {capacity}")).await;
        let bearer = house.bearer();
        for _ in 0..3 {
            assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
        }
        assert_eq!(house.metric("siwa_verdicts_total{cache=\"miss\"}").await, misses);
        let remembered = u64::from(capacity > 0);
        assert_eq!(house.metric("siwa_verdict_cache_entries").await, remembered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_senders_do_not_keep_others_out() {
    // This process holds one end of each.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let program = Program::start(&apple, application.address, &[]).await;

    let mut slow = Vec::new();
    for _ in 0..2_000 {
        let mut stream = open(program.address).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
        slow.push(stream);
    }
    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    for _ in 0..50 {
        let reply = get(program.address, "/", &[("Authorization", &bearer)]).await;
        assert_eq!(reply.status, 200);
    }
    // None of them is served, and each is told so when its time is over.
    let mut last = slow.pop().unwrap();
    assert_eq!(read_reply(&mut last).await.status, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_recovers_by_itself_when_descriptors_run_out() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let program = Program::start_after("ulimit -n 48", &apple, application.address, &[]).await;
    // Opened while there is a descriptor for it.
    let mut admin = open(program.admin).await;

    let mut flood = Vec::new();
    for _ in 0..80 {
        flood.push(open(program.address).await);
    }
    eventually("descriptors run out", async || accept_errors(&mut admin).await > 0).await;
    drop(flood);

    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    let reply = get(program.address, "/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.status, 200);
}

/// What the metrics say, asked on a connection that is there already.
async fn accept_errors(admin: &mut TcpStream) -> u64 {
    let accept = "application/openmetrics-text"; // It says where it ends.
    let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
    admin.write_all(request.as_bytes()).await.unwrap();
    let mut page = Vec::new();
    while !page.ends_with(b"# EOF\n") {
        assert_ne!(admin.read_buf(&mut page).await.unwrap(), 0);
    }
    let page = String::from_utf8(page).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix("siwa_accept_errors_total "));
    value.unwrap().parse().unwrap()
}

/// HTTP/2 by hand: the preface, and frames of which the peer approves or not.
pub(crate) mod h2 {
    use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

    use crate::support::PATIENCE;

    pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The payload of the next frame of this kind on this stream.
    pub(crate) async fn next(stream: &mut TcpStream, kind: u8, id: u32) -> Vec<u8> {
        let found = async {
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                stream.read_exact(&mut payload).await.unwrap();
                if head[3] == kind && head[5..] == id.to_be_bytes() {
                    return payload;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the frame comes")
    }

    /// `GET http://a/`, whole.
    pub(crate) fn get(stream: u32) -> Vec<u8> {
        frame(1, 0x5, stream, &[0x82, 0x84, 0x86, 0x41, 1, b'a'])
    }

    /// `GET http://a/` with a header field, whose value may be long (RFC 7541 §5.1, §6.2.2).
    pub(crate) fn get_with(stream: u32, name: &str, value: &str) -> Vec<u8> {
        let mut length = vec![u8::try_from(value.len().min(127)).unwrap()];
        if let Some(mut rest) = value.len().checked_sub(127) {
            while rest >= 128 {
                length.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            length.push(u8::try_from(rest).unwrap());
        }
        let begin = [0x82, 0x84, 0x86, 0x41, 1, b'a', 0, u8::try_from(name.len()).unwrap()];
        let field = [name.as_bytes(), &length, value.as_bytes()].concat();
        frame(1, 0x5, stream, &[&begin, &field[..]].concat())
    }

    pub(crate) fn reset(stream: u32) -> Vec<u8> {
        frame(3, 0, stream, &8u32.to_be_bytes())
    }

    /// The kinds and payloads of all frames in `bytes`.
    pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            frames.push((head[3], payload));
            bytes = rest;
        }
        frames
    }
}

/// What comes back after the preface, our settings and `frames`, to the end of the connection.
async fn h2_rest(house: &House, frames: &[u8]) -> Vec<u8> {
    let mut stream = open(house.address).await;
    let whole = [h2::PREFACE, &h2::frame(h2::SETTINGS, 0, 0, &[]), frames].concat();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let (_, ended) = tokio::join!(
        writing.write_all(&whole),
        timeout(PATIENCE, reading.read_to_end(&mut answer))
    );
    drop(ended.expect("the connection ends"));
    answer
}

/// The error code with which the connection was ended.
fn goaway(answer: &[u8]) -> Option<u32> {
    let frames = h2::frames(answer);
    let (_, payload) = frames.iter().rev().find(|(kind, _)| *kind == h2::GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

const ENHANCE_YOUR_CALM: u32 = 0xb;

#[tokio::test]
async fn h2_max_concurrent_streams_is_told() {
    let house = House::with("server.h2_max_concurrent_streams = 7").await;
    let mut stream = open(house.address).await;
    stream.write_all(h2::PREFACE).await.unwrap();
    stream.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[])).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let told = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(told[2..], [0, 0, 0, 7]);
}

#[tokio::test]
async fn h2_streams_beyond_the_limit_are_refused_and_the_others_live_on() {
    const REFUSED_STREAM: u32 = 7;
    let house = House::with("server.h2_max_concurrent_streams = 2").await;
    house.application.stall();
    let asking = |stream| h2::get_with(stream, "authorization", &house.bearer());
    let mut stream = open(house.address).await;
    let settings = h2::frame(h2::SETTINGS, 0, 0, &[]);
    let whole = [h2::PREFACE, &settings, &asking(1), &asking(3), &asking(5)].concat();
    stream.write_all(&whole).await.unwrap();
    assert_eq!(h2::next(&mut stream, h2::RST_STREAM, 5).await, REFUSED_STREAM.to_be_bytes());
    house.application.received(2).await;
    assert_eq!(house.metric("siwa_requests_in_flight").await, 2);
}

#[tokio::test]
async fn h2_max_pending_resets_is_reached() {
    let house = House::with("server.h2_max_pending_resets = 5").await;
    let flood: Vec<u8> =
        (0..2_000).flat_map(|n| [h2::get(2 * n + 1), h2::reset(2 * n + 1)].concat()).collect();
    assert_eq!(goaway(&h2_rest(&house, &flood).await), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn h2_max_local_resets_is_reached() {
    let house = House::with("server.h2_max_local_resets = 5").await;
    // A window that grows beyond its limit is an error of the stream (RFC 9113 §6.9.1).
    let flood: Vec<u8> = (0..2_000)
        .flat_map(|n| {
            [h2::get(2 * n + 1), h2::frame(8, 0, 2 * n + 1, &[0x7f, 0xff, 0xff, 0xff])].concat()
        })
        .collect();
    assert_eq!(goaway(&h2_rest(&house, &flood).await), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn an_endless_head_in_continuation_frames_ends_the_connection() {
    let house = House::with("server.max_header_bytes = '8KiB'").await;
    let begin = h2::frame(1, 0x1, 1, &[0x82, 0x84, 0x86]);
    // A literal header field `x: y`, over and over, and never the last frame.
    let more = h2::frame(9, 0, 1, &[0x00, 1, b'x', 1, b'y'].repeat(3_000));
    let flood = [begin, more.repeat(100)].concat();
    assert!(goaway(&h2_rest(&house, &flood).await).is_some());
}

#[tokio::test]
async fn h2_ping_timeout_is_reached_by_a_peer_that_does_not_answer() {
    let house =
        House::with("server.h2_ping_interval = '20ms'\nserver.h2_ping_timeout = '20ms'").await;
    // It ends, although the idle timeout is far off.
    h2_rest(&house, &[]).await;
}
