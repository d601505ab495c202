//! What must not be told is not: every kind of request, each with secrets of its own, at the level `trace`; and then all that
//! was written, measured and exported is searched for every one of them.
//!
//! A new door, or a new way to be refused, is one more row of `rows.rs`.

#[cfg(feature = "ext-authz")]
mod checks;
#[cfg(feature = "ext-authz")]
mod codes;
mod exports;
mod rows;
mod scene;

use std::{fs, net::SocketAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::Signal;
use serde_json::{Value, json};
use siwa_proxy::{
    clock::UnixTime,
    sim::{faults::Fault, people::Person, sign_in::SignIn},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use self::{
    exports::Exports,
    rows::{
        HEARD_OF, NOT_ALLOWED, ROWS, Row, SIGNING_IN, TOO_LATE, TOO_MANY, TOO_SLOW, WITH_A_NONCE,
        WITHOUT_A_STORE, WITHOUT_AN_APPLICATION,
    },
    scene::Scene,
};
use crate::support::{
    PATIENCE, Recorder, exchange, exchange_h2, get, open,
    program::{LogFile, Program, free_address},
};

/// A proxy of which everything is listened to.
struct Watched {
    scene: Scene,
    application: Recorder,
    program: Program,
    log: LogFile,
    exports: Exports,
    /// How many requests the log has told of.
    told: usize,
    _folder: TempDir,
}

impl Watched {
    /// In front of an application, with what `configure` writes.
    async fn start(configure: impl FnOnce(&mut Scene, SocketAddr) -> String) -> Self {
        Self::start_as(configure, async |scene, application, arguments, variables| {
            // Another app, for policies to tell from the first one.
            let arguments = [arguments, &["--client-id", "com.example.web"]].concat();
            Program::start_logging(&scene.apple, application, &arguments, variables).await
        })
        .await
    }

    /// Without an application, once it is as ready as `status` says.
    async fn start_alone(
        status: u16,
        configure: impl FnOnce(&mut Scene, SocketAddr) -> String,
    ) -> Self {
        Self::start_as(configure, async |scene, _, arguments, variables| {
            Program::start_alone(&scene.apple.jwks_url(), status, arguments, variables).await
        })
        .await
    }

    async fn start_as(
        configure: impl FnOnce(&mut Scene, SocketAddr) -> String,
        start: impl AsyncFnOnce(&Scene, SocketAddr, &[&str], &[(&str, &str)]) -> (Program, LogFile),
    ) -> Self {
        let mut scene = Scene::set().await;
        let application = Recorder::start().await;
        answer_with_secrets(&mut scene, &application);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, configure(&mut scene, application.address)).unwrap();
        let exports = Exports::start().await;
        let arguments = ["--config", &*file.display().to_string(), "--log", "trace"];
        let (program, log) =
            start(&scene, application.address, &arguments, &exports.variables()).await;
        Self { scene, application, program, log, exports, told: 0, _folder: folder }
    }

    /// Sends each row once, and holds what comes of it against what should.
    async fn send(&mut self, rows: &[Row]) {
        for (name, outcome, make) in rows {
            send(&self.program, &make(&mut self.scene)).await;
            if let Some(outcome) = outcome {
                let told = self.next_line().await;
                assert_eq!(told["outcome"], *outcome, "{name}: {told}");
            }
        }
    }

    /// Sends each row until what should come of it comes: it depends on what else goes on.
    async fn send_until(&mut self, rows: &[Row]) {
        for (name, outcome, make) in rows {
            let sending = async {
                loop {
                    send(&self.program, &make(&mut self.scene)).await;
                    if self.next_line().await["outcome"] == outcome.unwrap() {
                        return;
                    }
                }
            };
            timeout(PATIENCE, sending).await.unwrap_or_else(|_| panic!("{name}: {outcome:?}"));
        }
    }

    /// What the log tells of the next request.
    async fn next_line(&mut self) -> Value {
        self.told += 1;
        self.log.requests(self.told).await.swap_remove(self.told - 1)
    }

    /// Sends a request whose answer nobody waits for, until what is returned is dropped.
    async fn hold(&mut self) -> TcpStream {
        self.application.stall();
        let (token, path) = (self.scene.good(), self.scene.secret());
        let request = self.scene.request(&format!("GET /{path}"), &[&token]);
        let mut stream = open(self.program.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        self.application.received(1).await;
        stream
    }

    /// The same over HTTP/2, whose frames are traced by other crates.
    async fn send_h2(&mut self) {
        let Self { scene, program, .. } = self;
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
            self.told += 1;
        }
    }

    /// What Envoy asks, by gRPC.
    #[cfg(feature = "ext-authz")]
    async fn send_checks(&mut self) {
        for (name, outcome, make) in checks::CHECKS {
            let body = http_body_util::Full::new(bytes::Bytes::from(make(&mut self.scene)));
            let uri = "http://siwa.example/envoy.service.auth.v3.Authorization/Check";
            let request = http::Request::post(uri)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(body)
                .unwrap();
            exchange_h2(self.program.address, request).await;
            let told = self.next_line().await;
            assert_eq!(
                (&told["door"], &told["outcome"]),
                (&"ext_authz".into(), &(*outcome).into()),
                "{name}"
            );
        }
    }

    /// What an operator asks, who knows `token`, and what somebody asks who does not.
    async fn send_as_operator(&mut self, token: &str) {
        let [stranger, revoked, wrong] = [(); 3].map(|()| self.scene.secret());
        let line = format!("{{\"sub\":\"001999.{revoked}.0918\"}}");
        for (token, body, status) in
            [(token, &line, 200), (token, &wrong, 400), (&stranger, &line, 401)]
        {
            let length = body.len();
            let request = format!(
                "POST /revocations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            let reply = exchange(self.program.admin, request).await;
            assert_eq!(reply.status, status, "{reply:?}");
        }
    }

    /// Ends it, and searches everything.
    async fn tells_nothing(self) -> LogFile {
        let Self { scene, program, log, exports, told, .. } = self;
        let metrics = get(program.admin, "/metrics", &[]).await.body;
        program.signal(Signal::TERM);
        assert_eq!(program.exit_code().await, Some(0));

        assert_all_is_ours(&log);
        assert!(scene.secrets.len() > 5 * told, "{} secrets", scene.secrets.len());
        let places = [("log", log.text()), ("metrics", metrics), ("traces", exports.text(told))];
        for (place, text) in &places {
            for secret in &scene.secrets {
                let found =
                    text.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
                assert_eq!(found, None, "{place} tells {secret}");
            }
        }
        log
    }
}

/// Sends `bytes`, whatever comes of them.
async fn send(program: &Program, bytes: &str) {
    let mut stream = open(program.address).await;
    // The other side may have refused, and hung up, before it has read everything.
    drop(stream.write_all(bytes.as_bytes()).await);
    let mut answer = Vec::new();
    drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time"));
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
        own += usize::from(is_ours);
    }
    assert!(own > 0, "the filter lets our own through");
}

/// Everything is open, and there is a limit to run into.
fn everything_open() -> String {
    format!(
        "jwks.unknown_key_cooldown = '10ms'\n\
         server.max_body_bytes = '1MiB'\n\
         server.trusted_peers = ['127.0.0.1']\n\
         notifications.path = '/auth/apple/notifications'\n\
         sign_in.path = '/sign-in'\n\
         ext_authz = {{ path_prefixes = ['/auth/apple/ext-authz'], grpc = {} }}\n\
         [doors]\nauth_request = ['/auth/apple/verify']\nforward_auth = ['/auth/apple/forward-auth']\n\
         userinfo = ['/auth/apple/userinfo']\n\
         [upstreams.nowhere]\nurl = 'http://{}'\n\
         [[route]]\npath = '/public/*'\naccess = 'public'\n\
         [[route]]\npath = '/nowhere/*'\nupstream = 'nowhere'\n",
        cfg!(feature = "ext-authz"),
        free_address()
    )
}

#[tokio::test]
async fn no_secret_of_any_request_is_told_to_the_log_the_metrics_or_the_traces() {
    let mut watched = Watched::start(|_, _| everything_open()).await;
    watched.send_h2().await;
    #[cfg(feature = "ext-authz")]
    watched.send_checks().await;
    watched.send(ROWS).await;
    let log = watched.tells_nothing().await;
    assert!(log.text().contains(r#""level":"DEBUG""#), "the filter lets our own details through");
}

#[tokio::test]
async fn no_secret_of_who_comes_too_late_is_told_either() {
    let configure =
        |_: &mut Scene, _| "apple.max_token_age = '1h'\n".to_owned() + &everything_open();
    let mut watched = Watched::start(configure).await;
    watched.send(TOO_LATE).await;
    watched.tells_nothing().await;
}

/// Apps sign in and have sessions, and codes are redeemed at Apple. The keys for that are in `folder`.
fn with_sessions(scene: &Scene, folder: &TempDir, extra: &str) -> String {
    let (session, team) = (folder.path().join("session"), folder.path().join("team.p8"));
    let key = scene.apple.issue_team_key("DEF123GHIJ", &[]);
    fs::write(&session, BASE64_STANDARD.encode([7; 32])).unwrap();
    fs::write(&team, key.text).unwrap();
    format!(
        "sign_in.path = '/sign-in'\n{extra}\nsessions.key_files = ['{}']\napple.team_id = '{}'\n\
         apple.key_id = '{}'\napple.private_key_file = '{}'\napple.api_url = '{}'\n",
        session.display(),
        key.team_id,
        key.key_id,
        team.display(),
        scene.apple.url()
    )
}

#[tokio::test]
async fn no_secret_of_whoever_signs_in_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let configure =
        |scene: &mut Scene, _| with_sessions(scene, &folder, "sign_in.single_use = true");
    let mut watched = Watched::start(configure).await;
    watched.send(SIGNING_IN).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_whoever_deletes_their_account_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(|scene, _| with_sessions(scene, &folder, "")).await;
    let (address, someone) = (watched.program.address, watched.scene.subject_of_member());
    let person = Person::of_subject(&someone);
    let signed_in = watched.scene.apple.sign_in(&SignIn::to("com.example.app").by(person));
    let (token, code) = (&signed_in.identity_token, &signed_in.code);
    let body = json!({ "identityToken": token, "authorizationCode": code }).to_string();
    let session = crate::support::notifying::post(address, "/sign-in", "", &body).await.json();
    assert_eq!(watched.next_line().await["outcome"], "signed_in");

    let refresh_token = session["refresh_token"].as_str().unwrap();
    let body = json!({ "refresh_token": refresh_token }).to_string();
    let lines = [&*format!("Content-Length: {}", body.len()), "Content-Type: application/json"];
    let mut request = || watched.scene.request("DELETE /sign-in/account", &lines) + &body;
    let requests = [(); 4].map(|()| request());
    let [last, stumbling @ ..] = &requests;
    let faults = [Fault::Html200, Fault::Reset, Fault::Garbage];
    for (request, fault) in stumbling.iter().zip(faults) {
        watched.scene.apple.fail_api_times(fault, 1);
        assert_eq!(exchange(address, request).await.status, 503);
        assert_eq!(watched.next_line().await["fault"], "apple");
    }
    assert_eq!(exchange(address, last).await.status, 200);
    assert_eq!(watched.next_line().await["outcome"], "account_deleted");

    let scene = &mut watched.scene;
    let asked = scene.apple.asked().into_iter().flat_map(|asked| asked.fields);
    let is_secret = |name: &str| matches!(name, "code" | "token" | "client_secret");
    let asked = asked.filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
    scene.secrets.extend(asked);
    let ours = ["access_token", "refresh_token"].map(|name| session[name].as_str().unwrap());
    scene.secrets.extend(ours.map(str::to_owned));
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_nonce_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let configure =
        |scene: &mut Scene, _| with_sessions(scene, &folder, "sign_in.nonce = 'required'");
    let mut watched = Watched::start(configure).await;
    let issued =
        crate::support::notifying::post(watched.program.address, "/sign-in/nonce", "", "").await;
    watched.scene.nonce = issued.json()["nonce"].as_str().unwrap().to_owned();
    watched.scene.secrets.push(watched.scene.nonce.clone());
    assert_eq!(watched.next_line().await["outcome"], "nonce_issued");
    watched.send(WITH_A_NONCE).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_who_may_not_pass_is_told_nor_whom_the_policies_name() {
    let mut watched = Watched::start(|scene, _| {
        let (keys, subject, email) =
            (scene.apple.jwks_url(), scene.subject_of_member(), scene.email_of_member());
        let policy = |path: &str, policy: &str| {
            format!("[[route]]\npath = '/{path}/*'\npolicy = {{ {policy} }}\n")
        };
        format!(
            "server.trusted_peers = ['127.0.0.1']\n\
             doors.auth_request = ['/auth/apple/verify']\n\
             policy.issuers = ['https://appleid.apple.com', 'https://other.example']\n\
             jwks.additional = [{{ issuer = 'https://other.example', url = '{keys}' }}]\n\
             [[route]]\npath = '/app/*'\nclient_ids = ['com.example.web']\n{}{}{}{}{}{}{}",
            policy("issuer", "issuers = ['https://other.example']"),
            policy(
                "listed",
                &format!("allow_subjects = ['{subject}'], allow_emails = ['{email}']")
            ),
            policy("denied", &format!("deny_subjects = ['{subject}'], deny_emails = ['{email}']")),
            policy("claim", "required_claims = ['org_id']"),
            policy("verified", "require_verified_email = true"),
            policy("relay", "private_relay = 'refuse'"),
            policy("human", "minimum_real_user_status = 'likely_real'"),
        )
    })
    .await;
    watched.send(NOT_ALLOWED).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_one_too_many_is_told() {
    let limits = |_: &mut Scene, _| {
        "limits = { max_requests = 1, rate_per_second = 1, rate_burst = 2 }\n\
         doors.auth_request = ['/auth/apple/verify']\n"
            .to_owned()
    };
    let mut watched = Watched::start(limits).await;
    let held = watched.hold().await;
    watched.send_until(TOO_MANY).await;
    drop(held);
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_what_does_not_come_in_time_is_told() {
    let mut watched = Watched::start(|_, application| {
        format!(
            "server = {{ body_idle_timeout = '50ms', header_read_timeout = '50ms' }}\n\
             notifications.path = '/auth/apple/notifications'\n\
             [upstreams.silent]\nurl = 'http://{application}'\nresponse_timeout = '50ms'\n\
             [upstreams.slow]\nurl = 'http://{application}'\ntotal_timeout = '50ms'\n\
             [[route]]\npath = '/silent/*'\nupstream = 'silent'\n\
             [[route]]\npath = '/slow/*'\nupstream = 'slow'\n"
        )
    })
    .await;
    watched.application.stall();
    watched.send(TOO_SLOW).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_what_cannot_be_told_or_kept_without_the_store_is_told() {
    let redis = |_: &mut Scene, _| {
        format!(
            "notifications.path = '/auth/apple/notifications'\nstore.redis_url = 'redis://{}/0'\n",
            free_address()
        )
    };
    let mut watched = Watched::start_alone(503, redis).await;
    watched.send_until(WITHOUT_A_STORE).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_who_asks_where_there_is_no_application_is_told() {
    let mut watched = Watched::start_alone(200, |_, _| String::new()).await;
    watched.send(WITHOUT_AN_APPLICATION).await;
    watched.tells_nothing().await;
}

#[tokio::test]
async fn no_secret_of_an_operator_or_of_who_hears_of_events_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut token = String::new();
    let mut watched = Watched::start(|scene, application| {
        let [word, key, path] = [(); 3].map(|()| scene.secret());
        let encoded = BASE64_STANDARD.encode(key + "-and-more");
        scene.secrets.push(encoded.clone());
        let [token_file, secret_file] = ["token", "secret"].map(|name| folder.path().join(name));
        fs::write(&token_file, &word).unwrap();
        fs::write(&secret_file, format!("whsec_{encoded}")).unwrap();
        token = word;
        format!(
            "notifications.path = '/auth/apple/notifications'\n\
             revocations.admin_token_file = '{}'\n\
             [webhooks]\nurls = ['http://{application}/{path}?a={path}', 'http://{}/{path}']\n\
             secret_files = ['{}']\n",
            token_file.display(),
            free_address(),
            secret_file.display()
        )
    })
    .await;
    watched.send_as_operator(&token).await;
    watched.send(HEARD_OF).await;
    // Neither takes it: one answers something else, and nobody is at the other.
    for result in ["refused", "unreachable"] {
        let metric = format!("siwa_webhook_deliveries_total{{result=\"{result}\"}} ");
        let told = async {
            while !get(watched.program.admin, "/metrics", &[]).await.body.contains(&metric) {}
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("one is {result}"));
    }
    watched.tells_nothing().await;
}
