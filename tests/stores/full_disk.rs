//! The real program, whose disk is full for a while.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::Signal;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, sign_in::SignIn, token::TokenTemplate},
};
use url::Url;

use super::crash::{is_taken, listed, write_settings};
use crate::support::{Recorder, Reply, eventually, exchange, get, program::Program};

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

const CALLBACK: &str = "https://app.example/auth/apple/callback";
const SESSION: &str = "__Host-siwa_session";

/// Settings by which apps and browsers sign in, and codes are redeemed at `apple`.
fn write_settings_for_codes(folder: &Path, apple: &Apple) -> PathBuf {
    let team = apple.issue_team_key("DEF123GHIJ", &["com.example.app", "com.example.web"]);
    let [file, key, seal] = ["siwa.toml", "key.p8", "seal"].map(|name| folder.join(name));
    fs::write(&key, &team.text).unwrap();
    fs::write(&seal, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    let text = format!(
        "store.file = '{}'\nsessions.key_files = ['{}']\n\
         [apple]\nteam_id = '{}'\nkey_id = '{}'\nprivate_key_file = '{}'\napi_url = '{}'\n\
         [sign_in]\npath = '/auth/apple'\nsingle_use = true\n\
         [browser]\npath = '/auth/apple'\norigins = ['https://app.example']\nclient_id = 'com.example.web'\n",
        folder.join("store").display(),
        seal.display(),
        team.team_id,
        team.key_id,
        key.display(),
        apple.url(),
    );
    fs::write(&file, text).unwrap();
    file
}

/// The program with those settings, whose disk can be made full.
async fn start_with_browsers(folder: &Path, apple: &Apple) -> Program {
    let file = write_settings_for_codes(folder, apple);
    let extra = ["--config", file.to_str().unwrap(), "--client-id", "com.example.web"];
    let application = Recorder::start().await;
    let first = format!("trap '' XFSZ; exec 2>'{}'", folder.join("log").display());
    Program::start_after(&first, apple, application.address, &extra).await
}

async fn post(program: &Program, path: &str, lines: &str, body: &str) -> Reply {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(program.address, request).await
}

/// Begins a sign-in in a browser: its cookies, and the form by which Apple answers.
async fn begin_in_browser(program: &Program, apple: &Apple) -> (String, String) {
    let reply = get(program.address, "/auth/apple/start", &[("Sec-Fetch-Mode", "navigate")]).await;
    let location = Url::parse(reply.header("location")[0]).unwrap();
    let asked = |name: &str| location.query_pairs().find(|it| it.0 == name).unwrap().1.into_owned();
    let cookies = reply.header("set-cookie");
    let cookies: Vec<_> = cookies.iter().map(|line| line.split(';').next().unwrap()).collect();
    let sign_in = SignIn::to("com.example.web").sent_to(CALLBACK).nonce(&asked("nonce"));
    let told = apple.sign_in(&sign_in);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("state", &asked("state"))
        .append_pair("code", &told.code)
        .append_pair("id_token", &told.identity_token)
        .finish();
    let kind = "Content-Type: application/x-www-form-urlencoded";
    (format!("Cookie: {}\r\n{kind}\r\n", cookies.join("; ")), form)
}

#[tokio::test]
async fn whoever_signs_out_while_nothing_can_be_stored_is_signed_out_here_at_least() {
    let folder = tempfile::tempdir().unwrap();
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let program = start_with_browsers(folder.path(), &apple).await;
    let (lines, form) = begin_in_browser(&program, &apple).await;
    let reply = post(&program, "/auth/apple/callback", &lines, &form).await;
    let cookies = reply.header("set-cookie");
    let session = cookies.iter().find(|line| line.starts_with(SESSION)).unwrap();
    let session = session.split(';').next().unwrap();
    let is_good = async || {
        get(program.address, "/auth/apple/userinfo", &[("Cookie", session)]).await.status == 200
    };
    assert!(is_good().await);

    program.limit_files(Some(1));
    let own = format!("Cookie: {session}\r\nSec-Fetch-Site: same-origin\r\n");
    let refused = post(&program, "/auth/apple/logout", &own, "").await;
    assert_eq!(refused.status, 503, "others may not have heard of it: {refused:?}");
    let gone = format!("{SESSION}=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(refused.header("set-cookie"), [gone]);
    assert!(!is_good().await);
}

#[tokio::test]
async fn no_code_is_redeemed_before_it_is_stored_that_its_sign_in_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let program = start_with_browsers(folder.path(), &apple).await;

    program.limit_files(Some(1));
    let (lines, form) = begin_in_browser(&program, &apple).await;
    assert_eq!(post(&program, "/auth/apple/callback", &lines, &form).await.status, 503);
    let told = apple.sign_in(&SignIn::to("com.example.app"));
    let body = serde_json::json!({
        "identityToken": told.identity_token, "authorizationCode": told.code,
    });
    let refused = post(&program, "/auth/apple", "", &body.to_string()).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"store_unavailable".into()));
    assert!(apple.asked().is_empty(), "the codes are as they were");

    program.limit_files(None);
    eventually("there is room", async || {
        post(&program, "/auth/apple", "", &body.to_string()).await.status == 200
    })
    .await;
    assert_eq!(apple.asked().len(), 1);
    let (lines, form) = begin_in_browser(&program, &apple).await;
    assert_eq!(post(&program, "/auth/apple/callback", &lines, &form).await.status, 303);
}
