//! How a request reached us, and how the application is told: `Forwarded` (RFC 7239), the older `X-Forwarded-*`, and
//! `X-Request-Id`. What a trusted peer says about a request is extended; what anybody else says is replaced.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
};

use bytes::{BufMut, BytesMut};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{Entry, FORWARDED},
    uri::Scheme,
};
use tracing::Span;

use super::{
    host::{Host, port_in},
    request::append_to_list,
};
use crate::{
    authn::reads_as,
    peers::{Listed, NOWHERE, Peers, has_address},
    telemetry::{
        TraceParent,
        traces::{TRACEPARENT, TRACESTATE, spans::traceparent_of},
    },
};

/// How a request reached us.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    peer: IpAddr,
    client: IpAddr,
    listed: Option<Listed>,
    scheme: &'static str,
    id: RequestId,
    trace: Trace,
}

/// Which trace a request belongs to.
#[derive(Clone, Copy, Debug)]
enum Trace {
    None,
    /// The one that its sender says, who is a stranger or not: it names the request, and decides nothing.
    Told(TraceParent),
    /// The one that our span belongs to, which goes on from there.
    Ours(TraceParent),
}

impl Arrival {
    /// Reads how a request arrived off its extensions, where the server puts the peer's [`SocketAddr`] and, if it is not
    /// `http`, the connection's [`Scheme`]; and off its `headers`, which are believed if `trusted` contains the peer.
    pub(crate) fn new(extensions: &Extensions, headers: &HeaderMap, trusted: &Peers) -> Self {
        let peer = extensions.get::<SocketAddr>().copied().unwrap_or(NOWHERE).ip().to_canonical();
        let listed = trusted.listed(peer);
        let scheme = if extensions.get() == Some(&Scheme::HTTPS) { "https" } else { "http" };
        let told = listed.and_then(|_| headers.get(X_REQUEST_ID));
        let id = told.and_then(RequestId::told).unwrap_or_else(RequestId::made);
        let client = trusted.client_behind(peer, headers);
        let trace = TraceParent::of(headers).map_or(Trace::None, Trace::Told);
        Self { peer, client, listed, scheme, id, trace }
    }

    /// From here on it is a part of `span`: the application is told that it is called from there.
    pub(crate) fn enter(&mut self, span: &Span) {
        if let Some(parent) = traceparent_of(span) {
            self.trace = Trace::Ours(parent);
        }
    }

    /// The trace that the request belongs to.
    pub(crate) const fn trace(&self) -> Option<TraceParent> {
        match self.trace {
            Trace::None => None,
            Trace::Told(parent) | Trace::Ours(parent) => Some(parent),
        }
    }

    /// The address at the other end of the connection.
    pub(crate) const fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Who asks, as far as we believe: the peer, unless it is a trusted one and says on whose behalf.
    pub(crate) const fn client(&self) -> IpAddr {
        self.client
    }

    /// The proof that the peer is one whose word about requests is believed, if it is.
    pub(crate) const fn listed(&self) -> Option<Listed> {
        self.listed
    }

