//! Bodies on their way: piece by piece, with trailers, in both directions, and what happens when they break off.

use std::{convert::Infallible, pin::Pin, task};

use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response, uri::PathAndQuery};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming},
    metadata::MetadataValue,
    transport::Channel,
};
use tower::Service;

use crate::support::{House, Log, Reply, application, open, read_head};

#[tokio::test]
async fn events_arrive_one_by_one_as_they_are_sent() {
    let (said, heard) = mpsc::channel::<&str>(1);
    let heard = std::sync::Mutex::new(Some(heard));
    let application = application(move |mut stream, _| {
        let heard = heard.lock().unwrap().take();
        async move {
            read_head(&mut stream).await.unwrap();
            let begin =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(begin.as_bytes()).await.unwrap();
            let mut heard = heard.unwrap();
            while let Some(event) = heard.recv().await {
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                stream.write_all(chunk.as_bytes()).await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let house = House::before(application, "").await;
    let mut stream = open(house.address).await;
    let request =
        format!("GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
    stream.write_all(request.as_bytes()).await.unwrap();
    // The head is here before there is any event, and each event before the next is sent.
    assert!(read_head(&mut stream).await.unwrap().contains("text/event-stream"));
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        said.send(event).await.unwrap();
        let mut chunk = vec![0; format!("{:x}\r\n{event}\r\n", event.len()).len()];
        stream.read_exact(&mut chunk).await.unwrap();
        assert!(String::from_utf8(chunk).unwrap().contains(event));
    }
    drop(said);
    let mut end = [0; 5];
    stream.read_exact(&mut end).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
}

#[tokio::test]
async fn an_upload_without_a_token_is_refused_before_its_body_is_invited() {
    let house = House::start().await;
    let mut stream = open(house.address).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn an_upload_with_a_token_is_invited_by_us_and_the_application_need_not() {
    let house = House::start().await;
    let mut stream = open(house.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        house.bearer()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let invitation = read_head(&mut stream).await.unwrap();
    assert!(invitation.starts_with("HTTP/1.1 100 "), "{invitation}");
    stream.write_all(b"hello").await.unwrap();
    let answer = read_head(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let request = house.application.only_request();
    assert_eq!(request.body, "hello");
    assert!(request.header("expect").is_empty());
}

#[tokio::test]
async fn an_answer_that_comes_before_the_upload_has_ended_is_passed_on() {
    let application = application(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        let early = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        stream.write_all(early.as_bytes()).await.unwrap();
        // Neither reads the body nor resets the connection before we have left.
        stream.shutdown().await.unwrap();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
    })
    .await;
    let house = House::before(application, "").await;
    let mut stream = open(house.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nContent-Length: 1000000\r\n\r\nbegun",
        house.bearer()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"no");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_for_the_client_too() {
    for (head, piece) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nhalf\r\n"),
    ] {
        let application = application(move |mut stream, _| async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(format!("{head}{piece}").as_bytes()).await.unwrap();
        })
        .await;
        let log = Log::default();
        let _until_the_end = log.listen();
        let house = House::before(application, "").await;
        let mut stream = open(house.address).await;
        let request =
            format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "));
        let id = Reply::parse(head.as_bytes()).header("x-request-id")[0].to_owned();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains("half") && !rest.ends_with("0\r\n\r\n"), "{rest}");

        let broken = "siwa_upstream_broken_responses_total{reason=\"broken\"}";
        assert_eq!(house.metric(broken).await, 1);
        let told = log.lines_with(&["WARN", "the application's response broke off", &id]);
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_the_length_they_tell() {
    let house = House::start().await;
    let bearer = house.bearer();
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", vec!["1234"]),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", vec![]),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", vec!["1234"]),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", vec![]),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", vec!["0"]),
    ] {
        house.application.answer(answer);
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
        );
        let reply = crate::support::exchange(house.address, request).await;
        assert_eq!(reply.header("content-length"), length, "{method} {answer}");
        assert_eq!(reply.body, "", "{method} {answer}");
    }
}

#[tokio::test]
async fn an_early_hint_is_dropped_and_never_taken_for_the_answer() {
    let house = House::start().await;
    house.application.answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    );
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "final"));
    assert!(reply.header("link").is_empty());
}

