//! What becomes of a notification: in force at once, and taken (answered 200, told others) once it is stored.

use tracing::{info, warn};

use super::super::recorder::Recorder;
use crate::{
    apple::{AccountEvent, Notification},
    store::{Applied, Record, Space, StoreError, Write},
    telemetry::Outcome,
    webhooks::Event,
};

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

impl From<Recorded> for Outcome {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Stored => Self::Stored,
            Recorded::Repeated => Self::Repeated,
            Recorded::Ignored => Self::Ignored,
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
        let revocations = notification.revocations();
        let mut writes = vec![receipt_of(notification)];
        writes.extend(revocations.iter().map(|it| self.raise(it)));
        let event = Event::of_notification(notification);
        writes.extend(event.iter().flat_map(|event| self.webhooks.deliveries_of(event)));

        // Before it is stored: whoever tells may hang up meanwhile, and this future goes no further.
        for revocation in revocations {
            self.revocations.add(revocation);
        }
        let applied = self.store.apply(writes).await?;
        self.webhooks.wake();
        let recorded = match applied {
            Applied::Done => Recorded::Stored,
            Applied::AlreadyThere => Recorded::Repeated,
        };
        let (event, subject) = (kind.as_str(), self.revocations.blind(subject));
        info!(event, subject, %at, outcome = Outcome::from(recorded).as_str(), "Apple told of an event");
        Ok(recorded)
    }
}

/// That it came, for as long as it could come again.
fn receipt_of(notification: &Notification) -> Write {
    let record = Record {
        key: notification.fingerprint(),
        value: notification.event.label().to_owned(),
        expires_at: notification.refused_from,
    };
    Write::Insert(Space::Notifications, record)
}
