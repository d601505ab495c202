//! Applications that do exactly what a test makes them do.

use std::{convert::Infallible, net::SocketAddr};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::spawn;

/// An application that treats each connection as `handle` does, which is told how many came before.
pub(crate) async fn application<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            spawn(handle(stream, number));
        }
    });
    address
}

/// Reads to the end of a request's head; none at the end of the connection.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Serves HTTP/1 or HTTP/2 on `io`, whichever is spoken: every answer says what came, and how.
pub(crate) async fn serve_http(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let answer = |request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await.unwrap();
        let trailer = collected.trailers().map_or(0, http::HeaderMap::len);
        let said = format!(
            "{:?} {} {} host={:?} body={} trailers={trailer}",
            parts.version,
            parts.method,
            parts.uri,
            parts.headers.get("host"),
            String::from_utf8_lossy(&collected.to_bytes()),
        );
        Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(said)))
    };
    let server = auto::Builder::new(TokioExecutor::new());
    drop(server.serve_connection(TokioIo::new(io), service_fn(answer)).await);
}

/// An application that answers nothing, and tells when it was `asked` and when whoever asked has `left`.
pub(crate) async fn application_that_tells() -> (SocketAddr, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel(1);
    let address = application(move |mut stream, _| {
        let tell = tell.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            tell.send("asked").await.unwrap();
            drop(stream.read_to_end(&mut Vec::new()).await);
            tell.send("left").await.unwrap();
        }
    })
    .await;
    (address, told)
}

/// An endpoint that grants `token`, whoever asks for whatever, and its address.
pub(crate) async fn granting(token: serde_json::Value) -> String {
    let grant = serde_json::json!({
        "access_token": "a.0.b", "token_type": "Bearer", "refresh_token": "r.0.b", "id_token": token,
    });
    let content = grant.to_string();
    let address = application(move |mut stream, _| {
        let content = content.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                let length = content.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                stream.write_all((head + &content).as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    format!("http://{address}")
}
