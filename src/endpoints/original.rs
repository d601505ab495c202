//! The request that is judged: the one at hand, or the one that a listed gateway reports.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, Request, Uri, uri::PathAndQuery};

use crate::{authn::Rejection, peers::Listed, upstream::Host};

/// Of the request that somebody sent, what routes are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginalRequest<'a> {
    method: Cow<'a, Method>,
    host: Cow<'a, Host>,
    target: Cow<'a, Uri>,
}

/// What a gateway says that it was sent, as it says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    /// The method.
    pub(crate) method: &'a [u8],
    /// The host, with or without a port.
    pub(crate) host: &'a [u8],
    /// Path and query, as the client wrote them: a gateway that tidies them up first must forward them as it told them.
    pub(crate) target: &'a [u8],
}

impl<'a> OriginalRequest<'a> {
    /// The request at hand, for `host`, for which nobody else speaks.
    pub(super) fn at_hand<B>(request: &'a Request<B>, host: &'a Host) -> Self {
        let (method, target) = (Cow::Borrowed(request.method()), Cow::Borrowed(request.uri()));
        Self { method, host: Cow::Borrowed(host), target }
    }

    /// The request that a listed gateway reports. Nobody else's word is taken for it: the proof says that somebody looked.
    pub(crate) fn reported(report: Report<'_>, _by: Listed) -> Result<Self, Rejection> {
        Self::asked_about(report)
    }

    /// Path and query as they came.
    pub(super) fn path_and_query(&self) -> Option<&str> {
        self.target.path_and_query().map(PathAndQuery::as_str)
    }

    /// The request that is all that was asked about. Whoever asks wrote the question, and no client can have written into it:
    /// unlike a header, which a gateway that does not report may pass on.
    pub(super) fn asked_about(report: Report<'_>) -> Result<Self, Rejection> {
        const NO_METHOD: Rejection = Rejection::BadRequest("the reported method is no method");
        const NO_HOST: Rejection = Rejection::BadRequest("the reported host is no host");

        let Report { method, host, target } = report;
        let host = HeaderValue::from_bytes(host).map_err(|_invalid| NO_HOST)?;
        let method = Method::from_bytes(method).map_err(|_invalid| NO_METHOD)?;
        Self::at_host(Host::new(host)?, method, target)
    }

    /// Likewise, where `host` and `method` need no reading.
    pub(super) fn at_host(host: Host, method: Method, target: &[u8]) -> Result<Self, Rejection> {
        let target = Cow::Owned(target_of(target)?);
        Ok(Self { method: Cow::Owned(method), host: Cow::Owned(host), target })
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn host(&self) -> &str {
        self.host.as_str()
    }

    pub(super) fn path(&self) -> &str {
        self.target.path()
    }
}

/// A target in origin form, or `*` (RFC 9112 §3.2). A fragment is never sent, and some would cut it off.
fn target_of(target: &[u8]) -> Result<Uri, Rejection> {
    const NO_TARGET: Rejection = Rejection::BadRequest("the reported target is no path and query");

    let is_plain = target.starts_with(b"/") || target == b"*";
    if !is_plain || target.contains(&b'#') {
        return Err(NO_TARGET);
    }
    PathAndQuery::try_from(target).map(Uri::from).map_err(|_invalid| NO_TARGET)
}

/// The only value of `name`; none if there is none.
///
/// # Errors
///
/// There are several: of two opinions about one request, one is not the gateway's.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Rejection> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next().map(HeaderValue::as_bytes);
    if lines.next().is_some() {
        return Err(Rejection::BadRequest("the request is reported more than once"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{PeerRange, Peers};

    fn listed() -> Listed {
        let peers: Peers = ["192.0.2.1".parse::<PeerRange>().unwrap()].into_iter().collect();
        peers.listed("192.0.2.1".parse().unwrap()).unwrap()
    }

    fn reported(method: &str, host: &str, target: &str) -> Option<String> {
        let [method, host, target] = [method, host, target].map(str::as_bytes);
        let original = OriginalRequest::reported(Report { method, host, target }, listed()).ok()?;
        Some(format!("{} {} {}", original.method(), original.host(), original.path()))
    }

    #[test]
    fn a_report_is_taken_byte_for_byte() {
        for (report, expected) in [
            (("GET", "a.example", "/a?b=c"), "GET a.example /a"),
            (("PURGE", "a.example:8443", "/%2e%2e//x"), "PURGE a.example:8443 /%2e%2e//x"),
            (("OPTIONS", "[::1]:80", "*"), "OPTIONS [::1]:80 *"),
        ] {
            let (method, host, target) = report;
            assert_eq!(reported(method, host, target).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_method_host_or_target_is_no_report() {
        for (method, host, target) in [
            ("G T", "a", "/"),
            ("", "a", "/"),
            ("GET", "", "/"),
            ("GET", "a b", "/"),
            ("GET", "user@a", "/"),
            ("GET", "a", ""),
            ("GET", "a", "a"),
            ("GET", "a", "http://a/"),
            ("GET", "a", "/a#b"),
            ("GET", "a", "/a b"),
            ("GET", "a", "/a\tb"),
            ("GET", "a", "**"),
        ] {
            assert_eq!(reported(method, host, target), None, "{method} {host} {target}");
        }
    }
}
