//! `siwa-proxy check`: everything that is wrong or doubtful, before anything is served.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output, sync::Arc};

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, event::Event, faults::Fault, presets::SUBJECT},
};

use crate::support::{
    House, Recorder,
    fixture::check_against,
    notifying::ON,
    program::{command, free_address},
};

/// How `siwa-proxy check ARGUMENTS` ended: its code, what it said, and what it showed.
fn check(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command().arg("check").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stderr), text(stdout))
}

/// The path of a fixture, as it is named in findings.
fn settings(name: &str) -> String {
    format!("tests/fixtures/settings/{name}")
}

#[test]
fn ten_mistakes_are_ten_findings_each_with_its_place_and_its_mend() {
    let (code, said, shown) = check(&["--config", &settings("ten-mistakes.toml"), "--show"]);
    assert_eq!((code, shown.as_str()), (Some(64), ""));
    assert_eq!(said.lines().count(), 10, "{said}");
    assert!(said.lines().all(|line| line.contains("ten-mistakes.toml:")), "{said}");
    check_against("settings/ten-mistakes.txt", &said);
}

#[test]
fn what_is_doubtful_is_said_and_can_be_used() {
    let (code, said, _) = check(&["--config", &settings("doubtful.toml")]);
    assert_eq!(code, Some(0), "{said}");
    check_against("settings/doubtful.txt", &said);
}

#[test]
fn what_is_shown_names_the_place_of_each_value_and_hides_secrets() {
    let mut check = command();
    check.args(["check", "--show", "--config", &settings("doubtful.toml"), "--log", "warn"]);
    let output = check.env("SIWA_APPLE__LEEWAY", "1m").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    check_against("settings/shown.toml", &shown);

    // It is a file like any other, but for the secret.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("again.toml");
    fs::write(&file, shown.replace("(secret)@", "")).unwrap();
    let mut again = command();
    assert!(again.args(["check", "--config"]).arg(file).status().unwrap().success());
}

