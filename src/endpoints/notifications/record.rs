//! What becomes of a notification: in force at once, and taken (answered 200, told others) once it is stored.

use std::sync::Arc;

use tracing::{info, warn};

use crate::{
    apple::{AccountEvent, Notification},
    store::{Applied, Health, Record, Space, Store, StoreError, Write},
    verify::{Revocation, Revocations},
    webhooks::Webhooks,
};

/// Stores what notifications say, and puts it into force.
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
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is stored.
    Stored,
    /// It was stored before.
    Repeated,
    /// It is of a kind that means nothing to us.
    Ignored,
}

impl Recorded {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeated => "repeated",
            Self::Ignored => "ignored",
        }
    }
}

impl Recorder {
    /// Stores `notification` whole: that it came, what it revokes, and whom it has to be delivered to. What it revokes is in
    /// force from here on, stored or not, and a repetition changes nothing.
    pub(super) async fn record(&self, notification: &Notification) -> Result<Recorded, StoreError> {
        let AccountEvent::Known { kind, subject, at, .. } = &notification.event else {
            warn!(event = ?notification.event, "Apple told of an event that is not known here");
            return Ok(Recorded::Ignored);
        };
        let revocation = notification.revocation();
        let mut writes = vec![receipt_of(notification)];
        writes.extend(revocation.as_ref().map(|it| self.raise(it)));
        writes.extend(self.webhooks.deliveries_of(notification));

        // Before it is stored: whoever tells may hang up meanwhile, and this future goes no further.
        if let Some(revocation) = revocation {
            self.revocations.add(revocation);
        }
        let applied = self.store.apply(writes).await?;
        self.webhooks.wake();
        let recorded = match applied {
            Applied::Done => Recorded::Stored,
            Applied::AlreadyThere => Recorded::Repeated,
        };
        let (event, subject) = (kind.as_str(), self.revocations.blind(subject));
        info!(event, subject, %at, outcome = recorded.label(), "Apple told of an event");
        Ok(recorded)
    }

    /// Puts `revocation` into the store and into force: an operator's wish.
    pub(crate) async fn put(&self, revocations: Vec<Revocation>) -> Result<(), StoreError> {
        let writes = revocations.iter().map(|it| self.raise(it)).collect();
        // What is raised is never there already.
        let _done = self.store.apply(writes).await?;
        for revocation in revocations {
            self.revocations.add(revocation);
        }
        Ok(())
    }

    fn raise(&self, revocation: &Revocation) -> Write {
        Write::Raise(Space::Revocations, self.revocations.record_of(revocation))
    }
}

/// That it came, for as long as it could come again.
fn receipt_of(notification: &Notification) -> Write {
    let record = Record {
        key: notification.id.to_string(),
        value: notification.event.label().to_owned(),
        expires_at: notification.refused_from,
    };
    Write::Insert(Space::Notifications, record)
}
