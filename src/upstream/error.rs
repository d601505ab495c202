//! How an exchange with the application fails, and whose fault that is.

use std::{error::Error, io, time::Duration};

use super::{BodyFault, connect::ConnectError};
use crate::authn::Rejection;

/// How the exchange with the application failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The target cannot be put into a request line.
    #[error("the target cannot be forwarded")]
    Target(#[source] http::Error),
    /// There is no connection to be had.
    #[error("no connection")]
    Connect(#[from] ConnectError),
    /// It did not answer in time.
    #[error("no response in time")]
    NoResponse,
    /// It did not answer within the time that a whole exchange may take.
    #[error("no response within {limit:?} in all")]
    TookTooLong {
        /// The longest that one may take.
        limit: Duration,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the exchange broke off")]
    Exchange(#[from] hyper::Error),
    /// It changes to a protocol that was not asked for.
    #[error("the application changes to a protocol that was not asked for")]
    UnaskedUpgrade,
}

impl UpstreamError {
    /// Whose fault it was, as the answer to the caller.
    pub(crate) fn into_rejection(self) -> Rejection {
        match &self {
            Self::Target(_) => Rejection::BadRequest("the target cannot be forwarded"),
            Self::NoResponse | Self::Connect(ConnectError::TimedOut) => Rejection::UpstreamTimedOut,
            Self::TookTooLong { limit } => Rejection::RequestTimedOut { limit: *limit },
            Self::Connect(error) if system_gave_up(error) => Rejection::UpstreamTimedOut,
            Self::Connect(_) | Self::UnaskedUpgrade => Rejection::UpstreamUnreachable,
            Self::Exchange(error) => BodyFault::behind(error)
                .map_or(Rejection::UpstreamUnreachable, BodyFault::rejection),
        }
    }
}

impl BodyFault {
    /// The answer to a request whose body ended early.
    pub(crate) const fn rejection(&self) -> Rejection {
        match self {
            Self::TooLarge { limit } => Rejection::BodyTooLarge { limit: *limit },
            Self::TimedOut | Self::TookTooLong => Rejection::BodyTimedOut,
            Self::Broken(_) | Self::StandingEnded(_) => {
                Rejection::BadRequest("the request's body broke off")
            }
        }
    }
}

/// Whether the operating system's own patience ended before ours.
fn system_gave_up(error: &ConnectError) -> bool {
    let mut io_errors =
        super::body::causes(error).filter_map(<dyn Error>::downcast_ref::<io::Error>);
    io_errors.any(|error| error.kind() == io::ErrorKind::TimedOut)
}
