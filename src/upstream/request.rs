//! A request fit to reach the application: stripped and rebuilt by construction.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::{
    authn::{IdentityHeaders, Rejection},
    peers::{Peers, has_address},
    verify::Identity,
};

/// How requests are rebuilt before they are forwarded.
#[derive(Clone, Debug)]
pub(crate) struct ForwardingRules {
    /// The identity headers: what is set, and what is stripped.
    pub(crate) identity_headers: IdentityHeaders,
    /// What becomes of `Authorization`.
    pub(crate) credential: CredentialForwarding,
    /// The peers whose `Forwarded` and `X-Forwarded-*` are extended; everybody else's are replaced.
    pub(crate) trusted_peers: Peers,
}

/// What becomes of the `Authorization` header that was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CredentialForwarding {
    /// It ends here: the application has no use for it, and cannot leak it.
    #[default]
    Remove,
    /// It goes on to the application.
    Keep,
}

/// A request that may be sent to the application. Its constructor strips every identity header before one is set;
/// there is no "forward as is".
#[derive(Debug)]
pub(crate) struct UpstreamRequest<B> {
    request: Request<B>,
}

impl<B> UpstreamRequest<B> {
    /// Rebuilds `request`, which `peer` sent and `identity` vouches for. The order of the steps is the security.
    pub(crate) fn on_behalf_of(
        request: Request<B>,
        identity: &Identity,
        peer: SocketAddr,
        rules: &ForwardingRules,
    ) -> Result<Self, Rejection> {
        let (mut parts, body) = request.into_parts();
        // The answer to "which host?" must not depend on headers that a `Connection` line may name, so it is read first.
        let host = host_of(&parts.uri, &parts.headers)?;
        let headers = &mut parts.headers;
        // Hop-by-hop first, so that `Connection` cannot name what we insert.
        remove_hop_by_hop(headers);
        // The body's length is told by the body: two opinions about it are how requests are smuggled.
        headers.remove(CONTENT_LENGTH);
        if rules.credential == CredentialForwarding::Remove {
            headers.remove(AUTHORIZATION);
        }
        // The server says how its connection was made; what the target says is the client's opinion.
        let scheme = parts.extensions.get().cloned().unwrap_or(Scheme::HTTP);
        say_where_it_came_from(headers, peer.ip(), &scheme, &host, rules);
        headers.insert(HOST, host);
        rules.identity_headers.replace(headers, identity);

        parts.uri = Uri::from(path_of(&parts.method, &parts.uri)?);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(Self { request: Request::from_parts(parts, body) })
    }

    /// The request as it is sent to the application at `scheme` and `authority`.
    pub(super) fn addressed_to(
        self,
        scheme: Scheme,
        authority: Authority,
    ) -> Result<Request<B>, http::Error> {
        let (mut parts, body) = self.request.into_parts();
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(scheme);
        uri.authority = Some(authority);
        parts.uri = Uri::from_parts(uri)?;
        Ok(Request::from_parts(parts, body))
    }
}

/// The host that the client asked for: of the target if it has one (RFC 9112 §3.2.2; HTTP/2's `:authority`), else of the
/// one `Host` line.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Rejection> {
    let mut lines = headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(Rejection::BadRequest("the request names more than one host"));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(Rejection::BadRequest("the host names a user"))
        }
        Some(authority) => HeaderValue::from_str(authority.as_str())
            .map_err(|_invalid| Rejection::BadRequest("the host cannot be forwarded")),
        None => first.cloned().ok_or(Rejection::BadRequest("the request names no host")),
    }
}

/// The target as the client wrote it, byte for byte: path and query, or `*`.
fn path_of(method: &Method, uri: &Uri) -> Result<PathAndQuery, Rejection> {
    if method == Method::CONNECT {
        return Err(Rejection::Unsupported(
            "this is a gateway to one application: there is nothing to CONNECT to",
        ));
    }
    uri.path_and_query().cloned().ok_or(Rejection::BadRequest("the request names no path"))
}

/// Headers that concern one connection only: RFC 9110 §7.6.1, and the older names of RFC 2616 §13.5.1.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Removes what every line of `Connection` names, and what always concerns one connection only. `TE: trailers` stays: it
/// is a promise about trailers, which we forward.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let takes_trailers = headers.get_all(TE).iter().any(names_trailers);
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let nominated: Vec<HeaderName> = lines
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(TE);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn names_trailers(line: &HeaderValue) -> bool {
    let codings = line.to_str().unwrap_or_default().split(',');
    codings.into_iter().any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Tells the application the client's address, host and scheme (RFC 7239, and the older `X-Forwarded-*`). What a trusted
/// peer said about them is extended; what anybody else said is replaced.
fn say_where_it_came_from(
    headers: &mut HeaderMap,
    peer: IpAddr,
    scheme: &Scheme,
    host: &HeaderValue,
    rules: &ForwardingRules,
) {
    let peer = peer.to_canonical();
    if !rules.trusted_peers.contains(peer) {
        remove_forwarding(headers);
    }
    let proto = if *scheme == Scheme::HTTPS { "https" } else { "http" };
    let forwarded = format!("for={};host={};proto={proto}", forwarded_node(peer), quoted(host));
    append_to_list(headers, FORWARDED, &forwarded);
    // The older list has no word for a peer without an address, and who reads it expects addresses only.
    if has_address(peer) {
        append_to_list(headers, X_FORWARDED_FOR, &peer.to_string());
    }
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
}

/// Every header by which a proxy tells where a request came from, in every spelling.
fn remove_forwarding(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_forwarding(name.as_str())).cloned() {
        headers.remove(name);
    }
}

