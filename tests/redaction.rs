//! What must not be told is not: every kind of request, each with secrets of its own, at the level `trace`; and then all that
//! was written, measured and exported is searched for every one of them.
//!
//! A new door, or a new way to be refused, is one more row of [`ROWS`].

use std::{fs, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::Signal;
use serde_json::Value;
use siwa_proxy::{
    clock::{Clock, SystemClock, UnixTime},
    sim::{
        Apple,
        event::Event,
        faults::Fault,
        keys::SigningKey,
        sign_in::{SignIn, SignedIn},
        token::TokenTemplate,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{
    PATIENCE, Recorder, exchange_h2, get, open,
    program::{LogFile, Program, free_address},
};

/// Whoever acts in these requests, and every secret that they have had so far.
struct Scene {
    apple: Apple,
    secrets: Vec<String>,
}

impl Scene {
    /// A word that was never said before and must never be said again.
    fn secret(&mut self) -> String {
        let secret = format!("hush{:04}{:012x}", self.secrets.len(), fastrand::u64(..1 << 48));
        self.secrets.push(secret.clone());
        secret
    }

    /// Somebody of whom everything is secret.
    fn someone(&mut self) -> TokenTemplate {
        let [subject, name, nonce, code] = [(); 4].map(|()| self.secret());
        let email = format!("{name}@example.com");
        TokenTemplate::native()
            .audience("com.example.app")
            .subject(&format!("001999.{subject}.0918"))
            .claim("email", email)
            .nonce(&nonce)
            .code(&code)
    }

    /// The header line that presents `token`, of which no part may be told but the name of its key.
    fn bearer(&mut self, token: &str) -> String {
        self.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        format!("Authorization: Bearer {token}")
    }

    fn token(&mut self, change: impl FnOnce(TokenTemplate) -> TokenTemplate) -> String {
        let template = change(self.someone());
        let token = self.apple.mint(&template);
        self.bearer(&token)
    }

    fn good(&mut self) -> String {
        self.token(|it| it)
    }

    fn signed_by(&mut self, key: &SigningKey) -> String {
        let template = self.someone();
        let token = self.apple.mint_with(key, &template);
        self.bearer(&token)
    }

    /// What Apple posts about somebody, changed.
    fn notification(&mut self, change: impl FnOnce(TokenTemplate) -> TokenTemplate) -> String {
        let [subject, name] = [(); 2].map(|()| self.secret());
        let event = Event::email_disabled(
            &format!("001999.{subject}.0918"),
            &format!("{name}@example.com"),
        );
        let token = self.apple.mint(&change(TokenTemplate::notification(event)));
        self.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        self.posted(&format!("{{\"payload\":\"{token}\"}}"))
    }

    /// `body`, posted where notifications are taken.
    fn posted(&mut self, body: &str) -> String {
        let length = format!("Content-Length: {}", body.len());
        self.request("POST /auth/apple/notifications", &[&length]) + body
    }

    /// An app's sign-in by somebody, changed, with a name, an address and `more` beside the token.
    fn signs_in(
        &mut self,
        change: impl FnOnce(TokenTemplate) -> TokenTemplate,
        more: &[(&str, &str)],
    ) -> String {
        let template = change(self.someone());
        let token = self.apple.mint(&template);
        self.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        let [given, family, email] = [(); 3].map(|()| self.secret());
        let mut body = serde_json::json!({
            "identityToken": token, "email": email, "fullName": { "givenName": given, "familyName": family },
        });
        let members = body.as_object_mut().unwrap();
        members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
        self.posted_to("/auth/apple", "application/json", &body.to_string())
    }

    /// A sign-in with a code of Apple's own, who grants secrets for it.
    fn redeems(&mut self) -> String {
        let SignedIn { identity_token, code, .. } =
            self.apple.sign_in(&SignIn::to("com.example.app"));
        self.secrets.extend(identity_token.split('.').skip(1).map(str::to_owned));
        self.secrets.push(code.clone());
        let body =
            format!(r#"{{"identityToken":"{identity_token}","authorizationCode":"{code}"}}"#);
        self.posted_to("/auth/apple", "application/json", &body)
    }

    /// `body`, posted to `path`.
    fn posted_to(&mut self, path: &str, content_type: &str, body: &str) -> String {
        let lines = [
            &*format!("Content-Type: {content_type}"),
            &*format!("Content-Length: {}", body.len()),
        ];
        self.request(&format!("POST {path}"), &lines) + body
    }

    /// A request with these `lines`, and secrets wherever else they fit.
    fn request(&mut self, line: &str, lines: &[&str]) -> String {
        let [query, cookie, custom, forwarded, state] = [(); 5].map(|()| self.secret());
        let target = format!("{line}?token={query}");
        format!(
            "{target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nCookie: session={cookie}\r\n\
             X-Custom: {custom}\r\nX-Forwarded-Proto: {forwarded}\r\ntracestate: a={state}\r\n{}\r\n\r\n",
            lines.join("\r\n")
        )
    }
}

/// What is sent, what comes of it (nothing, if it is no request), and how it is made.
type Row = (&'static str, Option<&'static str>, fn(&mut Scene) -> String);

#[rustfmt::skip] // A table is read as a table.
const ROWS: &[Row] = &[
    ("a good token",               Some("forwarded"),            |s| { let t = s.good(); s.request("GET /", &[&t]) }),
    ("a path",                     Some("forwarded"),            |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /{path}"), &[&t]) }),
    ("a body",                     Some("forwarded"),            |s| { let (t, body) = (s.good(), s.secret()); s.request("POST /", &[&t, &format!("Content-Length: {}", body.len())]) + &body }),
    ("spoofed headers",            Some("forwarded"),            |s| { let (t, who) = (s.good(), s.secret()); s.request("GET /", &[&t, &format!("X-Apple-Sub: {who}"), &format!("x_apple_email: {who}")]) }),
    ("an upgrade",                 Some("forwarded"),            |s| { let (t, key) = (s.good(), s.secret()); s.request("GET /", &[&t, "Connection: upgrade", "Upgrade: websocket", &format!("Sec-WebSocket-Key: {key}")]) }),
    ("another scheme, public",     Some("forwarded"),            |s| { let word = s.secret(); s.request("GET /public/a", &[&format!("Authorization: Basic {word}")]) }),
    ("another scheme",             Some("no_credential"),        |s| { let word = s.secret(); s.request("GET /", &[&format!("Authorization: Basic {word}")]) }),
    ("a token elsewhere",          Some("no_credential"),        |s| { let t = s.good(); s.request("GET /", &[&t.replace("Authorization: Bearer ", "X-Token: ")]) }),
    ("two credentials",            Some("several_credentials"),  |s| { let (one, other) = (s.good(), s.good()); s.request("GET /", &[&one, &other]) }),
    ("no token at all",            Some("token_malformed"),      |s| { let word = s.secret(); s.request("GET /", &[&format!("Authorization: Bearer {word}")]) }),
    ("no JSON in the token",       Some("token_malformed"),      |s| { let word = s.secret(); let t = s.token(|it| it.header_text(&format!("{{\"kid\":\"{word}\""))); s.request("GET /", &[&t]) }),
    ("a token that is too long",   Some("token_oversized"),      |s| { let word = s.secret().repeat(600); s.request("GET /", &[&format!("Authorization: Bearer {word}.a.b")]) }),
    ("another algorithm",          Some("token_algorithm"),      |s| { let t = s.token(|it| it.header("alg", "none")); s.request("GET /", &[&t]) }),
    ("an unsupported header",      Some("token_unsupported_header"), |s| { let word = s.secret(); let t = s.token(|it| it.header("crit", word)); s.request("GET /", &[&t]) }),
    ("an unknown key",             Some("token_unknown_key"),    |s| { let t = s.signed_by(&SigningKey::generate()); s.request("GET /", &[&t]) }),
    ("a forged signature",         Some("token_signature"),      |s| { let key = SigningKey::generate().with_kid(s.apple.keys().signing().kid()); let t = s.signed_by(&key); s.request("GET /", &[&t]) }),
    ("an expired token",           Some("token_expired"),        |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000))); s.request("GET /", &[&t]) }),
    ("a token of tomorrow",        Some("token_not_yet_valid"),  |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(4_000_000_000))); s.request("GET /", &[&t]) }),
    ("another app's token",        Some("token_audience"),       |s| { let t = s.token(|it| it.audience("com.other.app")); s.request("GET /", &[&t]) }),
    ("another issuer's token",     Some("token_issuer"),         |s| { let t = s.token(|it| it.claim("iss", "https://other.example")); s.request("GET /", &[&t]) }),
    ("a claim of the wrong kind",  Some("token_claim"),          |s| { let word = s.secret(); let t = s.token(|it| it.claim("email_verified", word)); s.request("GET /", &[&t]) }),
    ("who may not pass",           Some("not_allowed_not_listed"),  |s| { let t = s.good(); s.request("GET /staff/a", &[&t]) }),
    ("an ambiguous path",          Some("bad_request"),          |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /public/%2e%2e/{path}"), &[&t]) }),
    ("a user in the host",         Some("bad_request"),          |s| { let (t, word) = (s.good(), s.secret()); s.request("GET /", &[&t]).replace("Host: app", &format!("Host: {word}@app")) }),
    ("an odd transfer coding",     Some("unsupported"),          |s| { let (t, word) = (s.good(), s.secret()); s.request("POST /", &[&t, &format!("Transfer-Encoding: {word}, chunked")]) + "0\r\n\r\n" }),
    ("a body that is too long",    Some("body_too_large"),       |s| { let t = s.good(); s.request("POST /", &[&t, "Content-Length: 99999999"]) }),
    ("a made-up method",           Some("forwarded"),            |s| { let (t, method) = (s.good(), s.secret()); s.request(&format!("{} /", method.to_uppercase()), &[&t]) }),
    ("an application that is down", Some("upstream_unreachable"), |s| { let t = s.good(); s.request("GET /nowhere/a", &[&t]) }),
    ("auth_request, yes",          Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/verify", &[&t, &format!("X-Original-URI: /{path}"), "X-Original-Method: GET"]) }),
    ("auth_request, no",           Some("token_malformed"),      |s| { let (word, path) = (s.secret(), s.secret()); s.request("GET /auth/apple/verify", &[&format!("Authorization: Bearer {word}"), &format!("X-Original-URI: /{path}")]) }),
    ("forward_auth, yes",          Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request("GET /auth/apple/forward-auth", &[&t, &format!("X-Forwarded-Uri: /{path}"), "X-Forwarded-Method: GET", "X-Forwarded-Host: app.example"]) }),
    ("forward_auth, no",           Some("no_credential"),        |s| { let path = s.secret(); s.request("GET /auth/apple/forward-auth", &[&format!("X-Forwarded-Uri: /{path}")]) }),
    ("userinfo, yes",              Some("allowed"),              |s| { let t = s.good(); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("userinfo, no",               Some("token_expired"),        |s| { let t = s.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000))); s.request("GET /auth/apple/userinfo", &[&t]) }),
    ("ext_authz, yes",             Some("allowed"),              |s| { let (t, path) = (s.good(), s.secret()); s.request(&format!("GET /auth/apple/ext-authz/{path}"), &[&t]) }),
    ("ext_authz, no",              Some("token_malformed"),      |s| { let (word, path) = (s.secret(), s.secret()); s.request(&format!("GET /auth/apple/ext-authz/{path}"), &[&format!("Authorization: Bearer {word}")]) }),
    ("a notification",             Some("stored"),               |s| s.notification(|it| it)),
    ("another app's notification", Some("bad_request"),          |s| s.notification(|it| it.audience("com.other.app"))),
    ("events of the wrong kind",   Some("bad_request"),          |s| { let word = s.secret(); s.notification(|it| it.claim("events", word)) }),
    ("no notification",            Some("bad_request"),          |s| { let word = s.secret(); s.posted(&format!("{{\"payload\":\"{word}\"}}")) }),
    ("no JSON",                    Some("bad_request"),          |s| { let word = s.secret(); s.posted(&word) }),
    ("a sign-in",                  Some("signed_in"),            |s| s.signs_in(|it| it, &[])),
    ("a sign-in with a code",      Some("signed_in"),            |s| s.redeems()),
    ("a nonce that is right",      Some("signed_in"),            |s| { let nonce = s.secret(); s.signs_in(|it| it.nonce(&nonce), &[("nonce", &nonce)]) }),
    ("a nonce that is wrong",      Some("token_nonce"),          |s| { let nonce = s.secret(); s.signs_in(|it| it, &[("rawNonce", &nonce)]) }),
    ("a nonce that poses as ours", Some("nonce_unknown"),        |s| { let nonce = format!("siwa_n.{}", s.secret()); s.signs_in(|it| it, &[("nonce", &nonce)]) }),
    ("another sign-in's code",     Some("token_code_hash"),      |s| { let code = s.secret(); s.signs_in(|it| it, &[("code", &code)]) }),
    ("a made-up code",             Some("apple_invalid_grant"),  |s| { let code = s.secret(); s.signs_in(|it| it.code(&code), &[("authorizationCode", &code)]) }),
    ("no code",                    Some("bad_request"),          |s| { let code = format!("{} {}", s.secret(), s.secret()); s.signs_in(|it| it, &[("authorizationCode", &code)]) }),
    ("an odd redirect URI",        Some("bad_request"),          |s| { let (code, uri) = (s.secret(), format!("evil://{}", s.secret())); s.signs_in(|it| it.code(&code), &[("code", &code), ("redirectURI", &uri)]) }),
    ("another app's sign-in",      Some("token_audience"),       |s| s.signs_in(|it| it.audience("com.other.app"), &[])),
    ("two tokens",                 Some("bad_request"),          |s| { let word = s.secret(); s.signs_in(|it| it, &[("id_token", &word)]) }),
    ("a sign-in without a token",  Some("identity_token_missing"), |s| { let form = format!("user={}&code={}", s.secret(), s.secret()); s.posted_to("/auth/apple", "application/x-www-form-urlencoded", &form) }),
    ("a sign-in of another type",  Some("bad_request"),          |s| { let (kind, body) = (s.secret(), s.secret()); s.posted_to("/auth/apple", &format!("text/{kind}"), &body) }),
    ("a nonce",                    Some("nonce_issued"),         |s| { let body = s.secret(); s.posted_to("/auth/apple/nonce", "text/plain", &body) }),
    ("no HTTP",                    None,                         |s| format!("{} {}\r\n\r\n", s.secret(), s.secret())),
    ("a head that is too long",    None,                         |s| { let (t, word) = (s.good(), s.secret().repeat(4000)); s.request("GET /", &[&t, &format!("X-Long: {word}")]) }),
    ("keys that cannot be had",    Some("keys_unavailable"),     |s| { s.apple.fail_with(Fault::Reset); let t = s.signed_by(&SigningKey::generate()); s.request("GET /", &[&t]) }),
];

