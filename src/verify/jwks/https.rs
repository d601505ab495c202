//! Documents of Apple's, asked for over HTTPS: no redirects, nothing from the environment, a bounded body in bounded time.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{
    Certificate, Client, ClientBuilder, Proxy, Response,
    header::{self, HeaderMap},
    redirect,
};
use url::Url;

use super::{super::error::FetchFault, Fetch, JwkSet, JwksSource, TrustedUrl};

/// How an endpoint is reached where the direct way will not do. The default is the direct way, with the system's roots.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpsOptions {
    /// A PEM file of the only certificate authorities to believe, in place of the system's: for a proxy that opens TLS,
    /// or an endpoint of one's own.
    pub ca_file: Option<PathBuf>,
    /// The forward proxy to go through, `http://` or `https://`. The environment (`HTTPS_PROXY`) is never asked.
    pub proxy: Option<Url>,
    /// The longest that one fetch may take, connecting included: callers with an unknown key wait for it.
    pub timeout: Duration,
}

impl Default for HttpsOptions {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl HttpsOptions {
    /// The longest that one fetch may be given. The refresher gives up before that, after 10 seconds.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);

    /// The same, with another limit to the time that one fetch may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// With these certificate authorities and this proxy.
    #[must_use]
    pub const fn new(ca_file: Option<PathBuf>, proxy: Option<Url>) -> Self {
        Self { ca_file, proxy, timeout: HttpsJwks::TIMEOUT }
    }

    /// A client that goes this way, and follows no redirects. Installs aws-lc-rs as the process's TLS provider unless one is
    /// installed.
    pub(crate) fn client(&self) -> Result<ClientBuilder, HttpsError> {
        // Whoever came first has decided; TLS works with either.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(HttpsJwks::CONNECT_TIMEOUT)
            .timeout(self.timeout);
        if self.timeout.is_zero() || self.timeout > Self::LONGEST_TIMEOUT {
            return Err(HttpsError::Timeout { given: self.timeout });
        }
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
            .field("timeout", &self.timeout)
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
    /// The time that one fetch may take is none, or beyond all patience.
    #[error("a fetch cannot be given {given:?}: it needs some time, and at most an hour")]
    Timeout {
        /// What it was given.
        given: Duration,
    },
    /// The proxy is neither `http://` nor `https://`.
    #[error("a proxy's address must begin with http:// or https://")]
    ProxyScheme,
    /// The system's certificate roots cannot be loaded, or something said here makes no sense.
    #[error("the HTTPS client cannot be set up")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

impl From<reqwest::Error> for HttpsError {
    fn from(error: reqwest::Error) -> Self {
        Self::Client(error.into())
    }
}

/// Apple's edge has refused requests with no or a library's user agent (403).
const USER_AGENT: &str = concat!("siwa-proxy/", env!("CARGO_PKG_VERSION"));

/// One small document at one address.
#[derive(Clone, Debug)]
pub(super) struct Document {
    client: Client,
    url: TrustedUrl,
}

impl Document {
    pub(super) fn new(url: TrustedUrl, options: &HttpsOptions) -> Result<Self, HttpsError> {
        Ok(Self { client: options.client()?.build()?, url })
    }

    pub(super) async fn get(&self) -> Result<Bytes, FetchFault> {
        let request =
            self.client.get(self.url.as_url().clone()).header(header::ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unnamed)?;
        check_head(&response)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unnamed)? {
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
    if has_content_encoding(response.headers()) {
        return Err(FetchFault::ContentEncoding);
    }
    // Any other type may pass: what counts is whether a key set can be read, and static servers say what they like.
    if is_html(response.headers()) {
        return Err(FetchFault::Html);
    }
    Ok(())
}

/// Whether the body is compressed, or otherwise encoded (RFC 9110 §8.4).
pub(crate) fn has_content_encoding(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether the body is a web page.
pub(crate) fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|media_type| {
        let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"text/html")
            || essence.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

/// A key endpoint, asked over HTTPS: no redirects, no proxy from the environment, a bounded body in bounded time.
#[derive(Clone, Debug)]
pub struct HttpsJwks {
    document: Document,
}

impl HttpsJwks {
    /// The longest that one fetch may take, by default.
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

/// The fault without the address, whose query may be a secret; whoever set it knows it.
fn unnamed(error: reqwest::Error) -> FetchFault {
    FetchFault::transport(error.without_url())
}

impl JwksSource for HttpsJwks {
    fn fetch(&self) -> Fetch<'_> {
        Box::pin(self.document.get())
    }

    fn place(&self) -> String {
        self.document.url.as_url().to_string()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn with(options: &HttpsOptions) -> Result<HttpsJwks, HttpsError> {
        HttpsJwks::with_options(TrustedUrl::apple_keys(), options)
    }

    #[test]
    fn a_file_of_certificate_authorities_must_hold_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let options = HttpsOptions::new(Some(path.clone()), None);
        assert!(matches!(with(&options), Err(HttpsError::CaFile { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(with(&options), Err(HttpsError::NoCertificate { .. })));
    }

    #[test]
    fn a_proxy_speaks_http_and_its_password_does_not_print() {
        let through = |url: &str| HttpsOptions::new(None, Some(url.parse().unwrap()));
        assert!(matches!(with(&through("socks5://127.0.0.1:9")), Err(HttpsError::ProxyScheme)));
        let options = through("http://jane:hunter2@127.0.0.1:9");
        with(&options).unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn keys_are_fetched_through_the_proxy_that_is_set() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let source = with(&HttpsOptions::new(None, Some(proxy))).unwrap();
        let asked = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 39];
            connection.read_exact(&mut head).await.unwrap();
            connection.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let (asked, answer) = tokio::join!(asked, source.fetch());
        assert_eq!(asked, "CONNECT appleid.apple.com:443 HTTP/1.1\r");
        assert_eq!(answer.unwrap_err().code(), "transport");
    }
}
