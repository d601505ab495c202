//! Why a handshake failed, in few words that can be a label.

use std::{fmt, io};

use rustls::Error as TlsError;

/// Why a handshake failed.
#[derive(Debug)]
pub(in crate::server) enum HandshakeFault {
    /// It was not over in time.
    TimedOut,
    /// The peer left, or the network broke.
    Closed,
    /// What came is not TLS: often plain HTTP on the wrong port.
    NotTls(TlsError),
    /// No version, cipher suite or protocol that both sides speak.
    Incompatible(TlsError),
    /// A client certificate is required, and there was none.
    NoCertificate,
    /// The client's certificate is not one that we trust.
    Certificate(TlsError),
    /// The client did not like what we showed: often an authority that it does not know.
    Refused(TlsError),
    /// Anything else.
    Other(io::Error),
}

impl HandshakeFault {
    /// The label.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::NotTls(_) => "not_tls",
            Self::Incompatible(_) => "incompatible",
            Self::NoCertificate => "no_certificate",
            Self::Certificate(_) => "bad_certificate",
            Self::Refused(_) => "refused",
            Self::Other(_) => "other",
        }
    }
}

impl From<io::Error> for HandshakeFault {
    fn from(error: io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            let left = matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe);
            return if left { Self::Closed } else { Self::Other(error) };
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum with dozens of variants, of which few are worth telling apart"
        )]
        match tls.clone() {
            tls @ (TlsError::InvalidMessage(_)
            | TlsError::InappropriateMessage { .. }
            | TlsError::InappropriateHandshakeMessage { .. }) => Self::NotTls(tls),
            tls @ (TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol) => {
                Self::Incompatible(tls)
            }
            TlsError::NoCertificatesPresented => Self::NoCertificate,
            tls @ TlsError::InvalidCertificate(_) => Self::Certificate(tls),
            tls @ TlsError::AlertReceived(_) => Self::Refused(tls),
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for HandshakeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the TLS handshake was not over in time",
            Self::Closed => "the connection ended within the TLS handshake",
            Self::NotTls(_) => "what came is not TLS",
            Self::Incompatible(_) => "both sides have no TLS version, cipher or protocol in common",
            Self::NoCertificate => "a client certificate is required, and there was none",
            Self::Certificate(_) => "the client certificate is not one that we trust",
            Self::Refused(_) => "the client ended the TLS handshake with an alert",
            Self::Other(_) => "the TLS handshake failed",
        })
    }
}

impl std::error::Error for HandshakeFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TimedOut | Self::Closed | Self::NoCertificate => None,
            Self::NotTls(tls)
            | Self::Incompatible(tls)
            | Self::Certificate(tls)
            | Self::Refused(tls) => Some(tls),
            Self::Other(error) => Some(error),
        }
    }
}
