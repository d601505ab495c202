//! Records in one file, by redb: whole after any crash, and on disk before a write is answered.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition,
    backends::FileBackend,
};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::{
    Answer, Applied, Confirmed, Follower, Forever, Record, Space, Store, StoreError, Write,
};
use crate::clock::{Clock, UnixTime};

/// A value is the expiry, in seconds since 1970, and the text.
type Records = TableDefinition<'static, &'static str, (u64, &'static str)>;

/// Keeps records in a file. One process may have it at a time.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
}

impl FileStore {
    /// Pages kept in memory, in bytes: the set itself is in memory elsewhere.
    const CACHE_BYTES: usize = 8 << 20;
    /// Records are personal data: for the owner's eyes.
    const MODE: u32 = 0o600;
    /// Time until a file that could not be read is read again.
    const RETRY_AFTER: Duration = Duration::from_secs(1);

    /// Opens the file `path`, or makes it. Its reads and writes are tasks of `tasks`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`]; [`StoreError::InUse`] while another process has it.
    pub(crate) fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Result<Self, StoreError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            path: path.to_owned(),
            source: error,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(Self::MODE)
            .open(path)
            .map_err(|error| failed(error.into()))?;
        let mut builder = Builder::new();
        builder.set_cache_size(Self::CACHE_BYTES);
        let opened = FileBackend::new(file).and_then(|file| builder.create_with_backend(file));
        let database = opened.map_err(|error| {
            if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                return StoreError::InUse { path: path.to_owned() };
            }
            failed(error.into())
        })?;
        sync_folder(path).map_err(|error| failed(error.into()))?;
        let store = Self { database: Arc::new(database), clock, tasks };
        store.make_tables().map_err(|error| failed(error.into()))?;
        Ok(store)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for space in Space::ALL {
            transaction.open_table(table(space))?;
        }
        Ok(transaction.commit()?)
    }

    fn write(&self, writes: Vec<Write>) -> Result<Applied, redb::Error> {
        let now = self.clock.now();
        let transaction = self.database.begin_write()?;
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

    fn read(&self, space: Space) -> Result<Vec<Record>, redb::Error> {
        let now = self.clock.now();
        let table = self.database.begin_read()?.open_table(table(space))?;
        let mut records = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            records.push(record(key.value(), value.value()));
        }
        records.retain(|record| record.expires_at > now);
        Ok(records)
    }

    fn find(&self, space: Space, key: &str) -> Result<Option<Record>, redb::Error> {
        let table = self.database.begin_read()?.open_table(table(space))?;
        let found = table.get(key)?.map(|found| record(key, found.value()));
        Ok(found.filter(|record| record.expires_at > self.clock.now()))
    }

    fn remove_expired(&self) -> Result<(), redb::Error> {
        let now = self.clock.now().as_secs();
        let transaction = self.database.begin_write()?;
        for space in Space::ALL {
            transaction.open_table(table(space))?.retain(|_, (expires_at, _)| expires_at > now)?;
        }
        Ok(transaction.commit()?)
    }

    /// Does `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = self.tasks.spawn_blocking(move || work(&store)).await;
        done.map_err(|error| StoreError::File(error.into()))?
            .map_err(|error| StoreError::File(error.into()))
    }
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

/// A new file is there after a crash only once its folder says so on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    std::fs::File::open(folder)?.sync_all()
}

impl Store for FileStore {
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
        Box::pin(self.blocking(move |store| store.write(writes)))
    }

    fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
        Box::pin(self.blocking(move |store| store.read(space)))
    }

    fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>> {
        Box::pin(self.blocking(move |store| store.find(space, &key)))
    }

    fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a> {
        Box::pin(async move {
            let records = loop {
                match self.list(space).await {
                    Ok(records) => break records,
                    Err(error) => follower.lost(&error),
                }
                sleep(Self::RETRY_AFTER).await;
            };
            // Whatever the file lacks has expired: nobody else can write it.
            drop(follower.load(records));
            follower.confirm(Confirmed::ForGood);
            std::future::pending::<()>().await;
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(self.blocking(Self::remove_expired))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::Pair, *};
    use crate::clock::ManualClock;

    fn clock() -> ManualClock {
        ManualClock::at(UnixTime::from_secs(1_700_000_000))
    }

    fn open(path: &Path, clock: &ManualClock) -> Result<FileStore, StoreError> {
        FileStore::open(path, Arc::new(clock.clone()), TaskTracker::new())
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
    async fn a_file_that_is_no_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, "somebody's letters").unwrap();
        let error = open(&path, &clock()).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's letters");
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
