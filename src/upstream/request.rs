//! A request fit to reach the application: stripped and rebuilt by construction.

use std::{fmt, net::SocketAddr};

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, TE, VIA},
    uri::{PathAndQuery, Scheme},
};
use hyper::upgrade::OnUpgrade;

use super::{
    arrival::{self, Arrival, RequestId},
    cookies::{self, CookiesLeft},
    hop_by_hop::remove_hop_by_hop,
    well_formed::WellFormed,
};
use crate::{
    authn::{IdentityHeaders, Rejection, Stripped, reads_as},
    verify::Identity,
};

/// How requests are rebuilt before they are forwarded.
#[derive(Clone, Debug)]
pub(crate) struct ForwardingRules {
    /// The identity headers: what is set, and what is stripped.
    pub(crate) identity_headers: IdentityHeaders,
    /// What becomes of `Authorization`.
    pub(crate) credential: CredentialForwarding,
    /// Which host the application is told.
    pub(crate) host: HostForwarding,
    /// What we call ourselves in `Via`; none to say nothing.
    pub(crate) via: Option<Pseudonym>,
}

impl ForwardingRules {
    /// What the application is to see of the cookies in `headers`, where another gateway forwards: ours end where the
    /// credential does.
    pub(crate) fn cookies_left(&self, headers: &HeaderMap) -> CookiesLeft {
        match self.credential {
            CredentialForwarding::Remove => cookies::without_ours(headers),
            CredentialForwarding::Keep => CookiesLeft::All,
        }
    }
}

/// Which host the application is told in `Host`; `X-Forwarded-Host` tells what the client asked for in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostForwarding {
    /// The one that the client asked for.
    #[default]
    Keep,
    /// The application's own, for one that answers to no other.
    Upstream(HeaderValue),
}

/// What a proxy calls itself in `Via` (RFC 9110 §7.6.3): a token, so that it looks like no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pseudonym {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Pseudonym {
    /// Takes `text` if it is a token (RFC 9110 §5.6.2).
    pub(crate) fn new(text: &str) -> Option<Self> {
        // A field name is a token, too.
        text.parse::<HeaderName>().ok()?;
        let element = |version: &str| HeaderValue::try_from(format!("{version} {text}")).ok();
        Some(Self { http10: element("1.0")?, http11: element("1.1")?, http2: element("2.0")? })
    }

    /// What we add to `Via` of a request that came in `version`.
    const fn after(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        }
    }
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
pub(crate) struct UpstreamRequest<B> {
    /// In a box, as it is handed on through futures, each of which has room for all that it is given.
    request: Box<Request<B>>,
    /// In its headers, too, where it would have to be looked for.
    id: RequestId,
}

impl<B> UpstreamRequest<B> {
    /// Rebuilds `request`, of which `checked` is the proof, and which `identity` vouches for.
    pub(crate) fn on_behalf_of(
        request: Box<Request<B>>,
        checked: WellFormed,
        identity: &Identity,
        arrival: &Arrival,
        rules: &ForwardingRules,
    ) -> Result<Self, Rejection> {
        let (mut rebuilt, stripped) =
            Self::rebuild(request, checked, arrival, rules, rules.credential)?;
        rules.identity_headers.set(stripped, rebuilt.request.headers_mut(), identity);
        Ok(rebuilt)
    }

    /// Rebuilds `request`, for which nobody vouches: it arrives without an identity header. What becomes of a credential
    /// that was not judged is up to the door.
    pub(crate) fn anonymous(
        request: Box<Request<B>>,
        checked: WellFormed,
        arrival: &Arrival,
        rules: &ForwardingRules,
        credential: CredentialForwarding,
    ) -> Result<Self, Rejection> {
        Self::rebuild(request, checked, arrival, rules, credential).map(|(rebuilt, _)| rebuilt)
    }

    /// All that is done to every request, whoever sends it. The order of the steps is the security.
    fn rebuild(
        mut request: Box<Request<B>>,
        checked: WellFormed,
        arrival: &Arrival,
        rules: &ForwardingRules,
        credential: CredentialForwarding,
    ) -> Result<(Self, Stripped), Rejection> {
        let host = checked.into_host();
        let path = path_of(request.method(), request.uri())?;
        let version = request.version();
        let headers = request.headers_mut();
        headers.reserve(MOST_SET);
        // Hop-by-hop first, so that `Connection` cannot name what we insert.
        let nominated = remove_hop_by_hop(headers);
        if credential == CredentialForwarding::Remove {
            headers.remove(AUTHORIZATION);
        }
        if headers.keys().any(is_ours_to_undo) {
            undo_the_last_hop(headers, rules.credential);
        }
        let names = headers.keys_len();
        let stripped = rules.identity_headers.strip(headers);
        let poses = nominated || headers.keys_len() != names || arrival.is_disputed_by(headers);
        arrival.tell(headers, &host);
        say_we_were_here(headers, version, rules.via.as_ref());
        headers.insert(HOST, rules.host.or(host.into_value()));

        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_11;
        keep_spelling_alone(request.extensions_mut(), poses);
        Ok((Self { request, id: arrival.id().clone() }, stripped))
    }

