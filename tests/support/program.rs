//! The real program as a child process, with signals.

use std::{
    env, fmt, fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;
use siwa_proxy::sim::Apple;
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use super::{awaited, eventually, get, process::Process};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_siwa-proxy");

/// The binary, without settings from the environment of whoever runs the tests.
pub(crate) fn command() -> Command {
    command_of(BINARY)
}

/// Likewise `program`, which becomes the binary.
pub(crate) fn command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SIWA_") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) struct Program {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// The real binary on two free ports, ready.
    pub(crate) async fn start(apple: &Apple, upstream: SocketAddr, extra: &[&str]) -> Self {
        Self::start_by(command().stderr(Stdio::null()), apple, upstream, extra).await
    }

    /// Likewise, in a shell that says `first` before it becomes the binary.
    pub(crate) async fn start_after(
        first: &str,
        apple: &Apple,
        upstream: SocketAddr,
        extra: &[&str],
    ) -> Self {
        let script = format!("{first}; exec \"$0\" \"$@\"");
        let mut shell = command_of("sh");
        shell.args(["-c", &script, BINARY]).stderr(Stdio::null());
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
        Self::spawn(command, address, admin).await
    }

    /// What `command` starts, which is expected to listen there, ready.
    pub(crate) async fn of(command: &mut Command, address: SocketAddr, admin: SocketAddr) -> Self {
        Self::spawn(command.stderr(Stdio::null()), address, admin).await
    }

    /// The real binary with `variables` in its environment, ready, and what it writes to its log.
    pub(crate) async fn start_logging(
        apple: &Apple,
        upstream: SocketAddr,
        extra: &[&str],
        variables: &[(&str, &str)],
    ) -> (Self, LogFile) {
        let file = NamedTempFile::new().unwrap();
        let mut command = command();
        command.envs(variables.iter().copied()).stderr(file.reopen().unwrap());
        let program = Self::start_by(&mut command, apple, upstream, extra).await;
        (program, LogFile(file))
    }

    /// The real binary without an application, whose keys are at `jwks_url`, once its `/readyz` is answered with `status`;
    /// and what it writes to its log.
    pub(crate) async fn start_alone(
        jwks_url: &str,
        status: u16,
        extra: &[&str],
        variables: &[(&str, &str)],
    ) -> (Self, LogFile) {
        let file = NamedTempFile::new().unwrap();
        let [address, admin] = [free_address(), free_address()];
        let mut command = command();
        command
            .args(["serve", "--client-id", "com.example.app", "--jwks-url", jwks_url])
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .args(extra)
            .envs(variables.iter().copied())
            .stderr(file.reopen().unwrap());
        let program = Self { process: Process::start(&mut command), address, admin };
        program.answers_with(status).await;
        (program, LogFile(file))
    }

    async fn spawn(command: &mut Command, address: SocketAddr, admin: SocketAddr) -> Self {
        let program = Self { process: Process::start(command), address, admin };
        program.answers_with(200).await;
        program
    }

    /// Waits until `/readyz` is answered with this status.
    async fn answers_with(&self, status: u16) {
        eventually("the program says how it is", async || {
            TcpStream::connect(self.admin).await.is_ok()
                && get(self.admin, "/readyz", &[]).await.status == status
        })
        .await;
    }

    /// The most memory that was ever resident, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.memory("VmHWM")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.process.id(), signal).unwrap();
    }

    /// Has its files grow to `bytes` at most, as on a disk that is full; any length if none is named.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.process.id()), Resource::Fsize, limit).unwrap();
    }

    pub(crate) async fn refuses_connections(&self) {
        eventually("the port closes", async || TcpStream::connect(self.address).await.is_err())
            .await;
    }

    pub(crate) async fn exit_code(self) -> Option<i32> {
        self.process.exit_code().await
    }
}

/// What a program writes to standard error, which is no terminal.
pub(crate) struct LogFile(NamedTempFile);

impl LogFile {
    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap()
    }

    /// Its lines so far. The last one may not be whole yet.
    fn lines(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the first line with this `message` of which `is_meant` is true, and takes it apart.
    pub(crate) async fn line(&self, message: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        let is_it = |line: &Value| line["message"] == message && is_meant(line);
        let what = fmt::from_fn(|f| write!(f, "{message}: {}", self.text()));
        awaited(what, async || self.lines().into_iter().find(is_it)).await
    }

    /// Waits for the lines about this many requests.
    pub(crate) async fn requests(&self, count: usize) -> Vec<Value> {
        let what = fmt::from_fn(|f| write!(f, "{count} requests: {}", self.text()));
        awaited(what, async || {
            let mut lines = self.lines();
            lines.retain(|line| line["message"] == "request");
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// Waits for the line about the request with this id.
    pub(crate) async fn request(&self, id: &str) -> Value {
        self.line("request", |line| line["request_id"] == id).await
    }
}

/// A port that was free a moment ago: the program takes it at once.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
