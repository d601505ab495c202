//! A small body, read whole: for what we answer ourselves.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::authn::Rejection;

/// Reads `body`, of at most `limit` bytes, within `patience`.
pub(super) async fn read(
    body: Incoming,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Rejection> {
    let reading = Limited::new(body, limit).collect();
    match timeout(patience, reading).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Rejection::BodyTooLarge { limit: u64::try_from(limit).unwrap_or(u64::MAX) })
        }
        Ok(Err(_broken)) => Err(Rejection::BadRequest("the request's body broke off")),
        Err(_elapsed) => Err(Rejection::BodyTimedOut),
    }
}
