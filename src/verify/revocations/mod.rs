//! Whose tokens are refused although they have not expired: subject → revoked at, held in memory, fed by a store.
//!
//! A subject is known by its group of apps, as a person withdraws consent from one group at a time. Of each subject two
//! moments are kept, and both only ever grow: tokens that were issued at or before `revoked_at` are refused, unless an
//! operator lifted that revocation (`lifted_at` is as late). So it does not matter in which order, how often or on which
//! replica they are heard of, and a revocation that comes late does no harm to a newer sign-in.

mod following;
mod groups;
mod revocation;
mod shards;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use tokio::sync::watch;

pub(crate) use self::groups::ClientGroups;
pub use self::revocation::Revocation;
use self::shards::Shards;
use super::{
    builder::VerifierBuilder,
    error::{TokenFault, VerifyError},
    followed::StoreLink,
    freshness::RefusalList,
    identity::{ClientId, Identity, Subject},
};
use crate::{
    clock::{Clock, SystemClock, UnixTime},
    store::{Pair, Record},
    telemetry::Metrics,
};

/// The list. Clones share it.
#[derive(Clone)]
pub struct Revocations(Arc<List>);

struct List {
    settings: RevocationsSettings,
    shards: Shards,
    link: StoreLink,
    changes: watch::Sender<()>,
    blinding_key: [u8; 32],
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// How the list is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevocationsSettings {
    /// Which apps belong together.
    pub(crate) groups: ClientGroups,
    /// How long a token can be good at most: a revocation is remembered for as long, and no older token is accepted.
    pub(crate) keep: Duration,
    /// How old the list may be while its store cannot be reached; any age unless set.
    pub(crate) max_staleness: Option<Duration>,
}

impl Default for RevocationsSettings {
    fn default() -> Self {
        Self {
            groups: ClientGroups::default(),
            keep: Duration::from_hours(48),
            max_staleness: None,
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new()
    }
}

impl Revocations {
    /// An empty list, for a verifier that is told of revocations by whoever holds this.
    #[must_use]
    pub fn new() -> Self {
        let clock = Arc::new(SystemClock);
        let list = Self::following(RevocationsSettings::default(), clock, Metrics::new());
        list.0.link.freshness.confirm_for_good();
        list
    }

    /// A list that a store has yet to fill: until then nobody can be said not to be on it.
    pub(crate) fn following(
        settings: RevocationsSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let shards = Shards::new(&settings.groups);
        let (changes, link) = (watch::Sender::new(()), StoreLink::new(RefusalList::Revocations));
        let mut blinding_key = [0; 32];
        // Without randomness there is no TLS either; names in the log are then blinded by a key that is no secret.
        rand::fill(&mut blinding_key).ok();
        Self(Arc::new(List { settings, shards, link, changes, blinding_key, clock, metrics }))
    }

    /// How many subjects are on it, lifted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.len()
    }

    /// Whether nobody is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `revocation` on it. What is known already is not forgotten: of each moment the later one stays.
    pub fn add(&self, revocation: Revocation) {
        let expires_at = self.expiry_of(&revocation);
        if self.0.shards.raise(revocation, expires_at) {
            self.tell_change();
        }
    }

    /// How long revocations are remembered, and tokens accepted at most.
    pub(super) fn kept_for(&self) -> Duration {
        self.0.settings.keep
    }

    /// Refuses `identity` if it was revoked after its token was issued.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Revoked`]; [`VerifyError::RevocationsUnavailable`] when it is not on the list, and the list cannot be
    /// relied on.
    pub(super) fn check(&self, identity: &Identity) -> Result<(), VerifyError> {
        if let Some(revoked_at) = self.revoked_at(identity) {
            return Err(TokenFault::Revoked { revoked_at }.into());
        }
        Ok(self.0.link.freshness.check(self.0.settings.max_staleness)?)
    }

    /// Resolves when `identity` is revoked, which may be never.
    pub async fn revoked(&self, identity: &Identity) {
        let mut changes = self.0.changes.subscribe();
        while self.revoked_at(identity).is_none() {
            // The sender is here, so that it cannot be closed.
            changes.changed().await.ok();
        }
    }

    /// Resolves when `identity`, which was good, is not any more by this list; which may be never.
    pub(crate) async fn refused(&self, identity: &Identity) -> VerifyError {
        let mut changes = self.0.changes.subscribe();
        loop {
            if let Err(refused) = self.check(identity) {
                return refused;
            }
            tokio::select! {
                // The sender is here, so that it cannot be closed.
                _ = changes.changed() => {}
                () = self.0.link.freshness.may_be_over(self.0.settings.max_staleness) => {}
            }
        }
    }

    /// Since when the identity's sign-in is revoked, if it is.
    fn revoked_at(&self, identity: &Identity) -> Option<UnixTime> {
        if self.is_empty() {
            return None;
        }
        let revoked_at = self.0.shards.revoked_at(identity)?;
        (identity.issued_at() <= revoked_at).then_some(revoked_at)
    }

    /// Forgets those whose tokens have all expired.
    pub(crate) fn sweep(&self) {
        self.0.shards.retain_from(self.0.clock.now());
        self.count();
    }

    /// All that is on it, in the order of the subjects.
    pub(crate) fn list(&self) -> Vec<Revocation> {
        let mut all = self.0.shards.all();
        all.sort_by(|(one, _), (other, _)| one.subject.as_str().cmp(other.subject.as_str()));
        all.into_iter().map(|(revocation, _)| revocation).collect()
    }

    /// What is known of `revocation`'s subject and apps.
    pub(crate) fn find(
        &self,
        subject: &Subject,
        client_id: Option<&ClientId>,
    ) -> Option<Revocation> {
        self.0.shards.find(subject, client_id)
    }

    /// What time it is for this list.
    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    /// Waits until the list has been read.
    pub(crate) async fn loaded(&self) {
        self.0.link.freshness.confirmed().await;
    }

    /// How long ago it was certain that this is the list; none before the first time.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.0.link.freshness.age()
    }

    /// Tells the metrics how old the list is.
    pub(crate) fn tell_age(&self) {
        let seconds = self.age().map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.0.metrics.revocations_age.set(seconds);
    }

    /// The record that says `revocation` in a store.
    pub(crate) fn record_of(&self, revocation: &Revocation) -> Record {
        let group = self.0.settings.groups.name_of(revocation.client_id.as_ref());
        Record {
            key: format!("{group},{}", revocation.subject.as_str()),
            value: Pair(revocation.revoked_at.as_secs(), revocation.lifted_at.as_secs())
                .to_string(),
            expires_at: self.expiry_of(revocation),
        }
    }

    /// A name for `subject` in the log of this process, from which nobody can tell who it is.
    pub(crate) fn blind(&self, subject: &Subject) -> String {
        let hash = blake3::keyed_hash(&self.0.blinding_key, subject.as_str().as_bytes());
        hash.to_hex().chars().take(16).collect()
    }

    fn expiry_of(&self, revocation: &Revocation) -> UnixTime {
        let at = revocation.revoked_at.max(revocation.lifted_at);
        at.saturating_add(self.0.settings.keep).saturating_add(VerifierBuilder::LONGEST_LEEWAY)
    }

    fn tell_change(&self) {
        self.count();
        self.0.changes.send_replace(());
    }

    fn count(&self) {
        let subjects = i64::try_from(self.len()).unwrap_or(i64::MAX);
        self.0.metrics.revocations.set(subjects);
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("subjects", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
