//! What the log says: one line for each request, as JSON where nobody sits at a terminal.

use std::{fs, net::SocketAddr, sync::Arc};

use serde_json::Value;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, keys::SigningKey, token::TokenTemplate},
};

use crate::support::{
    Recorder, Reply, eventually, get,
    program::{LogFile, Program, free_address},
};

/// The real program, with what it writes.
struct Told {
    apple: Apple,
    program: Program,
    log: LogFile,
}

impl Told {
    async fn start(extra: &[&str]) -> Self {
        Self::before(Recorder::start().await.address, extra).await
    }

    /// In front of an application that listens there, or of nothing.
    async fn before(application: SocketAddr, extra: &[&str]) -> Self {
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let (program, log) = Program::start_logging(&apple, application, extra, &[]).await;
        Self { apple, program, log }
    }

    /// The answer to a GET with these `headers`, and the line about it.
    async fn get(&self, headers: &[(&str, &str)]) -> (Reply, Value) {
        let reply = get(self.program.address, "/path?query=value", headers).await;
        let line = self.log.request(reply.header("x-request-id")[0]).await;
        (reply, line)
    }

    async fn with_token(&self, token: &str) -> (Reply, Value) {
        self.get(&[("Authorization", &format!("Bearer {token}"))]).await
    }
}

#[tokio::test]
async fn a_line_says_whom_a_request_proved_by_which_key_and_how_the_application_answered() {
    let told = Told::start(&[]).await;
    let token = told.apple.mint(&TokenTemplate::native().audience("com.example.app"));
    let (_, mut line) = told.with_token(&token).await;
    let line = line.as_object_mut().unwrap();
    for time in ["elapsed_ms", "upstream_connect_ms", "upstream_first_byte_ms"] {
        assert!(line.remove(time).unwrap().is_f64(), "{time}");
    }
    assert!(line.remove("timestamp").is_some() && line.remove("request_id").is_some());
    let kid = told.apple.keys().signing().kid().to_owned();
    let expected = serde_json::json!({
        "level": "INFO", "target": "access", "message": "request", "door": "proxy", "method": "GET", "route": "default",
        "status": 200, "outcome": "forwarded", "fault": "none", "kid": kid, "audience": "com.example.app",
        "client": "127.0.0.1", "peer": "127.0.0.1", "upstream_status": 200,
    });
    assert_eq!(Value::Object(line.clone()), expected);
}

#[tokio::test]
async fn a_line_says_why_a_request_was_refused_and_which_key_its_token_names() {
    let told = Told::start(&[]).await;
    let native = || TokenTemplate::native().audience("com.example.app");
    let stranger = SigningKey::generate().with_kid("made-up");
    let forged = SigningKey::generate().with_kid(told.apple.keys().signing().kid());
    let genuine = told.apple.keys().signing().kid().to_owned();
    for (token, code, kid, why) in [
        (
            told.apple.mint(&native().audience("com.other.app")),
            "token_audience",
            &*genuine,
            "com.other.app",
        ),
        (told.apple.mint_with(&stranger, &native()), "token_unknown_key", "made-up", "made-up"),
        (told.apple.mint_with(&forged, &native()), "token_signature", &*genuine, "signature"),
    ] {
        let (reply, line) = told.with_token(&token).await;
        assert_eq!(reply.json()["code"], code);
        assert_eq!((&line["status"], &line["outcome"]), (&401.into(), &code.into()));
        assert_eq!((&line["token_fault"], &line["fault"]), (&code.into(), &"caller".into()));
        assert_eq!(line["unverified_kid"], kid);
        assert!(line["reason"].as_str().unwrap().contains(why), "{line}");
        assert!(line.get("kid").is_none() && line.get("audience").is_none(), "{line}");
    }
    let (_, line) = told.get(&[]).await;
    assert_eq!(line["outcome"], "no_credential");
    assert!(line.get("token_fault").is_none() && line.get("unverified_kid").is_none(), "{line}");
    assert!(line.get("hint").is_none(), "{line}");
}

#[tokio::test]
async fn a_token_without_its_scheme_is_hinted_at_and_not_told() {
    let told = Told::start(&[]).await;
    let token = told.apple.mint(&TokenTemplate::native().audience("com.example.app"));
    let (reply, line) = told.get(&[("Authorization", &token)]).await;
    assert_eq!((reply.status, &line["outcome"]), (401, &"no_credential".into()));
    assert_eq!(line["hint"], "the value of Authorization does not begin with `Bearer `");
    assert!(!line.to_string().contains("eyJ"), "{line}");
}

#[tokio::test]
async fn a_line_names_the_client_behind_a_trusted_peer_and_no_one_a_stranger_invents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "server.trusted_peers = ['127.0.0.1/32']\n").unwrap();
    let forwarded = [("X-Forwarded-For", "192.0.2.1, 198.51.100.7")];

    let told = Told::start(&["--config", &file.display().to_string()]).await;
    let (_, line) = told.get(&forwarded).await;
    assert_eq!((&line["client"], &line["peer"]), (&"198.51.100.7".into(), &"127.0.0.1".into()));

    let told = Told::start(&[]).await;
    let (_, line) = told.get(&forwarded).await;
    assert_eq!((&line["client"], &line["peer"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
}

#[tokio::test]
async fn an_application_that_is_down_is_told_aloud_with_the_cause() {
    let application = free_address();
    let told = Told::before(application, &[]).await;
    let token = told.apple.mint(&TokenTemplate::native().audience("com.example.app"));
    let (reply, line) = told.with_token(&token).await;
    assert_eq!((reply.status, &line["outcome"]), (502, &"upstream_unreachable".into()));
    assert_eq!(line["fault"], "upstream");
    // Whom it proved is known all the same.
    assert_eq!(line["audience"], "com.example.app");
    let warning = told.log.line("the exchange with the application failed", |_| true).await;
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["request_id"], line["request_id"]);
    assert_eq!(warning["upstream"], format!("http://{application}"));
    assert!(warning["cause"].as_str().unwrap().contains("onnection refused"), "{warning}");
}

#[tokio::test]
async fn what_is_doubtful_about_the_settings_is_told_at_the_start_and_can_be_used() {
    let proxy = Told::start(&["--client-id", "host.exp.Exponent"]).await;
    let told = proxy.log.line("doubtful settings", |_| true).await;
    assert_eq!(told["level"], "WARN");
    let warning = told["warning"].as_str().unwrap();
    assert!(warning.starts_with("apple.client_ids: `host.exp.Exponent` is Expo Go, "), "{told}");
    assert!(warning.ends_with("(from flag --client-id)"), "{told}");
    assert_eq!(get(proxy.program.address, "/", &[]).await.status, 401);
}

#[tokio::test]
async fn text_is_written_where_it_is_asked_for() {
    let told = Told::start(&["--log-format", "text"]).await;
    let reply = get(told.program.address, "/", &[]).await;
    let id = format!("request_id=\"{}\"", reply.header("x-request-id")[0]);
    eventually("the line is written", async || told.log.text().contains(&id)).await;
    let text = told.log.text();
    let line = text.lines().find(|line| line.contains(&id)).unwrap();
    assert!(
        line.contains(" INFO access: request ") && line.contains("outcome=\"no_credential\""),
        "{line}"
    );
}
