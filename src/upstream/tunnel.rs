//! An upgraded stream: bytes both ways, until a side ends it, or its token does, or we do.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, copy_bidirectional, sink},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::frames::{FrameBoundaries, close_frame};
use crate::authn::{Standing, StandingEnd};

/// Why we end a stream, as RFC 6455 §7.4.1 numbers it.
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
/// IANA's registry of close codes, beyond RFC 6455.
const TRY_AGAIN_LATER: u16 = 1013;

/// How long a client may take to leave after we have said goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Both ends of a stream that is about to be.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) application: OnUpgrade,
    /// Whether its frames are WebSocket's.
    pub(super) is_websocket: bool,
    /// When its token ends, if that is to end it.
    pub(super) until: Option<Instant>,
    /// For whom it is, if it is to end with their sign-in.
    pub(super) standing: Option<Standing>,
    pub(super) stop: CancellationToken,
    pub(super) open: Gauge,
}

impl Tunnel {
    /// Passes bytes both ways until the end.
    pub(super) async fn run(self) {
        let Self { client, application, is_websocket, until, standing, stop, open } = self;
        let joined = async { tokio::try_join!(client, application) };
        let (client, application) = match stop.run_until_cancelled(joined).await {
            Some(Ok(ends)) => ends,
            Some(Err(error)) => return debug!(%error, "an upgrade came to nothing"),
            None => return,
        };
        let _open = Open::count(open);
        let frames = is_websocket.then(FrameBoundaries::default);
        let mut client = Followed { io: TokioIo::new(client), frames };
        let mut application: TokioIo<Upgraded> = TokioIo::new(application);
        let code = tokio::select! {
            ended = copy_bidirectional(&mut client, &mut application) => {
                return note_end(ended);
            }
            () = reached(until) => POLICY_VIOLATION,
            end = ended(standing) => match end {
                StandingEnd::Refused => POLICY_VIOLATION,
                StandingEnd::Unknown => TRY_AGAIN_LATER,
            },
            () = stop.cancelled() => GOING_AWAY,
        };
        drop(application);
        debug!(code, "ending an upgraded stream");
        // Whether the client still hears us changes nothing: the stream is over.
        timeout(FAREWELL, client.part(code)).await.ok();
    }
}

fn note_end(ended: io::Result<(u64, u64)>) {
    match ended {
        Ok((sent, received)) => debug!(sent, received, "an upgraded stream ended"),
        Err(error) => debug!(%error, "an upgraded stream broke off"),
    }
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn ended(standing: Option<Standing>) -> StandingEnd {
    match standing {
        Some(standing) => standing.ended().await,
        None => std::future::pending().await,
    }
}

/// The client's side. What goes there is followed, so that at the end we know where in it we stand.
struct Followed<IO> {
    io: IO,
    frames: Option<FrameBoundaries>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Followed<IO> {
    /// Ends the stream: with a Close frame where one can stand. Reads on until the client has left, as closing with bytes
    /// unread would take our last word back.
    async fn part(&mut self, code: u16) -> io::Result<()> {
        let can_speak = self.frames.as_ref().is_some_and(|f| f.at_boundary() && !f.is_closing());
        if can_speak {
            self.io.write_all(&close_frame(code)).await?;
        }
        self.io.shutdown().await?;
        copy(&mut self.io, &mut sink()).await?;
        Ok(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Followed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Followed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        if let (Some(frames), Some(written)) = (&mut self.frames, bytes.get(..written)) {
            frames.pass(written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Counts a stream for as long as it is held.
struct Open(Gauge);

impl Open {
    fn count(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// What a client gets to see of a stream on which `passed` went to it before we ended it.
    async fn seen(passed: &[u8], frames: Option<FrameBoundaries>) -> Vec<u8> {
        let (io, mut client) = duplex(1024);
        let mut followed = Followed { io, frames };
        followed.write_all(passed).await.unwrap();
        let reading = async {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            drop(client);
            all
        };
        let (_, seen) = tokio::join!(followed.part(POLICY_VIOLATION), reading);
        seen
    }

    #[tokio::test]
    async fn a_close_frame_is_said_between_frames_and_nowhere_else() {
        let frames = || Some(FrameBoundaries::default());
        let close = close_frame(1008);
        assert_eq!(seen(b"", frames()).await, close);
        assert_eq!(seen(&[0x81, 1, b'a'], frames()).await, [&[0x81, 1, b'a'], &close[..]].concat());
        assert_eq!(seen(&[0x81, 2, b'a'], frames()).await, [0x81, 2, b'a']);
        assert_eq!(seen(&[0x88, 0], frames()).await, [0x88, 0]);
        assert_eq!(seen(b"other", None).await, b"other");
    }
}