#[tokio::test]
async fn trailers_go_on_to_the_application_and_back() {
    let (tell, mut told) = mpsc::channel(1);
    let application = application(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            // Chunks and trailers end as heads do.
            tell.send(read_head(&mut stream).await.unwrap()).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let house = House::before(application, "").await;
    let mut stream = open(house.address).await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nTE: trailers\r\nTrailer: x-mine, x-apple-sub\r\n\
         Transfer-Encoding: chunked\r\nConnection: close, te\r\n\r\n2\r\nup\r\n0\r\nX-Mine: 8\r\nX-Apple-Sub: me\r\n\r\n",
        house.bearer()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let sent = told.recv().await.unwrap();
    assert!(sent.contains("x-mine: 8") && !sent.contains("x-apple-sub"), "{sent}");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.to_ascii_lowercase().ends_with("0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

/// Messages are bytes as they are: no code is generated, and none is needed.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The four kinds of calls, and one that fails.
#[derive(Clone, Debug)]
struct Echo;

type GrpcResponse = Response<tonic::body::Body>;
type Messages = Pin<Box<dyn tokio_stream::Stream<Item = Result<Bytes, Status>> + Send>>;

impl Service<Request<hyper::body::Incoming>> for Echo {
    type Response = GrpcResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<GrpcResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            let method = request.uri().path().to_owned();
            Ok(match method.as_str() {
                "/Echo/Unary" => grpc.unary(tower::service_fn(unary), request).await,
                "/Echo/Fails" => grpc.unary(tower::service_fn(fails), request).await,
                "/Echo/Upload" => grpc.client_streaming(tower::service_fn(upload), request).await,
                "/Echo/Download" => {
                    grpc.server_streaming(tower::service_fn(download), request).await
                }
                _ => grpc.streaming(tower::service_fn(both), request).await,
            })
        })
    }
}

async fn unary(request: tonic::Request<Bytes>) -> Result<tonic::Response<Bytes>, Status> {
    assert!(request.metadata().contains_key("x-apple-sub"));
    Ok(tonic::Response::new(request.into_inner()))
}

async fn fails(_: tonic::Request<Bytes>) -> Result<tonic::Response<Bytes>, Status> {
    Err(Status::new(Code::FailedPrecondition, "not today"))
}

async fn upload(
    request: tonic::Request<Streaming<Bytes>>,
) -> Result<tonic::Response<Bytes>, Status> {
    let (mut messages, mut all) = (request.into_inner(), Vec::new());
    while let Some(message) = messages.message().await? {
        all.extend_from_slice(&message);
    }
    Ok(tonic::Response::new(all.into()))
}

async fn download(request: tonic::Request<Bytes>) -> Result<tonic::Response<Messages>, Status> {
    let letters: Vec<_> = request.into_inner().chunks(1).map(Bytes::copy_from_slice).collect();
    let end = Err(Status::new(Code::DataLoss, "the end is lost"));
    let messages = tokio_stream::iter(letters.into_iter().map(Ok).chain([end]));
    Ok(tonic::Response::new(Box::pin(messages)))
}

async fn both(
    request: tonic::Request<Streaming<Bytes>>,
) -> Result<tonic::Response<Messages>, Status> {
    Ok(tonic::Response::new(Box::pin(request.into_inner())))
}

async fn grpc_house() -> (House, Channel) {
    let application = application(|stream, _| async move {
        let server = auto::Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(Echo);
        drop(server.http2_only().serve_connection(TokioIo::new(stream), service).await);
    })
    .await;
    let house = House::with(&format!("upstream.url = 'h2c://{application}'")).await;
    let channel = Channel::from_shared(format!("http://{}", house.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    (house, channel)
}

fn with_token<T>(house: &House, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let bearer = MetadataValue::try_from(house.bearer()).unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

#[tokio::test]
async fn all_four_kinds_of_grpc_calls_pass_with_their_trailers() {
    let (house, channel) = grpc_house().await;
    let mut grpc = tonic::client::Grpc::new(channel);

    grpc.ready().await.unwrap();
    let answer =
        grpc.unary(with_token(&house, Bytes::from("abc")), path("/Echo/Unary"), Plain).await;
    assert_eq!(answer.unwrap().into_inner(), "abc");

    grpc.ready().await.unwrap();
    let letters = tokio_stream::iter(["a", "b", "c"].map(Bytes::from));
    let answer =
        grpc.client_streaming(with_token(&house, letters), path("/Echo/Upload"), Plain).await;
    assert_eq!(answer.unwrap().into_inner(), "abc");

    grpc.ready().await.unwrap();
    let asking = with_token(&house, Bytes::from("abc"));
    let answer = grpc.server_streaming(asking, path("/Echo/Download"), Plain).await;
    let mut letters = answer.unwrap().into_inner();
    for letter in ["a", "b", "c"] {
        assert_eq!(letters.message().await.unwrap().unwrap(), letter);
    }
    let end = letters.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::DataLoss, "the end is lost"));

    grpc.ready().await.unwrap();
    let (say, said) = mpsc::channel(1);
    let asking = with_token(&house, ReceiverStream::new(said));
    let answer = grpc.streaming(asking, path("/Echo/Both"), Plain).await;
    let mut echoes = answer.unwrap().into_inner();
    for word in ["one", "two", "three"] {
        say.send(Bytes::from(word)).await.unwrap();
        assert_eq!(echoes.next().await.unwrap().unwrap(), word);
    }
    drop(say);
    assert!(echoes.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_grpc_error_reaches_the_caller_and_so_does_ours() {
    let (house, channel) = grpc_house().await;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let failed =
        grpc.unary(with_token(&house, Bytes::new()), path("/Echo/Fails"), Plain).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::FailedPrecondition, "not today"));

    grpc.ready().await.unwrap();
    let nobody = tonic::Request::new(Bytes::new());
    let refused = grpc.unary(nobody, path("/Echo/Unary"), Plain).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
