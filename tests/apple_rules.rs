//! What Apple's tokens ask of a verifier, and what has gone wrong elsewhere: each point with the tests that show it here.
//!
//! The points are tables (`apple_rules/`), so that a gap is seen: a point is shown by tests, or it says why not. The tests
//! that no other behaviour asked for stand below.

mod failures;
mod rules;

use std::{collections::HashSet, fs, io, path::Path};

use serde_json::json;
use siwa_proxy::sim::{presets, token::TokenTemplate};

use crate::support::{House, exchange};

/// One thing to get right.
struct Point {
    number: usize,
    says: &'static str,
    source: Option<&'static str>,
    /// Functions, and rows of the tables in `forgery/`, which are sentences with spaces.
    shown_by: &'static [&'static str],
    /// Why it, or a part of it, is shown by nothing.
    not_here: Option<&'static str>,
}

/// `number "statement" <source> [tests] "why not"`: one point after the other; source and reason may be missing.
macro_rules! points {
    ($($number:literal $says:literal $(<$source:literal>)? [$($test:literal)*] $($not_here:literal)?;)*) => {
        &[$($crate::apple_rules::Point {
            number: $number,
            says: $says,
            source: $crate::apple_rules::points!(@option $($source)?),
            shown_by: &[$($test),*],
            not_here: $crate::apple_rules::points!(@option $($not_here)?),
        }),*]
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}
use points;

#[test]
fn every_point_is_shown_by_tests_that_exist_or_says_why_not() {
    let known = known_tests().unwrap();
    let mut wrong = Vec::new();
    for (table, points) in [("rules", rules::ALL), ("failures", failures::ALL)] {
        for (place, point) in points.iter().enumerate() {
            let name = format!("{table} {}: {}", point.number, point.says);
            if point.number != place + 1 {
                wrong.push(format!("{name}: is in place {}", place + 1));
            }
            if point.shown_by.is_empty() && point.not_here.is_none() {
                wrong.push(format!("{name}: is shown by nothing, and does not say why"));
            }
            if point.source.is_some_and(|source| !source.starts_with("https://")) {
                wrong.push(format!("{name}: its source has no address"));
            }
            let missing = point.shown_by.iter().filter(|test| !known.contains(**test));
            wrong.extend(missing.map(|test| format!("{name}: there is no test `{test}`")));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!((rules::ALL.len(), failures::ALL.len()), (13, 28));
}

/// The names of all test functions, and of all rows of the tables of tokens.
pub(crate) fn known_tests() -> io::Result<HashSet<String>> {
    Ok(named_tests()?.into_iter().collect())
}

/// Likewise, a name as often as it is given.
fn named_tests() -> io::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                known.extend(test_functions(&text));
                if path.parent().is_some_and(|folder| folder.ends_with("tests/forgery")) {
                    known.extend(rows(&text));
                }
            }
        }
    }
    Ok(known)
}

fn test_functions(text: &str) -> impl Iterator<Item = String> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        }
        let (_, name) =
            line.split_once("fn ").filter(|(before, _)| ["", "async "].contains(before))?;
        let name = name.split(['(', '<']).next()?.to_owned();
        // What a macro names has its names where the macro is used.
        (std::mem::take(&mut is_test) && !name.starts_with('$')).then_some(name)
    })
}

fn rows(text: &str) -> impl Iterator<Item = String> {
    let row = |line: &str| {
        line.trim_start().strip_prefix('"')?.split_once("\" =>").map(|row| row.0.to_owned())
    };
    text.lines().filter_map(row)
}

#[test]
fn every_test_has_a_name_of_its_own() {
    let mut seen = HashSet::new();
    let twice: Vec<_> =
        named_tests().unwrap().into_iter().filter(|name| !seen.insert(name.clone())).collect();
    assert!(twice.is_empty(), "whoever points to them cannot say which: {twice:?}");
}

#[test]
fn only_what_is_run_counts_as_a_test() {
    let text = "#[test]\nfn $name() {\n}\n#[test]\nfn a() {\n}\nfn b() {\n#[tokio::test(start_paused = true)]\n#[expect(x)]\nasync fn c() {";
    assert_eq!(test_functions(text).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(rows("\"a row\" => |w| w,\n\"no row\",").collect::<Vec<_>>(), ["a row"]);
}

#[tokio::test]
async fn what_a_body_or_a_query_says_about_a_person_identifies_nobody() {
    let house = House::start().await;
    let user = r#"{"name":{"firstName":"Root"},"email":"root@example.com"}"#;
    let body = format!("user={user}&email=root@example.com&sub=000001.root.0001");
    let bearer = house.bearer_of(&TokenTemplate::no_email());
    let request = format!(
        "POST /callback?email=root@example.com&sub=000001.root.0001 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: {bearer}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    assert_eq!(exchange(house.address, request).await.status, 200);
    let received = house.application.only_request();
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
    assert!(received.header("x-apple-email").is_empty());
    assert_eq!(received.body, body, "it is the application's to read");
}

#[tokio::test]
async fn a_caller_cannot_choose_the_audience() {
    let house = House::start().await;
    let bearer = house.bearer_of(&TokenTemplate::native().audience("com.evil.app"));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Apple-Client-Id", "com.evil.app"),
        ("X-Client-Id", "com.evil.app"),
        ("X-Forwarded-Host", "com.evil.app"),
    ];
    for path in ["/?client_id=com.evil.app&aud=com.evil.app", "/com.evil.app"] {
        let refused = house.get(path, &headers).await;
        assert_eq!(
            (refused.status, refused.json()["code"].as_str()),
            (401, Some("token_audience"))
        );
    }
    assert!(house.application.requests().is_empty());
}

#[tokio::test]
async fn an_address_that_is_no_field_value_is_left_out_and_the_request_goes_on() {
    let house = House::start().await;
    let odd = [
        "a@example.com\r\nX-Apple-Sub: root",
        "jörg@例え.jp",
        "a b@example.com",
        "a@example.com\0",
    ];
    for address in odd {
        let template = TokenTemplate::native().claim("email", json!(address));
        let reply = house.get("/", &[("Authorization", &house.bearer_of(&template))]).await;
        assert_eq!(reply.status, 200, "{address}");
        let received = house.application.requests().pop().unwrap();
        assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT], "{address}");
        assert!(received.header("x-apple-email").is_empty(), "{address}");
    }
    assert_eq!(house.metric("siwa_emails_left_out_total").await, odd.len() as u64);
}
