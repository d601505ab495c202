//! Telling applications what happened to their users: each event as a small, signed JSON POST, at least once, from a queue
//! that is stored together with what the event is about.
//!
//! The headers and the signature are those of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

mod delivery;
mod event;
mod post;
mod queue;
mod signature;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use url::Url;

pub use self::post::PostError;
use self::{delivery::Delivery, post::Post, queue::Queue};
pub(crate) use self::{event::Event, post::HttpPost, signature::WebhookSecret};
use crate::{
    clock::Clock,
    store::{Record, Space, Store, Write},
    telemetry::Metrics,
};

/// How events are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookSettings {
    /// Where to.
    pub(crate) targets: Vec<Target>,
    /// How long a target may be dead before an event is given up.
    pub(crate) keep: Duration,
    /// How long one delivery may take.
    pub(crate) timeout: Duration,
}

/// Somebody who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where they are posted to.
    pub(crate) url: Url,
    /// What they are signed with.
    pub(crate) secret: WebhookSecret,
}

/// The deliveries of all targets. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    settings: WebhookSettings,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    wake: Notify,
}

impl Webhooks {
    /// A delivery stays in the store a while longer than it is tried, so that giving it up is noticed and told.
    const NOTICE: Duration = Duration::from_hours(1);

    pub(crate) fn new(
        settings: WebhookSettings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Parts { settings, store, clock, metrics, wake: Notify::new() }))
    }

    /// What has to be stored for `event` to be delivered to everybody.
    pub(crate) fn deliveries_of(&self, event: &Event) -> Vec<Write> {
        let Parts { settings, clock, .. } = &*self.0;
        let give_up_at = clock.now().saturating_add(settings.keep);
        let delivery = Delivery::of(event, give_up_at);
        let record = |target: &Target| Record {
            key: delivery.key(target),
            value: delivery.to_text(),
            expires_at: give_up_at.saturating_add(Self::NOTICE),
        };
        let records = settings.targets.iter().map(record);
        records.map(|record| Write::Put(Space::Deliveries, record)).collect()
    }

    /// There is something to deliver.
    pub(crate) fn wake(&self) {
        self.0.wake.notify_waiters();
    }

    /// Delivers for ever; to each target at its own pace.
    ///
    /// # Errors
    ///
    /// [`PostError`] when the HTTP client cannot be set up.
    pub(crate) fn workers(
        &self,
    ) -> Result<Vec<impl Future<Output = ()> + Send + use<>>, PostError> {
        if self.0.settings.targets.is_empty() {
            return Ok(Vec::new());
        }
        let post: Arc<dyn Post> = Arc::new(HttpPost::new(self.0.settings.timeout)?);
        Ok(self.workers_by(&post))
    }

    fn workers_by(&self, post: &Arc<dyn Post>) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let targets = self.0.settings.targets.iter();
        targets
            .map(|target| Queue::new(self.clone(), target.clone(), Arc::clone(post)).run())
            .collect()
    }
}

#[cfg(test)]
mod tests;
