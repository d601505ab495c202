//! Asking for another protocol (RFC 9110 §7.8): what goes to the application, and what comes back.
//!
//! The request is authenticated and rebuilt like any other; `Connection` and `Upgrade` are hop-by-hop, so they are removed
//! and then written anew. Both sides are joined only when the application has answered 101 to a protocol that was asked
//! for. Anything else it answers is an ordinary response.

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};
use hyper::upgrade::OnUpgrade;

/// A wish of the client's that the application may grant.
#[derive(Debug)]
pub(crate) struct UpgradeWish {
    /// The client's side, once it has been answered 101.
    pub(super) client: OnUpgrade,
    /// The protocols it named, as it named them.
    pub(super) protocols: HeaderValue,
}

impl UpgradeWish {
    /// The wish in `request`, if there is one that may be passed on.
    ///
    /// Of an HTTP/1.0 client, or beside a body, `Upgrade` is ignored, as any server may do: after a body one could
    /// disagree about where the new protocol begins. `h2c` is ignored with all that is named beside it: behind a
    /// connection that became HTTP/2, requests would reach the application that nobody has judged. RFC 9113 has no such
    /// upgrade any more.
    pub(crate) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let protocols = wished_protocols(request.version(), request.headers())?.clone();
        let client = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Self { client, protocols })
    }

    /// Writes the wish into a request that has been rebuilt.
    pub(super) fn write_into(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocols.clone());
    }

    /// The protocol that `response`, a 101, changes to, if it is one that was asked for.
    pub(super) fn granted<B>(&self, response: &Response<B>) -> Option<HeaderValue> {
        let mut lines = response.headers().get_all(UPGRADE).iter();
        let (protocol, None) = (lines.next()?, lines.next()) else { return None };
        let name = protocol.to_str().ok()?;
        tokens(&self.protocols)
            .any(|wished| wished.eq_ignore_ascii_case(name))
            .then(|| protocol.clone())
    }

    /// Whether what is asked for is WebSocket and nothing else.
    pub(super) fn is_websocket(protocol: &HeaderValue) -> bool {
        protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }
}

fn wished_protocols(version: Version, headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(UPGRADE).iter();
    let (protocols, None) = (lines.next()?, lines.next()) else { return None };
    let connection_says_so = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case("upgrade"));
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let mut named = tokens(protocols).peekable();
    let may_pass = named.peek().is_some() && named.all(may_be_passed_on);
    (version == Version::HTTP_11 && connection_says_so && !has_body && may_pass)
        .then_some(protocols)
}

/// A protocol is `name` or `name/version`. Those that are HTTP, or carry it, are not for us to open a way for.
fn may_be_passed_on(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default();
    let is_http = ["h2c", "h2", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http));
    !is_http && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The elements of a list (RFC 9110 §5.6.1); those of a value that is no text are none.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// Makes `response`, whose hop-by-hop headers are gone, say to the client that the protocol changes.
pub(super) fn switch<B>(response: &mut Response<B>, protocol: HeaderValue) {
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(version: Version, lines: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Some(wished_protocols(version, &headers)?.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_connection_names_may_be_wished_for() {
        for (connection, upgrade) in
            [("Upgrade", "websocket"), ("keep-alive, upgrade", "WebSocket"), ("upgrade", "a/1, b")]
        {
            let lines = [("connection", connection), ("upgrade", upgrade)];
            assert_eq!(wished(Version::HTTP_11, &lines).as_deref(), Some(upgrade));
            assert_eq!(wished(Version::HTTP_10, &lines), None);
            assert_eq!(wished(Version::HTTP_2, &lines), None);
        }
        assert_eq!(wished(Version::HTTP_11, &[("upgrade", "websocket")]), None);
        let unnamed = [("connection", "keep-alive"), ("upgrade", "websocket")];
        assert_eq!(wished(Version::HTTP_11, &unnamed), None);
    }

    #[test]
    fn http_in_disguise_is_never_wished_for() {
        for upgrade in [
            "h2c",
            "H2C",
            "websocket, h2c",
            "h2c,websocket",
            "h2",
            "HTTP/2.0",
            "TLS/1.0",
            "a b",
            "",
            ",",
        ] {
            let lines = [("connection", "upgrade, http2-settings"), ("upgrade", upgrade)];
            assert_eq!(wished(Version::HTTP_11, &lines), None, "{upgrade}");
        }
        let twice = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert_eq!(wished(Version::HTTP_11, &twice), None);
    }

    #[test]
    fn a_wish_beside_a_body_is_ignored() {
        let asking = [("connection", "upgrade"), ("upgrade", "websocket")];
        for (body, may) in [
            (("content-length", "5"), false),
            (("transfer-encoding", "chunked"), false),
            (("content-length", "0"), true),
        ] {
            let lines = [asking[0], asking[1], body];
            assert_eq!(wished(Version::HTTP_11, &lines).is_some(), may, "{body:?}");
        }
    }
}
