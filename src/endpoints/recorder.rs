//! What must outlive the process, and be in force, and be told to others: the word of Apple, of an operator, or of whoever
//! deletes their account.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    authn::Rejection,
    clock::UnixTime,
    store::{Health, Space, Store, StoreError, Write},
    telemetry::causes,
    verify::{Ending, Identity, Revocation, Revocations},
    webhooks::{Event, Webhooks},
};

/// Stores what ends sessions and sign-ins, puts it into force, and has applications told. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    /// Where it outlives us.
    pub(crate) store: Arc<dyn Store>,
    /// Whether the store does what it is asked.
    pub(crate) health: Health,
    /// What requests are judged by.
    pub(crate) revocations: Revocations,
    /// Who else is told.
    pub(crate) webhooks: Webhooks,
    /// What must be finished before the process ends.
    pub(crate) tasks: TaskTracker,
}

/// Whether the application hears of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It waits in the queue of webhooks.
    Soon,
    /// There are no webhooks.
    Nobody,
}

/// How much ends with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every sign-in of the subject so far.
    EverySignIn,
    /// The session alone: a further issuer may name subjects as it likes, those of others, too.
    ThisSession,
}

/// What is stored at once, and comes into force then.
#[derive(Debug, Default)]
struct Change {
    revocations: Vec<Revocation>,
    ending: Option<Ending>,
    deliveries: Vec<Write>,
}

impl Recorder {
    /// Stores that somebody signed in, as `event` says, for others to be told.
    ///
    /// # Errors
    ///
    /// [`Rejection::StoreUnavailable`].
    pub(super) async fn tell_of_sign_in(&self, event: &Event) -> Result<(), Rejection> {
        self.webhooks.queue_sign_in(event).await.map_err(|error| {
            warn!(cause = causes(&error), "a sign-in could not be stored to be told of");
            Rejection::StoreUnavailable
        })
    }

    /// Puts `revocations` into the store and then into force: an operator's wish.
    pub(crate) async fn put(&self, revocations: Vec<Revocation>) -> Result<(), StoreError> {
        self.bring_about(Change { revocations, ..Change::default() }).await
    }

    /// Everything or nothing, even if whoever asked hangs up meanwhile: then this future is dropped, and what it spawned goes on.
    async fn bring_about(&self, change: Change) -> Result<(), StoreError> {
        let recorder = self.clone();
        let changing = async move { recorder.bring_about_now(change).await };
        let changed = self.tasks.spawn(changing).await;
        changed.unwrap_or_else(|panic| Err(StoreError::Failed(panic.into())))
    }

    async fn bring_about_now(&self, change: Change) -> Result<(), StoreError> {
        let Change { revocations, ending, deliveries } = change;
        let raised = revocations.iter().map(|it| self.raise(it));
        let writes = raised.chain(ending.iter().map(Ending::write)).chain(deliveries).collect();
        // What is raised is never there already.
        let _done = self.store.apply(writes).await?;
        for revocation in revocations {
            self.revocations.add(revocation);
        }
        if let Some(ending) = ending {
            ending.come_into_force();
        }
        self.webhooks.wake();
        Ok(())
    }

    /// Stores that `identity` has deleted their account with the application: the session of `ending` ends, every sign-in of
    /// theirs so far if `extent` says so, and others are told.
    pub(super) async fn end_account(
        &self,
        identity: &Identity,
        ending: Option<Ending>,
        extent: Extent,
        now: UnixTime,
    ) -> Result<Told, StoreError> {
        let deliveries = self.webhooks.deliveries_of(&Event::of_deletion(identity, now));
        let told = if deliveries.is_empty() { Told::Nobody } else { Told::Soon };
        let revocations = match extent {
            // By Apple's clock, which may be ahead of ours, the sign-in may be of a moment that is yet to come.
            Extent::EverySignIn => {
                let at = now.max(identity.issued_at());
                vec![Revocation::new(identity.subject().clone(), at)]
            }
            Extent::ThisSession => Vec::new(),
        };
        self.bring_about(Change { revocations, ending, deliveries }).await?;
        Ok(told)
    }

    /// The write that stores `revocation`.
    pub(super) fn raise(&self, revocation: &Revocation) -> Write {
        Write::Raise(Space::Revocations, self.revocations.record_of(revocation))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        clock::SystemClock,
        store::{Answer, Applied, Follower, Forever, MemoryStore, Record},
        telemetry::Metrics,
        verify::RevocationsSettings,
        webhooks::WebhookSettings,
    };

    /// A store that writes when it may.
    #[derive(Debug)]
    struct Slow(MemoryStore, Semaphore);

    impl Store for Slow {
        fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
            Box::pin(async {
                self.1.acquire().await.unwrap().forget();
                self.0.apply(writes).await
            })
        }

        fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
            self.0.list(space)
        }

        fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>> {
            self.0.get(space, key)
        }

        fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a> {
            self.0.follow(space, follower)
        }

        fn sweep(&self) -> Answer<'_, ()> {
            self.0.sweep()
        }
    }

    #[tokio::test]
    async fn an_operators_wish_is_stored_and_in_force_even_if_they_hang_up() {
        let clock = Arc::new(SystemClock);
        let slow = Arc::new(Slow(MemoryStore::new(clock.clone()), Semaphore::new(0)));
        let store: Arc<dyn Store> = slow.clone();
        let (settings, metrics) = (RevocationsSettings::default(), Metrics::new());
        let revocations = Revocations::following(settings, clock.clone(), metrics.clone());
        let nobody =
            WebhookSettings { targets: Vec::new(), keep: Duration::ZERO, timeout: Duration::ZERO };
        let webhooks = Webhooks::new(nobody, store.clone(), clock, metrics.clone());
        let (health, tasks) = (Health::new(metrics), TaskTracker::new());
        let recorder = Recorder { store, health, revocations, webhooks, tasks };

        let wish =
            Revocation::new("001".parse().unwrap(), UnixTime::from_secs(u64::from(u32::MAX)));
        let putting = recorder.put(vec![wish.clone()]);
        tokio::pin!(putting);
        assert!(futures_util::poll!(putting.as_mut()).is_pending());
        assert!(recorder.revocations.is_empty(), "not before it is stored");
        putting.set(recorder.put(Vec::new()));

        slow.1.add_permits(1);
        recorder.tasks.close();
        recorder.tasks.wait().await;
        assert_eq!(recorder.revocations.list(), [wish]);
        assert_eq!(recorder.store.list(Space::Revocations).await.unwrap().len(), 1);
    }
}
