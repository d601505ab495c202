//! A stream that keeps its connection's place for as long as anybody holds it, a tunnel after an upgrade included.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{connection::Open, write_through::write_through};

/// `io`, with the permit that it was accepted under.
#[derive(Debug)]
pub(super) struct Held<IO> {
    pub(super) io: IO,
    pub(super) _open: Open,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Held<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

write_through!(Held);
