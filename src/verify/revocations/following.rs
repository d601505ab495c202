//! The list as the follower of a store.

use std::collections::HashMap;

use tracing::info;

use super::{
    super::{
        followed::{Followed, StoreLink},
        identity::Subject,
    },
    ClientGroups, Revocation, Revocations,
};
use crate::{
    clock::UnixTime,
    store::{Pair, Record, Space, Write},
};

impl Revocations {
    /// What a record says, unless somebody else wrote it.
    pub(crate) fn parse(&self, record: &Record) -> Option<Revocation> {
        let (group, subject) = record.key.split_once(',')?;
        let Pair(revoked_at, lifted_at) = Pair::parse(&record.value)?;
        let groups = &self.0.settings.groups;
        let place = Some(group).filter(|group| *group != ClientGroups::ALL);
        let place = place.and_then(|group| groups.place_named(group));
        Some(Revocation {
            subject: Subject::new(subject)?,
            client_id: place.and_then(|place| groups.first_of(place)).cloned(),
            revoked_at: UnixTime::from_secs(revoked_at),
            lifted_at: UnixTime::from_secs(lifted_at),
        })
    }
}

impl Followed for Revocations {
    fn link(&self) -> &StoreLink {
        &self.0.link
    }

    fn take(&self, record: &Record) -> bool {
        let Some(revocation) = self.parse(record) else { return false };
        self.0.shards.raise(revocation, record.expires_at)
    }

    /// What is known here and is not in `records`, or not as late.
    fn missing_from(&self, records: &[Record]) -> Vec<Write> {
        let there: HashMap<&str, &str> =
            records.iter().map(|record| (&*record.key, &*record.value)).collect();
        let now = self.0.clock.now();
        let known = self.0.shards.all().into_iter();
        let records = known
            .filter(|(_, expires_at)| *expires_at > now)
            .map(|(known, expires_at)| Record { expires_at, ..self.record_of(&known) });
        let is_missing = |record: &Record| there.get(&*record.key) != Some(&&*record.value);
        records.filter(is_missing).map(|it| Write::Raise(Space::Revocations, it)).collect()
    }

    fn note_change(&self) {
        self.tell_change();
    }

    fn found_again(&self) {
        info!(subjects = self.len(), "the list of revocations is what the store holds");
    }

    fn confirmed(&self) {
        self.tell_age();
    }
}
