//! Sending one delivery.

use std::{error::Error, fmt, future::Future, pin::Pin, time::Duration};

use reqwest::Client;

use super::{Target, delivery::Delivery};
use crate::{clock::UnixTime, https};

/// What became of an attempt.
pub(super) type Posted<'a> = Pin<Box<dyn Future<Output = Result<(), PostFault>> + Send + 'a>>;

/// Somebody who sends.
pub(super) trait Post: fmt::Debug + Send + Sync {
    /// Sends `delivery` to `target` at `now`.
    fn post<'a>(&'a self, target: &'a Target, delivery: &'a Delivery, now: UnixTime) -> Posted<'a>;
}

/// Why a receiver does not have it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostFault {
    /// It answered that it does not take it.
    #[error("the receiver answered with status {0}")]
    Refused(u16),
    /// It did not answer.
    #[error("the receiver cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
}

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for webhooks cannot be set up")]
pub struct PostError(#[from] reqwest::Error);

/// Sends by HTTP.
#[derive(Debug)]
pub(crate) struct HttpPost(Client);

impl HttpPost {
    pub(super) fn new(timeout: Duration) -> Result<Self, PostError> {
        // It follows no redirects: what is personal goes to whom the operator named, and nowhere else.
        Ok(Self(https::client().timeout(timeout).build()?))
    }
}

impl Post for HttpPost {
    fn post<'a>(&'a self, target: &'a Target, delivery: &'a Delivery, now: UnixTime) -> Posted<'a> {
        let signature = target.secret.sign(&delivery.id, now, &delivery.body);
        let request = self
            .0
            .post(target.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &delivery.id)
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-signature", signature)
            .body(delivery.body.clone());
        Box::pin(async move {
            let answer = request.send().await;
            // Without its URL, which may hold a secret.
            let answer =
                answer.map_err(|error| PostFault::Unreachable(error.without_url().into()))?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(PostFault::Refused(status.as_u16())) }
        })
    }
}
