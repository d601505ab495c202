//! The real program as a child process, with signals.

use std::{
    env,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use siwa_proxy::sim::Apple;
use tokio::net::TcpStream;

use super::{PATIENCE, get};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_siwa-proxy");

/// The binary, without settings from the environment of whoever runs the tests.
pub(crate) fn command() -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SIWA_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) struct Program {
    child: Option<Child>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// The real binary on two free ports, ready.
    pub(crate) async fn start(apple: &Apple, upstream: SocketAddr, extra: &[&str]) -> Self {
        Self::start_by(&mut Command::new(BINARY), apple, upstream, extra).await
    }

    /// Likewise, in a shell that says `first` before it becomes the binary.
    pub(crate) async fn start_after(
        first: &str,
        apple: &Apple,
        upstream: SocketAddr,
        extra: &[&str],
    ) -> Self {
        let script = format!("{first}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, BINARY]);
        Self::start_by(&mut shell, apple, upstream, extra).await
    }

    async fn start_by(
        command: &mut Command,
        apple: &Apple,
        upstream: SocketAddr,
        extra: &[&str],
    ) -> Self {
        let [address, admin] = [free_address(), free_address()];
        command
            .args(["serve", "--client-id", "com.example.app"])
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--upstream", &format!("http://{upstream}"), "--jwks-url", &apple.jwks_url()])
            .args(extra);
        Self::of(command, address, admin).await
    }

    /// What `command` starts, which is expected to listen there, ready.
    pub(crate) async fn of(command: &mut Command, address: SocketAddr, admin: SocketAddr) -> Self {
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let program = Self { child: Some(child), address, admin };
        program.ready().await;
        program
    }

    async fn ready(&self) {
        let ready = async {
            loop {
                if TcpStream::connect(self.admin).await.is_ok()
                    && get(self.admin, "/readyz", &[]).await.status == 200
                {
                    return;
                }
                // Whoever tries every port of its own against one that nobody listens on yet meets itself in the end.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the program becomes ready");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    pub(crate) async fn refuses_connections(&self) {
        let refused = async {
            while TcpStream::connect(self.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.expect("the port closes");
    }

    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let waiting = tokio::task::spawn_blocking(move || child.wait().unwrap().code());
        tokio::time::timeout(PATIENCE, waiting).await.expect("the program ends").unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A port that was free a moment ago: the program takes it at once.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
