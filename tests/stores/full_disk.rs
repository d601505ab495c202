//! The real program, whose disk is full for a while.

use std::{fs, path::Path, sync::Arc};

use rustix::process::Signal;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};

use super::crash::{is_taken, listed, write_settings};
use crate::support::{Recorder, eventually, get, program::Program};

async fn page(program: &Program, path: &str) -> String {
    get(program.admin, path, &[]).await.body
}

/// Waits until the log says `message`.
async fn told(log: &Path, message: &str) {
    let is_told = async || fs::read_to_string(log).unwrap().contains(message);
    eventually(message, is_told).await;
}

#[tokio::test]
async fn a_disk_that_was_full_for_a_while_needs_no_restart_and_costs_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (write_settings(folder.path()), folder.path().join("log"));
    let extra = ["--config", file.to_str().unwrap()];
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let application = Recorder::start().await;
    // Without the signal a write beyond the limit fails as it does on a full disk.
    let first = format!("trap '' XFSZ; exec 2>'{}'", log.display());
    let program = Program::start_after(&first, &apple, application.address, &extra).await;
    assert!(is_taken(program.address, &apple, "before").await.unwrap());
    assert!(page(&program, "/readyz?verbose").await.contains("[+]store ok: in use\n"));

    program.limit_files(Some(1));
    assert!(!is_taken(program.address, &apple, "meanwhile").await.unwrap());
    let told_now = page(&program, "/readyz?verbose").await;
    assert!(
        told_now.contains("store ok: failing for ") && told_now.contains("File too large"),
        "{told_now}"
    );
    assert!(page(&program, "/metrics").await.contains("\nsiwa_store_failing 1\n"));
    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native().subject("meanwhile")));
    let refused = get(program.address, "/", &[("Authorization", &bearer)]).await;
    assert_eq!(refused.status, 401, "in force, stored or not");

    program.limit_files(None);
    told(&log, "the list of revocations is what the store holds").await;
    assert!(is_taken(program.address, &apple, "after").await.unwrap());
    assert!(page(&program, "/metrics").await.contains("\nsiwa_store_failing 0\n"));

    program.signal(Signal::KILL);
    drop(program);
    let program = Program::start(&apple, application.address, &extra).await;
    assert!(listed(program.admin).await.into_iter().eq(["after", "before", "meanwhile"]));
}
