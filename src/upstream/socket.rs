//! A socket to the application, and a way to ask whether it is still open while somebody else owns it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connected socket, shared between the connection that uses it and the [`Pulse`] that asks after it.
///
/// Behind a lock, for which the two never wait: tokio's own reading and writing take a stream for themselves, and they alone
/// know of which word of the kernel's a short read is the end. To take off a later one would lose bytes that came meanwhile.
#[derive(Debug)]
pub(super) struct Socket(Arc<Mutex<Kind>>);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Kind::Tcp(stream))))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(Kind::Unix(stream))))
    }
}

impl Socket {
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(Arc::downgrade(&self.0))
    }

    fn lock(&self) -> MutexGuard<'_, Kind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn reference(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    fn as_reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }

    fn as_writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
        }
    }
}

/// Tells whether an idle connection is still open.
///
/// A connection's own task learns that the peer has closed when the runtime next looks at the socket. A request that is
/// handed to it a moment before that goes into a dead connection, and from then on nobody can tell that it was not
/// taken. So the kernel is asked first, in the same breath.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Weak<Mutex<Kind>>);

impl Pulse {
    /// Whether the socket is open and nothing has come: on an idle HTTP/1.1 connection any byte is a farewell (a 408, a
    /// TLS alert), and one that is none costs us no more than a new connection.
    pub(super) fn is_open_and_silent(&self) -> bool {
        let Some(socket) = self.0.upgrade() else { return false };
        // Whoever has it now reads something, which an idle one is not.
        let Ok(socket) = socket.try_lock() else { return false };
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
        self.lock().as_reader().poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().as_writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.lock();
        // To write one buffer costs the kernel less than to write several, of which there may be one.
        match slices {
            [one] => stream.as_writer().poll_write(cx, one),
            several => stream.as_writer().poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel has what was written, of either kind.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().as_writer().poll_shutdown(cx)
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

    /// What comes between a short read and the note that it was short is easily forgotten: nobody calls a second time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_comes_while_something_is_read_is_read_too() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Socket::from(ours), Socket::from(theirs));
        let rounds = 5_000_usize;
        let mut writing = tokio::task::JoinSet::new();
        writing.spawn(async move {
            for round in 0..rounds {
                theirs.write_all(b"a").await.unwrap();
                (0..round % 500).for_each(|_| std::hint::spin_loop());
                theirs.write_all(b"b").await.unwrap();
                theirs.read_exact(&mut [0; 1]).await.unwrap();
            }
        });
        for _ in 0..rounds {
            ours.read_exact(&mut [0; 2]).await.unwrap();
            ours.write_all(b"c").await.unwrap();
        }
        writing.join_next().await.unwrap().unwrap();
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
