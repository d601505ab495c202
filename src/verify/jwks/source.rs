//! Where key sets come from: a file, or memory; over HTTPS is `https.rs`.

use std::{fmt, future::Future, path::PathBuf, pin::Pin};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use url::{Host, Url};

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

/// An address that secrets and keys may travel to and from: `https`, or `http` to this machine's loopback, which is what
/// simulators serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedUrl(Url);

impl TrustedUrl {
    /// Apple's keys (<https://developer.apple.com/documentation/signinwithapplerestapi/fetch-apple's-public-key-for-verifying-token-signature>).
    pub const APPLE_KEYS: &'static str = "https://appleid.apple.com/auth/keys";
    /// Where Apple is asked for tokens, without the path.
    pub const APPLE: &'static str = "https://appleid.apple.com";
    /// Apple's discovery document (OpenID Connect Discovery 1.0 §4).
    pub const APPLE_DISCOVERY: &'static str =
        "https://appleid.apple.com/.well-known/openid-configuration";

    /// The address of Apple's keys.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple_keys() -> Self {
        Self::new(Self::APPLE_KEYS.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }

    /// Where Apple is asked for tokens.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple() -> Self {
        Self::new(Self::APPLE.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }

    /// The address of Apple's discovery document, which says nothing that we act on: see [`CanarySettings`].
    ///
    /// [`CanarySettings`]: super::CanarySettings
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple_discovery() -> Self {
        Self::new(Self::APPLE_DISCOVERY.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }

    /// Takes `url` if it can be trusted on its way; `None` for plain `http` to elsewhere, and for other schemes.
    #[must_use]
    pub fn new(url: Url) -> Option<Self> {
        let loopback = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let trusted = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        trusted.then_some(Self(url))
    }

    /// The address.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_trusted_to_loopback_only() {
        let trusted = |url: &str| TrustedUrl::new(url.parse().unwrap()).is_some();
        for url in [
            "https://appleid.apple.com/auth/keys",
            "http://127.0.0.1:9/keys",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(trusted(url), "{url}");
        }
        for url in [
            "http://appleid.apple.com/",
            "http://localhost.evil.example/",
            "http://10.0.0.1/",
            "file:///keys",
            "ftp://127.0.0.1/",
        ] {
            assert!(!trusted(url), "{url}");
        }
        assert_eq!(TrustedUrl::apple_keys().as_url().as_str(), TrustedUrl::APPLE_KEYS);
        assert_eq!(TrustedUrl::apple().as_url().as_str(), "https://appleid.apple.com/");
        assert_eq!(TrustedUrl::apple_discovery().as_url().as_str(), TrustedUrl::APPLE_DISCOVERY);
    }
}