/// Refusals of those whom time and Apple have made strangers.
#[rustfmt::skip]
const TOO_LATE: &[Row] = &[
    ("a token that is too old",    Some("token_too_old"),        |s| { let t = s.token(|it| it.issued_at(hours_ago(2))); s.request("GET /", &[&t]) }),
    ("somebody who leaves",        Some("stored"),               |s| { let event = Event::account_deleted("001999.leaver.0918"); let token = s.apple.mint(&TokenTemplate::notification(event)); s.posted(&format!("{{\"payload\":\"{token}\"}}")) }),
    ("somebody who left",          Some("token_revoked"),        |s| { let t = s.token(|it| it.subject("001999.leaver.0918").issued_at(SystemClock.now())); s.request("GET /", &[&t]) }),
    ("a method of another door",   Some("method_not_allowed"),   |s| { let t = s.good(); s.request("POST /auth/apple/userinfo", &[&t]) }),
];

fn hours_ago(hours: u64) -> UnixTime {
    UnixTime::from_secs(SystemClock.now().as_secs() - hours * 3600)
}

/// Everything is open, and there is a limit to run into.
fn configuration() -> String {
    format!(
        "jwks.unknown_key_cooldown = '10ms'\n\
         server.max_body_bytes = '1MiB'\n\
         server.trusted_peers = ['127.0.0.1']\n\
         notifications.path = '/auth/apple/notifications'\n\
         ext_authz.path_prefixes = ['/auth/apple/ext-authz']\n\
         [doors]\nauth_request = ['/auth/apple/verify']\nforward_auth = ['/auth/apple/forward-auth']\n\
         userinfo = ['/auth/apple/userinfo']\n\
         [upstreams.nowhere]\nurl = 'http://{}'\n\
         [[route]]\npath = '/public/*'\naccess = 'public'\n\
         [[route]]\npath = '/staff/*'\npolicy = {{ allow_subjects = ['001999.staff.0918'] }}\n\
         [[route]]\npath = '/nowhere/*'\nupstream = 'nowhere'\n",
        free_address()
    )
}

