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

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use url::Url;

pub use self::post::PostError;
use self::{delivery::Delivery, event::Lane, post::Post, queue::Queue};
pub(crate) use self::{event::Event, post::HttpPost, signature::WebhookSecret};
use crate::{
    clock::Clock,
    store::{Applied, Record, Space, Store, StoreError, Write},
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
    /// How many sign-ins wait for their delivery, as far as is known here.
    sign_ins: AtomicUsize,
}

impl Webhooks {
    /// A delivery stays in the store a while longer than it is tried, so that giving it up is noticed and told.
    const NOTICE: Duration = Duration::from_hours(1);
    /// So many deliveries of sign-ins may wait, some 100 MiB. Each replica counts for itself what it adds between two looks at
    /// the queue.
    const MOST_SIGN_INS: usize = 100_000;

    pub(crate) fn new(
        settings: WebhookSettings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Parts {
            settings,
            store,
            clock,
            metrics,
            wake: Notify::new(),
            sign_ins: AtomicUsize::new(0),
        }))
    }

    /// Stores a sign-in for it to be delivered to everybody; one that waits already goes on waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when too many wait, as callers can sign in faster than anybody can be told; and others.
    pub(crate) async fn queue_sign_in(&self, event: &Event) -> Result<(), StoreError> {
        let Parts { store, sign_ins, .. } = &*self.0;
        let writes = self.deliveries_of(event);
        let more = writes.len();
        if sign_ins.load(Ordering::Relaxed).saturating_add(more) > Self::MOST_SIGN_INS {
            return Err(StoreError::Full);
        }
        if store.apply(writes).await? == Applied::Done {
            sign_ins.fetch_add(more, Ordering::Relaxed);
            self.wake();
        }
        Ok(())
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
        let write = match event.lane {
            Lane::SignIn => Write::Insert,
            Lane::Apple | Lane::Deletion => Write::Put,
        };
        records.map(|record| write(Space::Deliveries, record)).collect()
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
