//! Records in one file, by redb: whole after any crash, and on disk before a write is answered.

mod opening;
mod reopening;

use std::{path::PathBuf, sync::Arc, time::Duration};

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use self::reopening::Reopening;
use super::{
    Answer, Applied, Confirmed, Follower, Forever, Health, Record, Space, Store, StoreError, Write,
};
use crate::clock::{Clock, UnixTime};

/// A value is the expiry, in seconds since 1970, and the text.
type Records = TableDefinition<'static, &'static str, (u64, &'static str)>;

/// Keeps records in a file. One process may have it at a time.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    database: Arc<Reopening>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    health: Health,
}

impl FileStore {
    /// Time until a file that could not be read is read again.
    const RETRY_AFTER: Duration = Duration::from_secs(1);
    /// Records that are written back at once.
    const PAGE: usize = 1_000;

    /// Opens the file `path`, or makes it. Its reads and writes are tasks of `tasks`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`]; [`StoreError::InUse`] while another process has it; [`StoreError::Emptied`].
    pub(crate) fn open(
        path: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        health: Health,
    ) -> Result<Self, StoreError> {
        let database = Arc::new(Reopening::open(path.into())?);
        Ok(Self { database, clock, tasks, health })
    }

    /// Does `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, UnixTime) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, now) = (Arc::clone(&self.database), self.clock.now());
        let working = move || database.run(|database| work(database, now));
        let done = self.tasks.spawn_blocking(working).await;
        self.health.noted(done.unwrap_or_else(|panic| Err(StoreError::Failed(panic.into()))))
    }

    /// Tells `follower` what is there, and writes what it knows besides: nobody else can have written or removed anything, so
    /// that this is what could not be written when it was heard of.
    async fn load_into(&self, space: Space, follower: &dyn Follower) -> Result<(), StoreError> {
        let missing = follower.load(self.list(space).await?);
        for page in missing.chunks(Self::PAGE) {
            // What is raised is never there already.
            let _done = self.apply(page.to_vec()).await?;
        }
        follower.confirm(Confirmed::ForGood);
        Ok(())
    }
}

fn write(database: &Database, writes: Vec<Write>, now: UnixTime) -> Result<Applied, redb::Error> {
    let transaction = database.begin_write()?;
    for write in writes {
        let mut records = transaction.open_table(table(write.space()))?;
        let current = current(&records, write.key(), now)?;
        if current.is_some() && matches!(write, Write::Insert(..)) {
            drop(records);
            transaction.abort()?;
            return Ok(Applied::AlreadyThere);
        }
        let key = write.key().to_owned();
        match write.result(current) {
            None => drop(records.remove(&*key)?),
            Some(record) => {
                let value = (record.expires_at.as_secs(), &*record.value);
                records.insert(&*key, value)?;
            }
        }
    }
    // Synced to disk: whoever is told that it is stored may forget it.
    transaction.commit()?;
    Ok(Applied::Done)
}

fn read(database: &Database, space: Space, now: UnixTime) -> Result<Vec<Record>, redb::Error> {
    let table = database.begin_read()?.open_table(table(space))?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push(record(key.value(), value.value()));
    }
    records.retain(|record| record.expires_at > now);
    Ok(records)
}

fn find(
    database: &Database,
    space: Space,
    key: &str,
    now: UnixTime,
) -> Result<Option<Record>, redb::Error> {
    let table = database.begin_read()?.open_table(table(space))?;
    let found = table.get(key)?.map(|found| record(key, found.value()));
    Ok(found.filter(|record| record.expires_at > now))
}

fn remove_expired(database: &Database, now: UnixTime) -> Result<(), redb::Error> {
    let now = now.as_secs();
    let transaction = database.begin_write()?;
    for space in Space::ALL {
        transaction.open_table(table(space))?.retain(|_, (expires_at, _)| expires_at > now)?;
    }
    Ok(transaction.commit()?)
}

const fn table(space: Space) -> Records {
    TableDefinition::new(space.name())
}

