//! Every way to be refused, as the source has it: what is added there needs a row here.

use std::{collections::BTreeSet, fs, path::Path};

use super::{checks::CHECKS, rows::ALL};

/// What stands before each code in the tables of `src/authn` and `src/verify`.
const BEFORE: [&str; 3] = [" code: \"", " => \"token_", " => \"not_allowed_"];

/// What stands before the others, which every page that refuses shares with these.
const BEFORE_OTHERS: [&str; 2] = [" => \"session_", " => \"apple_"];

/// What is refused to callers of the library alone: no door asks for it.
const AT_NO_DOOR: &[&str] = &["token_access_token_hash"];

/// What is refused to browsers alone, whose secrets are searched for in `browser::pages`.
const TO_BROWSERS: &[&str] = &["cross_origin"];

/// What takes an Apple that grants for somebody else, or ten minutes.
const TOO_RARE: &[&str] = &["apple_foreign_grant", "nonce_expired"];

/// The codes in `folders` of the source that stand behind one of `before`.
fn codes(folders: &[&str], before: &[&str]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for folder in folders {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), before, &mut codes);
    }
    codes
}

fn collect(folder: &Path, before: &[&str], codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), before, codes);
            continue;
        }
        let source = fs::read_to_string(entry.path()).unwrap();
        // What tests call a code is none.
        let (source, _tests) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        for before in before {
            let start = before.find('"').unwrap() + 1;
            codes.extend(source.match_indices(before).map(|(at, _)| {
                let (code, _) = source[at + start..].split_once('"').unwrap();
                code.to_owned()
            }));
        }
    }
}

#[test]
fn every_way_to_be_refused_has_a_row() {
    let codes = codes(&["src/authn", "src/verify"], &BEFORE);
    for known in ["no_credential", "token_expired", "not_allowed_not_listed", "shed"] {
        assert!(codes.contains(known), "{known} is found in the source");
    }
    let rows = ALL.iter().flat_map(|rows| rows.iter()).filter_map(|(_, outcome, _)| *outcome);
    let checks = CHECKS.iter().map(|(_, outcome, _)| *outcome);
    let told: BTreeSet<&str> = rows.chain(checks).collect();
    let is_excused = |code: &str| [AT_NO_DOOR, TO_BROWSERS, TOO_RARE].concat().contains(&code);
    let without_a_row: Vec<_> =
        codes.iter().filter(|code| !told.contains(code.as_str()) && !is_excused(code)).collect();
    assert_eq!(without_a_row, [""; 0], "add a row to rows.rs");
}

#[test]
fn the_readme_lists_every_code() {
    let readme = include_str!("../../README.md");
    let before = [&BEFORE[..], &BEFORE_OTHERS].concat();
    let codes = codes(&["src/authn", "src/verify", "src/apple"], &before);
    for known in ["session_ended", "apple_timed_out", "token_expired"] {
        assert!(codes.contains(known), "{known} is found in the source");
    }
    let missing: Vec<_> =
        codes.iter().filter(|code| !readme.contains(&format!("`{code}`"))).collect();
    assert_eq!(missing, [""; 0], "add it to the list of all codes");
}
