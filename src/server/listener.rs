//! Bound sockets, of whatever kind, as one kind.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;
use tracing::debug;

use crate::peers::NOWHERE;

use super::{Accept, ListenOn};

/// A bound socket that connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP, over IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix domain socket, and its file if it is ours to remove.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Goes when the socket goes.
        _file: Option<SocketFile>,
    },
}

impl Listener {
    /// Binds what `on` names. Needs a runtime. Sockets that systemd hands over are taken from `inherited`.
    ///
    /// # Errors
    ///
    /// The address is taken or forbidden, or there is no such inherited socket.
    pub(crate) async fn bind(on: &ListenOn, inherited: &mut Inherited) -> io::Result<Vec<Self>> {
        match on {
            ListenOn::Tcp(address) => Ok(vec![Self::Tcp(TcpListener::bind(*address).await?)]),
            ListenOn::Unix { path, mode } => Ok(vec![bind_unix(path, *mode)?]),
            ListenOn::Systemd(Some(index)) => Ok(vec![inherited.take(*index)?]),
            ListenOn::Systemd(None) => inherited.take_all(),
        }
    }

    /// The TCP address that connections come to; `None` for a Unix domain socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// Where it listens, for the log.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |at| at.to_string())
            }
            Self::Unix { listener, .. } => match listener.local_addr() {
                Ok(at) => at
                    .as_pathname()
                    .map_or_else(|| "unix".to_owned(), |path| format!("unix:{}", path.display())),
                Err(_) => "unix".to_owned(),
            },
        }
    }
}

impl Accept for Listener {
    type Io = Either<TcpStream, UnixStream>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Io, SocketAddr)>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(Accept::poll_accept(listener, cx))?;
                Ok((Either::Left(stream), peer))
            }
            Self::Unix { listener, .. } => {
                let (stream, _no_address) = ready!(listener.poll_accept(cx))?;
                Ok((Either::Right(stream), NOWHERE))
            }
        })
    }
}

/// The sockets that whoever started us had bound already (socket activation, `sd_listen_fds(3)`).
#[derive(Default)]
pub(crate) struct Inherited(Option<listenfd::ListenFd>);

impl Inherited {
    fn sockets(&mut self) -> &mut listenfd::ListenFd {
        // Looked for only when they are configured: `LISTEN_FDS` is then ours, and is taken out of the environment.
        self.0.get_or_insert_with(listenfd::ListenFd::from_env)
    }

    fn take_all(&mut self) -> io::Result<Vec<Listener>> {
        let left: Vec<_> = (0..self.sockets().len())
            .filter_map(|index| self.take_if_there(index).transpose())
            .collect::<io::Result<_>>()?;
        if left.is_empty() {
            Err(none_at("no socket was handed over (LISTEN_FDS)"))
        } else {
            Ok(left)
        }
    }

    fn take(&mut self, index: usize) -> io::Result<Listener> {
        let found = self.take_if_there(index)?;
        found.ok_or_else(|| none_at("no such socket was handed over, or it is named twice"))
    }

    fn take_if_there(&mut self, index: usize) -> io::Result<Option<Listener>> {
        let sockets = self.sockets();
        if let Ok(Some(listener)) = sockets.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            return Ok(Some(Listener::Tcp(TcpListener::from_std(listener)?)));
        }
        let Some(listener) = sockets.take_unix_listener(index)? else { return Ok(None) };
        listener.set_nonblocking(true)?;
        // Its file belongs to whoever bound it.
        Ok(Some(Listener::Unix { listener: UnixListener::from_std(listener)?, _file: None }))
    }
}

fn none_at(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::of(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Listener::Unix { listener, _file: Some(file) })
}

/// Removes what a process that died left at `path`: only a socket, and only one on which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type().is_socket(),
    };
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && StdUnixStream::connect(path).is_err_and(refused) {
        return fs::remove_file(path);
    }
    // It stays, and `bind` says that the address is in use.
    Ok(())
}

/// The file of a Unix domain socket, removed when dropped, if it still is the one that we made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity_of(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket there already.
        if identity_of(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            debug!(%error, "the socket's file could not be removed");
        }
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdUnixListener;

    use super::*;

    async fn bind(path: &Path) -> io::Result<Listener> {
        let on = ListenOn::Unix { path: path.to_owned(), mode: 0o600 };
        Listener::bind(&on, &mut Inherited::default()).await.map(|mut all| all.remove(0))
    }

    #[tokio::test]
    async fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.sock");
        let listener = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listener.describe(), format!("unix:{}", path.display()));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_on_which_nobody_listens_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists());
        bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_on_which_somebody_listens_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.sock");
        let _running = bind(&path).await.unwrap();
        assert_eq!(bind(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        StdUnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious.txt");
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.sock");
        let predecessor = bind(&path).await.unwrap();
        fs::rename(&path, folder.path().join("old.sock")).unwrap();
        let _successor = bind(&path).await.unwrap();
        drop(predecessor);
        assert!(path.exists());
    }
}
