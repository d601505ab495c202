//! Whether a file could be a store, found out without making or touching it.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::Path,
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::StoreError;

/// What every file of redb begins with.
const BEGINNING: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Looks whether a store can be kept at `path`. A file that is not there is not made, and one that is there is not locked, not
/// even for a moment: it may be a running proxy's, or that of one that is about to start.
///
/// # Errors
///
/// [`StoreError::Open`], [`StoreError::Emptied`].
pub(crate) fn look_at(path: &Path) -> Result<(), StoreError> {
    let looked = match path.metadata() {
        Ok(found) if !found.is_file() => Err(ErrorKind::InvalidInput.into()),
        Ok(found) if found.len() == 0 => {
            return Err(StoreError::Emptied { path: path.to_owned() });
        }
        Ok(_) => OpenOptions::new().read(true).write(true).open(path).and_then(is_a_store),
        Err(error) if error.kind() == ErrorKind::NotFound => can_be_made(path),
        Err(error) => Err(error),
    };
    looked.map_err(|error| StoreError::Open { path: path.to_owned(), source: error.into() })
}

fn is_a_store(file: File) -> io::Result<()> {
    let mut beginning = Vec::new();
    file.take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    if beginning == BEGINNING {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidData, "it is no store"))
}

/// Looks whether a file could be made at `path`.
///
/// # Errors
///
/// Why its folder takes none, and the mend.
pub(crate) fn can_be_made(path: &Path) -> io::Result<()> {
    let as_us = AtFlags::EACCESS;
    let looked = accessat(CWD, folder_of(path), Access::WRITE_OK | Access::EXEC_OK, as_us);
    looked.map_err(|error| with_mend(path, error.into()))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// `error`, which making a file at `path` came to, with what to do about it.
pub(super) fn with_mend(path: &Path, error: io::Error) -> io::Error {
    let folder = folder_of(path).display();
    let mend = if error.kind() == ErrorKind::NotFound {
        format!(
            "create the folder {folder}, writable for the proxy's user (under systemd StateDirectory= does so at the start)"
        )
    } else if error.kind() == ErrorKind::PermissionDenied {
        format!("make {folder} writable for the proxy's user")
    } else {
        return error;
    };
    io::Error::new(error.kind(), format!("{error}; {mend}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use tokio_util::task::TaskTracker;

    use super::{
        super::{FileStore, Health},
        *,
    };
    use crate::{clock::SystemClock, telemetry::Metrics};

    #[test]
    fn a_file_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        look_at(&folder.path().join("store")).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_store_is_known_by_its_beginning_and_neither_locked_nor_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let open = || {
            let health = Health::new(Metrics::new());
            FileStore::open(&path, Arc::new(SystemClock), TaskTracker::new(), health)
        };
        let in_use = open().unwrap();
        look_at(&path).unwrap();
        drop(in_use);
        let before = fs::read(&path).unwrap();
        look_at(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
        open().unwrap();
    }

    #[test]
    fn what_could_not_be_opened_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("letters"), "somebody's letters").unwrap();
        fs::write(at("empty"), "").unwrap();
        for (name, expected) in [
            ("letters", "it is no store"),
            ("letters/store", "Not a directory"),
            ("nowhere/store", "No such file"),
            (".", "invalid"),
        ] {
            let StoreError::Open { source, .. } = look_at(&at(name)).unwrap_err() else {
                panic!("{name} is refused in another way");
            };
            assert!(source.to_string().contains(expected), "{name}: {source}");
        }
        let empty = look_at(&at("empty")).unwrap_err();
        assert!(matches!(empty, StoreError::Emptied { .. }), "{empty:?}");
    }
}
