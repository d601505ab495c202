//! Every way to be refused, as the source has it: what is added there needs a row here.

use std::collections::BTreeSet;

use super::{checks::CHECKS, rows::ALL};

/// Where the codes are written, and what stands before each.
const SOURCES: [(&str, &str); 3] = [
    (include_str!("../../src/authn/rejection/mod.rs"), " code: \""),
    (include_str!("../../src/verify/error.rs"), " => \"token_"),
    (include_str!("../../src/authn/policy.rs"), " => \"not_allowed_"),
];

/// What is refused to callers of the library alone: no door asks for it.
const AT_NO_DOOR: [&str; 2] = ["token_nonce", "token_code_hash"];

fn codes() -> BTreeSet<&'static str> {
    let codes = SOURCES.iter().flat_map(|(source, before)| {
        // The code begins behind the quotation mark.
        let start = before.find('"').unwrap() + 1;
        source.match_indices(before).map(move |(at, _)| {
            let (code, _) = source[at + start..].split_once('"').unwrap();
            code
        })
    });
    codes.collect()
}

#[test]
fn every_way_to_be_refused_has_a_row() {
    let codes = codes();
    for known in ["no_credential", "token_expired", "not_allowed_not_listed", "shed"] {
        assert!(codes.contains(known), "{known} is found in the source");
    }
    let rows = ALL.iter().flat_map(|rows| rows.iter()).filter_map(|(_, outcome, _)| *outcome);
    let checks = CHECKS.iter().map(|(_, outcome, _)| *outcome);
    let told: BTreeSet<&str> = rows.chain(checks).collect();
    let without_a_row: Vec<_> = codes.iter().filter(|code| !told.contains(*code)).collect();
    assert_eq!(without_a_row, AT_NO_DOOR.iter().rev().collect::<Vec<_>>(), "add a row to rows.rs");
}
