//! The deliveries of one target, worked off: what is due is tried, what fails waits longer each time.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;
use tracing::{debug, error, warn};

use super::{
    Parts, Target, Webhooks,
    delivery::Delivery,
    post::{Post, PostFault},
};
use crate::{
    clock::UnixTime,
    store::{Applied, Record, Space, StoreError, Write},
    telemetry::{DeliveryLabels, causes},
};

/// One target's queue.
pub(super) struct Queue {
    webhooks: Webhooks,
    target: Target,
    post: Arc<dyn Post>,
    /// How often in a row the target could not be reached.
    failures: u32,
}

/// What a round came to.
enum Round {
    /// What was due is delivered, or waits for its turn.
    Done,
    /// Much was tried, and something more urgent may have come meanwhile.
    Long,
    /// The target cannot be reached: trying the next event is of no use.
    Unreachable,
}

impl Queue {
    /// The longest pause before an event, or an unreachable target, is tried again.
    const LONGEST_PAUSE: Duration = Duration::from_mins(10);
    /// The pause between two looks at the queue: another replica may have left something.
    const LOOK_EVERY: Duration = Duration::from_secs(15);
    /// How much longer than one attempt a replica has an event for itself.
    const LEASE: Duration = Duration::from_secs(10);
    /// So many events are tried before the queue is looked at anew.
    const ROUND: u32 = 100;

    pub(super) const fn new(webhooks: Webhooks, target: Target, post: Arc<dyn Post>) -> Self {
        Self { webhooks, target, post, failures: 0 }
    }

    fn parts(&self) -> &Parts {
        &self.webhooks.0
    }

    /// Delivers for ever.
    pub(super) async fn run(mut self) {
        loop {
            let webhooks = self.webhooks.clone();
            let woken = webhooks.0.wake.notified();
            let pause = match self.round().await {
                Ok(Round::Done) => {
                    self.failures = 0;
                    Self::LOOK_EVERY
                }
                Ok(Round::Long) => {
                    self.failures = 0;
                    continue;
                }
                Ok(Round::Unreachable) => {
                    self.failures = self.failures.saturating_add(1);
                    sleep(backoff(self.failures)).await;
                    continue;
                }
                Err(error) => {
                    warn!(cause = causes(&error), "the queue of events cannot be read");
                    Self::LOOK_EVERY
                }
            };
            tokio::select! {
                () = woken => {}
                () = sleep(pause.min(self.until_next().await)) => {}
            }
        }
    }

    /// Tries what is due, the most urgent first.
    async fn round(&self) -> Result<Round, StoreError> {
        let mut tried = 0_u32;
        for delivery in self.waiting().await? {
            let now = self.parts().clock.now();
            if delivery.not_before > now.as_secs() || !self.lease(&delivery, now).await? {
                continue;
            }
            if let Round::Unreachable = self.attempt(delivery, now).await? {
                return Ok(Round::Unreachable);
            }
            tried = tried.saturating_add(1);
            if tried >= Self::ROUND {
                return Ok(Round::Long);
            }
        }
        Ok(Round::Done)
    }

    /// The time until the next event is due.
    async fn until_next(&self) -> Duration {
        let now = self.parts().clock.now();
        let waiting = self.waiting().await.unwrap_or_default();
        let due = waiting.iter().map(|delivery| UnixTime::from_secs(delivery.not_before));
        due.min()
            .map_or(Self::LOOK_EVERY, |due| due.saturating_since(now).max(Duration::from_secs(1)))
    }

    /// All events of this target.
    async fn waiting(&self) -> Result<Vec<Delivery>, StoreError> {
        let records = self.parts().store.list(Space::Deliveries).await?;
        self.parts().metrics.webhook_queue.set(i64::try_from(records.len()).unwrap_or(i64::MAX));
        let all = records.iter().filter(|record| Delivery::is_key_of_sign_in(&record.key)).count();
        self.parts().sign_ins.store(all, Ordering::Relaxed);
        let ours = records.iter().filter(|record| self.target.has_key(&record.key));
        let mut waiting: Vec<_> =
            ours.filter_map(|record| Delivery::parse(&record.value)).collect();
        // In the order in which they came, which is that of their ends.
        waiting.sort_by_key(|delivery| (delivery.lane, delivery.give_up_at));
        Ok(waiting)
    }

    /// Takes `delivery` for this replica alone, for a while; false if another has it.
    async fn lease(&self, delivery: &Delivery, now: UnixTime) -> Result<bool, StoreError> {
        let lasts = self.parts().settings.timeout.saturating_add(Self::LEASE);
        let record = Record {
            key: delivery.key(&self.target),
            value: String::new(),
            expires_at: now.saturating_add(lasts),
        };
        let taken = self.parts().store.apply(vec![Write::Insert(Space::Leases, record)]).await?;
        Ok(taken == Applied::Done)
    }

    async fn attempt(&self, mut delivery: Delivery, now: UnixTime) -> Result<Round, StoreError> {
        let key = delivery.key(&self.target);
        if delivery.give_up_at <= now.as_secs() {
            error!(id = delivery.id, attempts = delivery.attempts, "an event is given up");
            self.count("given_up");
            return self.settle(Write::Delete(Space::Deliveries, key.clone()), key).await;
        }
        let fault = match self.post.post(&self.target, &delivery, now).await {
            Ok(()) => {
                self.count("ok");
                return self.settle(Write::Delete(Space::Deliveries, key.clone()), key).await;
            }
            Err(fault) => fault,
        };
        let (cause, attempts) = (causes(&fault), delivery.attempts);
        if attempts == 0 {
            warn!(cause, id = delivery.id, "an event could not be delivered and is tried again");
        } else {
            debug!(cause, id = delivery.id, attempts, "an event could not be delivered");
        }
        delivery.attempts = attempts.saturating_add(1);
        delivery.not_before = now.saturating_add(backoff(delivery.attempts)).as_secs();
        let give_up_at = UnixTime::from_secs(delivery.give_up_at);
        let (value, expires_at) = (delivery.to_text(), give_up_at.saturating_add(Webhooks::NOTICE));
        let record = Record { key: key.clone(), value, expires_at };
        let round = match fault {
            PostFault::Refused(_) => Round::Done,
            PostFault::Unreachable(_) => Round::Unreachable,
        };
        self.count(if matches!(round, Round::Done) { "refused" } else { "unreachable" });
        self.settle(Write::Put(Space::Deliveries, record), key).await?;
        Ok(round)
    }

    /// Notes what became of an event, and gives it up to other replicas.
    async fn settle(&self, write: Write, lease: String) -> Result<Round, StoreError> {
        let writes = vec![write, Write::Delete(Space::Leases, lease)];
        // Nothing is inserted that could be there already.
        let _done = self.parts().store.apply(writes).await?;
        Ok(Round::Done)
    }

    fn count(&self, result: &'static str) {
        let labels = DeliveryLabels { result };
        self.parts().metrics.webhook_deliveries.get_or_create(&labels).inc();
    }
}

/// How long to wait after so many failures: twice as long each time, and not to the second, so that replicas spread out.
fn backoff(failures: u32) -> Duration {
    let doubled = Duration::from_secs(1_u64.checked_shl(failures.min(16)).unwrap_or(u64::MAX));
    doubled.min(Queue::LONGEST_PAUSE).mul_f64(0.75 + fastrand::f64() / 4.0)
}
