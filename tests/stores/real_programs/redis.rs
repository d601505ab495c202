//! A Redis to mistreat, and a way to it that can be cut.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{
    eventually, process::Process, program::free_address, secure::Authority, spawn,
};

/// A running `redis-server` that writes nothing to disk.
pub(crate) struct Redis {
    process: Process,
    address: SocketAddr,
    secured: Option<SocketAddr>,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts one on a free port of this machine.
    pub(crate) async fn start(further: &[&str]) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let port = address.port().to_string();
        let fixed = ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"];
        let arguments: Vec<_> =
            fixed.iter().chain(further).map(|word| (*word).to_owned()).collect();
        let process = launch(&arguments, folder.path());
        let redis = Self { process, address, secured: None, arguments, folder };
        redis.listens().await;
        redis
    }

    /// Starts one with TLS by a certificate of `authority`, and an ACL user who may do what is documented.
    pub(super) async fn start_secured(authority: &Authority) -> Self {
        authority.certify("127.0.0.1");
        let file = |name: &str| authority.path(name).display().to_string();
        let rights = "user proxy on >word-of-the-proxy resetchannels ~siwa-proxy:* &siwa-proxy:* \
                      -@all +@read +@write +@scripting +@pubsub +@connection\n\
                      user default on nopass ~* &* +@all\n";
        std::fs::write(authority.path("users.acl"), rights).unwrap();
        let secured = free_address();
        let port = secured.port().to_string();
        let (certificate, key) = (file("server.pem"), file("server.key"));
        let (ca, users) = (file("authority.pem"), file("users.acl"));
        let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let acl = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no", "--aclfile", &users];
        let mut redis = Self::start(&[tls, acl].concat()).await;
        redis.secured = Some(secured);
        redis
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    pub(super) fn secured_url(&self) -> String {
        format!("rediss://{}/0", self.secured.expect("it was started with TLS"))
    }

    /// Ends it at once; what it held is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same place, empty.
    pub(crate) async fn restart(&mut self) {
        self.process = launch(&self.arguments, self.folder.path());
        self.listens().await;
    }

    /// Sends a command by hand, and returns what comes back.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let words: Vec<_> =
            words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        let command = format!("*{}\r\n{}", words.len(), words.concat());
        stream.write_all(command.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    pub(super) async fn holds(&self, key: &str) -> bool {
        self.command(&["EXISTS", key]).await == ":1\r\n"
    }

    async fn listens(&self) {
        let listens = async || TcpStream::connect(self.address).await.is_ok();
        eventually("Redis listens", listens).await;
    }
}

fn launch(arguments: &[String], folder: &Path) -> Process {
    let mut command = Command::new("redis-server");
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(&mut command)
}

/// A way to a server that can be cut: connections end, and new ones are ended at once, until it heals.
pub(super) struct Gate {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
}

impl Gate {
    pub(super) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = watch::Sender::new(false);
        let state = is_cut.subscribe();
        spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                spawn(async move {
                    if *state.borrow() {
                        return;
                    }
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Self { address, is_cut }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(super) fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}
