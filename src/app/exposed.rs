//! Files with secrets that everybody on this machine can read.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::config::Settings;

/// What everybody may do who is neither the owner nor of the group. By its group a proxy reads what root owns.
const OTHERS: u32 = 0o007;
/// The part of it that lets them into a folder.
const ENTER: u32 = 0o001;

/// A line for each file that `settings` name for a secret, and that all users of this machine can read or change.
pub(super) fn warnings(settings: &Settings) -> Vec<String> {
    let files = settings.written().secret_files();
    let exposed = files.filter(|(_, path)| is_exposed(path));
    let warning = |(key, path): (&str, &Path)| {
        let path = path.display();
        let what = format!(
            "`{path}` holds a secret, and every user of this machine can get at it: `chmod 600 {path}` (640 if the proxy \
             reads it by its group)"
        );
        settings.problem(key, what)
    };
    exposed.map(warning).collect()
}

/// What cannot be looked at is no business of others, or was told of when it was read.
fn is_exposed(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let has = |path: &Path, bits| {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bits != 0)
    };
    path.is_file() && has(&path, OTHERS) && path.ancestors().skip(1).all(|above| has(above, ENTER))
}
