//! How an endpoint is reached, and by which client.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use reqwest::{Certificate, ClientBuilder, Proxy};
use url::Url;

use super::client;

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
    /// The longest that one fetch may take, by default.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The longest that connecting may take, TLS included.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
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
        Self { ca_file, proxy, timeout: Self::TIMEOUT }
    }

    /// A client that goes this way.
    pub(crate) fn client(&self) -> Result<ClientBuilder, HttpsError> {
        let mut builder = client().connect_timeout(Self::CONNECT_TIMEOUT).timeout(self.timeout);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_certificate_authorities_must_hold_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let options = HttpsOptions::new(Some(path.clone()), None);
        assert!(matches!(options.client(), Err(HttpsError::CaFile { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(options.client(), Err(HttpsError::NoCertificate { .. })));
    }

    #[test]
    fn a_proxy_speaks_http_and_its_password_does_not_print() {
        let through = |url: &str| HttpsOptions::new(None, Some(url.parse().unwrap()));
        let refused = through("socks5://127.0.0.1:9").client();
        assert!(matches!(refused, Err(HttpsError::ProxyScheme)));
        let options = through("http://jane:hunter2@127.0.0.1:9");
        assert!(options.client().is_ok());
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
