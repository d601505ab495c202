//! What can be wrong with a session.

use super::super::seal::{SealError, SealFault};
use crate::{clock::UnixTime, store::StoreError};

/// What is wrong with a token of ours. The message is meant for the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFault {
    /// It begins as ours do, and goes on as they do not.
    #[error("this is no token of a session")]
    Malformed,
    /// It is ours, and is for something else: a refresh token where an access token belongs.
    #[error("this token of a session is for something else")]
    WrongKind,
    /// The key that sealed it is not one of ours, or not any more.
    #[error("the token of the session was sealed by a key that is not known here")]
    UnknownKey,
    /// Somebody changed it, or made it up.
    #[error("the token of the session was not made here, or was changed")]
    Forged,
    /// Past its time.
    #[error("the token of the session expired at {expired_at}, and it is {now}")]
    Expired {
        /// Since when.
        expired_at: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// Somebody signed out, or it was ended for them.
    #[error("the session has ended; a new sign-in begins another")]
    Ended,
    /// Its refresh token was used a second time, so that somebody else may have it.
    #[error(
        "the refresh token was used before, so that the session was ended; a new sign-in begins another"
    )]
    Reused,
}

impl SessionFault {
    /// The stable reason code, for programs: clients, logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "session_malformed",
            Self::WrongKind => "session_wrong_kind",
            Self::UnknownKey => "session_unknown_key",
            Self::Forged => "session_forged",
            Self::Expired { .. } => "session_expired",
            Self::Ended => "session_ended",
            Self::Reused => "session_reused",
        }
    }
}

impl From<SealFault> for SessionFault {
    fn from(fault: SealFault) -> Self {
        match fault {
            SealFault::Malformed => Self::Malformed,
            SealFault::WrongPurpose => Self::WrongKind,
            SealFault::UnknownKey => Self::UnknownKey,
            SealFault::Forged => Self::Forged,
        }
    }
}

/// Why a session was not renewed. [`Refused`](Self::Refused) is a *no*; the others mean that *we could not tell*.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The refresh token is no good: sending it again cannot help.
    #[error("the refresh token is refused")]
    Refused(#[from] SessionFault),
    /// Whether it was used before could not be told, or not be stored: the caller may retry.
    #[error("it cannot be told whether the refresh token was used before")]
    Unavailable(#[from] StoreError),
    /// The new tokens could not be made.
    #[error("the new tokens cannot be made")]
    Seal(#[from] SealError),
}