/// Apps sign in and have sessions, and codes are redeemed at `apple`; the keys for that are in `folder`.
fn signing_in(apple: &Apple, folder: &Path) -> String {
    let (session, team) = (folder.join("session"), folder.join("team.p8"));
    let key = apple.issue_team_key("DEF123GHIJ", &[]);
    fs::write(&session, BASE64_STANDARD.encode([7; 32])).unwrap();
    fs::write(&team, key.text).unwrap();
    format!(
        "sessions.key_files = ['{}']\nsign_in.path = '/auth/apple'\nsign_in.single_use = true\n\
         apple.team_id = '{}'\napple.key_id = '{}'\napple.private_key_file = '{}'\napple.api_url = '{}'\n",
        session.display(),
        key.team_id,
        key.key_id,
        team.display(),
        apple.url()
    )
}

/// Sends `bytes`, whatever comes of them.
async fn send(program: &Program, bytes: &str) {
    let mut stream = open(program.address).await;
    // The other side may have refused, and hung up, before it has read everything.
    drop(stream.write_all(bytes.as_bytes()).await);
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time"));
}

/// The same over HTTP/2, whose frames are traced by other crates.
async fn send_h2(scene: &mut Scene, program: &Program) {
    let (good, cookie, path) = (scene.good(), scene.secret(), scene.secret());
    let expired = scene.token(|it| it.issued_at(UnixTime::from_secs(1_600_000_000)));
    for authorization in [good, expired] {
        let value = authorization.strip_prefix("Authorization: ").unwrap();
        let request = http::Request::post(format!("http://app.example/{path}"))
            .header("authorization", value)
            .header("cookie", &cookie)
            .header("content-type", "application/grpc")
            .body(cookie.clone())
            .unwrap();
        exchange_h2(program.address, request).await;
    }
}

