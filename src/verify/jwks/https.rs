//! Documents of Apple's, asked for over HTTPS: no redirects, nothing from the environment, a bounded body in bounded time.

use std::{fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, header, redirect};
use url::Url;

use super::{super::error::FetchFault, Fetch, JwkSet, JwksSource, TrustedUrl};

/// How an endpoint is reached where the direct way will not do. The default is the direct way, with the system's roots.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HttpsOptions {
    /// A PEM file of the only certificate authorities to believe, in place of the system's: for a proxy that opens TLS,
    /// or an endpoint of one's own.
    pub ca_file: Option<PathBuf>,
    /// The forward proxy to go through, `http://` or `https://`. The environment (`HTTPS_PROXY`) is never asked.
    pub proxy: Option<Url>,
}

impl HttpsOptions {
    /// With these certificate authorities and this proxy.
    #[must_use]
    pub const fn new(ca_file: Option<PathBuf>, proxy: Option<Url>) -> Self {
        Self { ca_file, proxy }
    }

    fn apply(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, HttpsError> {
        if let Some(path) = &self.ca_file {
            builder = builder.tls_certs_only(read_certificates(path)?);
        }
        if let Some(url) = &self.proxy {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(HttpsError::ProxyScheme);
            }
            builder = builder.proxy(Proxy::all(url.clone())?);
        }
        Ok(builder)
    }
}

impl fmt::Debug for HttpsOptions {
    /// Without the proxy's address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_ref().map(|_| "..");
        f.debug_struct("HttpsOptions")
            .field("ca_file", &self.ca_file)
            .field("proxy", &proxy)
            .finish()
    }
}

fn read_certificates(path: &PathBuf) -> Result<Vec<Certificate>, HttpsError> {
    let pem =
        std::fs::read(path).map_err(|source| HttpsError::CaFile { path: path.clone(), source })?;
    let certificates = Certificate::from_pem_bundle(&pem)?;
    if certificates.is_empty() {
        return Err(HttpsError::NoCertificate { path: path.clone() });
    }
    Ok(certificates)
}

/// Why an HTTPS client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// The file of certificate authorities cannot be read.
    #[error("the certificate authorities in {path} cannot be read")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file of certificate authorities names none: nobody could ever be believed.
    #[error("{path} holds no certificate in PEM")]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The proxy is neither `http://` nor `https://`.
    #[error("a proxy's address must begin with http:// or https://")]
    ProxyScheme,
    /// The system's certificate roots cannot be loaded, or something said here makes no sense.
    #[error("the HTTPS client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// One small document at one address.
#[derive(Clone, Debug)]
pub(super) struct Document {
    client: Client,
    url: TrustedUrl,
}

impl Document {
    /// Apple's edge has refused requests with no or a library's user agent (403).
    const USER_AGENT: &'static str = concat!("siwa-proxy/", env!("CARGO_PKG_VERSION"));

    pub(super) fn new(url: TrustedUrl, options: &HttpsOptions) -> Result<Self, HttpsError> {
        // Whoever came first has decided; TLS works with either.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let builder = Client::builder()
            .user_agent(Self::USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(HttpsJwks::CONNECT_TIMEOUT)
            .timeout(HttpsJwks::TIMEOUT);
        Ok(Self { client: options.apply(builder)?.build()?, url })
    }

    pub(super) async fn get(&self) -> Result<Bytes, FetchFault> {
        let request =
            self.client.get(self.url.as_url().clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(FetchFault::transport)?;
        check_head(&response)?;
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

/// What can be refused before a byte of the body is read.
fn check_head(response: &Response) -> Result<(), FetchFault> {
    if response.status() != 200 {
        return Err(FetchFault::Status(response.status().as_u16()));
    }
    let encodings = response.headers().get_all(header::CONTENT_ENCODING);
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchFault::ContentEncoding);
    }
    // Any other type may pass: what counts is whether a key set can be read, and static servers say what they like.
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|media_type| {
        let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"text/html")
            || essence.eq_ignore_ascii_case(b"application/xhtml+xml")
    }) {
        return Err(FetchFault::Html);
    }
    Ok(())
}

/// A key endpoint, asked over HTTPS: no redirects, no proxy from the environment, a bounded body in bounded time.
#[derive(Clone, Debug)]
pub struct HttpsJwks {
    document: Document,
}

impl HttpsJwks {
    /// The longest that one fetch may take.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The longest that connecting may take, TLS included.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    /// A source that asks `url` directly. Installs aws-lc-rs as the process's TLS provider unless one is installed.
    ///
    /// # Errors
    ///
    /// When the system's certificate roots cannot be loaded.
    pub fn new(url: TrustedUrl) -> Result<Self, HttpsError> {
        Self::with_options(url, &HttpsOptions::default())
    }

    /// A source that asks `url` in the way that `options` say.
    ///
    /// # Errors
    ///
    /// [`HttpsError`] when the certificate authorities cannot be loaded or the proxy is no proxy.
    pub fn with_options(url: TrustedUrl, options: &HttpsOptions) -> Result<Self, HttpsError> {
        Ok(Self { document: Document::new(url, options)? })
    }
}

impl JwksSource for HttpsJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(self.document.get())
    }
}
