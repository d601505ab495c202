//! Addresses to which a secret may be sent, and from which a key is believed.

use url::{Host, Url};

/// An address that secrets and keys may travel to and from: `https`, or `http` to this machine's loopback, which is what
/// simulators serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedUrl(Url);

impl TrustedUrl {
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
    }
}
