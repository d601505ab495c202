//! Opening the file: one that is there and whole, or a new one.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, Error, backends::FileBackend};
use tracing::warn;

use super::{
    super::{Space, StoreError, look::with_mend},
    table,
};

/// Pages kept in memory, in bytes: the set itself is in memory elsewhere.
const CACHE_BYTES: usize = 8 << 20;
/// Records are personal data: for the owner's eyes.
const MODE: u32 = 0o600;
/// What everybody else may do.
const OTHERS: u32 = 0o077;

/// Opens the file `path`, or makes it.
///
/// # Errors
///
/// [`StoreError::Open`]; [`StoreError::InUse`] while somebody has it; [`StoreError::Emptied`].
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    match existing(path) {
        Ok(Some(file)) => open_existing(path, file),
        Ok(None) => make(path).map_err(|error| told(path, error)),
        Err(error) => Err(told(path, error.into())),
    }
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An empty file is none of ours: a new one gets its name when it is whole. Whoever emptied it took revocations back.
fn open_existing(path: &Path, file: File) -> Result<Database, StoreError> {
    let looked_at = file.metadata().map_err(|error| told(path, error.into()))?;
    if looked_at.len() == 0 {
        return Err(StoreError::Emptied { path: path.to_owned() });
    }
    tighten(path, &file, &looked_at.permissions());
    fill(file).map_err(|error| told(path, error))
}

/// Somebody may have made it, or put it back from a backup, for more eyes than its owner's.
fn tighten(path: &Path, file: &File, permissions: &Permissions) {
    let mode = permissions.mode();
    if mode & OTHERS == 0 {
        return;
    }
    let path = path.display();
    match file.set_permissions(Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => warn!(%path, "others could read the store; from here on its owner alone can"),
        Err(error) => warn!(%path, %error, "others than its owner can read the store"),
    }
}

fn make(path: &Path) -> Result<Database, Error> {
    let draft = draft_of(path);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&draft);
    let file = file.map_err(|error| with_mend(path, error))?;
    // A link, and not a new name: it takes nobody's place who was quicker. The lock is the file's, and not the name's.
    let made = fill(file).and_then(|database| Ok(fs::hard_link(&draft, path).map(|()| database)?));
    fs::remove_file(&draft).and_then(|()| sync_folder(path))?;
    match made {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            fill(OpenOptions::new().read(true).write(true).open(path)?)
        }
        made => made,
    }
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_added_extension(format!("{:08x}.new", fastrand::u32(..)))
}

/// The database in `file`, with all its tables.
fn fill(file: File) -> Result<Database, Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create_with_backend(FileBackend::new(file)?)?;
    let transaction = database.begin_write()?;
    for space in Space::ALL {
        transaction.open_table(table(space))?;
    }
    transaction.commit()?;
    Ok(database)
}

/// A new file is there after a crash only once its folder says so on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    File::open(folder)?.sync_all()
}

fn told(path: &Path, error: Error) -> StoreError {
    let path = path.to_owned();
    if matches!(error, Error::DatabaseAlreadyOpen) {
        return StoreError::InUse { path };
    }
    StoreError::Open { path, source: error.into() }
}
