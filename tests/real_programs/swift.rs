//! The example for iOS is Swift as far as a grammar can tell. No compiler has seen it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

const SCRIPT: &str = include_str!("swift_syntax.py");
const EXAMPLE: &str = include_str!("../../examples/ios/SignInApp.swift");

/// What the grammar has against `text`, line by line; nothing if that is Swift.
fn complaints(text: &str) -> Option<String> {
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("declarations"), "python3 has tree-sitter and tree-sitter-swift");
    (!output.status.success()).then_some(said)
}

#[test]
#[ignore = "needs python3 with tree-sitter-swift; .ci/run installs it"]
fn the_example_for_ios_is_swift() {
    assert_eq!(complaints(EXAMPLE), None);
    for (from, to) in [("func start()", "fun start("), ("actor Client {", "actor Client ")] {
        assert!(EXAMPLE.contains(from));
        assert!(complaints(&EXAMPLE.replacen(from, to, 1)).is_some(), "{from} is needed");
    }
}
