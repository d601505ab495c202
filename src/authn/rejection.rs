//! Every way to say no, and the one table that renders it.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::policy::PolicyFault;
use crate::verify::{Fault, KeysFault, RevocationsFault, TokenFault, VerifyError};

/// Why a request was not let through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The request carries no credential that we know.
    #[error("the request carries no bearer token")]
    NoCredential,
    /// The request carries more than one credential.
    #[error("the request carries more than one credential")]
    SeveralCredentials,
    /// The token is no good.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Known, and not allowed here.
    #[error(transparent)]
    NotAllowed(#[from] PolicyFault),
    /// We could not tell. Never a yes, and never the caller's fault.
    #[error("the keys to judge the token with cannot be had at the moment")]
    KeysUnavailable(#[source] KeysFault),
    /// We could not tell whether the sign-in was revoked. Never a yes either.
    #[error("it cannot be told at the moment whether the sign-in was revoked")]
    RevocationsUnavailable(#[source] RevocationsFault),
    /// What has to be remembered could not be stored. Never a yes either: it would be forgotten.
    #[error("it cannot be stored at the moment")]
    StoreUnavailable,
    /// The body is longer than is taken.
    #[error("the request's body has more than {limit} bytes")]
    BodyTooLarge {
        /// The most that is taken, in bytes.
        limit: u64,
    },
    /// The body stopped coming.
    #[error("the request's body stopped coming")]
    BodyTimedOut,
    /// The request contradicts itself, or lacks what every request has.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The request is none for an application.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Too many requests are being worked on.
    #[error("too many requests are being worked on")]
    Shed,
    /// The client asks too often.
    #[error("there are too many requests from this client")]
    RateLimited {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// The request took longer than any may.
    #[error("the request took longer than {limit:?}")]
    RequestTimedOut {
        /// The longest that one may take.
        limit: Duration,
    },
    /// The application cannot be reached, or broke off.
    #[error("the application behind this proxy cannot be reached")]
    UpstreamUnreachable,
    /// The application did not answer in time.
    #[error("the application behind this proxy did not answer in time")]
    UpstreamTimedOut,
}

impl From<VerifyError> for Rejection {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Rejected(fault) => Self::Token(fault),
            VerifyError::KeysUnavailable(fault) => Self::KeysUnavailable(fault),
            VerifyError::RevocationsUnavailable(fault) => Self::RevocationsUnavailable(fault),
        }
    }
}

/// One line of the table.
struct Row {
    status: StatusCode,
    /// The `error` of the challenge (RFC 6750 §3.1).
    oauth_error: Option<&'static str>,
    grpc: GrpcStatus,
    fault: Fault,
    code: &'static str,
    title: &'static str,
}

/// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
#[derive(Clone, Copy)]
enum GrpcStatus {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Rejection {
    #[rustfmt::skip] // A table is read as a table.
    const fn row(&self) -> Row {
        use Fault::{Apple, Caller, Upstream, Us};
        use GrpcStatus as G;
        use StatusCode as S;

        match self {
            Self::NoCredential           => Row { status: S::UNAUTHORIZED,        oauth_error: None,                    grpc: G::Unauthenticated,   fault: Caller,   code: "no_credential",        title: "Sign in with Apple is required" },
            Self::SeveralCredentials     => Row { status: S::BAD_REQUEST,         oauth_error: Some("invalid_request"), grpc: G::InvalidArgument,   fault: Caller,   code: "several_credentials",  title: "More than one credential" },
            Self::Token(fault)           => Row { status: S::UNAUTHORIZED,        oauth_error: Some("invalid_token"),   grpc: G::Unauthenticated,   fault: Caller,   code: fault.code(),           title: title_of(fault) },
            Self::NotAllowed(fault)      => Row { status: S::FORBIDDEN,           oauth_error: Some("insufficient_scope"), grpc: G::PermissionDenied, fault: Caller,  code: fault.code(),           title: "Not allowed here" },
            Self::KeysUnavailable(_)     => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Apple,    code: "keys_unavailable",     title: "Tokens cannot be judged now" },
            Self::RevocationsUnavailable(_) => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                 grpc: G::Unavailable,       fault: Us,       code: "revocations_unavailable", title: "Tokens cannot be judged now" },
            Self::StoreUnavailable       => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Us,       code: "store_unavailable",    title: "Nothing can be stored now" },
            Self::BodyTooLarge { .. }    => Row { status: S::PAYLOAD_TOO_LARGE,   oauth_error: None,                    grpc: G::ResourceExhausted, fault: Caller,   code: "body_too_large",       title: "The body is too large" },
            Self::BodyTimedOut           => Row { status: S::REQUEST_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Caller,   code: "body_timed_out",       title: "The body stopped coming" },
            Self::BadRequest(_)          => Row { status: S::BAD_REQUEST,         oauth_error: None,                    grpc: G::InvalidArgument,   fault: Caller,   code: "bad_request",          title: "Not a request that can be understood" },
            Self::Unsupported(_)         => Row { status: S::NOT_IMPLEMENTED,     oauth_error: None,                    grpc: G::Unimplemented,     fault: Caller,   code: "unsupported",          title: "Not a request that can be forwarded" },
            Self::Shed                   => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Us,       code: "shed",                 title: "Too many requests at once" },
            Self::RateLimited { .. }     => Row { status: S::TOO_MANY_REQUESTS,   oauth_error: None,                    grpc: G::ResourceExhausted, fault: Caller,   code: "rate_limited",         title: "Too many requests" },
            Self::RequestTimedOut { .. } => Row { status: S::GATEWAY_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Upstream, code: "request_timed_out",    title: "The request took too long" },
            Self::UpstreamUnreachable    => Row { status: S::BAD_GATEWAY,         oauth_error: None,                    grpc: G::Unavailable,       fault: Upstream, code: "upstream_unreachable", title: "The application cannot be reached" },
            Self::UpstreamTimedOut       => Row { status: S::GATEWAY_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Upstream, code: "upstream_timed_out",   title: "The application did not answer in time" },
        }
    }

    /// The status for callers who speak plain HTTP.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The stable reason code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.row().code
    }

    /// Whose fault it was.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.row().fault
    }

    /// The answer in the caller's tongue: a gRPC status, or problem details.
    #[must_use]
    pub fn render(&self, dialect: Dialect, realm: &Realm) -> Response<Bytes> {
        let mut response = match dialect {
            Dialect::Http => self.http_response(realm),
            Dialect::Grpc => self.grpc_response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn http_response(&self, realm: &Realm) -> Response<Bytes> {
        let row = self.row();
        let detail = self.to_string();
        let mut response = Response::new(Problem::of(&row, &detail).to_json());
        *response.status_mut() = row.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after(row.status) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if row.status == StatusCode::UNAUTHORIZED || row.oauth_error.is_some() {
            headers.insert(WWW_AUTHENTICATE, realm.challenge(row.oauth_error, &detail));
        }
        response
    }

    /// When it is worth asking again, in seconds (RFC 9110 §10.2.3).
    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        if let Self::RateLimited { retry_after } = self {
            // Rounded up: who comes back a moment early is refused once more.
            return Some(retry_after.as_secs() + 1);
        }
        let seconds = if matches!(self, Self::Shed) { 1 } else { 5 };
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(seconds)
    }

    /// A `Trailers-Only` response: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>
    fn grpc_response(&self) -> Response<Bytes> {
        let row = self.row();
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(row.grpc as u16));
        // Our messages are visible ASCII; a percent sign is all that has to be encoded.
        if let Ok(message) = HeaderValue::from_str(&self.to_string().replace('%', "%25")) {
            headers.insert("grpc-message", message);
        }
        response
    }
}

