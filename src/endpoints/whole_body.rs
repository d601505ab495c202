//! A small body, read whole: for what we answer ourselves.

use std::{
    collections::VecDeque,
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

/// The bodies that anybody may send and that are on their way: so many at once. Who comes then takes the place of the one
/// that has been waited for longest, so that those who send slowly keep out neither others nor requests of other kinds.
#[derive(Debug)]
pub(crate) struct Readers {
    most: usize,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// In the order in which they came.
    places: VecDeque<(u64, CancellationToken)>,
    taken: u64,
}

/// One's place, until this is dropped.
struct ReaderPlace<'a> {
    readers: &'a Readers,
    number: u64,
    lost: CancellationToken,
}

impl Readers {
    /// As many as an eighth of all requests that may be in flight, and no more than a crowd of senders needs.
    pub(super) fn of_senders(max_requests: usize) -> Self {
        Self::at_most((max_requests / 8).clamp(1, 64))
    }

    /// A quarter, and up to 1,024: people sign in from slow networks, many at a time.
    pub(crate) fn of_people(max_requests: usize) -> Self {
        Self::at_most((max_requests / 4).clamp(1, 1024))
    }

    fn at_most(most: usize) -> Self {
        Self { most, reading: Mutex::default() }
    }

    /// Like [`read`], for as long as nobody needs the place.
    pub(super) async fn read(
        &self,
        body: Incoming,
        limit: usize,
        patience: Duration,
    ) -> Result<Bytes, Rejection> {
        let place = self.place();
        tokio::select! {
            // What has come is taken, whoever needs the place.
            biased;
            read = read(body, limit, patience) => read,
            () = place.lost.cancelled() => Err(Rejection::BodyTimedOut),
        }
    }

    fn place(&self) -> ReaderPlace<'_> {
        let mut reading = self.lock();
        if reading.places.len() >= self.most
            && let Some((_, longest)) = reading.places.pop_front()
        {
            longest.cancel();
        }
        let (number, lost) = (reading.taken, CancellationToken::new());
        reading.taken += 1;
        reading.places.push_back((number, lost.clone()));
        ReaderPlace { readers: self, number, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReaderPlace<'_> {
    fn drop(&mut self) {
        self.readers.lock().places.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Channel, Full};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_stops_sending_is_told_that_it_took_too_long() {
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
