//! A small application that answers with what it was asked: the upstream of the demo and of our tests.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::{
    ANY_LOOPBACK_PORT,
    answer::{Answer, BODY_LIMIT, Dropped, Refusal, respond},
    host::{Application, Host, StartError},
};

/// Requests that are remembered; older ones are forgotten.
const REMEMBERED: usize = 1000;

/// A request as it arrived, and the JSON that it was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Echoed {
    /// The method.
    pub method: String,
    /// The path and the query, byte for byte.
    pub target: String,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub version: String,
    /// The authority of the request's target, which is where HTTP/2 has the host.
    pub authority: Option<String>,
    /// The headers, in the order in which their names first came, duplicates kept. Bytes that are not UTF-8 are
    /// replaced.
    pub headers: Vec<(String, String)>,
    /// Bytes in the body.
    pub body_length: u64,
    /// The body, if it is UTF-8 and has no more than 64 KiB.
    pub body: Option<String>,
    /// The trailers, like the headers.
    pub trailers: Vec<(String, String)>,
}

impl Echoed {
    /// The values of the header `name` (lower case), one by one.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A running echo, over HTTP/1 and cleartext HTTP/2. Dropping it stops it.
#[derive(Debug)]
pub struct Echo {
    host: Host,
    received: Arc<Received>,
}

type Received = Mutex<VecDeque<Echoed>>;

impl Echo {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when there is no port to be had.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_on(ANY_LOOPBACK_PORT).await
    }

    /// Starts on `address`; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when the address cannot be listened on.
    pub async fn start_on(address: SocketAddr) -> Result<Self, StartError> {
        let received = Arc::new(Received::default());
        let host = Host::start(address, application(Arc::clone(&received))).await?;
        Ok(Self { host, received })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Where it listens, as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The last thousand requests, oldest first. One is noted once its whole body is here, before it is answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Echoed> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Ends every connection and refuses new ones, until [`restart`](Self::restart).
    pub async fn stop(&self) {
        self.host.stop().await;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when another program has taken the port meanwhile.
    pub async fn restart(&self) -> Result<(), StartError> {
        self.host.restart().await
    }
}

fn application(received: Arc<Received>) -> Application {
    Arc::new(move |request| {
        let received = Arc::clone(&received);
        Box::pin(async move { answer(&received, request).await })
    })
}

async fn answer(received: &Received, request: Request<Incoming>) -> Answer {
    let echoed = read(request).await?;
    let json = serde_json::to_vec(&echoed).map(|mut line| {
        line.push(b'\n');
        line
    });
    remember(received, echoed);
    Ok(match json {
        Ok(json) => respond(StatusCode::OK, "application/json", json),
        Err(error) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).render(),
    })
}

fn remember(received: &Received, echoed: Echoed) {
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    if received.len() == REMEMBERED {
        received.pop_front();
    }
    received.push_back(echoed);
}

async fn read(request: Request<Incoming>) -> Result<Echoed, Dropped> {
    let (parts, body) = request.into_parts();
    let ReadBody { length, start, trailers } = read_body(body).await?;
    let target =
        parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
    Ok(Echoed {
        method: parts.method.to_string(),
        target,
        version: format!("{:?}", parts.version),
        authority: parts.uri.authority().map(ToString::to_string),
        headers: list(&parts.headers),
        body_length: length,
        body: start.and_then(|bytes| String::from_utf8(bytes).ok()),
        trailers: list(&trailers),
    })
}

struct ReadBody {
    length: u64,
    /// The body, unless it was too long to keep.
    start: Option<Vec<u8>>,
    trailers: HeaderMap,
}

/// Reads to the end, whatever the length, and keeps what is small.
async fn read_body(mut body: Incoming) -> Result<ReadBody, Dropped> {
    let mut read = ReadBody { length: 0, start: Some(Vec::new()), trailers: HeaderMap::new() };
    while let Some(frame) = body.frame().await {
        // The client went away: there is nobody to answer.
        let Ok(frame) = frame else { return Err(Dropped) };
        match frame.into_data() {
            Ok(piece) => {
                read.length += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                read.start = read.start.filter(|start| start.len() + piece.len() <= BODY_LIMIT);
                if let Some(start) = &mut read.start {
                    start.extend_from_slice(&piece);
                }
            }
            Err(frame) => read.trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(read)
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};

    use super::{super::tests::send, *};

    #[tokio::test]
    async fn the_echo_says_what_it_was_asked() {
        let echo = Echo::start().await.unwrap();
        let request = Request::put(format!("{}/a//b/%2e?q=%20&q", echo.url()))
            .header("x-apple-sub", "one")
            .header("x_apple_sub", "two")
            .header("x-apple-sub", "three")
            .body(Full::from("hello"))
            .unwrap();

        let (parts, json) = send(request).await.unwrap();

        let echoed: Echoed = serde_json::from_slice(&json).unwrap();
        assert_eq!(parts.status, StatusCode::OK);
        assert_eq!((echoed.method.as_str(), echoed.target.as_str()), ("PUT", "/a//b/%2e?q=%20&q"));
        assert_eq!(echoed.version, "HTTP/1.1");
        assert_eq!(echoed.header("x-apple-sub").collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!(echoed.header("x_apple_sub").collect::<Vec<_>>(), ["two"]);
        assert_eq!((echoed.body_length, echoed.body.as_deref()), (5, Some("hello")));
        assert_eq!(echo.requests(), [echoed]);
    }

    #[tokio::test]
    async fn cleartext_http_2_is_spoken_too() {
        let echo = Echo::start().await.unwrap();
        let client =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
        let request = Request::get(format!("{}/two", echo.url())).body(Full::default()).unwrap();

        client.request(request).await.unwrap();

        let [echoed] = &echo.requests()[..] else { panic!("one request was sent") };
        assert_eq!((echoed.version.as_str(), echoed.target.as_str()), ("HTTP/2.0", "/two"));
        assert_eq!(echoed.authority, Some(echo.address().to_string()));
    }

    #[tokio::test]
    async fn a_body_that_is_long_or_no_text_is_counted_and_left_out() {
        let echo = Echo::start().await.unwrap();
        for (body, kept) in [
            (vec![b'x'; BODY_LIMIT], true),
            (vec![b'x'; BODY_LIMIT + 1], false),
            (vec![b'x'; 3 * BODY_LIMIT], false),
            (vec![0xff], false),
        ] {
            let length = u64::try_from(body.len()).unwrap();
            send(Request::post(echo.url()).body(Full::from(body)).unwrap()).await.unwrap();
            let echoed = echo.requests().pop().unwrap();
            assert_eq!((echoed.body_length, echoed.body.is_some()), (length, kept));
        }
    }

    #[test]
    fn only_the_last_thousand_requests_are_remembered() {
        let received = Received::default();
        for number in 0..=REMEMBERED {
            let echoed = Echoed {
                method: "GET".to_owned(),
                target: format!("/{number}"),
                version: "HTTP/1.1".to_owned(),
                authority: None,
                headers: Vec::new(),
                body_length: 0,
                body: None,
                trailers: Vec::new(),
            };
            remember(&received, echoed);
        }
        let received = received.lock().unwrap();
        assert_eq!((received.len(), received[0].target.as_str()), (REMEMBERED, "/1"));
    }
}
