//! Where key sets come from: over HTTPS, from a file, or from memory.

use std::{fmt, future::Future, path::PathBuf, pin::Pin, time::Duration};

use bytes::Bytes;
use reqwest::{Client, header, redirect};
use tokio::io::AsyncReadExt;
use url::{Host, Url};

use super::{super::error::FetchFault, JwkSet};

/// What [`JwksSource::fetch`] returns.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchFault>> + Send + 'a>>;

/// Somewhere to get the text of a JWK Set from. Implementations bound what they read ([`JwkSet::MAX_BYTES`]) and the
/// time they take: callers with an unknown key wait for them.
pub trait JwksSource: fmt::Debug + Send + Sync {
    /// Gets the set as it is now.
    fn fetch(&self) -> Fetch<'_>;
}

/// An address that secrets and keys may travel to and from: `https`, or `http` to this machine's loopback, which is what
/// simulators serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedUrl(Url);

impl TrustedUrl {
    /// Apple's keys (<https://developer.apple.com/documentation/signinwithapplerestapi/fetch-apple's-public-key-for-verifying-token-signature>).
    pub const APPLE_KEYS: &'static str = "https://appleid.apple.com/auth/keys";

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

/// A key endpoint, asked over HTTPS: no redirects, no proxy from the environment, a bounded body in bounded time.
#[derive(Clone, Debug)]
pub struct HttpsJwks {
    client: Client,
    url: TrustedUrl,
}

impl HttpsJwks {
    /// The longest that one fetch may take.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// Apple's edge has refused requests with no or a library's user agent (403).
    const USER_AGENT: &'static str = concat!("siwa-proxy/", env!("CARGO_PKG_VERSION"));

    /// A source that asks `url`. Installs aws-lc-rs as the process's TLS provider unless one is installed.
    ///
    /// # Errors
    ///
    /// When the system's certificate roots cannot be loaded.
    pub fn new(url: TrustedUrl) -> Result<Self, reqwest::Error> {
        // Whoever came first has decided; TLS works with either.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = Client::builder()
            .user_agent(Self::USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(Self::TIMEOUT)
            .build()?;
        Ok(Self { client, url })
    }

    async fn get(&self) -> Result<Bytes, FetchFault> {
        let request =
            self.client.get(self.url.as_url().clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(FetchFault::transport)?;
        if response.status() != 200 {
            return Err(FetchFault::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchFault::transport)? {
            if body.len().saturating_add(chunk.len()) > JwkSet::MAX_BYTES {
                return Err(FetchFault::Oversized { limit: JwkSet::MAX_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

impl JwksSource for HttpsJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(self.get())
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
    }
}
