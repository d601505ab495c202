//! Applications that fail, and what their callers see of it: each fault told as what it is, and nothing spoilt by it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    limits::h2,
    support::{
        House, PATIENCE, Reply, application, application_that_tells, open, read_head, spawn,
    },
};

async fn get(house: &House, path: &str) -> Reply {
    house.get(path, &[("Authorization", &house.bearer())]).await
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_504() {
    // A listener that accepts nothing, and whose queue is full: the kernel drops what would open another connection.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    let house = House::before(address, "upstream.connect_timeout = '50ms'").await;
    let reply = get(&house, "/").await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("upstream_timed_out")));
    drop(queue);
}

/// An application whose first connection says `said`, and is reset when it is told to; all others are served.
async fn resets_after(said: &'static str) -> (SocketAddr, mpsc::Sender<()>) {
    let (reset, told) = mpsc::channel(1);
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let address = application(move |mut stream, number| {
        let told = Arc::clone(&told);
        async move {
            while read_head(&mut stream).await.is_some() {
                if number > 0 {
                    stream.write_all(WHOLE).await.unwrap();
                    continue;
                }
                stream.write_all(said.as_bytes()).await.unwrap();
                told.lock().await.recv().await.unwrap();
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    })
    .await;
    (address, reset)
}

#[tokio::test]
async fn a_reset_before_the_answers_head_is_whole_is_502() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let (address, at_once) = resets_after(said).await;
        let house = House::before(address, "").await;
        at_once.send(()).await.unwrap();
        let reply = get(&house, "/").await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (502, Some("upstream_unreachable")),
            "{said:?}"
        );
        assert_eq!(get(&house, "/").await.body, "hello", "{said:?}");
    }
}

#[tokio::test]
async fn a_reset_after_the_answers_head_breaks_the_answer_off() {
    for (said, begun) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "half"),
    ] {
        let (address, at_once) = resets_after(said).await;
        let house = House::before(address, "").await;
        let mut stream = open(house.address).await;
        let bearer = house.bearer();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
        let mut piece = vec![0; begun.len()];
        stream.read_exact(&mut piece).await.unwrap();
        at_once.send(()).await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end in time").ok();
        assert_eq!((piece, rest), (begun.as_bytes().to_vec(), vec![]));

        let broken = "siwa_upstream_broken_responses_total{reason=\"broken\"}";
        assert_eq!(house.metric(broken).await, 1);
        assert_eq!(get(&house, "/").await.body, "hello");
    }
}

/// Answers nothing at `/silent`, and half of a body everywhere else.
async fn half_silent() -> SocketAddr {
    application(|mut stream, _| async move {
        let head = read_head(&mut stream).await.unwrap();
        if !head.starts_with("GET /silent ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await
}

const SILENT: &str = "siwa_upstream_broken_responses_total{reason=\"silent\"}";

#[tokio::test]
async fn an_answer_that_falls_silent_breaks_off() {
    let house = House::before(half_silent().await, "upstream.idle_timeout = '50ms'").await;
    let reply = get(&house, "/").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "half"));
    assert_eq!(house.metric(SILENT).await, 1);
}

#[tokio::test]
async fn a_route_has_its_own_patience_with_the_application() {
    let routes = "[[route]]\npath = '/silent'\nresponse_timeout = '50ms'\n\
                  [[route]]\npath = '/halting'\nidle_timeout = '50ms'\n";
    let house = House::before(half_silent().await, routes).await;
    let reply = get(&house, "/silent").await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (504, Some("upstream_timed_out")));
    let reply = get(&house, "/halting").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "half"));
    assert_eq!(house.metric(SILENT).await, 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_given_up_in_time() {
    let (tell, mut told) = mpsc::channel(1);
    let address = application(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                stream.write_all(WHOLE).await.unwrap();
            }
            tell.send(()).await.unwrap();
        }
    })
    .await;
    let house = House::before(address, "upstream.pool_idle_timeout = '50ms'").await;
    assert_eq!(get(&house, "/").await.status, 200);
    timeout(PATIENCE, told.recv()).await.expect("it is closed").unwrap();
}

