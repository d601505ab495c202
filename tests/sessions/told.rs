//! What is told of sessions, at the level `trace`: that there are some, and nothing that opens one.

use std::{fs, sync::Arc};

use rustix::process::Signal;
use serde_json::{Value, json};
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};

use super::keyring::Keyring;
use crate::{
    sign_in::{ON, PATH, sign_in},
    support::{
        Recorder, get,
        notifying::post,
        program::{LogFile, Program},
    },
};

/// The parts of a sealed text by which somebody could find it again, from the first to the last.
fn parts(tokens: &Value) -> Vec<String> {
    let texts = ["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap());
    let parts = texts.iter().flat_map(|text| text.as_bytes().chunks(24));
    parts
        .filter(|part| part.len() == 24)
        .map(|part| String::from_utf8(part.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn no_token_of_a_session_is_told_to_the_log_or_the_metrics() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let (application, keyring) = (Recorder::start().await, Keyring::new(&[1]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, format!("{ON}\n{}", keyring.setting())).unwrap();
    let arguments = ["--config", &*file.display().to_string(), "--log", "trace"];
    let (program, log): (Program, LogFile) =
        Program::start_logging(&apple, application.address, &arguments, &[]).await;

    let token = apple.mint(&TokenTemplate::native());
    let first = sign_in(program.address, &json!({ "identityToken": token })).await.json();
    let body = json!({ "refresh_token": first["refresh_token"] }).to_string();
    let refresh = async || post(program.address, &format!("{PATH}/refresh"), "", &body).await;
    let second = refresh().await.json();
    let mut secrets = [parts(&first), parts(&second)].concat();
    for tokens in [&first, &second] {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let changed = format!("{bearer}AAAA");
        for bearer in [&bearer, &changed] {
            get(program.address, "/", &[("Authorization", bearer)]).await;
        }
        let line = format!("Authorization: {bearer}\r\n");
        assert_eq!(post(program.address, &format!("{PATH}/logout"), &line, "").await.status, 200);
    }
    assert_eq!(refresh().await.json()["code"], "session_ended");
    secrets.push(token);

    let told = log.requests(9).await;
    let outcomes: Vec<_> = told.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    for outcome in ["signed_in", "renewed", "forwarded", "session_forged", "signed_out"] {
        assert!(outcomes.contains(&outcome), "{outcomes:?}");
    }
    let metrics = get(program.admin, "/metrics", &[]).await.body;
    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));
    assert!(secrets.len() > 80, "{}", secrets.len());
    for (place, text) in [("log", log.text()), ("metrics", metrics)] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} tells {secret}");
        }
    }
}
