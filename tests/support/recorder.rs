//! An application that records what reaches it, byte for byte, and answers what it is told to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{client::unchunk, spawn};

/// What the application answers unless told otherwise.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// No HTTP message: no answer at all.
const STALL: &str = "\0";

/// The recording application.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    requests: watch::Sender<Vec<Request>>,
    fragments: watch::Sender<Vec<String>>,
    connections: watch::Sender<usize>,
    answer: Arc<Mutex<Option<String>>>,
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The request line and the header lines, without the empty line.
    pub(crate) head: String,
    /// The body as it came, chunk framing included.
    pub(crate) body: String,
}

impl Request {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// All header lines whose name reads as `name`, in the order of arrival.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The body without its chunk framing.
    pub(crate) fn payload(&self) -> String {
        match self.header("transfer-encoding")[..] {
            [] => self.body.clone(),
            _ => unchunk(&self.body).0,
        }
    }

    /// The trailer lines.
    pub(crate) fn trailers(&self) -> Vec<&str> {
        match self.header("transfer-encoding")[..] {
            [] => Vec::new(),
            _ => unchunk(&self.body).1.lines().filter(|line| !line.is_empty()).collect(),
        }
    }

    /// The names of all header lines, in lower case and sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .head
            .lines()
            .skip(1)
            .map(|line| line.split(':').next().unwrap().to_ascii_lowercase())
            .collect();
        names.sort();
        names
    }
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Self {
            address,
            requests: watch::Sender::new(Vec::new()),
            fragments: watch::Sender::new(Vec::new()),
            connections: watch::Sender::new(0),
            answer: Arc::default(),
        };
        let accepting = recorder.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.send_modify(|count| *count += 1);
                spawn(accepting.clone().serve(stream));
            }
        });
        recorder
    }

    /// Answers `text`, an HTTP message, from here on. An empty text closes the connection instead.
    pub(crate) fn answer(&self, text: &str) {
        *self.answer.lock().unwrap() = Some(text.to_owned());
    }

    /// Takes requests and answers none, from here on.
    pub(crate) fn stall(&self) {
        self.answer(STALL);
    }

    /// Everything that arrived so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// What was left over when a connection ended: a request that is not whole, or bytes that are none.
    pub(crate) fn fragments(&self) -> Vec<String> {
        self.fragments.borrow().clone()
    }

    /// The one request that arrived.
    pub(crate) fn only_request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// Waits until `count` requests have arrived whole.
    pub(crate) async fn received(&self, count: usize) {
        let mut watching = self.requests.subscribe();
        let arrived = watching.wait_for(|requests| requests.len() >= count);
        drop(
            tokio::time::timeout(super::PATIENCE, arrived)
                .await
                .expect("the request arrives")
                .unwrap(),
        );
    }

    /// How many connections have been made.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until `count` connections have been made.
    pub(crate) async fn connected(&self, count: usize) {
        let mut watching = self.connections.subscribe();
        let connected = watching.wait_for(|connections| *connections >= count);
        drop(
            tokio::time::timeout(super::PATIENCE, connected)
                .await
                .expect("the connection comes")
                .unwrap(),
        );
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut pending = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut pending).await {
            self.requests.send_modify(|requests| requests.push(request));
            let answer = self.answer.lock().unwrap().clone().unwrap_or_else(|| OK.to_owned());
            if answer == STALL {
                continue;
            }
            if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if !pending.is_empty() {
            let fragment = String::from_utf8_lossy(&pending).into_owned();
            self.fragments.send_modify(|fragments| fragments.push(fragment));
        }
    }
}

/// Reads one request from `stream` and what was read before it; none at the end of the connection.
async fn read_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Request> {
    let head_end = read_until(stream, pending, 0, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&pending[..head_end - 4]).into_owned();
    let mut request = Request { head, body: String::new() };
    let end = if request.header("transfer-encoding").is_empty() {
        let length =
            request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
        read_to(stream, pending, head_end + length).await?
    } else {
        read_chunks(stream, pending, head_end).await?
    };
    request.body = String::from_utf8_lossy(&pending[head_end..end]).into_owned();
    pending.drain(..end);
    Some(request)
}

/// Reads chunks from `at` on, and trailers to the empty line. What is no chunk ends the connection.
async fn read_chunks(
    stream: &mut TcpStream,
    pending: &mut Vec<u8>,
    mut at: usize,
) -> Option<usize> {
    loop {
        let data = read_until(stream, pending, at, b"\r\n").await?;
        let size = chunk_size(&pending[at..data])?;
        if size == 0 {
            // The line end behind the size is also the one before an empty line.
            return read_until(stream, pending, data - 2, b"\r\n\r\n").await;
        }
        at = read_to(stream, pending, data + size + 2).await?;
        pending[..at].ends_with(b"\r\n").then_some(())?;
    }
}

/// The size that a chunk's first line tells: hexadecimal digits and nothing else.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| usize::from_str_radix(digits, 16).ok())?
}

async fn read_until(
    stream: &mut TcpStream,
    pending: &mut Vec<u8>,
    from: usize,
    end: &[u8],
) -> Option<usize> {
    loop {
        if let Some(at) = pending[from..].windows(end.len()).position(|window| window == end) {
            return Some(from + at + end.len());
        }
        read_some(stream, pending).await?;
    }
}

async fn read_to(stream: &mut TcpStream, pending: &mut Vec<u8>, end: usize) -> Option<usize> {
    while pending.len() < end {
        read_some(stream, pending).await?;
    }
    Some(end)
}

async fn read_some(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(pending).await.ok()?;
    (read > 0).then_some(())
}