/// The application has secrets of its own.
fn answer_with_secrets(scene: &mut Scene, application: &Recorder) {
    let [cookie, location, body] = [(); 3].map(|()| scene.secret());
    application.answer(&format!(
        "HTTP/1.1 302 Found\r\nSet-Cookie: a={cookie}\r\nLocation: /{location}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
}

/// What the crates that we stand on trace is not written, whatever the filter says.
fn assert_all_is_ours(log: &LogFile) {
    let mut own = 0;
    for line in log.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (level, target) = (line["level"].as_str().unwrap(), line["target"].as_str().unwrap());
        let is_ours = target == "access" || target.starts_with("siwa_proxy");
        assert!(is_ours || !matches!(level, "TRACE" | "DEBUG"), "{line}");
        own += usize::from(is_ours && level == "DEBUG");
    }
    assert!(own > 0, "the filter lets our own through");
}

#[tokio::test]
async fn no_secret_of_any_request_is_told_to_the_log_the_metrics_or_the_traces() {
    tells_nothing_of(ROWS, &configuration()).await;
}

#[tokio::test]
async fn no_secret_of_who_comes_too_late_is_told_either() {
    tells_nothing_of(TOO_LATE, &("apple.max_token_age = '1h'\n".to_owned() + &configuration()))
        .await;
}

async fn tells_nothing_of(rows: &[Row], configuration: &str) {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let configuration = signing_in(&apple, secrets.path()) + configuration;
    let mut scene = Scene { apple, secrets: Vec::new() };
    let application = Recorder::start().await;
    answer_with_secrets(&mut scene, &application);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, configuration).unwrap();
    let exports = Exports::start().await;
    let arguments = ["--config", &*file.display().to_string(), "--log", "trace"];
    let (program, log) =
        Program::start_logging(&scene.apple, application.address, &arguments, &exports.variables())
            .await;

    send_h2(&mut scene, &program).await;
    let mut earlier = 2;
    for (name, outcome, make) in rows {
        send(&program, &make(&mut scene)).await;
        if let Some(outcome) = outcome {
            earlier += 1;
            let told = log.requests(earlier).await.pop().unwrap();
            assert_eq!(told["outcome"], *outcome, "{name}: {told}");
        }
    }
    let metrics = get(program.admin, "/metrics", &[]).await.body;
    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));

    assert_all_is_ours(&log);
    let told = [("log", log.text()), ("metrics", metrics), ("traces", exports.text(rows.len()))];
    assert!(scene.secrets.len() > 5 * rows.len(), "{} secrets", scene.secrets.len());
    for (place, text) in &told {
        for secret in &scene.secrets {
            let found =
                text.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
            assert_eq!(found, None, "{place} tells {secret}");
        }
    }
}

/// Where traces go, if this build has any.
struct Exports {
    #[cfg(feature = "otlp")]
    collector: crate::support::collector::Collector,
}

impl Exports {
    #[cfg(feature = "otlp")]
    async fn start() -> Self {
        Self { collector: crate::support::collector::Collector::start().await }
    }

    #[cfg(not(feature = "otlp"))]
    async fn start() -> Self {
        Self {}
    }

    #[cfg(feature = "otlp")]
    fn variables(&self) -> Vec<(&str, &str)> {
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", &self.collector.url)]
    }

    #[cfg(not(feature = "otlp"))]
    fn variables(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    #[cfg(feature = "otlp")]
    fn text(&self, least: usize) -> String {
        let spans = self.collector.spans();
        assert!(spans.len() > least, "{} spans", spans.len());
        format!("{spans:#?}")
    }

    #[cfg(not(feature = "otlp"))]
    fn text(&self, _least: usize) -> String {
        String::new()
    }
}