fn record(key: &str, (expires_at, value): (u64, &str)) -> Record {
    let expires_at = UnixTime::from_secs(expires_at);
    Record { key: key.to_owned(), value: value.to_owned(), expires_at }
}

fn current(
    records: &Table<'_, &'static str, (u64, &'static str)>,
    key: &str,
    now: UnixTime,
) -> Result<Option<Record>, redb::Error> {
    let found = records.get(key)?.map(|found| record(key, found.value()));
    Ok(found.filter(|record| record.expires_at > now))
}

impl Store for FileStore {
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
        Box::pin(self.blocking(move |database, now| write(database, writes, now)))
    }

    fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
        Box::pin(self.blocking(move |database, now| read(database, space, now)))
    }

    fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>> {
        Box::pin(self.blocking(move |database, now| find(database, space, &key, now)))
    }

    fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a> {
        Box::pin(async move {
            loop {
                let failed = self.database.failed();
                while let Err(error) = self.load_into(space, follower).await {
                    follower.lost(&error);
                    sleep(Self::RETRY_AFTER).await;
                }
                failed.await;
            }
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(self.blocking(remove_expired))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    use super::{super::Pair, *};
    use crate::{clock::ManualClock, telemetry::Metrics};

    fn clock() -> ManualClock {
        ManualClock::at(UnixTime::from_secs(1_700_000_000))
    }

    fn open(path: &Path, clock: &ManualClock) -> Result<FileStore, StoreError> {
        let health = Health::new(Metrics::new());
        FileStore::open(path, Arc::new(clock.clone()), TaskTracker::new(), health)
    }

    fn raised(key: &str, at: u64, clock: &ManualClock) -> Write {
        let expires_at = clock.now().saturating_add(Duration::from_hours(48));
        let value = Pair(at, 0).to_string();
        Write::Raise(Space::Revocations, Record { key: key.to_owned(), value, expires_at })
    }

    #[tokio::test]
    async fn a_second_opener_is_told_that_the_file_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let first = open(&path, &clock()).unwrap();
        let error = open(&path, &clock()).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        drop(first);
        assert!(open(&path, &clock()).is_ok());
    }

    #[tokio::test]
    async fn the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let _store = open(&path, &clock()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_others_could_read_is_its_owners_alone_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(open(&path, &clock()).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(open(&path, &clock()).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_somebody_emptied_is_refused_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = open(&path, &clock()).unwrap();
        let writes = vec![raised("001", 1, &clock())];
        assert_eq!(store.apply(writes).await.unwrap(), Applied::Done);
        drop(store);
        fs::write(&path, "").unwrap();
        let error = open(&path, &clock()).unwrap_err();
        assert!(matches!(error, StoreError::Emptied { .. }), "{error:?}");
        assert!(error.to_string().contains("remove it"), "says how to accept it: {error}");
        fs::remove_file(&path).unwrap();
        assert_eq!(open(&path, &clock()).unwrap().list(Space::Revocations).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_new_file_leaves_nothing_else_behind() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder.path().join("store"), &clock()).unwrap());
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["store"]);
    }

    #[tokio::test]
    async fn a_file_that_is_no_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::write(&path, "somebody's letters").unwrap();
        let error = open(&path, &clock()).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), b"somebody's letters");
    }

    #[tokio::test]
    async fn what_expired_is_swept_and_its_place_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, clock) = (folder.path().join("store"), clock());
        let store = open(&path, &clock).unwrap();
        let mut sizes = Vec::new();
        for round in 0..6 {
            let writes = (0..2_000).map(|n| raised(&format!("{round}-{n}"), 1, &clock));
            assert_eq!(store.apply(writes.collect()).await.unwrap(), Applied::Done);
            clock.advance(Duration::from_hours(49));
            assert_eq!(store.list(Space::Revocations).await.unwrap(), []);
            store.sweep().await.unwrap();
            sizes.push(path.metadata().unwrap().len());
        }
        assert!(sizes[5] <= sizes[1], "{sizes:?}");
    }
}