#[test]
fn files_that_settings_name_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, config) = (folder.path().join("empty.pem"), folder.path().join("siwa.toml"));
    fs::write(&empty, "").unwrap();
    let pem = empty.display();
    let text = format!(
        "apple.client_ids = ['a']\n[upstream]\nurl = 'https://app'\nca_file = '{pem}'\n\
         [jwks]\nca_file = '/no/such.pem'\n[tls]\ncertificate = '{pem}'\nkey = '{pem}'\n"
    );
    fs::write(&config, text).unwrap();
    let (code, said, _) = check(&["--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(64), "{said}");
    for (key, line) in [("tls.certificate", 8), ("jwks.ca_file", 6), ("upstream.url", 3)] {
        let start = format!("{key}: cannot be used: ");
        let found = said.lines().find(|line| line.starts_with(&start));
        let place = format!("(from {}:{line})", config.display());
        assert!(found.is_some_and(|line| line.ends_with(&place)), "{key} {place} in {said}");
    }
}

/// How `check --client-id a` ends with `text` for settings, and what it says.
async fn check_file(text: &str, flags: &'static [&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("siwa.toml");
    fs::write(&config, text).unwrap();
    let run = move || {
        let config = config.display().to_string();
        let (code, said, _) =
            check(&[&["--client-id", "a", "--config", config.as_str()], flags].concat());
        (code, said.replace(&config, "siwa.toml"))
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_looked_at_and_neither_made_nor_taken_from_a_running_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let file = format!("store.file = '{}'", path.display());
    assert_eq!(check_file(&file, &[]).await.0, Some(0));
    assert!(!path.exists());

    let house = House::with(&format!("{ON}\n{file}")).await;
    let (code, said) = check_file(&file, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200, "unharmed");
    house.end().await;

    fs::write(&path, "somebody's letters").unwrap();
    let nowhere = format!("store.file = '{}'", folder.path().join("no/store").display());
    for (text, why) in [(file, "it is no store"), (nowhere, "No such file")] {
        let (code, said) = check_file(&text, &[]).await;
        assert_eq!(code, Some(64), "{said}");
        assert!(said.starts_with("store.file: cannot be used: the store /"), "{said}");
        assert!(said.contains(why) && said.ends_with("(from siwa.toml:1)\n"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_missing_is_told_of_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no");
    let mend = format!("create the folder {}, writable for the proxy's user", missing.display());

    let (code, said) =
        check_file(&format!("store.file = '{}/store'", missing.display()), &[]).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains(&mend), "{said}");

    // Without this one it serves all the same.
    let (code, said) =
        check_file(&format!("jwks.cache_file = '{}/keys'", missing.display()), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("warning: jwks.cache_file: `"), "{said}");
    assert!(said.contains(&mend) && said.contains("(from siwa.toml:1)\n"), "{said}");
    let present = format!("jwks.cache_file = '{}/keys'", folder.path().display());
    assert_eq!(check_file(&present, &[]).await.1, "the settings can be used\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_every_user_of_the_machine_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = folder.path().join("key");
    fs::write(&key, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    let text = format!(
        "store.file = '{}/store'\nsign_in.path = '/auth/apple'\nsessions.key_files = ['{}']\n",
        folder.path().display(),
        key.display()
    );
    for (above, mode, is_exposed) in [
        (0o755, 0o644, true),
        (0o711, 0o604, true),
        (0o755, 0o600, false),
        (0o755, 0o640, false),
        (0o700, 0o644, false),
    ] {
        set_mode(folder.path(), above);
        set_mode(&key, mode);
        let (code, said) = check_file(&text, &[]).await;
        assert_eq!(code, Some(0), "{said}");
        let warning = format!("warning: sessions.key_files: `{}` holds a secret", key.display());
        assert_eq!(said.starts_with(&warning), is_exposed, "{above:o} {mode:o}: {said}");
        assert_eq!(said.lines().count(), 1 + usize::from(is_exposed), "{said}");
    }
}

#[test]
fn what_check_calls_a_mistake_in_the_settings_ends_serve_with_the_same_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("siwa.toml");
    for (line, key) in [
        ("store.file = '/no/such/store'", "store.file"),
        ("jwks.ca_file = '/no/ca'", "jwks.ca_file"),
    ] {
        let addresses = "server.listen = '127.0.0.1:0'\nserver.admin_listen = '127.0.0.1:0'";
        fs::write(&config, format!("{addresses}\n{line}\n")).unwrap();
        let end = |subcommand: &str| {
            let mut command = command();
            command.args([subcommand, "--client-id", "a", "--config"]).arg(&config);
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (checked, served) = (end("check"), end("serve"));
        assert_eq!((checked.0, served.0), (Some(64), Some(64)), "{checked:?} {served:?}");
        assert!(checked.1.starts_with(&format!("{key}: ")), "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_be_had_is_found_out_online_alone() {
    let text = format!("store.redis_url = 'redis://{}/0'", free_address());
    assert_eq!(check_file(&text, &[]).await.0, Some(0));

    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let text = format!("{text}\njwks.url = '{}'", apple.jwks_url());
    let (code, said) = check_file(&text, &["--online"]).await;
    assert_eq!(code, Some(69), "{said}");
    let fails = "store.redis_url: cannot be used: Redis cannot be asked: ";
    let line = said.lines().find(|line| line.starts_with(fails));
    assert!(line.is_some_and(|line| line.ends_with("(from siwa.toml:1)")), "{said}");
}

/// Redis itself.
mod real_programs {
    use super::*;
    use crate::stores::real_programs::redis::Redis;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs redis-server; .ci/run installs it"]
    async fn a_redis_that_answers_is_told_of_online() {
        let redis = Redis::start(&["--requirepass", "open-sesame"]).await;
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        let text = format!(
            "store.redis_url = '{}'\nstore.redis_password_file = '{}'\njwks.url = '{}'",
            redis.url(),
            password.display(),
            apple.jwks_url()
        );
        for (word, code, expected) in [
            ("open-sesame", 0, "ok: store.redis_url: Redis answers"),
            ("open-barley", 69, "store.redis_url: cannot be used: Redis cannot be asked: "),
        ] {
            fs::write(&password, word).unwrap();
            let (found, said) = check_file(&text, &["--online"]).await;
            assert_eq!(found, Some(code), "{said}");
            assert!(said.lines().any(|line| line.starts_with(expected)), "{said}");
            assert!(!said.contains(word), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn online_the_keys_are_fetched_and_the_application_is_connected_to() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let upstream = format!("http://{}", application.address);
    let run = |jwks: String, upstream: String| async move {
        let arguments =
            ["--client-id", "a", "--jwks-url", &jwks, "--upstream", &upstream, "--online"]
                .map(str::to_owned);
        let run = move || check(&arguments.each_ref().map(String::as_str));
        tokio::task::spawn_blocking(run).await.unwrap()
    };

    let (code, said, _) = run(apple.jwks_url(), upstream.clone()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().any(|line| line == "ok: jwks.url: usable keys: 1"), "{said}");
    assert!(said.contains(&format!("ok: upstream.url: {upstream} can be connected to")), "{said}");

    let (code, said, _) = run(apple.url(), upstream).await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("jwks.url: the keys cannot be had: "), "{said}");

    let (code, said, _) = run(apple.jwks_url(), "http://127.0.0.1:1".to_owned()).await;
    assert_eq!(code, Some(69), "{said}");
    let refused =
        "upstream.url: http://127.0.0.1:1 cannot be used: the address cannot be connected to";
    assert!(said.contains(refused) && said.contains("(from flag --upstream)"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn online_the_keys_of_further_issuers_are_fetched_too() {
    let (apple, other) =
        tokio::join!(Apple::start(Arc::new(SystemClock)), Apple::start(Arc::new(SystemClock)));
    let (apple, other) = (apple.unwrap(), other.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("siwa.toml");
    let text = format!(
        "apple.client_ids = ['a']\npolicy.issuers = ['https://other.example']\n[jwks]\nurl = '{}'\n\
         additional = [{{ issuer = 'https://other.example', url = '{}' }}]\n",
        apple.jwks_url(),
        other.jwks_url()
    );
    fs::write(&config, text).unwrap();
    let run = || {
        let config = config.display().to_string();
        tokio::task::spawn_blocking(move || check(&["--config", &config, "--online"]))
    };

    let (code, said, _) = run().await.unwrap();
    assert_eq!(code, Some(0), "{said}");
    let works = "ok: jwks.additional: usable keys of https://other.example: 1";
    assert!(said.lines().any(|line| line == works), "{said}");

    other.fail_with(Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE));
    let (code, said, _) = run().await.unwrap();
    assert_eq!(code, Some(69), "{said}");
    let fails = "jwks.additional: the keys of https://other.example cannot be had: ";
    let place = format!("(from {}:5)", config.display());
    let line = said.lines().find(|line| line.starts_with(fails));
    assert!(line.is_some_and(|line| line.ends_with(&place)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn online_apple_tells_for_each_app_whether_it_knows_it_by_the_team_key() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let key = apple.issue_team_key("DEF123GHIJ", &["com.example.app"]);
    let folder = tempfile::tempdir().unwrap();
    let (file, config) = (folder.path().join("key.p8"), folder.path().join("siwa.toml"));
    fs::write(&file, &key.text).unwrap();
    let text = format!(
        "[jwks]\nurl = '{}'\n[apple]\nclient_ids = ['com.example.app', 'com.example.other']\napi_url = '{}'\n\
         team_id = 'DEF123GHIJ'\nkey_id = '{}'\nprivate_key_file = '{}'\n",
        apple.jwks_url(),
        apple.url(),
        key.key_id,
        file.display()
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let run = tokio::task::spawn_blocking(move || check(&["--config", &config, "--online"]));

    let (code, said, _) = run.await.unwrap();
    assert_eq!(code, Some(69), "{said}");
    let works = "ok: apple.private_key_file: Apple knows com.example.app by the key";
    assert!(said.lines().any(|line| line == works), "{said}");
    let fails =
        "apple.private_key_file: of no use for com.example.other: Apple refuses it: invalid_client";
    assert!(said.lines().any(|line| line.starts_with(fails)), "{said}");
}

#[test]
fn a_file_of_keys_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("keys.json");
    fs::write(&empty, r#"{"keys":[]}"#).unwrap();
    for file in ["/no/such.json", empty.to_str().unwrap()] {
        let (code, said, _) = check(&["--client-id", "a", "--jwks-file", file]);
        assert_eq!(code, Some(64), "{said}");
        let line = said.lines().find(|line| line.starts_with("jwks.file: cannot be used: "));
        assert!(line.is_some_and(|line| line.ends_with("(from flag --jwks-file)")), "{said}");
    }
    let keys =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwks/2026-06-30-three-keys.json");
    let (code, said, _) = check(&["--client-id", "a", "--jwks-file", keys]);
    assert_eq!(code, Some(0), "{said}");
}
