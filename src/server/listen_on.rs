//! Where to listen, as it is written: `0.0.0.0:4180`, `unix:/run/siwa-proxy.sock`, `systemd`.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenOn {
    /// `192.0.2.1:4180`, `[::]:4180`: an address of this machine; port 0 is any free one.
    Tcp(SocketAddr),
    /// `unix:/run/siwa-proxy.sock`, or with the file's permissions `unix:/run/siwa-proxy.sock?mode=660`: a Unix domain
    /// socket.
    Unix {
        /// The socket's file. A stale one is replaced; it is removed at the end.
        path: PathBuf,
        /// The file's permissions: whoever may write to it may connect.
        mode: u32,
    },
    /// `systemd`: every socket that was handed over and is not named elsewhere; `systemd:0`: the first, in the order of the unit's `ListenStream=`
    /// lines.
    Systemd(Option<usize>),
}

impl ListenOn {
    /// Connections for the owner and the group, as the owner's group is whom the operator chose.
    pub(crate) const UNIX_MODE: u32 = 0o660;
}

/// Not a place to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// Neither an address nor one of the words.
    #[error("is neither an address with a port, nor unix:PATH, nor systemd")]
    Unknown,
    /// A Unix domain socket needs a path that does not depend on where we were started.
    #[error("needs an absolute path after unix:")]
    Path,
    /// Permissions are octal, and of nine bits.
    #[error("needs a mode such as 660")]
    Mode,
    /// Sockets that are handed over are numbered from 0.
    #[error("needs a number after systemd:, and the first is 0")]
    Index,
}

impl FromStr for ListenOn {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        if let Some(index) = text.strip_prefix("systemd:") {
            return index.parse().map(Some).map(Self::Systemd).map_err(|_no_number| NoPlace::Index);
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        text.parse().map(Self::Tcp).map_err(|_no_address| NoPlace::Unknown)
    }
}

fn unix(text: &str) -> Result<ListenOn, NoPlace> {
    let (path, mode) = text.split_once("?mode=").unwrap_or((text, ""));
    if !path.starts_with('/') {
        return Err(NoPlace::Path);
    }
    let mode = match mode {
        "" => ListenOn::UNIX_MODE,
        mode => u32::from_str_radix(mode, 8).map_err(|_no_number| NoPlace::Mode)?,
    };
    if mode > 0o777 {
        return Err(NoPlace::Mode);
    }
    Ok(ListenOn::Unix { path: path.into(), mode })
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, mode } => write!(f, "unix:{}?mode={mode:o}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(index)) => write!(f, "systemd:{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for text in ["0.0.0.0:4180", "[::1]:0", "systemd", "systemd:3", "unix:/run/a.sock?mode=600"]
        {
            assert_eq!(text.parse::<ListenOn>().unwrap().to_string(), text);
        }
        let socket: ListenOn = "unix:/run/a.sock".parse().unwrap();
        assert_eq!(socket, ListenOn::Unix { path: "/run/a.sock".into(), mode: 0o660 });
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for (text, expected) in [
            ("4180", NoPlace::Unknown),
            ("localhost:4180", NoPlace::Unknown),
            ("unix:relative.sock", NoPlace::Path),
            ("unix:/run/a.sock?mode=rw", NoPlace::Mode),
            ("unix:/run/a.sock?mode=4777", NoPlace::Mode),
            ("systemd:first", NoPlace::Index),
        ] {
            assert_eq!(text.parse::<ListenOn>(), Err(expected), "{text}");
        }
    }
}
