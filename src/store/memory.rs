//! Records in memory: gone with the process.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Answer, Applied, Confirmed, Follower, Forever, Record, Space, Store, Write};
use crate::clock::Clock;

/// Keeps records for as long as the process lives.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    records: Mutex<BTreeMap<(Space, String), Record>>,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store, whose records expire by `clock`.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { records: Mutex::default(), clock }
    }

    fn write(&self, writes: Vec<Write>) -> Applied {
        let now = self.clock.now();
        let mut records = self.lock();
        let id = |write: &Write| (write.space(), write.key().to_owned());
        let clashes = |write: &Write| {
            let there = || records.get(&id(write)).is_some_and(|there| there.expires_at > now);
            matches!(write, Write::Insert(..)) && there()
        };
        if writes.iter().any(clashes) {
            return Applied::AlreadyThere;
        }
        for write in writes {
            let id = id(&write);
            let current = records.remove(&id).filter(|record| record.expires_at > now);
            if let Some(record) = write.result(current) {
                records.insert(id, record);
            }
        }
        Applied::Done
    }

    fn read(&self, space: Space) -> Vec<Record> {
        let now = self.clock.now();
        let records = self.lock();
        let of_space =
            records.iter().filter(|((of, _), record)| *of == space && record.expires_at > now);
        of_space.map(|(_, record)| record.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Space, String), Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
        Box::pin(ready(Ok(self.write(writes))))
    }

    fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
        Box::pin(ready(Ok(self.read(space))))
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
        self.lock().retain(|_, record| record.expires_at > now);
        Box::pin(ready(Ok(())))
    }
}
