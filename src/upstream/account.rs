//! What is told of a response once its head has been told of: how long it took, and whether it broke off.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{BodyFault, arrival::RequestId};
use crate::telemetry::{BrokenResponseLabels, Metrics, causes};

/// An exchange with the application, from the request that was sent to the end of the response.
#[derive(Debug)]
pub(super) struct Exchanged {
    started: Instant,
    request_id: RequestId,
    metrics: Metrics,
}

impl Exchanged {
    /// Begins with the request `request_id`.
    pub(super) fn begin(request_id: RequestId, metrics: Metrics) -> Self {
        Self { started: Instant::now(), request_id, metrics }
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// The head of the response is here: `status`.
    pub(super) fn answered(self, status: StatusCode) -> Account {
        let first_byte = self.started.elapsed();
        self.metrics.upstream_first_byte_seconds.observe(status, first_byte);
        Account { exchange: self, status, first_byte }
    }
}

/// Tells of the end of a response, when it is dropped.
#[derive(Debug)]
pub(super) struct Account {
    exchange: Exchanged,
    status: StatusCode,
    first_byte: Duration,
}

impl Account {
    /// How long the application took to the head of its response.
    pub(super) const fn first_byte(&self) -> Duration {
        self.first_byte
    }

    /// The response ended before it was whole. Its caller has the head of a success, so that nobody else will tell.
    pub(super) fn broke_off(&self, fault: &BodyFault) {
        let Exchanged { request_id, metrics, .. } = &self.exchange;
        let request_id = request_id.as_str();
        let reason = match fault {
            BodyFault::StandingEnded(end) => {
                return info!(request_id, reason = %end, "a response was broken off");
            }
            BodyFault::Broken(_) | BodyFault::TooLarge { .. } => "broken",
            BodyFault::TimedOut => "silent",
            BodyFault::TookTooLong => "too_long",
        };
        metrics.upstream_broken_responses.get_or_create(&BrokenResponseLabels { reason }).inc();
        if matches!(fault, BodyFault::TookTooLong) {
            metrics.requests_timed_out.inc();
        }
        warn!(
            request_id,
            fault = "upstream",
            reason,
            cause = causes(fault),
            "the application's response broke off"
        );
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Exchanged { started, metrics, .. } = &self.exchange;
        metrics.upstream_total_seconds.observe(self.status, started.elapsed());
    }
}
