//! Why there is no key to judge a token with.

use std::{error::Error, sync::Arc};

/// Why there is no key to judge with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysFault {
    /// No usable key set is in memory.
    #[error("no usable key set is in memory")]
    NoSet(#[source] Option<FetchFault>),
    /// The key is not in the set, and the set could not be brought up to date.
    #[error("the key is not in the set, and the set could not be brought up to date")]
    Unconfirmed(#[source] Option<FetchFault>),
}

/// How fetching a key set failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchFault {
    /// Nothing came back: no connection, a timeout, a broken transfer.
    #[error("the key set could not be fetched")]
    Transport(#[source] Arc<dyn Error + Send + Sync>),
    /// Another status than 200.
    #[error("the key endpoint answered with status {0}")]
    Status(u16),
    /// A web page, whatever the status: Apple's edge answers so in trouble, and so do captive portals.
    #[error("the key endpoint answered with an HTML page")]
    Html,
    /// Compressed, which we did not ask for: 64 KiB of it could be any length.
    #[error("the key endpoint answered with a content encoding that was not asked for")]
    ContentEncoding,
    /// Longer than any key set.
    #[error("the key set has more than {limit} bytes")]
    Oversized {
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// Not a JWK Set (RFC 7517 §5).
    #[error("the answer is not a JWK Set")]
    NotAJwkSet(#[source] Arc<dyn Error + Send + Sync>),
    /// A JWK Set in which no key can verify RS256.
    #[error("the key set holds no usable key ({skipped} skipped)")]
    NoUsableKey {
        /// How many keys were there.
        skipped: usize,
    },
    /// The source panicked: a mistake in its code. It is asked again, later.
    #[error("the key source panicked")]
    Panicked,
}

impl FetchFault {
    /// Wraps what a source's own transport reports.
    pub fn transport(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(Arc::from(error.into()))
    }

    /// The stable code, for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Status(_) => "status",
            Self::Html => "html",
            Self::ContentEncoding => "content_encoding",
            Self::Oversized { .. } => "oversized",
            Self::NotAJwkSet(_) => "not_a_jwk_set",
            Self::NoUsableKey { .. } => "no_usable_key",
            Self::Panicked => "panicked",
        }
    }
}
