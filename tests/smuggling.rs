//! Two programs that read the same bytes differently are how a request gets past the one that judges it.
//!
//! Attacks are a table: a name, the bytes on the socket, the statuses that come back, what the application receives and
//! whether the connection lives on. Adding an attack is adding a row. Every request in it carries a good token, so that
//! nothing but framing and parsing stands between it and the application.
//!
//! A connection that is said to live on is used once more, for a harmless request: an attack that left bytes behind
//! would spoil that one.

mod answers;
mod connections;
mod framing;
mod heads;
mod targets;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use siwa_proxy::sim::presets;

use crate::support::{House, PATIENCE, Request, get, open};

/// One way to try.
struct Case {
    name: String,
    /// The bytes, as the characters of Latin-1; `TOKEN` stands for a good one.
    sent: String,
    /// The statuses of all answers, in their order.
    answered: &'static [u16],
    /// All that the application receives, as [`seen`] tells it.
    received: Vec<String>,
    then: Then,
}

/// What becomes of the connection.
#[derive(Clone, Copy)]
enum Then {
    /// It takes another request.
    Kept,
    /// The proxy closes it.
    Closed,
    /// The client has said all that it says, and its request is not whole.
    HangUp,
}

/// A row of a table.
fn case(
    name: impl Into<String>,
    sent: impl Into<String>,
    answered: &'static [u16],
    received: &[&str],
    then: Then,
) -> Case {
    let received = received.iter().map(|&text| text.to_owned()).collect();
    Case { name: name.into(), sent: sent.into(), answered, received, then }
}

/// A row whose bytes are refused as no HTTP, so that whatever follows them is not looked at.
fn refused(name: impl Into<String>, sent: impl Into<String>) -> Case {
    let sent = sent.into() + SMUGGLED;
    case(name, sent, &[400], &[], Then::Closed)
}

/// A whole request to `/smuggled`.
const SMUGGLED: &str =
    "GET /smuggled HTTP/1.1\r\nHost: app.example\r\nAuthorization: TOKEN\r\n\r\n";

/// A request of one's own for `/a`, with these header lines, and what comes behind them.
fn post(lines: &str, rest: &str) -> String {
    message("POST /a", lines, rest)
}

fn message(start: &str, lines: &str, rest: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: app.example\r\nAuthorization: TOKEN\r\n{lines}\r\n{rest}")
}

/// A request with these header lines.
fn get_a(lines: &str) -> String {
    message("GET /a", lines, "")
}

/// A request, told in one line: its first line, its header lines in order of their names but for those that we add to
/// each, its body without chunks, and its trailers. `HTTP/1.1` and the usual host go without saying, and nothing else.
pub(crate) fn seen(request: &Request) -> String {
    let line = request.line().strip_suffix(" HTTP/1.1").unwrap_or_else(|| request.line());
    let mut lines: Vec<_> = request
        .head
        .lines()
        .skip(1)
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    let host = request.header("host").join(" and ");
    for ours in ours(&host) {
        match lines.iter().position(|line| line.starts_with(&ours)) {
            Some(at) => drop(lines.remove(at)),
            None => lines.push(format!("no {ours}")),
        }
    }
    lines.retain(|line| line != "host: app.example");
    lines.sort();
    let head = format!("{line} [{}]", lines.join(", "));
    let mut parts = vec![head, request.payload(), request.trailers().join(", ")];
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// How the lines begin that each request has, once.
fn ours(host: &str) -> [String; 9] {
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80_u16);
    [
        format!("x-apple-sub: {}", presets::SUBJECT),
        format!("x-apple-email: {}", presets::EMAIL),
        format!("forwarded: for=127.0.0.1;host=\"{host}\";proto=http"),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        format!("x-forwarded-host: {host}"),
        format!("x-forwarded-port: {port}"),
        "x-request-id: ".to_owned(),
        "via: ".to_owned(),
    ]
}

/// What a connection that lives on is used for.
const LAST: &str =
    "GET /last HTTP/1.1\r\nHost: app.example\r\nAuthorization: TOKEN\r\nConnection: close\r\n\r\n";

/// The attacks are made one after the other on one house, and all that went wrong is told at once.
async fn run(house: &House, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in &cases {
        let before = house.application.requests().len();
        let outcome = timeout(PATIENCE, attempt(house, case)).await;
        if let Err(what) = outcome.unwrap_or_else(|_| Err("it did not end".to_owned())) {
            wrong.push(format!("{}: {what}", case.name));
        }
        // What is still on its way is older than this.
        get(house.address, "/fence", &[("Authorization", &house.bearer())]).await;
        let mut received: Vec<_> =
            house.application.requests()[before..].iter().map(seen).collect();
        assert_eq!(received.pop().as_deref(), Some("GET /fence []"));
        let mut expected = case.received.clone();
        expected.extend(matches!(case.then, Then::Kept).then(|| "GET /last []".to_owned()));
        if received != expected {
            wrong.push(format!("{}: received\n    {received:?}, not\n    {expected:?}", case.name));
        }
    }
    let whole = house.application.requests().len();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    let expected: usize = cases.iter().map(Case::requests).sum();
    assert_eq!(whole, expected, "nothing came late");
    // A request that broke off on its way may have begun there, and nothing else may.
    for fragment in house.application.fragments() {
        assert!(fragment.starts_with("POST /broken HTTP/1.1\r\n"), "{fragment}");
        assert!(!fragment.contains("smuggled"), "{fragment}");
    }
}

impl Case {
    /// How many requests reach the application, the fence among them.
    fn requests(&self) -> usize {
        self.received.len() + 1 + usize::from(matches!(self.then, Then::Kept))
    }
}

