//! The JSON Schema of the settings, judged by a validator that is not ours.

use std::fs;

use jsonschema::Validator;
use serde_json::Value;

use crate::support::program::command;

const REFERENCE: &str = include_str!("../config/reference.toml");
const MINIMAL: &str = include_str!("../config/minimal.toml");
const SHIPPED: &str = include_str!("../config/siwa-proxy.schema.json");
const TEN_MISTAKES: &str = include_str!("fixtures/settings/ten-mistakes.toml");

fn schema() -> Value {
    let output = command().arg("schema").output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

/// Where `text` is refused, as `/section/key`.
fn refusals(text: &str) -> Vec<String> {
    let (validator, settings) = (validator(), json(text));
    let errors = validator.iter_errors(&settings);
    let mut places: Vec<_> =
        errors.map(|error| format!("{}: {error}", error.instance_path())).collect();
    places.sort();
    places
}

#[test]
fn the_schema_that_is_shipped_is_the_one_that_the_command_prints() {
    let shipped: Value = serde_json::from_str(SHIPPED).unwrap();
    assert!(
        shipped == schema(),
        "write it anew: siwa-proxy schema > config/siwa-proxy.schema.json"
    );
    assert!(jsonschema::meta::is_valid(&shipped));
}

#[test]
fn the_reference_the_minimal_file_and_what_check_shows_are_accepted() {
    for text in [REFERENCE, MINIMAL, include_str!("fixtures/settings/shown.toml")] {
        assert_eq!(refusals(text), Vec::<String>::new());
    }
    // With every key that it only shows.
    let shown = |line: &str| {
        let shown = line.strip_prefix("# ").filter(|shown| {
            let is_key = |key: &str| {
                key.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
            };
            (shown.starts_with('[') && shown.ends_with(']'))
                || shown.split_once(" = ").is_some_and(|(key, _)| is_key(key))
        });
        shown.unwrap_or(line).to_owned() + "\n"
    };
    assert_eq!(refusals(&REFERENCE.lines().map(shown).collect::<String>()), Vec::<String>::new());
}

#[test]
fn the_first_line_of_the_files_names_the_schema() {
    for text in [REFERENCE, MINIMAL] {
        assert_eq!(text.lines().next(), Some("#:schema ./siwa-proxy.schema.json"));
    }
    assert!(fs::exists("config/siwa-proxy.schema.json").unwrap());
}

#[test]
fn each_of_ten_mistakes_is_refused() {
    let lines: Vec<&str> = TEN_MISTAKES.lines().collect();
    let is_key = |line: &&str| line.contains(" = ") && !line.starts_with('#');
    let mut refused = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_key(line)) {
        let section = lines[..at].iter().rev().find(|line| line.starts_with('[')).unwrap();
        refused += usize::from(!refusals(&format!("{section}\n{line}\n")).is_empty());
    }
    assert_eq!(refused, 10, "{:#?}", refusals(TEN_MISTAKES));
}

#[test]
fn what_has_several_forms_is_accepted_in_each() {
    for text in [
        "server.listen = '0.0.0.0:80'",
        "server.listen = ['unix:/run/a.sock?mode=660', 'systemd', 'systemd:1', '[::]:80']",
        "server.max_body_bytes = 4096",
        "server.max_body_bytes = '10 MB'",
        "upstream.url = 'unix:/run/app.sock'",
        "jwks.url = 'http://localhost:4190/auth/keys'",
        "upstream.connect_timeout = '1m 30s'",
        "[upstreams.a]\nurl = 'h2c://a:50051'",
        "[[route]]\npath = '/a'\npolicy = { require_email = true }",
    ] {
        assert_eq!(refusals(text), Vec::<String>::new(), "{text}");
    }
    for text in [
        "server.max_body_bytes = -1",
        "[[route]]\npolicy = { require_mail = true }",
        "[upstreams.a]\nurl = 'ftp://a'",
        "route = { path = '/a' }",
        "log.format = 'xml'",
    ] {
        assert_eq!(refusals(text).len(), 1, "{text}: {:?}", refusals(text));
    }
}
