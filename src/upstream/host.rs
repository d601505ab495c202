//! Which host a request is for.

use http::{HeaderMap, HeaderValue, Uri, header::HOST, uri::Authority};

use crate::authn::Rejection;

/// A host, with or without a port (RFC 9110 §7.2): it was checked to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    value: HeaderValue,
    port: Option<u16>,
}

impl Host {
    /// The host that the client asked for: of the target if it has one (RFC 9112 §3.2.2; HTTP/2's `:authority`), else of the
    /// one `Host` line.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] when there is none, or several, or it is no host.
    pub(crate) fn asked_for(uri: &Uri, headers: &HeaderMap) -> Result<Self, Rejection> {
        let mut lines = headers.get_all(HOST).iter();
        let (first, second) = (lines.next(), lines.next());
        if second.is_some() {
            return Err(Rejection::BadRequest("the request names more than one host"));
        }
        let host = match uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => first.cloned(),
        };
        // A host line beside a target that names another one is looked at, too: somebody behind us may read it.
        if uri.authority().is_some() && !first.is_none_or(is_host_and_port) {
            return Err(NO_HOST_AND_PORT);
        }
        Self::new(host.ok_or(Rejection::BadRequest("the request names no host"))?)
    }

    /// Takes `value` if it is a host.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] otherwise.
    pub(crate) fn new(value: HeaderValue) -> Result<Self, Rejection> {
        let HostAndPort { port } = HostAndPort::read(value.as_bytes()).ok_or(NO_HOST_AND_PORT)?;
        Ok(Self { value, port })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        // Hosts are ASCII.
        self.value.to_str().unwrap_or_default()
    }

    pub(super) const fn value(&self) -> &HeaderValue {
        &self.value
    }

    pub(super) fn into_value(self) -> HeaderValue {
        self.value
    }

    /// The port that it names, if it names one.
    pub(super) const fn port(&self) -> Option<u16> {
        self.port
    }
}

const NO_HOST_AND_PORT: Rejection = Rejection::BadRequest("the host is no host and port");

/// The port that `host` names; none if it names none, or is no host.
pub(super) fn port_in(host: &HeaderValue) -> Option<u16> {
    HostAndPort::read(host.as_bytes())?.port
}

/// Whether `host` is a host, and its port a port or nothing (RFC 3986 §3.2).
fn is_host_and_port(host: &HeaderValue) -> bool {
    HostAndPort::read(host.as_bytes()).is_some()
}

/// What is a host, and what it names besides.
struct HostAndPort {
    port: Option<u16>,
}

impl HostAndPort {
    fn read(text: &[u8]) -> Option<Self> {
        Self::plain(text).or_else(|| Self::odd(text))
    }

    /// A name of letters, digits, hyphens and dots, or an IPv4 address, and perhaps a port: nearly all are.
    fn plain(text: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        let name = text.iter().position(|byte| !is_plain(byte)).unwrap_or(text.len());
        let port = match text.split_at(name) {
            ([], _) => return None,
            (_, []) => None,
            (_, port) => Some(port_of(port)?),
        };
        Some(Self { port })
    }

    fn odd(text: &[u8]) -> Option<Self> {
        let authority = Authority::try_from(text).ok().filter(|it| !it.host().is_empty())?;
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" | ":" => None,
            port => Some(port_of(port.as_bytes())?),
        };
        Some(Self { port })
    }
}

/// The number behind the colon. Other numbers may have a sign, a port may not.
fn port_of(text: &[u8]) -> Option<u16> {
    let (first, rest) = text.strip_prefix(b":")?.split_first()?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    rest.iter()
        .try_fold(digit(first)?, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_host_is_the_targets_else_the_one_host_line() {
        let host = |uri: &str, lines: &[(&str, &str)]| {
            Host::asked_for(&uri.parse().unwrap(), &headers(lines))
        };
        assert_eq!(host("/", &[("host", "a")]).unwrap().as_str(), "a");
        assert_eq!(host("http://b/", &[("host", "a")]).unwrap().as_str(), "b");
        assert!(host("/", &[]).is_err());
        assert!(host("/", &[("host", "a"), ("host", "a")]).is_err());
        assert!(host("http://u@b/", &[]).is_err());
        assert!(host("http://b/", &[("host", "a b")]).is_err());
    }

    #[test]
    fn a_port_is_a_port_or_nothing() {
        for good in ["a", "a:", "a:0", "a:65535", "[::1]", "[::1]:80"] {
            assert!(is_host_and_port(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in [
            "", "a:b", "a:65536", "a:-1", "a:+1", ":80", "a:80:80", "[::1]80", "[::1", "u@a", "a/b",
        ] {
            assert!(!is_host_and_port(&HeaderValue::from_static(bad)), "{bad}");
        }
    }

    #[test]
    fn a_port_is_found_whatever_the_form_of_the_host() {
        for (host, port) in [
            ("a", None),
            ("a:", None),
            ("a:8", Some(8)),
            ("a.b-c:00080", Some(80)),
            ("192.0.2.1:65535", Some(65535)),
            ("a:65536", None),
            ("a:+80", None),
            ("[::1]", None),
            ("[::1]:80", Some(80)),
            ("a_b:80", Some(80)),
            ("a b:80", None),
        ] {
            assert_eq!(port_in(&HeaderValue::from_static(host)), port, "{host}");
        }
    }
}
