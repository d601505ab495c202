//! Records in memory: gone with the process.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Answer, Applied, Confirmed, Follower, Forever, Record, Space, Store, StoreError, Write,
};
use crate::clock::Clock;

/// Keeps records for as long as the process lives.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    spaces: Mutex<Spaces>,
    /// How many records there may be of each space that callers fill.
    capacity: usize,
    clock: Arc<dyn Clock>,
}

/// The records of each space, by their keys.
type Spaces = BTreeMap<Space, BTreeMap<String, Record>>;

impl MemoryStore {
    /// Records of a space that callers fill: some 200 MiB of it.
    const CAPACITY: usize = 1_000_000;

    /// An empty store, whose records expire by `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { spaces: Mutex::default(), capacity: Self::CAPACITY, clock }
    }

    fn write(&self, writes: Vec<Write>) -> Result<Applied, StoreError> {
        let now = self.clock.now();
        let mut spaces = self.lock();
        let is_there = |write: &Write| {
            let record = spaces.get(&write.space()).and_then(|records| records.get(write.key()));
            record.is_some_and(|record| record.expires_at > now)
        };
        if writes.iter().any(|write| matches!(write, Write::Insert(..)) && is_there(write)) {
            return Ok(Applied::AlreadyThere);
        }
        self.check_room(&spaces, &writes)?;
        for write in writes {
            let (records, key) = (spaces.entry(write.space()).or_default(), write.key().to_owned());
            let current = records.remove(&key).filter(|record| record.expires_at > now);
            if let Some(record) = write.result(current) {
                records.insert(key, record);
            }
        }
        Ok(Applied::Done)
    }

    /// What has expired takes room until it is swept.
    fn check_room(&self, spaces: &Spaces, writes: &[Write]) -> Result<(), StoreError> {
        let adds = |write: &&Write| {
            let records = spaces.get(&write.space());
            write.space().is_filled_by_callers()
                && !matches!(write, Write::Delete(..))
                && !records.is_some_and(|records| records.contains_key(write.key()))
        };
        for write in writes.iter().filter(adds) {
            let of_space = |other: &&Write| other.space() == write.space();
            let more = writes.iter().filter(adds).filter(of_space).count();
            let held = spaces.get(&write.space()).map_or(0, BTreeMap::len);
            if held + more > self.capacity {
                return Err(StoreError::Full);
            }
        }
        Ok(())
    }

    fn read(&self, space: Space) -> Vec<Record> {
        let now = self.clock.now();
        let spaces = self.lock();
        let records = spaces.get(&space).into_iter().flat_map(BTreeMap::values);
        records.filter(|record| record.expires_at > now).cloned().collect()
    }

    fn find(&self, space: Space, key: &str) -> Option<Record> {
        let record = self.lock().get(&space)?.get(key).cloned();
        record.filter(|record| record.expires_at > self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, Spaces> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
        Box::pin(ready(self.write(writes)))
    }

    fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
        Box::pin(ready(Ok(self.read(space))))
    }

    fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>> {
        Box::pin(ready(Ok(self.find(space, &key))))
    }

    fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a> {
        Box::pin(async move {
            let lost = follower.load(self.read(space));
            // Memory loses nothing: what is not in it has expired.
            drop(lost);
            follower.confirm(Confirmed::ForGood);
            std::future::pending::<()>().await;
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        let now = self.clock.now();
        for records in self.lock().values_mut() {
            records.retain(|_, record| record.expires_at > now);
        }
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{ManualClock, UnixTime};

    fn record(key: &str, clock: &ManualClock) -> Record {
        let expires_at = clock.now().saturating_add(Duration::from_mins(1));
        Record { key: key.to_owned(), value: "1 0".to_owned(), expires_at }
    }

    #[tokio::test]
    async fn a_space_that_callers_fill_is_full_one_day_and_then_it_says_so() {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let capacity = 2;
        let store = MemoryStore { capacity, ..MemoryStore::new(Arc::new(clock.clone())) };
        let insert = async |space, key: &str| {
            store.apply(vec![Write::Insert(space, record(key, &clock))]).await
        };
        for key in ["1", "2"] {
            assert_eq!(insert(Space::SpentTokens, key).await.unwrap(), Applied::Done);
        }
        assert!(matches!(insert(Space::SpentTokens, "3").await, Err(StoreError::Full)));
        assert_eq!(insert(Space::SpentTokens, "2").await.unwrap(), Applied::AlreadyThere);
        let both = ["1", "4"].map(|key| Write::Put(Space::SpentNonces, record(key, &clock)));
        let three = [&both[..], &[Write::Put(Space::SpentNonces, record("5", &clock))]].concat();
        assert!(matches!(store.apply(three).await, Err(StoreError::Full)), "whole or not at all");
        assert_eq!(store.list(Space::SpentNonces).await.unwrap(), []);
        assert_eq!(store.apply(both.to_vec()).await.unwrap(), Applied::Done);
        for key in ["1", "2", "3"] {
            let done = insert(Space::Notifications, key).await.unwrap();
            assert_eq!(done, Applied::Done, "nobody but Apple fills this one");
        }

        clock.advance(Duration::from_mins(1));
        store.sweep().await.unwrap();
        assert_eq!(insert(Space::SpentTokens, "3").await.unwrap(), Applied::Done);
    }

    #[tokio::test]
    async fn one_record_is_got_until_it_expires() {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let get = async || store.get(Space::SpentRefreshes, "k".to_owned()).await.unwrap();
        assert_eq!(get().await, None);
        let put = Write::Put(Space::SpentRefreshes, record("k", &clock));
        assert_eq!(store.apply(vec![put]).await.unwrap(), Applied::Done);
        assert_eq!(get().await, Some(record("k", &clock)));
        clock.advance(Duration::from_mins(1));
        assert_eq!(get().await, None);
    }
}
