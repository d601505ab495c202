//! HTTP/1 on one connection (RFC 9112).
//!
//! A head that is too large is answered 431 by hyper, and one that is none 400. For one that is late hyper closes without a
//! word; the 408 is ours. No service ever sees these: they have no body, no request id and no line in the log.
//! A keep-alive connection that nobody uses any more is closed without one: there is no request to answer
//! (RFC 9110 §15.5.9 allows a 408 there, but clients take it for the answer to the request they are just sending).

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use http_body::Body;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    time::{Instant, timeout},
};

use super::{
    ServerSettings,
    connection::{Attributed, HttpService, Io, Sniffed, Stop},
    head_clock::{HeadClock, WatchedIo},
    held::Held,
    seldom::Seldom,
};

/// hyper panics if its buffer is to be smaller.
const LEAST_BUFFER: usize = 8 * 1024;

/// How long we read on after our last word.
const LINGER: Duration = Duration::from_secs(2);

/// Our answer to a head that is not complete in time.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves requests until either side closes; on `stop.gracefully` until the one in flight is answered.
///
/// A head that is half here when the stop comes counts as a request in flight, for as long as it is not late.
pub(super) async fn serve<IO, S, B>(
    io: Held<Sniffed<IO>>,
    service: Attributed<S>,
    settings: &ServerSettings,
    accepted: Instant,
    stop: &Stop,
) -> hyper::Result<()>
where
    IO: Io,
    S: HttpService<B>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let clock = HeadClock::new(settings.header_read_timeout, accepted);
    let io = TokioIo::new(WatchedIo::new(io, clock.clone()));
    let mut connection = builder(settings, &clock).serve_connection(io, service).with_upgrades();
    let result = tokio::select! {
        biased; // What was sniffed is looked at before a stop closes the connection as unused.
        result = &mut connection => result,
        () = Seldom::new(stop.gracefully.cancelled()) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };

    if clock.is_idle() {
        return result;
    }
    // What was upgraded belongs to whoever asked for it.
    let Some(parts) = connection.into_parts() else { return result };
    let mut io = parts.io.into_inner();
    let late = result.as_ref().is_err_and(hyper::Error::is_timeout);
    // Whether the peer still hears us changes nothing: the connection is over.
    timeout(LINGER, part(&mut io, if late { REQUEST_TIMEOUT } else { b"" })).await.ok();
    result
}

fn builder(settings: &ServerSettings, clock: &HeadClock) -> Builder {
    let mut http1 = Builder::new();
    http1
        .timer(clock.clone())
        // The time between requests; the clock shortens it once a head has begun.
        .header_read_timeout(settings.keep_alive_timeout)
        .preserve_header_case(settings.preserve_header_case)
        .max_header_size(settings.max_header_bytes)
        .max_buf_size(settings.max_header_bytes.max(LEAST_BUFFER))
        // A peer that closes its side has left: its request is dropped, and so is the work behind it.
        .half_close(false);
    // Asked for the number that it takes anyway, hyper would find room for each head anew.
    if settings.max_headers != ServerSettings::MAX_HEADERS {
        http1.max_headers(settings.max_headers);
    }
    http1
}

/// Says `last_word`, then reads on until the peer has closed too. A socket that is closed with bytes unread resets the
/// connection, and a reset can overtake the answer (RFC 9112 §9.6): a client that is still sending its body would see
/// a broken connection in place of its 401.
async fn part<IO: Io>(io: &mut IO, last_word: &[u8]) -> io::Result<()> {
    io.write_all(last_word).await?;
    io.shutdown().await?;
    copy(io, &mut sink()).await?;
    Ok(())
}
