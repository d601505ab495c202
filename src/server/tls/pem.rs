//! Where PEM is.

use std::{fmt, path::PathBuf, sync::Arc};

use super::files::TlsError;

/// Where PEM (RFC 7468) is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Pem {
    /// In a file, which may hold another one at the next look.
    File(PathBuf),
    /// Here, where it stays as it is.
    Text(Arc<str>),
}

impl Pem {
    pub(super) async fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Text(text) => Ok(text.as_bytes().to_vec()),
            Self::File(path) => tokio::fs::read(path)
                .await
                .map_err(|source| TlsError::Read { path: path.clone(), source }),
        }
    }
}

/// The place: what is in it may be a key.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("what is in place of a file"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
