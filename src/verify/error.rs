//! What can go wrong while judging a token, and whose fault it was.

use std::{error::Error, fmt, time::Duration};

pub use super::keys_fault::{FetchFault, KeysFault};
use super::{freshness::ListFault, jwks::KeyId, printable::Printable, session::SessionFault};
use crate::clock::UnixTime;

/// Whose fault a failure was. It decides status, log level and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The caller sent something that cannot be accepted.
    Caller,
    /// Apple could not be asked, or did not answer as documented.
    Apple,
    /// The application behind us failed.
    Upstream,
    /// We failed, or are at a limit.
    Us,
}

impl Fault {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Apple => "apple",
            Self::Upstream => "upstream",
            Self::Us => "us",
        }
    }
}

/// Why a token proved nobody. The first variant is never mixed up with the others: *no* is not *we could not tell*.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is no good: sending it again cannot help.
    #[error("the token is refused")]
    Rejected(#[from] TokenFault),
    /// The token could not be judged: the caller may retry.
    #[error("the keys to judge the token with cannot be had")]
    KeysUnavailable(#[from] KeysFault),
    /// Whether the token was revoked could not be told: the caller may retry.
    #[error("it cannot be told at the moment whether the token was revoked")]
    RevocationsUnavailable(#[from] ListFault),
}

impl From<SessionFault> for VerifyError {
    fn from(fault: SessionFault) -> Self {
        Self::Rejected(fault.into())
    }
}

impl VerifyError {
    /// Whose fault it was.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Rejected(_) => Fault::Caller,
            Self::KeysUnavailable(_) => Fault::Apple,
            Self::RevocationsUnavailable(_) => Fault::Us,
        }
    }
}