    /// What this request is called in every log.
    pub(crate) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Whether `headers` hold what only a trusted peer may say of where a request came from.
    pub(super) fn is_disputed_by(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.disbelieves(name.as_str()))
    }

    /// Another spelling is nobody's word: a trusted peer passes it on from whoever wrote it.
    fn disbelieves(&self, name: &str) -> bool {
        is_forwarding(name) && !(self.listed.is_some() && is_plainly_spelt(name))
    }

    /// Tells the application, in `headers`, of a request for `host`.
    pub(super) fn tell(&self, headers: &mut HeaderMap, host: &Host) {
        let Self { peer, scheme, .. } = *self;
        remove(headers, |name| {
            self.disbelieves(name) || reads_as(name, "x-request-id") || self.ends_trace(name)
        });
        let (forwarded, forwarded_for) = self.written(host.value());
        if let Some(forwarded) = forwarded {
            append_to_list(headers, FORWARDED, forwarded);
        }
        // The older list has no word for a peer without an address, and who reads it expects addresses only.
        if let Some(address) = forwarded_for.filter(|_| has_address(peer)) {
            append_to_list(headers, X_FORWARDED_FOR, address);
        }
        let port = tell_host(headers, host);
        let told_scheme =
            headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
        let port = port.map_or_else(|| default_port(told_scheme), HeaderValue::from);
        headers.entry(X_FORWARDED_PORT).or_insert(port);
        headers.insert(X_REQUEST_ID, self.id.0.clone());
        self.tell_trace(headers);
    }

    /// The elements that we add to `Forwarded` and to `X-Forwarded-For`: the address stands in both, and is written once.
    fn written(&self, host: &HeaderValue) -> (Option<HeaderValue>, Option<HeaderValue>) {
        let mut text = BytesMut::with_capacity(128 + host.len());
        text.put_slice(b"for=");
        let address = write_node(&mut text, self.peer);
        text.put_slice(b";host=");
        write_quoted(&mut text, host);
        text.put_slice(b";proto=");
        text.put_slice(self.scheme.as_bytes());
        let text = text.freeze();
        let address = HeaderValue::from_maybe_shared(text.slice(address)).ok();
        (HeaderValue::from_maybe_shared(text).ok(), address)
    }

    /// What is no `traceparent` is nothing to anybody (W3C Trace Context §4.3), and without one `tracestate` is nothing either.
    fn ends_trace(&self, name: &str) -> bool {
        matches!(self.trace, Trace::None) && (name == TRACEPARENT || name == TRACESTATE)
    }

    fn tell_trace(&self, headers: &mut HeaderMap) {
        if let Trace::Ours(parent) = self.trace
            && let Some(value) = parent.to_value()
        {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// What a request is called in our log, the application's, and those of the proxies in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

/// Names a request, and is answered with the response.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl RequestId {
    const LONGEST: usize = 128;

    /// What a trusted peer called it, if that fits into any log: letters, digits and what UUIDs, trace ids and base64 are
    /// written with. It is copied, so that it does not keep the connection's buffer alive.
    fn told(value: &HeaderValue) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
        let bytes = value.as_bytes();
        let sane = (1..=Self::LONGEST).contains(&bytes.len()) && bytes.iter().all(plain);
        if sane { HeaderValue::from_bytes(bytes).ok().map(Self::named) } else { None }
    }

    /// 128 random bits.
    fn made() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = [0; 32];
        for (digits, byte) in
            id.as_chunks_mut::<2>().0.iter_mut().zip(fastrand::u128(..).to_be_bytes())
        {
            *digits = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
        }
        // Hexadecimal digits make a value.
        Self::named(HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("none")))
    }

    /// It is never seen again, so that HTTP/2 is not to keep it in its table of headers (RFC 7541 §7.1.3): there it would be
    /// compared with each of the ids that came before, and drive out what does come again.
    fn named(mut id: HeaderValue) -> Self {
        id.set_sensitive(true);
        Self(id)
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The header value.
    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Tells that the client asked for `host`, unless a trusted peer told another one; returns the port that the one told names.
fn tell_host(headers: &mut HeaderMap, host: &Host) -> Option<u16> {
    match headers.entry(X_FORWARDED_HOST) {
        Entry::Occupied(told) => port_in(told.get()),
        Entry::Vacant(vacant) => {
            vacant.insert(host.value().clone());
            host.port()
        }
    }
}

/// The port where none is named (RFC 9110 §4.2).
fn default_port(scheme: &HeaderValue) -> HeaderValue {
    HeaderValue::from_static(if scheme == "https" { "443" } else { "80" })
}

pub(super) fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Every header by which a proxy tells where a request came from, in every spelling.
pub(super) fn is_forwarding(name: &str) -> bool {
    let begins = |start: &str| name.get(..start.len()).is_some_and(|it| reads_as(it, start));
    // Hardly any other name begins with `x-`, so that this is mostly all that is asked.
    name == "forwarded" || (begins("x-") && (begins("x-forwarded-") || reads_as(name, "x-real-ip")))
}

fn is_plainly_spelt(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
}

/// Writes `peer` as a node (RFC 7239 §6), and tells where its bare address stands: an IPv6 address is bracketed and quoted,
/// and a peer of a Unix domain socket has none.
fn write_node(text: &mut BytesMut, peer: IpAddr) -> Range<usize> {
    let (open, close): (&[u8], &[u8]) = if peer.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
    text.put_slice(open);
    let from = text.len();
    match peer {
        peer if !has_address(peer) => text.put_slice(b"unknown"),
        IpAddr::V4(address) => write_ipv4(text, address),
        // There is room: a buffer grows.
        IpAddr::V6(address) => write!(text, "{address}").unwrap_or_default(),
    }
    let address = from..text.len();
    text.put_slice(close);
    address
}

/// What `Display` writes, which takes twenty times as long, and would do so for every request.
fn write_ipv4(text: &mut impl BufMut, address: Ipv4Addr) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            text.put_u8(b'.');
        }
        if octet >= 100 {
            text.put_u8(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.put_u8(b'0' + octet / 10 % 10);
        }
        text.put_u8(b'0' + octet % 10);
    }
}