const fn title_of(fault: &TokenFault) -> &'static str {
    match fault {
        TokenFault::Oversized { .. } => "The token is too long",
        TokenFault::Malformed(_) => "The token is malformed",
        TokenFault::UnsupportedHeader { .. } => "The token's header asks for what is not supported",
        TokenFault::Algorithm { .. } => "The token's algorithm is not Apple's",
        TokenFault::UnknownKey { .. } => "The token's key is not one of Apple's",
        TokenFault::Signature(_) => "The token's signature is wrong",
        TokenFault::Claim { .. } => "The token's claims are not Apple's",
        TokenFault::Issuer { .. } => "The token has another issuer",
        TokenFault::Audience { .. } => "The token is for another app",
        TokenFault::Expired { .. } => "The token has expired",
        TokenFault::NotYetValid { .. } => "The token is not valid yet",
        TokenFault::TooOld { .. } => "The token is too old",
        TokenFault::Nonce(_) => "The token is for another sign-in",
        TokenFault::CodeHash(_) => "The token is for another authorization code",
        TokenFault::Revoked { .. } => "The sign-in was revoked",
        TokenFault::Notification => "A notification is no identity token",
    }
}

/// How a caller wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Status, challenge and problem details.
    Http,
    /// A gRPC status, under HTTP's 200.
    Grpc,
}

