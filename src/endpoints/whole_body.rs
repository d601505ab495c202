//! A small body, read whole: for what we answer ourselves.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::authn::Rejection;

/// Reads `body`, of at most `limit` bytes, within `patience`.
pub(super) async fn read<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, Rejection>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
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

#[cfg(test)]
mod tests {
    use http_body_util::{Channel, Full};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_408() {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        sender.send_data(Bytes::from_static(b"{")).await.unwrap();
        let rejection = read(body, 100, PATIENCE).await.unwrap_err();
        assert_eq!(rejection.status(), 408);
        drop(sender);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_408_when_the_time_for_all_of_it_is_over() {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let dripping = async {
            while sender.send_data(Bytes::from_static(b" ")).await.is_ok() {
                tokio::time::sleep(PATIENCE / 4).await;
            }
        };
        let (rejection, ()) = tokio::join!(read(body, 100, PATIENCE), dripping);
        assert_eq!(rejection.unwrap_err().status(), 408);
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_is_read() {
        let body = || Full::new(Bytes::from_static(b"1234"));
        assert_eq!(read(body(), 4, PATIENCE).await.unwrap(), "1234");
        assert_eq!(read(body(), 3, PATIENCE).await.unwrap_err().status(), 413);
    }
}
