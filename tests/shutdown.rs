//! SIGTERM in the middle of work, sent to the real program.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{PATIENCE, Recorder, get, open, read_reply};

struct Program {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    /// The real binary on two free ports, ready.
    async fn start(apple: &Apple, upstream: SocketAddr, extra: &[&str]) -> Self {
        let [address, admin] = [free_address(), free_address()];
        let child = Command::new(env!("CARGO_BIN_EXE_siwa-proxy"))
            .args(["serve", "--client-id", "com.example.app"])
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--upstream", &format!("http://{upstream}"), "--jwks-url", &apple.jwks_url()])
            .args(extra)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { child, address, admin };
        program.ready().await;
        program
    }

    async fn ready(&self) {
        let ready = async {
            loop {
                if tokio::net::TcpStream::connect(self.admin).await.is_ok()
                    && get(self.admin, "/readyz", &[]).await.status == 200
                {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the program becomes ready");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn refuses_connections(&self) {
        let refused = async {
            while tokio::net::TcpStream::connect(self.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.expect("the port closes");
    }

    async fn exit_code(mut self) -> Option<i32> {
        let waiting = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code());
        tokio::time::timeout(PATIENCE, waiting).await.expect("the program ends").unwrap()
    }
}

/// A port that was free a moment ago: the program takes it at once.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn apple() -> Apple {
    Apple::start(std::sync::Arc::new(SystemClock)).await.unwrap()
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
