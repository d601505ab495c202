//! The demonstration does what it says: its own curl lines are taken from its output and sent.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use serde_json::json;
use siwa_proxy::sim::presets;
use tempfile::NamedTempFile;

use crate::support::{Reply, exchange, program::command};

/// A running demonstration, the curl lines that it printed, and its log.
pub(crate) struct Demo {
    child: Child,
    curl_lines: Vec<String>,
    page: String,
    web_app: String,
    log: NamedTempFile,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = command()
            .args(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--browser-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let printed: Vec<_> = output.take_while(|line| !line.starts_with("ready")).collect();
        let place = |name| {
            let place = printed.iter().find_map(|line| line.trim().strip_prefix(name));
            place.unwrap().split_whitespace().next().unwrap().to_owned()
        };
        let (page, web_app) = (place("web page"), place("web app"));
        let curl_lines = printed.into_iter().filter(|line| line.starts_with("curl ")).collect();
        Self { child, curl_lines, page, web_app, log }
    }

    /// Where the page is that it names.
    pub(crate) fn page(&self) -> &str {
        &self.page
    }

    /// The origin of the application that people sign in to.
    pub(crate) fn web_app(&self) -> &str {
        self.web_app.trim_end_matches('/')
    }

    /// Does what curl would do with the line of this number: GET, or POST if there is a body (`-d`).
    pub(crate) async fn send(&self, number: usize) -> Reply {
        let line = &self.curl_lines[number - 1];
        let (line, body) = line.split_once(" -d ").unwrap_or((line, ""));
        let mut words = line.split(" -H ");
        let url = words.next().unwrap().rsplit(' ').next().unwrap();
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let headers: Vec<_> =
            words.map(|word| word.trim_matches('\'').to_owned() + "\r\n").collect();
        let body = body.trim_matches('\'');
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
            headers.concat(),
            body.len()
        );
        exchange(address.parse::<SocketAddr>().unwrap(), request).await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The application was told who calls.
#[track_caller]
fn is_welcome(reply: &Reply) {
    let told = &reply.body;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(told.contains(presets::SUBJECT) && told.contains(presets::EMAIL), "{told}");
    assert!(!told.contains("somebody.else"), "{told}");
}

#[track_caller]
fn is_refused(reply: &Reply, code: &str) {
    assert_eq!((reply.status, &reply.json()["code"]), (401, &json!(code)), "{reply:?}");
}

#[tokio::test]
async fn the_curl_lines_show_a_whole_life_as_they_say() {
    let demo = Demo::start();
    assert_eq!(demo.curl_lines.len(), 9);
    is_welcome(&demo.send(1).await);
    is_refused(&demo.send(2).await, "no_credential");
    is_welcome(&demo.send(3).await);

    let signed_in = demo.send(4).await;
    assert_eq!(signed_in.status, 200, "{signed_in:?}");
    let user = &signed_in.json()["user"];
    assert_eq!((&user["id"], &user["email"]), (&json!(presets::SUBJECT), &json!(presets::EMAIL)));
    assert_eq!(user["name_unverified"]["given_name"], "Jane");
    assert!(signed_in.json()["access_token"].as_str().unwrap().starts_with("siwa_a."));
    let again = demo.send(4).await;
    is_refused(&again, "apple_invalid_grant");

    is_welcome(&demo.send(5).await);
    let renewed = demo.send(6).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert!(renewed.json()["access_token"].as_str().unwrap().starts_with("siwa_a."));
    let notified = demo.send(7).await;
    assert_eq!((notified.status, &notified.json()["statuses"]), (200, &json!([200])));
    is_refused(&demo.send(8).await, "token_revoked");
    is_refused(&demo.send(6).await, "token_revoked");
    is_refused(&demo.send(1).await, "token_revoked");
}

#[tokio::test]
async fn its_log_warns_of_nothing() {
    let demo = Demo::start();
    assert_eq!(demo.send(1).await.status, 200);
    let log = fs::read_to_string(demo.log.path()).unwrap();
    assert!(log.contains(r#""message":"listening""#) && !log.contains("WARN"), "{log}");
}