#[tokio::test]
async fn an_application_that_speaks_http2_is_asked_whether_it_is_still_there() {
    let (tell, mut told) = mpsc::channel(1);
    let address = application(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            stream.read_exact(&mut [0; h2::PREFACE.len()]).await.unwrap();
            stream.write_all(&h2::frame(h2::SETTINGS, 0, 0, &[])).await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
                let mut payload = (&mut stream).take(length);
                tokio::io::copy(&mut payload, &mut tokio::io::sink()).await.unwrap();
                if head[3] == h2::PING {
                    tell.send(()).await.unwrap();
                }
            }
        }
    })
    .await;
    let settings = format!("[upstream]\nurl = 'h2c://{address}'\nh2_ping_interval = '20ms'");
    let house = House::with(&settings).await;
    let bearer = house.bearer();
    let headers = [("Authorization", bearer.as_str())];
    let asking = house.get("/", &headers);
    let asked = timeout(PATIENCE, told.recv());
    tokio::select! {
        ping = asked => ping.expect("a ping comes").unwrap(),
        reply = asking => panic!("{reply:?}"),
    }
}

type Requests<B> = http2::SendRequest<B>;

async fn connect_h2<B>(house: &House) -> Requests<B>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let io = TokioIo::new(open(house.address).await);
    let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    spawn(connection);
    requests
}

fn asking(house: &House) -> http::request::Builder {
    Request::post("http://app.example/a").header("authorization", house.bearer())
}

#[tokio::test]
async fn a_stream_that_its_caller_resets_takes_its_request_along() {
    let (address, mut told) = application_that_tells().await;
    let house = House::before(address, "").await;
    let mut requests = connect_h2(&house).await;
    let response =
        requests.send_request(asking(&house).body(Empty::<bytes::Bytes>::new()).unwrap());
    let response = spawn(response);
    assert_eq!(told.recv().await, Some("asked"));
    response.abort();
    assert_eq!(timeout(PATIENCE, told.recv()).await.expect("it is cancelled"), Some("left"));
}

/// Answers after a moment, and keeps count of the requests that are there at once.
async fn crowded(now: Arc<AtomicUsize>, most: Arc<AtomicUsize>) -> SocketAddr {
    application(move |mut stream, _| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            while read_head(&mut stream).await.is_some() {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                stream.write_all(WHOLE).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn h2_max_concurrent_streams_is_reached_under_load_and_all_are_served() {
    let most = Arc::new(AtomicUsize::new(0));
    let address = crowded(Arc::default(), Arc::clone(&most)).await;
    let house = House::before(address, "server.h2_max_concurrent_streams = 3").await;
    let requests = connect_h2(&house).await;
    // The limit is told in the first frame; until it is here a client may take it for unlimited.
    let warm = asking(&house).body(Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(requests.clone().send_request(warm).await.unwrap().status(), 200);
    let load = (0..60).map(|_| {
        let mut requests = requests.clone();
        let request = asking(&house).body(Empty::<bytes::Bytes>::new()).unwrap();
        spawn(async move {
            requests.ready().await.unwrap();
            let response = requests.send_request(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    });
    for answer in load.collect::<Vec<_>>() {
        assert_eq!(timeout(PATIENCE, answer).await.expect("an answer").unwrap(), "hello");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn trailers_of_http_2_reach_an_http_1_application_stripped_if_they_were_announced() {
    for (announced, arrived) in [
        (
            Some("x-mine, x-apple-sub, x_apple_sub, authorization"),
            "2\r\nup\r\n0\r\nx-mine: 8\r\n\r\n",
        ),
        // HTTP/1.1 tells before the body which trailers come (RFC 9110 §6.6.2); what was not announced is left out.
        (None, "up"),
    ] {
        let house = House::start().await;
        let mut trailers = HeaderMap::new();
        for (name, value) in
            [("x-mine", "8"), ("x-apple-sub", "me"), ("x_apple_sub", "me"), ("authorization", "me")]
        {
            trailers.insert(name, value.parse().unwrap());
        }
        let body = Full::<bytes::Bytes>::from("up").with_trailers(async { Some(Ok(trailers)) });
        let mut request = asking(&house).body(Box::pin(body)).unwrap();
        if let Some(names) = announced {
            request.headers_mut().insert("trailer", names.parse().unwrap());
        }
        let response = connect_h2(&house).await.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(house.application.only_request().body, arrived, "{announced:?}");
    }
}