    /// The request as it is sent to the application, and its id.
    pub(super) fn into_request_and_id(self) -> (Box<Request<B>>, RequestId) {
        (self.request, self.id)
    }
}

impl<B> fmt::Debug for UpstreamRequest<B> {
    /// Its headers tell who it is for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamRequest")
            .field("method", self.request.method())
            .finish_non_exhaustive()
    }
}

impl HostForwarding {
    fn or(&self, asked_for: HeaderValue) -> HeaderValue {
        match self {
            Self::Keep => asked_for,
            Self::Upstream(host) => host.clone(),
        }
    }
}

/// Room for what is set: who it is, and how it came.
const MOST_SET: usize = 12;

/// Whether [`undo_the_last_hop`] has anything to do about the header `name`.
fn is_ours_to_undo(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name, "expect" | "proxy" | "cookie") || tells_framing(name)
}

/// Undoes what the last hop's protocol made of the request, and what ends here.
fn undo_the_last_hop(headers: &mut HeaderMap, credential: CredentialForwarding) {
    // The body's length is told by the body: two opinions about it are how requests are smuggled.
    headers.remove(CONTENT_LENGTH);
    arrival::remove(headers, tells_framing);
    // Whoever takes the body's first byte from us invites the client to send it (RFC 9110 §10.1.1): the server answers
    // 100 when the connection to the application asks for the body, so that the application has nothing to invite.
    headers.remove(EXPECT);
    // CGI (RFC 3875 §4.1.18) would make the variable HTTP_PROXY of it, and the application's own client believe it.
    headers.remove("proxy");
    join_cookies(headers);
    if credential == CredentialForwarding::Remove {
        cookies::remove_ours(headers);
    }
}

/// Of what the connection noted of a request, only how its header names were spelt goes on, under a type that hyper keeps to
/// itself; and not even that if its caller `poses` as us, whose names it could spell so that an application which compares
/// them byte for byte does not find them.
fn keep_spelling_alone(extensions: &mut Extensions, poses: bool) {
    if extensions.is_empty() {
        return;
    }
    if poses {
        extensions.clear();
    } else {
        extensions.remove::<SocketAddr>();
        extensions.remove::<Scheme>();
        extensions.remove::<OnUpgrade>();
    }
}

/// Adds us to `Via` with the protocol that the request came in (RFC 9110 §7.6.3). What earlier proxies wrote stays.
fn say_we_were_here(headers: &mut HeaderMap, came_in: Version, pseudonym: Option<&Pseudonym>) {
    if let Some(pseudonym) = pseudonym {
        append_to_list(headers, VIA, pseudonym.after(came_in).clone());
    }
}

/// One value for the whole list, so that an application that reads one line only reads all of it.
pub(super) fn append_to_list(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(none) => drop(none.insert(element)),
        Entry::Occupied(mut earlier) => {
            let lines = earlier.iter().chain([&element]).filter_map(|line| line.to_str().ok());
            let whole = lines.collect::<Vec<_>>().join(", ");
            if let Ok(whole) = HeaderValue::try_from(whole) {
                earlier.insert(whole);
            }
        }
    }
}

/// The target as the client wrote it, byte for byte: path and query, or `*`.
fn path_of(method: &Method, uri: &Uri) -> Result<PathAndQuery, Rejection> {
    if method == Method::CONNECT {
        return Err(Rejection::Unsupported(
            "this is a gateway to one application: there is nothing to CONNECT to",
        ));
    }
    if uri.path() == "*" && method != Method::OPTIONS {
        return Err(Rejection::BadRequest("`*` is nothing that this can be asked of"));
    }
    uri.path_and_query().cloned().ok_or(Rejection::BadRequest("the request names no path"))
}

/// Whether an application that reads `_` as `-` takes `name` for a second opinion about where the body ends.
fn tells_framing(name: &str) -> bool {
    reads_as(name, "content-length") || reads_as(name, "transfer-encoding")
}

/// HTTP/2 may send a cookie a line; HTTP/1 has one line for all (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() < 2 {
        return;
    }
    // Bytes that were legal in two values are legal in one.
    if let Ok(whole) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

/// Takes from trailers what no trailer may be (RFC 9110 §6.5.1) and what only we may say: who it is, where it came from,
/// how it is framed, and the credential.
pub(super) fn clean_trailers(trailers: &mut HeaderMap, identity_headers: &IdentityHeaders) {
    remove_hop_by_hop(trailers);
    for name in [CONTENT_LENGTH, HOST, AUTHORIZATION, COOKIE, TE, VIA] {
        trailers.remove(name);
    }
    arrival::remove(trailers, |name| arrival::is_forwarding(name) || tells_framing(name));
    identity_headers.strip(trailers);
}
