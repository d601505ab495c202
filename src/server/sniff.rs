//! HTTP/1 or HTTP/2 on cleartext: the first bytes decide, and are read again by whoever serves them.
//!
//! Our own and not hyper-util's `auto`, which has no timeout before the protocol is known (hyper#3962).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::write_through::write_through;

/// RFC 9113 §3.4: chosen so that no HTTP/1 server takes it for a request.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is certain: HTTP/1 as soon as one byte differs from the preface, or when the stream ends
/// within it. `None` when the stream ended before its first byte.
pub(super) async fn sniff<IO: AsyncRead + Unpin>(
    mut io: IO,
) -> io::Result<Option<(Protocol, Rewind<IO>)>> {
    let mut seen = [0; PREFACE.len()];
    let mut length = 0;
    let protocol = loop {
        let (known, rest) = seen.split_at_mut(length);
        if !PREFACE.starts_with(known) {
            break Protocol::Http1;
        }
        if rest.is_empty() {
            break Protocol::Http2;
        }
        match io.read(rest).await? {
            0 if length == 0 => return Ok(None),
            0 => break Protocol::Http1,
            n => length += n,
        }
    };
    let seen = Bytes::copy_from_slice(seen.get(..length).unwrap_or_default());
    Ok(Some((protocol, Rewind::over(io, seen))))
}

/// A stream whose first bytes were read already, and are to be read again.
#[derive(Debug)]
pub(super) struct Rewind<IO> {
    seen: Bytes,
    io: IO,
}

impl<IO> Rewind<IO> {
    /// `io`, behind what was `seen` of it.
    pub(super) const fn over(io: IO, seen: Bytes) -> Self {
        Self { seen, io }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewind<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen[..n]);
        self.seen.advance(n);
        Poll::Ready(Ok(()))
    }
}

write_through!(Rewind);

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(chunks: &[&[u8]], expected: Protocol) {
        let mut io = in_chunks(chunks);
        let (protocol, mut rewind) = sniff(&mut io).await.unwrap().unwrap();
        assert_eq!(protocol, expected, "{chunks:?}");
        let mut all = Vec::new();
        rewind.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, chunks.concat(), "every byte is read again");
    }

    /// Yields one chunk a read, then the end.
    fn in_chunks(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        chunks
            .iter()
            .rev()
            .fold(Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin>, |rest, chunk| {
                Box::new(AsyncReadExt::chain(io::Cursor::new(chunk.to_vec()), rest))
            })
    }

    #[tokio::test]
    async fn the_preface_is_http_2_however_it_is_cut() {
        check(&[PREFACE, b"frames"], Protocol::Http2).await;
        check(&[b"P", b"RI * HTTP/2.0\r\n\r\nS", b"M\r\n\r\nframes"], Protocol::Http2).await;
    }

    #[tokio::test]
    async fn one_byte_that_differs_is_http_1() {
        check(&[b"GET / HTTP/1.1\r\n\r\n"], Protocol::Http1).await;
        check(&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Protocol::Http1).await;
        check(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!"], Protocol::Http1).await;
    }

    #[tokio::test]
    async fn a_preface_that_breaks_off_is_http_1() {
        check(&[b"PRI * HT"], Protocol::Http1).await;
    }

    #[tokio::test]
    async fn a_stream_that_ends_at_once_is_no_connection() {
        assert!(sniff(tokio::io::empty()).await.unwrap().is_none());
    }
}
