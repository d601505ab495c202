//! A small body, read whole: for what we answer ourselves.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

/// The bodies that anybody may send and that are on their way: so many at once. Who comes then takes the place of the one
/// that has been waited for longest, so that those who send slowly keep out neither others nor requests of other kinds.
#[derive(Debug)]
pub(super) struct Readers {
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
struct Place<'a> {
    readers: &'a Readers,
    number: u64,
    lost: CancellationToken,
}

impl Readers {
    /// As many as an eighth of all requests that may be in flight, and no more than a crowd of senders needs.
    pub(super) fn among(max_requests: usize) -> Self {
        Self { most: (max_requests / 8).clamp(1, 64), reading: Mutex::default() }
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

    fn place(&self) -> Place<'_> {
        let mut reading = self.lock();
        if reading.places.len() >= self.most
            && let Some((_, longest)) = reading.places.pop_front()
        {
            longest.cancel();
        }
        let (number, lost) = (reading.taken, CancellationToken::new());
        reading.taken += 1;
        reading.places.push_back((number, lost.clone()));
        Place { readers: self, number, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.readers.lock().places.retain(|(number, _)| *number != self.number);
    }
}
