//! Why a sign-in did not come about, beside what is wrong with its token.

use http::StatusCode;

use super::{GrpcStatus, Row};
use crate::verify::Fault;

/// Why a sign-in did not come about, beside what is wrong with its token: that is a
/// [`TokenFault`](crate::verify::TokenFault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignInFault {
    /// There is no token to sign in with.
    #[error("the request carries no identity token")]
    TokenMissing,
    /// The token is good for one sign-in, and that was before.
    #[error("the token has signed in before; it is good for one sign-in")]
    TokenSpent,
    /// A nonce of ours is asked for.
    #[error("the request carries no nonce")]
    NonceMissing,
    /// The nonce is none of ours.
    #[error("the nonce was not issued here")]
    NonceUnknown,
    /// The nonce was issued too long ago.
    #[error("the nonce has expired")]
    NonceExpired,
    /// The nonce is good for one sign-in, and that was before.
    #[error("the nonce has been used before")]
    NonceSpent,
    /// What Apple granted for the code is not for who signed in.
    #[error("what Apple granted for the authorization code is not for this person and app")]
    ForeignGrant,
}

impl SignInFault {
    #[rustfmt::skip] // A table is read as a table.
    pub(super) const fn row(self) -> Row {
        use Fault::{Apple, Caller};
        use GrpcStatus as G;
        use StatusCode as S;
        const INVALID_TOKEN: Option<&str> = Some("invalid_token");

        match self {
            Self::TokenMissing => Row { status: S::BAD_REQUEST,  oauth_error: None,          grpc: G::InvalidArgument, fault: Caller, code: "identity_token_missing", title: "identityToken missing" },
            Self::TokenSpent   => Row { status: S::UNAUTHORIZED, oauth_error: INVALID_TOKEN, grpc: G::Unauthenticated, fault: Caller, code: "token_spent",            title: "Invalid token" },
            Self::NonceMissing => Row { status: S::BAD_REQUEST,  oauth_error: None,          grpc: G::InvalidArgument, fault: Caller, code: "nonce_missing",          title: "nonce missing" },
            Self::NonceUnknown => Row { status: S::UNAUTHORIZED, oauth_error: INVALID_TOKEN, grpc: G::Unauthenticated, fault: Caller, code: "nonce_unknown",          title: "Invalid nonce" },
            Self::NonceExpired => Row { status: S::UNAUTHORIZED, oauth_error: INVALID_TOKEN, grpc: G::Unauthenticated, fault: Caller, code: "nonce_expired",          title: "Invalid nonce" },
            Self::NonceSpent   => Row { status: S::UNAUTHORIZED, oauth_error: INVALID_TOKEN, grpc: G::Unauthenticated, fault: Caller, code: "nonce_spent",            title: "Invalid nonce" },
            Self::ForeignGrant => Row { status: S::BAD_GATEWAY,  oauth_error: None,          grpc: G::Unavailable,     fault: Apple,  code: "apple_foreign_grant",    title: "Apple's answer is about somebody else" },
        }
    }
}
