//! What a request takes of the allocator: the quickest way to lose what was won for it is a `clone` or a `format!` more.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use allocation_counter::{AllocationInfo, measure};
use siwa_proxy::{
    app::App,
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::{runtime::Builder, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::support::{get, settings};

/// An application in a thread of its own, which answers each head with two bytes.
fn application() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer_all(stream.unwrap()));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    while read_to_the_end_of_a_head(&mut stream) {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    }
}

fn read_to_the_end_of_a_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
            Ok(0) | Err(_) => return false,
        }
    }
    true
}

/// Sends `request` as often on one connection, each time when the last answer is here.
fn ask(address: SocketAddr, request: &str, times: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut buffer = [0; 4096];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
    }
}

/// What a proxy, alone in its thread, takes to serve `times` requests with the same token.
fn taken_for(times: usize) -> AllocationInfo {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let (keep, kept) = oneshot::channel::<()>();
    let apples = thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
            sender.send((apple.jwks_url(), apple.mint(&TokenTemplate::native()))).unwrap();
            kept.await.unwrap();
        });
    });
    let (keys, token) = receiver.recv().unwrap();
    let settings = settings(&keys, application(), "");
    let app = runtime.block_on(App::bind(settings)).unwrap();
    let (address, admin) = (app.address().unwrap(), app.admin_address().unwrap());
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let caller = thread::spawn(move || {
        let ready = async { while get(admin, "/readyz", &[]).await.status != 200 {} };
        Builder::new_current_thread().enable_all().build().unwrap().block_on(ready);
        ask(address, &request, times);
        stop.cancel();
    });
    let used = measure(|| runtime.block_on(app.run(shutdown)).unwrap());
    caller.join().unwrap();
    keep.send(()).unwrap();
    apples.join().unwrap();
    used
}

/// On one connection, with a remembered verdict, forwarded over a kept connection: as documented in `src/cost.md`.
const MOST_ALLOCATIONS: u64 = 22;
/// Two thirds of them are two buffers that hyper reads into, one for each head: what is kept of a head keeps its buffer.
const MOST_BYTES: u64 = 24 * 1024;

#[test]
fn a_request_that_is_forwarded_takes_few_allocations_and_little_memory() {
    let (few, many) = (taken_for(50), taken_for(1050));
    let count = (many.count_total - few.count_total) / 1000;
    let bytes = (many.bytes_total - few.bytes_total) / 1000;
    assert!(count <= MOST_ALLOCATIONS, "{count} allocations");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}