/// Shows an address as its own `Display` does, which takes several times as long.
pub(crate) struct Shown(pub(crate) IpAddr);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = "255.255.255.255".len();
        let IpAddr::V4(address) = self.0 else { return self.0.fmt(f) };
        let mut text = [0; LONGEST];
        let mut rest = &mut text[..];
        write_ipv4(&mut rest, address);
        let length = LONGEST - rest.len();
        f.write_str(str::from_utf8(&text[..length]).unwrap_or_default())
    }
}

/// Writes `host` as a quoted string (RFC 9110 §5.6.4).
fn write_quoted(text: &mut BytesMut, host: &HeaderValue) {
    text.put_u8(b'"');
    for byte in host.to_str().unwrap_or_default().bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.put_u8(b'\\');
        }
        text.put_u8(byte);
    }
    text.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::PeerRange;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn trusted(list: &[&str]) -> Peers {
        list.iter().map(|range| range.parse::<PeerRange>().unwrap()).collect()
    }

    /// What the application is told of a request from `peer` over `scheme` with these headers.
    fn told(peer: &str, scheme: Scheme, host: &'static str, map: &mut HeaderMap) {
        let mut extensions = Extensions::new();
        extensions.insert(SocketAddr::new(peer.parse().unwrap(), 4711));
        extensions.insert(scheme);
        let arrival = Arrival::new(&extensions, map, &trusted(&["10.0.0.0/8"]));
        arrival.tell(map, &Host::new(HeaderValue::from_static(host)).unwrap());
    }

    #[test]
    fn what_a_stranger_says_about_the_client_is_replaced() {
        let mut map = headers(&[
            ("x-forwarded-for", "spoof"),
            ("x_forwarded_for", "spoof"),
            ("x-forwarded-prefix", "/spoof"),
            ("x-forwarded_port", "spoof"),
            ("forwarded", "for=spoof"),
            ("x-real-ip", "spoof"),
            ("x-request-id", "spoof"),
            ("x_request_id", "spoof"),
        ]);
        told("192.0.2.9", Scheme::HTTP, "app.example", &mut map);
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "forwarded",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-port",
                "x-forwarded-proto",
                "x-request-id"
            ]
        );
        assert_eq!(map[X_FORWARDED_FOR], "192.0.2.9");
        assert_eq!(map[X_FORWARDED_PORT], "80");
        assert_eq!(map[FORWARDED], r#"for=192.0.2.9;host="app.example";proto=http"#);
        assert_eq!(map[X_REQUEST_ID].len(), 32);
    }

    #[test]
    fn what_a_trusted_peer_says_about_the_client_is_extended() {
        let mut map = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.2.3.4"),
            ("x-request-id", "abc-123"),
        ]);
        told("::ffff:10.0.0.9", Scheme::HTTP, "app.example", &mut map);
        assert_eq!(map[X_FORWARDED_FOR], "1.2.3.4, 10.0.0.9");
        assert_eq!(map[X_FORWARDED_PROTO], "https");
        assert_eq!(map[X_FORWARDED_PORT], "443");
        assert_eq!(map[FORWARDED], r#"for=1.2.3.4, for=10.0.0.9;host="app.example";proto=http"#);
        assert_eq!(map[X_REQUEST_ID], "abc-123");
    }

    #[test]
    fn a_peer_of_a_unix_domain_socket_is_unknown_and_adds_no_address() {
        for (list, forwarded_for) in [(&["0.0.0.0/8"], None), (&["unix"], Some("1.2.3.4"))] {
            let mut map = headers(&[("x-forwarded-for", "1.2.3.4")]);
            let mut extensions = Extensions::new();
            extensions.insert(NOWHERE);
            let arrival = Arrival::new(&extensions, &map, &trusted(list));
            let host = Host::new(HeaderValue::from_static("app.example")).unwrap();
            arrival.tell(&mut map, &host);
            assert_eq!(map[FORWARDED], r#"for=unknown;host="app.example";proto=http"#);
            assert_eq!(map.get(X_FORWARDED_FOR).map(|line| line.to_str().unwrap()), forwarded_for);
        }
    }

    #[test]
    fn scheme_and_port_are_the_connections() {
        for (scheme, host, proto, port) in [
            (Scheme::HTTP, "app.example", "http", "80"),
            (Scheme::HTTPS, "app.example", "https", "443"),
            (Scheme::HTTPS, "app.example:8443", "https", "8443"),
            (Scheme::HTTP, "[::1]:8080", "http", "8080"),
            (Scheme::HTTP, "[::1]", "http", "80"),
        ] {
            let mut map = HeaderMap::new();
            told("192.0.2.9", scheme, host, &mut map);
            assert_eq!(
                (map[X_FORWARDED_PROTO].to_str().unwrap(), map[X_FORWARDED_PORT].to_str().unwrap()),
                (proto, port)
            );
            assert!(map[FORWARDED].to_str().unwrap().ends_with(proto));
        }
    }

    #[test]
    fn an_ipv4_address_is_written_as_everybody_writes_it() {
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 0, 255 - octet, octet);
            let mut text = BytesMut::new();
            write_ipv4(&mut text, address);
            assert_eq!(text, address.to_string());
            assert_eq!(Shown(address.into()).to_string(), address.to_string());
        }
    }

    #[test]
    fn an_ipv6_peer_is_bracketed_and_quoted_in_one_list_and_bare_in_the_other() {
        assert_eq!(Shown("2001:db8::9".parse().unwrap()).to_string(), "2001:db8::9");
        let mut map = HeaderMap::new();
        told("2001:db8::9", Scheme::HTTP, "app.example", &mut map);
        assert_eq!(map[FORWARDED], r#"for="[2001:db8::9]";host="app.example";proto=http"#);
        assert_eq!(map[X_FORWARDED_FOR], "2001:db8::9");
    }

    #[test]
    fn a_request_id_that_does_not_fit_a_log_is_replaced() {
        let told = |text: &str| RequestId::told(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        for sane in [
            "a",
            "8f14e45f-ceea-467f-a9c8-1f4c5a1e2c3d",
            "Root=1-67891233-abcdef012345678912345678",
            &"a".repeat(128),
        ] {
            assert_eq!(told(sane).unwrap().as_str(), sane);
        }
        for odd in ["", "a b", "a\tb", "a\"b", "<b>", "é", "a,b", "a;b", &"a".repeat(129)] {
            assert_eq!(told(odd), None, "{odd}");
        }
        assert_ne!(RequestId::made(), RequestId::made());
        for id in [RequestId::made(), told("a").unwrap()] {
            assert!(id.value().is_sensitive(), "{id:?}");
        }
        assert!(RequestId::made().as_str().bytes().all(|digit| digit.is_ascii_hexdigit()));
    }
}
