//! Texts that are kept to be read and judged: what the program says, word for word.

use std::{fs, path::Path};

/// Compares `actual` with `tests/fixtures/FILE`. When it differs, the new text is beside the build, and named.
#[track_caller]
pub(crate) fn check_against(file: &str, actual: &str) {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    if fs::read_to_string(&expected).unwrap_or_default() != actual {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        fs::create_dir_all(written.parent().unwrap()).unwrap();
        fs::write(&written, actual).unwrap();
        panic!("{} differs: compare it with {}", expected.display(), written.display());
    }
}