fn is_forwarding(name: &str) -> bool {
    let plain = |prefix: &str, name: &str| {
        let head = name.bytes().take(prefix.len());
        name.len() >= prefix.len()
            && head
                .zip(prefix.bytes())
                .all(|(a, b)| a == b || (b == b'-' && !a.is_ascii_alphanumeric()))
    };
    name == "forwarded"
        || plain("x-forwarded-", name)
        || (name.len() == 9 && plain("x-real-ip", name))
}

/// One value for the whole list, so that an application that reads one line only reads all of it.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let earlier = headers.get_all(&name).iter().filter_map(|line| line.to_str().ok());
    let whole = earlier.chain([element]).collect::<Vec<_>>().join(", ");
    if let Ok(whole) = HeaderValue::from_str(&whole) {
        headers.insert(name, whole);
    }
}

/// RFC 7239 §6: an IPv6 address is bracketed and quoted, and a peer of a Unix domain socket has none.
fn forwarded_node(peer: IpAddr) -> String {
    match peer {
        _ if !has_address(peer) => "unknown".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

/// RFC 9110 §5.6.4.
fn quoted(value: &HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{NOWHERE, PeerRange};

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            map.append(name, value);
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn rules(trusted: &[&str]) -> ForwardingRules {
        ForwardingRules {
            identity_headers: IdentityHeaders::new(
                IdentityHeaders::DEFAULT,
                crate::authn::UnverifiedEmail::LeaveOut,
                crate::telemetry::Metrics::new(),
            ),
            credential: CredentialForwarding::Remove,
            trusted_peers: trusted.iter().map(|net| net.parse::<PeerRange>().unwrap()).collect(),
        }
    }

    #[test]
    fn every_connection_line_is_heard() {
        let mut map = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(names(&map), ["accept"]);
    }

    #[test]
    fn of_te_only_trailers_goes_on() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map[TE], "trailers");
        let mut map = headers(&[("te", "gzip")]);
        remove_hop_by_hop(&mut map);
        assert!(map.is_empty());
    }

    #[test]
    fn what_a_stranger_says_about_the_client_is_replaced() {
        let mut map = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-forwarded-prefix", "/admin"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
        ]);
        let host = HeaderValue::from_static("app.example");
        let peer = "10.0.0.9".parse().unwrap();
        say_where_it_came_from(&mut map, peer, &Scheme::HTTP, &host, &rules(&[]));
        assert_eq!(
            names(&map),
            ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        );
        assert_eq!(map[X_FORWARDED_FOR], "10.0.0.9");
        assert_eq!(map[FORWARDED], r#"for=10.0.0.9;host="app.example";proto=http"#);
    }

    #[test]
    fn what_a_trusted_peer_says_about_the_client_is_extended() {
        let mut map = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.2.3.4"),
        ]);
        let host = HeaderValue::from_static("app.example");
        say_where_it_came_from(
            &mut map,
            "::ffff:10.0.0.9".parse().unwrap(),
            &Scheme::HTTP,
            &host,
            &rules(&["10.0.0.0/8"]),
        );
        assert_eq!(map[X_FORWARDED_FOR], "1.2.3.4, 10.0.0.9");
        assert_eq!(map[X_FORWARDED_PROTO], "https");
        assert_eq!(map[FORWARDED], r#"for=1.2.3.4, for=10.0.0.9;host="app.example";proto=http"#);
    }

    #[test]
    fn a_secured_connection_is_told_of() {
        let mut map = HeaderMap::new();
        let host = HeaderValue::from_static("app.example");
        let peer = "10.0.0.9".parse().unwrap();
        say_where_it_came_from(&mut map, peer, &Scheme::HTTPS, &host, &rules(&[]));
        assert_eq!(map[X_FORWARDED_PROTO], "https");
        assert_eq!(map[FORWARDED], r#"for=10.0.0.9;host="app.example";proto=https"#);
    }

    #[test]
    fn a_peer_of_a_unix_domain_socket_is_unknown_and_adds_no_address() {
        let host = HeaderValue::from_static("app.example");
        for (trusted, forwarded_for) in [(&[][..], None), (&["unix"], Some("1.2.3.4"))] {
            let mut map = headers(&[("x-forwarded-for", "1.2.3.4")]);
            say_where_it_came_from(&mut map, NOWHERE.ip(), &Scheme::HTTP, &host, &rules(trusted));
            assert_eq!(map[FORWARDED], r#"for=unknown;host="app.example";proto=http"#);
            assert_eq!(map.get(X_FORWARDED_FOR).map(|line| line.to_str().unwrap()), forwarded_for);
        }
    }

    #[test]
    fn the_host_is_the_targets_else_the_one_host_line() {
        let host =
            |uri: &str, lines: &[(&str, &str)]| host_of(&uri.parse().unwrap(), &headers(lines));
        assert_eq!(host("/", &[("host", "a")]).unwrap(), "a");
        assert_eq!(host("http://b/", &[("host", "a")]).unwrap(), "b");
        assert!(host("/", &[]).is_err());
        assert!(host("/", &[("host", "a"), ("host", "a")]).is_err());
        assert!(host("http://u@b/", &[]).is_err());
    }
}
