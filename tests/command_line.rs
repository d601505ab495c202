//! What the command says about itself, and to whoever asks how a proxy is.

use std::{fmt::Write as _, process::Output, sync::Arc};

use rustix::process::Signal;
use siwa_proxy::{clock::SystemClock, sim::Apple};

use crate::support::{
    Recorder,
    fixture::check_against,
    program::{Program, command},
};

/// How the command ended: its code, and what it said on standard output and on standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

async fn run_beside(
    arguments: &'static [&'static str],
    admin: String,
) -> (Option<i32>, String, String) {
    let run = move || run(&[arguments, &["--admin-listen", &admin]].concat());
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[test]
fn the_help_of_each_command_reads_as_it_should() {
    let mut page = String::new();
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["explain", "--help"],
        &["revocations", "--help"],
        &["migrate", "--help"],
        &["migrate", "send", "--help"],
        &["migrate", "receive", "--help"],
        &["healthcheck", "--help"],
        &["demo", "--help"],
        &["sim", "--help"],
        &["session-key", "--help"],
        &["schema", "--help"],
        &["completions", "--help"],
    ] {
        let (code, help, _) = run(arguments);
        assert_eq!(code, Some(0));
        writeln!(page, "$ siwa-proxy {}\n{help}", arguments.join(" ")).unwrap();
    }
    check_against("help.txt", &page);
}

#[test]
fn the_version_names_commit_and_features() {
    let (code, version, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    let start = format!("siwa-proxy {} (commit ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&start) && version.contains(", features "), "{version}");
    assert_eq!(run(&["-V"]).1, format!("siwa-proxy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn each_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        for word in ["serve", "healthcheck", "--client-id", "--online"] {
            // fish writes long flags without their dashes.
            assert!(script.contains(word.trim_start_matches("--")), "{word} for {shell}");
        }
    }
    assert_eq!(run(&["completions", "cmd"]).0, Some(64));
}

#[test]
fn what_is_not_a_terminal_gets_no_colours() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["serve", "--lissten"], &[]] {
        let (_, out, err) = run(arguments);
        assert!(!out.contains('\x1b') && !err.contains('\x1b'), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_tells_a_proxy_that_is_ready_from_one_that_is_draining_and_from_none() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siwa.toml");
    std::fs::write(&file, "server.drain_delay = '1h'\n").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let program = Program::start(&apple, application.address, &config).await;
    let admin = program.admin.to_string();

    let (code, out, err) = run_beside(&["healthcheck"], admin.clone()).await;
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));

    program.signal(Signal::TERM);
    let (mut code, mut said) = (Some(0), String::new());
    while code == Some(0) {
        (code, _, said) = run_beside(&["healthcheck"], admin.clone()).await;
    }
    assert_eq!(code, Some(1));
    assert!(said.contains("not ready: draining"), "{said}");
    assert_eq!(run_beside(&["healthcheck", "--live"], admin.clone()).await.0, Some(0));

    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));
    let (code, _, said) = run_beside(&["healthcheck"], admin.clone()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("nobody answers at {admin}")), "{said}");
}

#[test]
fn healthcheck_finds_the_admin_listener_in_settings_that_say_nothing_else_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siwa.toml");
    let socket = folder.path().join("admin.sock");
    let text =
        format!("[apple]\nclient_ids = 7\n[server]\nadmin_listen = 'unix:{}'\n", socket.display());
    std::fs::write(&file, text).unwrap();
    let (code, _, said) = run(&["healthcheck", "--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("nobody answers at unix:{}", socket.display())), "{said}");
    let systemd = run(&["healthcheck", "--admin-listen", "systemd:1"]);
    assert!(systemd.0 == Some(1) && systemd.2.contains("name its address"), "{systemd:?}");
}