/// What is wrong with a token. The message is meant for the caller: it never repeats the token, the subject or the email.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// Longer than any token of Apple's, so not looked at.
    #[error("the token has {bytes} bytes, more than the limit of {limit}")]
    Oversized {
        /// Length of the token in bytes.
        bytes: usize,
        /// The most that is looked at, in bytes.
        limit: usize,
    },
    /// Not a JWS in compact serialisation (RFC 7515 §3.1) with JSON objects inside.
    #[error(transparent)]
    Malformed(#[from] Malformation),
    /// The JOSE header asks for something that must be understood and is not (RFC 7515 §4.1.11).
    #[error("the token's header asks for `{parameter}`, which is not supported")]
    UnsupportedHeader {
        /// The Header Parameter: `crit`, `b64` or `zip`.
        parameter: &'static str,
    },
    /// Signed with another algorithm than Apple's (RFC 8725 §3.1).
    #[error("the token's algorithm is {found}, and Apple signs with RS256")]
    Algorithm {
        /// The `alg` that the header claims, if it is printable.
        found: Printable,
    },
    /// No key of this name is in the key set.
    #[error("no key of Apple's has the id {key_id}")]
    UnknownKey {
        /// The `kid` that the header claims.
        key_id: KeyId,
    },
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    Signature(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// A claim is missing or is not of the type that Apple sends.
    #[error("the claim `{claim}` {problem}")]
    Claim {
        /// The claim's registered name.
        claim: &'static str,
        /// What is wrong with it.
        problem: ClaimProblem,
    },
    /// Issued by somebody else.
    #[error("the token was issued by {found}, not by {expected}")]
    Issuer {
        /// The `iss` claim.
        found: Printable,
        /// The issuer whose key signed the token.
        expected: Printable,
    },
    /// Issued for another app.
    #[error("the token is meant for {found}, which is not a client id accepted here")]
    Audience {
        /// The `aud` claim.
        found: Printable,
    },
    /// Past its time.
    #[error("the token expired at {expired_at}, and it is {now}")]
    Expired {
        /// The `exp` claim.
        expired_at: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// Issued in the future, or not valid yet.
    #[error("the token is valid from {valid_from}, and it is {now}")]
    NotYetValid {
        /// Which claim says so: `iat` or `nbf`.
        claim: &'static str,
        /// Its value.
        valid_from: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// Issued longer ago than is accepted here, though not expired.
    #[error("the token was issued at {issued_at}, and none older than {} is accepted; it is {now}", humantime::format_duration(*.limit))]
    TooOld {
        /// The `iat` claim.
        issued_at: UnixTime,
        /// The age that is accepted.
        limit: Duration,
        /// When it was judged.
        now: UnixTime,
    },
    /// Issued for another sign-in than the caller's.
    #[error("the token's nonce {0}")]
    Nonce(Mismatch),
    /// Issued beside another authorization code.
    #[error("the token's hash of the authorization code {0}")]
    CodeHash(Mismatch),
    /// Issued beside another access token of Apple's.
    #[error("the token's hash of the access token {0}")]
    AccessTokenHash(Mismatch),
    /// Its subject withdrew consent or deleted the account after it was issued.
    #[error(
        "the sign-in that the token comes from was revoked at {revoked_at}; a new one is accepted"
    )]
    Revoked {
        /// When. Tokens that were issued later are good.
        revoked_at: UnixTime,
    },
    /// A server-to-server notification, which says something about a user but does not prove one.
    #[error("this is a server-to-server notification, not an identity token")]
    Notification,
    /// A token of a session of ours, which is no good.
    #[error(transparent)]
    Session(#[from] SessionFault),
}

impl TokenFault {
    /// The stable reason code, for programs: clients, logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "token_oversized",
            Self::Malformed(_) => "token_malformed",
            Self::UnsupportedHeader { .. } => "token_unsupported_header",
            Self::Algorithm { .. } => "token_algorithm",
            Self::UnknownKey { .. } => "token_unknown_key",
            Self::Signature(_) => "token_signature",
            Self::Claim { .. } => "token_claim",
            Self::Issuer { .. } => "token_issuer",
            Self::Audience { .. } => "token_audience",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } => "token_not_yet_valid",
            Self::TooOld { .. } => "token_too_old",
            Self::Nonce(_) => "token_nonce",
            Self::CodeHash(_) => "token_code_hash",
            Self::AccessTokenHash(_) => "token_access_token_hash",
            Self::Revoked { .. } => "token_revoked",
            Self::Notification => "token_notification",
            Self::Session(fault) => fault.code(),
        }
    }

    /// Whether another key of the same name could have made the difference.
    pub(super) const fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Signature(_) | Self::Issuer { .. })
    }

    pub(super) fn missing(claim: &'static str) -> Self {
        Self::Claim { claim, problem: ClaimProblem::Missing }
    }

    pub(super) fn wrong_type(claim: &'static str) -> Self {
        Self::Claim { claim, problem: ClaimProblem::WrongType }
    }
}

/// How a token fails to be a compact JWS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformation {
    /// Not three parts between dots.
    #[error("parts between dots: {0}, not 3")]
    Parts(usize),
    /// A part of no length.
    #[error("the token's {0} is empty")]
    Empty(Part),
    /// A character outside base64url (RFC 4648 §5): padding and white space count as such.
    #[error("the token holds a character that base64url does not have")]
    Character,
    /// Not canonical base64url without padding.
    #[error("the token's {0} is not base64url")]
    Base64(Part),
    /// Not a JSON object with unique member names.
    #[error("the token's {0} is not a JSON object with unique members")]
    Json(Part, #[source] Box<dyn Error + Send + Sync>),
    /// A Header Parameter (RFC 7515 §4.1) is missing or is not what it can be.
    #[error("the token's header has no usable `{0}`")]
    HeaderParameter(&'static str),
}

/// One of the three parts of a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The JOSE header.
    Header,
    /// The claims.
    Claims,
    /// The signature.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

/// What is wrong with one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimProblem {
    /// It is not there.
    Missing,
    /// It is there with another JSON type than Apple sends, or out of range.
    WrongType,
    /// It is empty, or holds characters that such a claim never has.
    Illegal,
}

impl fmt::Display for ClaimProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::WrongType => "is not of the type that Apple sends",
            Self::Illegal => "holds characters that it cannot have",
        })
    }
}

/// How a token fails to be the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It says nothing of it.
    Missing,
    /// It says something else.
    Different,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Different => "is not the expected one",
        })
    }
}
