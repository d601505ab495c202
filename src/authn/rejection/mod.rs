//! Every way to say no, and the one table that all renderings of it read.

mod apple;
mod dialect;
mod problem;
mod realm;
mod render;
mod sign_in;

use std::time::Duration;

use http::StatusCode;

use self::problem::title_of;
pub use self::{dialect::Dialect, realm::Realm, sign_in::SignInFault};
use super::policy::PolicyFault;
use crate::{
    apple::AppleFault,
    verify::{Fault, KeysFault, ListFault, TokenFault, VerifyError},
};

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
    /// The sign-in did not come about.
    #[error(transparent)]
    SignIn(#[from] SignInFault),
    /// Apple, asked about the sign-in, said no or could not be asked.
    #[error("{}", apple::detail(.0))]
    Apple(#[from] AppleFault),
    /// Known, and not allowed here.
    #[error(transparent)]
    NotAllowed(#[from] PolicyFault),
    /// A browser's session came with a request that a page of another origin caused, and that changes something.
    #[error("a page of another origin asks for this in the name of whoever is signed in")]
    CrossOrigin,
    /// We could not tell. Never a yes, and never the caller's fault.
    #[error("the keys to judge the token with cannot be had at the moment")]
    KeysUnavailable(#[source] KeysFault),
    /// We could not tell whether the sign-in was revoked. Never a yes either.
    #[error("it cannot be told at the moment whether the sign-in was revoked")]
    RevocationsUnavailable(#[source] ListFault),
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
    /// Nothing is served at this path.
    #[error("nothing is served at this path")]
    NotFound,
    /// What is served at this path takes other methods only.
    #[error("what is served at this path takes {allow} only")]
    MethodNotAllowed {
        /// Those methods, as `Allow` lists them.
        allow: &'static str,
    },
    /// No decision was come to, as there was no time or nothing to decide about. Never a yes.
    #[error("{0}")]
    Undecided(&'static str),
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
            Self::SignIn(fault)          => fault.row(),
            Self::Apple(fault)           => apple::row(fault),
            Self::NotAllowed(fault)      => Row { status: S::FORBIDDEN,           oauth_error: Some("insufficient_scope"), grpc: G::PermissionDenied, fault: Caller,  code: fault.code(),           title: "Not allowed here" },
            Self::CrossOrigin            => Row { status: S::FORBIDDEN,           oauth_error: None,                    grpc: G::PermissionDenied,  fault: Caller,   code: "cross_origin",         title: "Another site's page asks for this" },
            Self::KeysUnavailable(_)     => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Apple,    code: "keys_unavailable",     title: "Tokens cannot be judged now" },
            Self::RevocationsUnavailable(_) => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                 grpc: G::Unavailable,       fault: Us,       code: "revocations_unavailable", title: "Tokens cannot be judged now" },
            Self::StoreUnavailable       => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Us,       code: "store_unavailable",    title: "Nothing can be stored now" },
            Self::BodyTooLarge { .. }    => Row { status: S::PAYLOAD_TOO_LARGE,   oauth_error: None,                    grpc: G::ResourceExhausted, fault: Caller,   code: "body_too_large",       title: "The body is too large" },
            Self::BodyTimedOut           => Row { status: S::REQUEST_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Caller,   code: "body_timed_out",       title: "The body stopped coming" },
            Self::BadRequest(_)          => Row { status: S::BAD_REQUEST,         oauth_error: None,                    grpc: G::InvalidArgument,   fault: Caller,   code: "bad_request",          title: "Not a request that can be understood" },
            Self::Unsupported(_)         => Row { status: S::NOT_IMPLEMENTED,     oauth_error: None,                    grpc: G::Unimplemented,     fault: Caller,   code: "unsupported",          title: "Not a request that can be forwarded" },
            Self::NotFound               => Row { status: S::NOT_FOUND,           oauth_error: None,                    grpc: G::Unimplemented,     fault: Caller,   code: "not_found",            title: "Nothing is here" },
            Self::MethodNotAllowed { .. } => Row { status: S::METHOD_NOT_ALLOWED, oauth_error: None,                    grpc: G::Unimplemented,     fault: Caller,   code: "method_not_allowed",   title: "Another method is needed" },
            Self::Undecided(_)           => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Us,       code: "undecided",            title: "No decision could be made" },
            Self::Shed                   => Row { status: S::SERVICE_UNAVAILABLE, oauth_error: None,                    grpc: G::Unavailable,       fault: Us,       code: "shed",                 title: "Too many requests at once" },
            Self::RateLimited { .. }     => Row { status: S::TOO_MANY_REQUESTS,   oauth_error: None,                    grpc: G::ResourceExhausted, fault: Caller,   code: "rate_limited",         title: "Too many requests" },
            Self::RequestTimedOut { .. } => Row { status: S::GATEWAY_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Upstream, code: "request_timed_out",    title: "The request took too long" },
            Self::UpstreamUnreachable    => Row { status: S::BAD_GATEWAY,         oauth_error: None,                    grpc: G::Unavailable,       fault: Upstream, code: "upstream_unreachable", title: "The application cannot be reached" },
            Self::UpstreamTimedOut       => Row { status: S::GATEWAY_TIMEOUT,     oauth_error: None,                    grpc: G::DeadlineExceeded,  fault: Upstream, code: "upstream_timed_out",   title: "The application did not answer in time" },
        }
    }

    /// The status for callers who speak gRPC.
    pub(crate) const fn grpc_code(&self) -> u16 {
        self.row().grpc as u16
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

    /// The code of the token's fault, if that is why.
    #[must_use]
    pub const fn token_fault(&self) -> Option<&'static str> {
        if let Self::Token(fault) = self { Some(fault.code()) } else { None }
    }

    /// What happened, in few words that are the same each time.
    pub(crate) const fn title(&self) -> &'static str {
        self.row().title
    }

    /// Whose fault it was.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.row().fault
    }
}
