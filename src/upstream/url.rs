//! Where the application is, and which protocol is spoken there.

use std::path::{Path, PathBuf};

use http::{
    HeaderValue,
    uri::{Authority, Scheme},
};
use url::Url;

/// Where the application is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamUrl {
    pub(super) remote: Remote,
    scheme: UrlScheme,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// A host and a port.
    Tcp(Authority),
    /// A Unix domain socket.
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrlScheme {
    Http,
    H2c,
    Https,
    Unix,
}

/// A version of HTTP to speak to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl UpstreamUrl {
    /// Takes `url` for the address of an application.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for an operator.
    pub(crate) fn new(url: &Url) -> Result<Self, &'static str> {
        let scheme = match url.scheme() {
            "http" => UrlScheme::Http,
            "h2c" => UrlScheme::H2c,
            "https" => UrlScheme::Https,
            "unix" => return socket(url),
            _ => return Err("must begin with http://, https://, h2c:// or unix:/"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not name a user");
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "must end after host and port: paths are forwarded byte for byte, so there is none to add",
            );
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("must name a host");
        }
        let authority = url.authority().parse().map_err(|_invalid| "must name a host")?;
        Ok(Self { remote: Remote::Tcp(authority), scheme })
    }

    /// The version that its scheme asks for; none where TLS lets the application choose (ALPN, RFC 7301).
    pub(super) const fn version(&self) -> Option<HttpVersion> {
        match self.scheme {
            UrlScheme::Http | UrlScheme::Unix => Some(HttpVersion::Http1),
            UrlScheme::H2c => Some(HttpVersion::Http2),
            UrlScheme::Https => None,
        }
    }

    /// Whether `version` can be spoken there: `h2c` says in its name what it is.
    pub(crate) fn allows(&self, version: HttpVersion) -> bool {
        self.scheme != UrlScheme::H2c || version == HttpVersion::Http2
    }

    /// Whether TLS comes first.
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == UrlScheme::Https
    }

    /// What HTTP/2 calls `:scheme` (RFC 9113 §8.3.1).
    pub(super) fn http_scheme(&self) -> Scheme {
        if self.is_tls() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// The host of the address; of a socket there is none.
    pub(crate) fn host(&self) -> Option<&str> {
        match &self.remote {
            Remote::Tcp(authority) => {
                Some(authority.host().trim_start_matches('[').trim_end_matches(']'))
            }
            Remote::Unix(_) => None,
        }
    }
}

impl UpstreamUrl {
    /// Host and port as `Host` names them; a socket answers to `localhost`.
    pub(crate) fn host_header(&self) -> HeaderValue {
        let authority = match &self.remote {
            Remote::Tcp(authority) => authority.as_str(),
            Remote::Unix(_) => "localhost",
        };
        HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("localhost"))
    }

    /// The port that is connected to; of a socket there is none.
    pub(crate) fn port(&self) -> Option<u16> {
        let standard = if self.is_tls() { 443 } else { 80 };
        match &self.remote {
            Remote::Tcp(authority) => Some(authority.port_u16().unwrap_or(standard)),
            Remote::Unix(_) => None,
        }
    }

    /// The socket that is connected to, if it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.remote {
            Remote::Tcp(_) => None,
            Remote::Unix(path) => Some(path),
        }
    }

    /// The address as text.
    pub(crate) fn origin(&self) -> String {
        match &self.remote {
            Remote::Tcp(authority) => format!("{}://{authority}", self.http_scheme()),
            Remote::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

fn socket(url: &Url) -> Result<UpstreamUrl, &'static str> {
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the path of the socket");
    }
    let path = url.to_file_path();
    let path = path.map_err(|()| "must name a socket by its whole path: unix:/run/app.sock")?;
    if path.file_name().is_none() {
        return Err("must name a socket by its whole path: unix:/run/app.sock");
    }
    Ok(UpstreamUrl { remote: Remote::Unix(path), scheme: UrlScheme::Unix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: &str) -> Result<UpstreamUrl, &'static str> {
        UpstreamUrl::new(&url.parse().unwrap())
    }

    #[test]
    fn an_upstream_is_a_scheme_and_host_and_port_or_a_socket() {
        for url in [
            "http://127.0.0.1:3000",
            "http://app/",
            "http://[::1]:80",
            "https://app",
            "https://app:8443/",
            "h2c://app:50051",
            "h2c://[::1]:50051/",
            "unix:/run/app.sock",
            "unix:///run/app.sock",
        ] {
            assert!(new(url).is_ok(), "{url}");
        }
        for url in [
            "ftp://app",
            "http://u:p@app",
            "https://u@app",
            "http://app/base",
            "h2c://app/base",
            "h2c:app",
            "h2c:///",
            "http://app/?q",
            "http://app/#f",
            "unix:app.sock",
            "unix:/",
            "unix://host/app.sock",
            "unix:/app.sock?q",
        ] {
            assert!(new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_scheme_says_what_is_spoken() {
        assert_eq!(new("http://a").unwrap().version(), Some(HttpVersion::Http1));
        assert_eq!(new("h2c://a").unwrap().version(), Some(HttpVersion::Http2));
        assert_eq!(new("https://a").unwrap().version(), None);
        assert!(!new("h2c://a").unwrap().allows(HttpVersion::Http1));
        assert!(new("unix:/a").unwrap().allows(HttpVersion::Http2));
    }

    #[test]
    fn a_host_is_named_without_brackets_and_a_socket_by_its_path() {
        assert_eq!(new("https://[::1]:80").unwrap().host(), Some("::1"));
        assert_eq!(
            new("unix:/run/my%20app.sock").unwrap().remote,
            Remote::Unix("/run/my app.sock".into())
        );
    }
}
