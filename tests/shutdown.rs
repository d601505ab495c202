//! SIGTERM in the middle of work, sent to the real program.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    PATIENCE, Recorder, eventually, get, open, program::Program, read_reply, spawn,
};

async fn apple() -> Apple {
    Apple::start(Arc::new(SystemClock)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_a_slow_upload_finishes_it_takes_nothing_new_and_exits_0() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let program = Program::start(&apple, application.address, &[]).await;

    let token = apple.mint(&TokenTemplate::native());
    let mut upload = open(program.address).await;
    let head = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nhalf "
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    application.connected(1).await;

    program.signal(Signal::TERM);
    program.refuses_connections().await;
    upload.write_all(b"whole").await.unwrap();
    let reply = read_reply(&mut upload).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    assert_eq!(application.only_request().body, "half whole");
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_on_an_idle_proxy_exits_0_although_connections_are_kept_alive() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let program = Program::start(&apple, application.address, &[]).await;
    let mut idle = open(program.address).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");

    program.signal(Signal::INT);
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_drain_that_would_not_end() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let program = Program::start(&apple, application.address, &[]).await;
    let token = apple.mint(&TokenTemplate::native());
    let mut stuck = open(program.address).await;
    let head = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nhalf "
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    application.connected(1).await;

    program.signal(Signal::TERM);
    program.refuses_connections().await;
    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_fails_no_request_that_was_accepted() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let program = Program::start(&apple, application.address, &[]).await;
    ends_under_load(program, &apple, &application).await;
}

/// Where there is one core, one thread does all.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_fails_no_request_that_was_accepted_on_one_core() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let on_one_core = "taskset -cp 0 $$ >/dev/null || exit 1";
    let program = Program::start_after(on_one_core, &apple, application.address, &[]).await;
    ends_under_load(program, &apple, &application).await;
}

async fn ends_under_load(program: Program, apple: &Apple, application: &Recorder) {
    let token = apple.mint(&TokenTemplate::native());
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..16)
        .map(|_| {
            let (head, answered, address) = (head.clone(), Arc::clone(&answered), program.address);
            spawn(async move {
                // To the first refusal: from there on the port is closed for good.
                while let Ok(mut stream) = tokio::net::TcpStream::connect(address).await {
                    if stream.write_all(head.as_bytes()).await.is_err() {
                        break;
                    }
                    let mut text = Vec::new();
                    match stream.read_to_end(&mut text).await {
                        // Whole, or never begun: the kernel may have completed a connection that was never accepted.
                        Ok(_) | Err(_) if text.is_empty() => break,
                        Ok(_) => assert!(text.ends_with(b"hello"), "{text:?}"),
                        Err(error) => panic!("{error} after {text:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    application.received(200).await;
    program.signal(Signal::TERM);
    for caller in load {
        tokio::time::timeout(PATIENCE, caller).await.expect("an end").expect("no request fails");
    }
    assert_eq!(program.exit_code().await, Some(0));
    // Whatever reached the application was answered to the caller too.
    assert_eq!(application.requests().len(), answered.load(Ordering::Relaxed));
}

/// Asks on one HTTP/2 connection, one request after the other, until it is told to go; how many were answered?
async fn until_told_to_go(address: SocketAddr, bearer: String) -> usize {
    let io = TokioIo::new(open(address).await);
    let (mut requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    spawn(connection);
    for answered in 0.. {
        let request = http::Request::get("http://a.example/").header("authorization", &bearer);
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        // What comes after the farewell is refused on this side of the wire.
        if requests.ready().await.is_err() {
            return answered;
        }
        let Ok(response) = requests.send_request(request).await else { return answered };
        let body = response.into_body().collect().await.expect("an answer that began is whole");
        assert_eq!(body.to_bytes(), "hello");
    }
    unreachable!("it is told to go")
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_http2_load_answers_all_that_reached_the_application() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let program = Program::start(&apple, application.address, &[]).await;
    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    let load: Vec<_> =
        (0..8).map(|_| spawn(until_told_to_go(program.address, bearer.clone()))).collect();
    application.received(200).await;
    program.signal(Signal::TERM);
    let mut answered = 0;
    for caller in load {
        answered += tokio::time::timeout(PATIENCE, caller).await.expect("an end").unwrap();
    }
    assert_eq!(program.exit_code().await, Some(0));
    assert_eq!(application.requests().len(), answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_drain_delay_it_is_not_ready_and_serves_on() {
    let (apple, application) = (apple().await, Recorder::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siwa.toml");
    std::fs::write(&file, "[server]\ndrain_delay = '1h'\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let program = Program::start(&apple, application.address, &config).await;

    program.signal(Signal::TERM);
    let is_red = async || get(program.admin, "/readyz", &[]).await.status != 200;
    eventually("it is not ready", is_red).await;
    assert_eq!(get(program.admin, "/readyz", &[]).await.body, "not ready: draining\n");
    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    let reply = get(program.address, "/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.status, 200);

    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));
}