async fn attempt(house: &House, case: &Case) -> Result<(), String> {
    let mut client = Client::connect(house).await;
    client.say(&case.sent).await;
    if matches!(case.then, Then::HangUp) {
        client.stream.shutdown().await.ok();
    }
    let mut answered = Vec::new();
    for _ in case.answered {
        answered.extend(client.status().await);
    }
    if matches!(case.then, Then::Kept) && answered == case.answered {
        client.say(LAST).await;
        match client.status().await {
            Some(200) => {}
            other => return Err(format!("the next request was answered {other:?}")),
        }
    }
    client.rest().await;
    while let Some(status) = client.status().await {
        answered.push(status);
    }
    if answered == case.answered {
        Ok(())
    } else {
        Err(format!("answered {answered:?}, not {:?}", case.answered))
    }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

/// One connection, and what was read from it and not looked at.
struct Client {
    stream: TcpStream,
    bearer: String,
    unread: Vec<u8>,
}

impl Client {
    async fn connect(house: &House) -> Self {
        let bearer = house.bearer();
        Self { stream: open(house.address).await, bearer, unread: Vec::new() }
    }

    async fn say(&mut self, text: &str) {
        let text = text.replace("TOKEN", &self.bearer);
        let bytes: Vec<u8> = text.chars().map(|char| u8::try_from(char).unwrap()).collect();
        // The other side may refuse before it has read everything.
        self.stream.write_all(&bytes).await.ok();
    }

    /// The status of the next answer, which is read whole.
    async fn status(&mut self) -> Option<u16> {
        Some(self.answer().await?.status)
    }

    /// The next answer; none if the connection ends before it does.
    async fn answer(&mut self) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?.to_ascii_lowercase();
        let status = head.get(9..12)?.parse().ok()?;
        let value = |name: &str| {
            head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let mut body = String::new();
        if matches!(status, 100..200 | 204 | 304) {
            // There is none, whatever the lines say.
        } else if let Some(length) = value("content-length:") {
            body = self.take(length.parse().ok()?).await?;
        } else if value("transfer-encoding:").is_some() {
            loop {
                let size = usize::from_str_radix(self.until(b"\r\n").await?.trim_end(), 16).ok()?;
                let chunk = self.take(size + 2).await?;
                if size == 0 {
                    break;
                }
                body += chunk.trim_end_matches("\r\n");
            }
        }
        Some(Answer { status, body })
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len()).await;
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<String> {
        while self.unread.len() < length {
            self.read().await?;
        }
        let taken: Vec<_> = self.unread.drain(..length).collect();
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    async fn read(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.unread).await.ok()?;
        (read > 0).then_some(())
    }

    /// Reads to the end of the connection, one way or the other.
    async fn rest(&mut self) {
        while self.read().await.is_some() {}
    }
}

/// Every table of requests.
fn tables() -> Vec<Vec<Case>> {
    vec![
        framing::lengths(),
        framing::codings(),
        framing::chunks(),
        framing::trailers(),
        heads::lines(),
        heads::sizes(),
        heads::spoofs(),
        targets::hosts(),
        targets::forms(),
        targets::under_one_rule(),
        targets::under_differing_rules(),
        connections::upgrades(),
        connections::nominations(),
        connections::pipelines(),
    ]
}

#[tokio::test]
async fn no_disagreement_about_a_length_smuggles_a_request() {
    run(&House::start().await, framing::lengths()).await;
}

#[tokio::test]
async fn no_disagreement_about_a_transfer_coding_smuggles_a_request() {
    run(&House::start().await, framing::codings()).await;
}

#[tokio::test]
async fn no_odd_chunk_smuggles_a_request() {
    run(&House::start().await, framing::chunks()).await;
}

#[tokio::test]
async fn no_odd_trailer_smuggles_a_request_or_a_header() {
    run(&House::start().await, framing::trailers()).await;
}

#[tokio::test]
async fn no_odd_line_is_read_in_two_ways() {
    run(&House::start().await, heads::lines()).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_nothing_of_it_arrives() {
    run(&House::start().await, heads::sizes()).await;
}

#[tokio::test]
async fn no_raw_spelling_of_a_header_spoofs_an_identity() {
    run(&House::start().await, heads::spoofs()).await;
}

#[tokio::test]
async fn there_is_one_host_and_everybody_reads_the_same() {
    run(&House::start().await, targets::hosts()).await;
}

#[tokio::test]
async fn every_form_of_target_is_forwarded_as_a_path_or_refused() {
    run(&House::start().await, targets::forms()).await;
}

#[tokio::test]
async fn under_one_rule_paths_pass_byte_for_byte() {
    run(&House::start().await, targets::under_one_rule()).await;
}

#[tokio::test]
async fn under_differing_rules_no_confused_path_passes() {
    let house = House::with(targets::DIFFERING_RULES).await;
    run(&house, targets::under_differing_rules()).await;
}

#[tokio::test]
async fn no_upgrade_opens_a_way_around_us() {
    run(&House::start().await, connections::upgrades()).await;
}

#[tokio::test]
async fn no_connection_line_changes_what_we_say() {
    run(&House::start().await, connections::nominations()).await;
}

#[tokio::test]
async fn every_request_of_a_pipeline_is_judged_by_itself() {
    run(&House::start().await, connections::pipelines()).await;
}

#[test]
fn the_tables_of_smuggling_are_as_long_as_they_should_be_and_name_each_row_once() {
    let cases = tables().into_iter().flatten();
    let mut names: Vec<_> = cases.map(|case| case.name).collect();
    let count = names.len();
    assert!(count >= 200, "{count}");
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}
