//! The demonstration does what it says: its own curl lines are taken from its output and sent.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use siwa_proxy::sim::presets;
use tempfile::NamedTempFile;

use crate::support::{Reply, get, program::command};

/// A running demonstration, the curl lines that it printed, and its log.
struct Demo {
    child: Child,
    curl_lines: Vec<String>,
    log: NamedTempFile,
}

impl Demo {
    fn start() -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = command()
            .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let printed: Vec<_> = output.take_while(|line| !line.starts_with("ready")).collect();
        let curl_lines = printed.into_iter().filter(|line| line.starts_with("curl ")).collect();
        Self { child, curl_lines, log }
    }

    /// Does what curl would do with one of the lines.
    async fn send(&self, line: usize) -> Reply {
        let mut words = self.curl_lines[line].split(" -H ");
        let url = words.next().unwrap().rsplit(' ').next().unwrap();
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let headers: Vec<_> =
            words.map(|word| word.trim_matches('\'').split_once(": ").unwrap()).collect();
        get(address.parse::<SocketAddr>().unwrap(), &format!("/{path}"), &headers).await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn the_three_curl_lines_do_what_they_say() {
    let demo = Demo::start();
    assert_eq!(demo.curl_lines.len(), 3);

    let welcome = demo.send(0).await;
    assert_eq!(welcome.status, 200);
    assert!(
        welcome.body.contains(presets::SUBJECT) && welcome.body.contains(presets::EMAIL),
        "{}",
        welcome.body
    );

    let refused = demo.send(1).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("no_credential")));

    let spoofed = demo.send(2).await;
    assert_eq!(spoofed.status, 200);
    assert!(
        spoofed.body.contains(presets::SUBJECT) && !spoofed.body.contains("somebody.else"),
        "{}",
        spoofed.body
    );
}

#[tokio::test]
async fn its_log_warns_of_nothing() {
    let demo = Demo::start();
    assert_eq!(demo.send(0).await.status, 200);
    let log = fs::read_to_string(demo.log.path()).unwrap();
    assert!(log.contains(r#""message":"listening""#) && !log.contains("WARN"), "{log}");
}
