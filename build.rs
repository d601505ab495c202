//! Tells the program what it was built from: `BUILT_COMMIT`, if it can be told, and `BUILT_VERSION`, which names all. (cargo
//! hands both on to what it runs, where a name with `SIWA_` would be taken for a setting.)
//!
//! Nothing here can fail the build: from a tarball, or without git, the commit is simply not known. Whoever packages it
//! says `SIWA_COMMIT` in the environment.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=SIWA_COMMIT");
    let commit =
        env::var("SIWA_COMMIT").ok().filter(|commit| is_word(commit)).or_else(commit_of_checkout);
    if let Some(commit) = &commit {
        println!("cargo::rustc-env=BUILT_COMMIT={commit}");
    }
    let (version, features) = (env::var("CARGO_PKG_VERSION").unwrap_or_default(), features());
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=BUILT_VERSION={version} (commit {commit}, features {features})");
}

/// What stands in one line, and says nothing to cargo.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c))
}

/// The features that are on, in alphabetical order.
fn features() -> String {
    let mut features: Vec<String> = env::vars()
        .filter_map(|(name, _)| {
            Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-"))
        })
        .filter(|name| name != "default")
        .collect();
    features.sort();
    if features.is_empty() { "none".to_owned() } else { features.join(",") }
}

/// For release builds alone: while somebody works on it, each commit would have everything compiled anew.
fn commit_of_checkout() -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    // The package may lie inside somebody else's checkout, which is then not what it was built from.
    if !Path::new(".git").exists() {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    git(&["rev-parse", "--short=12", "HEAD"]).filter(|commit| is_word(commit))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
