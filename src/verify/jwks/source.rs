//! Where key sets come from: a file, or memory; over HTTPS is `https.rs`.

use std::{fmt, future::Future, path::PathBuf, pin::Pin};

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::{super::error::FetchFault, JwkSet};

/// What [`JwksSource::fetch`] returns.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchFault>> + Send + 'a>>;

/// Somewhere to get the text of a JWK Set from. Implementations bound what they read
/// ([`JwksSettings::MAX_BYTES`](super::JwksSettings::MAX_BYTES)) and the time they take: callers with an unknown key wait for them.
pub trait JwksSource: fmt::Debug + Send + Sync {
    /// Gets the set as it is now.
    fn fetch(&self) -> Fetch<'_>;

    /// Where the set comes from, the same after a restart. What another place published is not taken from disk: whoever
    /// leaves a place leaves its keys. Nothing, where the source itself tells one place from another.
    fn place(&self) -> String {
        String::new()
    }
}

/// A JWK Set in a file, read again at each refresh.
#[derive(Clone, Debug)]
pub struct FileJwks {
    path: PathBuf,
}

impl FileJwks {
    /// A source that reads `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    async fn read(&self) -> Result<Bytes, FetchFault> {
        let file = tokio::fs::File::open(&self.path).await.map_err(FetchFault::transport)?;
        let mut text = Vec::new();
        // One byte past the limit is enough to see that it is passed.
        let limit = u64::try_from(JwkSet::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut text).await.map_err(FetchFault::transport)?;
        Ok(text.into())
    }
}

impl JwksSource for FileJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(self.read())
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// A JWK Set that is at hand, for offline work.
#[derive(Clone, Debug)]
pub struct FixedJwks {
    text: Bytes,
}

impl FixedJwks {
    /// A source that always answers `text`.
    #[must_use]
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self { text: text.into() }
    }
}

impl JwksSource for FixedJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(std::future::ready(Ok(self.text.clone())))
    }
}
