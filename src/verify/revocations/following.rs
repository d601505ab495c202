//! The list as the follower of a store.

use std::{collections::HashMap, sync::atomic::Ordering};

use tracing::{debug, info, warn};

use super::{super::identity::Subject, ClientGroups, Revocation, Revocations};
use crate::{
    clock::UnixTime,
    store::{Confirmed, Follower, Pair, Record, Space, StoreError, Write},
    telemetry::causes,
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

    /// Takes in a record; whether it said anything new.
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
}

impl Follower for Revocations {
    fn load(&self, records: Vec<Record>) -> Vec<Write> {
        let mut news = false;
        for record in &records {
            news |= self.take(record);
        }
        if news {
            self.note_change();
        }
        let missing = self.missing_from(&records);
        if !missing.is_empty() {
            warn!(
                missing = missing.len(),
                "the store has lost revocations; they are written again"
            );
        }
        missing
    }

    fn raised(&self, record: Record) {
        if self.take(&record) {
            self.note_change();
        }
    }

    fn confirm(&self, until: Confirmed) {
        if self.0.is_lost.swap(false, Ordering::AcqRel) {
            info!(subjects = self.len(), "the list of revocations is what the store holds");
        }
        match until {
            Confirmed::Now => self.0.freshness.confirm(),
            Confirmed::ForGood => self.0.freshness.confirm_for_good(),
        }
        self.tell_age();
    }

    fn lost(&self, error: &StoreError) {
        let cause = causes(error);
        if self.0.is_lost.swap(true, Ordering::AcqRel) {
            return debug!(cause, "the store of revocations cannot be followed");
        }
        warn!(cause, "the store of revocations cannot be followed: the last known list is used");
    }
}
