//! A socket to the application, and a way to ask whether it is still open while somebody else owns it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connected socket, shared between the connection that uses it and the [`Pulse`] that asks after it.
#[derive(Debug)]
pub(super) struct Socket(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(Kind::Tcp(stream)))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(Arc::new(Kind::Unix(stream)))
    }
}

impl Socket {
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(Arc::downgrade(&self.0))
    }
}

impl Kind {
    fn reference(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    fn try_read(&self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(into),
            Self::Unix(stream) => stream.try_read_buf(into),
        }
    }

    /// Notes that there is nothing left to read, without asking the kernel: the next read waits for its word.
    fn note_drained(&self) {
        let nothing_left = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let noted = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, nothing_left),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, nothing_left),
        };
        debug_assert!(noted.is_err(), "it only says what it was given");
    }

    /// To write one buffer costs the kernel less than to write several, of which there may be one.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => stream.try_write(one),
            (Self::Unix(stream), [one]) => stream.try_write(one),
            (Self::Tcp(stream), several) => stream.try_write_vectored(several),
            (Self::Unix(stream), several) => stream.try_write_vectored(several),
        }
    }
}

/// Tells whether an idle connection is still open.
///
/// A connection's own task learns that the peer has closed when the runtime next looks at the socket. A request that is
/// handed to it a moment before that goes into a dead connection, and from then on nobody can tell that it was not
/// taken. So the kernel is asked first, in the same breath.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Weak<Kind>);

impl Pulse {
    /// Whether the socket is open and nothing has come: on an idle HTTP/1.1 connection any byte is a farewell (a 408, a
    /// TLS alert), and one that is none costs us no more than a new connection.
    pub(super) fn is_open_and_silent(&self) -> bool {
        let Some(socket) = self.0.upgrade() else { return false };
        let peeked = socket.reference().peek(&mut [MaybeUninit::uninit(); 1]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let room = into.remaining();
            match self.0.try_read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    // Less than there was room for is all that there was; an end stays an end.
                    if outcome.as_ref().is_ok_and(|read| (1..room).contains(read)) {
                        self.0.note_drained();
                    }
                    return Poll::Ready(outcome.map(drop));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.reference().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_the_peer_closed_is_known_to_be_closed_before_the_runtime_has_looked() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket::from(UnixStream::from_std(ours).unwrap());
        let pulse = socket.pulse();
        assert!(pulse.is_open_and_silent());
        drop(theirs);
        assert!(!pulse.is_open_and_silent());
    }

    #[tokio::test]
    async fn a_socket_that_says_something_unasked_is_not_used_again() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (socket, mut theirs) = (Socket::from(ours), Socket::from(theirs));
        let pulse = socket.pulse();
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n").await.unwrap();
        assert!(!pulse.is_open_and_silent());
        drop(socket);
        assert!(!pulse.is_open_and_silent());
    }

    #[tokio::test]
    async fn what_is_written_is_read_and_an_end_is_an_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Socket::from(ours), Socket::from(theirs));
        ours.write_all(b"hello").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"hello");
    }
}
