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
}

impl SignInFault {
    #[rustfmt::skip] // A table is read as a table.
    pub(super) const fn row(self) -> Row {
        use Fault::Caller;
        use GrpcStatus as G;
        use StatusCode as S;

        match self {
            Self::TokenMissing => Row { status: S::BAD_REQUEST, oauth_error: None, grpc: G::InvalidArgument, fault: Caller, code: "identity_token_missing", title: "identityToken missing" },
        }
    }
}