impl Dialect {
    /// The dialect of a request: gRPC is a POST in HTTP/2 of `application/grpc`, alone or with a suffix
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>). Nothing less counts: its refusals are
    /// HTTP's 200, which must not be had by a header alone.
    #[must_use]
    pub fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_grpc = content_type
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
        if is_grpc && method == Method::POST && version == Version::HTTP_2 {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// Problem details (RFC 9457 §3), with our reason code as an extension member.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl<'a> Problem<'a> {
    fn of(row: &Row, detail: &'a str) -> Self {
        let r#type = format!("urn:problem-type:siwa-proxy:{}", row.code);
        Self { r#type, title: row.title, status: row.status.as_u16(), detail, code: row.code }
    }

    fn to_json(&self) -> Bytes {
        // Strings and a number: serialising them cannot fail, and an empty body would still carry the status.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
        text.into()
    }
}

/// The `realm` of the challenge (RFC 9110 §11.5): what the credential is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Takes `name` if it needs no escapes: visible ASCII and spaces, without `"` and `\`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        name.bytes().all(is_plain).then(|| Self(name.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// RFC 6750 §3: no `error` when the credential is merely missing.
    fn challenge(&self, error: Option<&str>, description: &str) -> HeaderValue {
        let realm = &self.0;
        let challenge = match error {
            None => format!("Bearer realm=\"{realm}\""),
            Some(error) => {
                let description: String =
                    description.chars().filter(|c| is_plain_char(*c)).collect();
                format!(
                    "Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{description}\""
                )
            }
        };
        HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("siwa-proxy".to_owned())
    }
}

/// Legal in a quoted string without an escape, and in an `error_description` (RFC 6750 §3).
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn is_plain_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;

    fn expired() -> Rejection {
        let (expired_at, now) =
            (UnixTime::from_secs(1_700_000_000), UnixTime::from_secs(1_700_000_100));
        Rejection::Token(TokenFault::Expired { expired_at, now })
    }

    fn problem(response: &Response<Bytes>) -> serde_json::Value {
        serde_json::from_slice(response.body()).unwrap()
    }

    #[test]
    fn an_expired_token_is_told_since_when() {
        let response = expired().render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let detail = "the token expired at 2023-11-14T22:13:20Z, and it is 2023-11-14T22:15:00Z";
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            format!(
                r#"Bearer realm="siwa-proxy", error="invalid_token", error_description="{detail}""#
            )
        );
        assert_eq!(
            problem(&response),
            serde_json::json!({
                "type": "urn:problem-type:siwa-proxy:token_expired", "title": "The token has expired",
                "status": 401, "detail": detail, "code": "token_expired",
            })
        );
    }

    #[test]
    fn a_missing_credential_is_asked_for_without_an_error_code() {
        let response = Rejection::NoCredential.render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer realm="siwa-proxy""#);
    }

    #[test]
    fn a_known_user_who_is_not_allowed_is_told_which_rule_refused() {
        let rejection = || Rejection::NotAllowed(PolicyFault::EmailMissing);
        let response = rejection().render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 403);
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert_eq!(problem(&response)["code"], "not_allowed_email_missing");

        let mut grpc = HeaderMap::new();
        grpc.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let response = rejection().render(Dialect::Grpc, &Realm::default());
        assert_eq!(response.headers()["grpc-status"], "7");
    }

    #[test]
    fn could_not_judge_is_503_with_retry_after_and_no_challenge() {
        let response = Rejection::KeysUnavailable(KeysFault::NoSet(None))
            .render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        for (rejection, status, seconds) in [
            (Rejection::Shed, 503, "1"),
            (Rejection::RateLimited { retry_after: Duration::from_millis(2_300) }, 429, "3"),
        ] {
            let response = rejection.render(Dialect::Http, &Realm::default());
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
        }
    }

    #[test]
    fn a_grpc_caller_gets_a_grpc_status() {
        let response = expired().render(Dialect::Grpc, &Realm::default());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(
            response.headers()["grpc-message"]
                .to_str()
                .unwrap()
                .starts_with("the token expired at")
        );
    }

    #[test]
    fn grpc_is_a_post_in_http_2_of_its_own_content_type_and_nothing_less() {
        let dialect = |method, version, content_type| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            Dialect::of(&method, version, &headers)
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(dialect(Method::POST, Version::HTTP_2, good), Dialect::Grpc);
            assert_eq!(dialect(Method::GET, Version::HTTP_2, good), Dialect::Http);
            assert_eq!(dialect(Method::POST, Version::HTTP_11, good), Dialect::Http);
        }
        for other in ["application/grpcX", "application/grpc-web", "application/json", ""] {
            assert_eq!(dialect(Method::POST, Version::HTTP_2, other), Dialect::Http, "{other}");
        }
    }

    #[test]
    fn a_realm_that_would_need_escapes_is_refused() {
        assert!(Realm::new("my app").is_some());
        for name in ["a\"b", "a\\b", "a\r\nb", "é"] {
            assert!(Realm::new(name).is_none(), "{name}");
        }
    }
}
