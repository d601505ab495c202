//! Settings change while requests run.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::Signal;
use siwa_proxy::{
    app::App,
    clock::SystemClock,
    config::{Flags, Settings},
    sim::{Apple, event::Event, presets::SUBJECT, token::TokenTemplate},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    key_sources::secure_endpoint,
    support::{
        PATIENCE, Recorder, Reply, application, exchange, get, metrics,
        notifying::{ON, post, post_notification},
        open,
        program::Program,
        read_head, read_reply,
        secure::Authority,
        spawn,
    },
};

/// Between two looks, so that whoever is looked at gets on.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
}

/// A proxy whose settings are in a file that can be written again.
struct World {
    apple: Arc<Apple>,
    application: Recorder,
    folder: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    shutdown: CancellationToken,
}

impl World {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(extra: &str) -> Self {
        let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
        let application = Recorder::start().await;
        let (folder, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let file = folder.path().join("siwa.toml");
        fs::write(&file, text(&apple, application.address, &["com.example.app"], extra)).unwrap();
        let flags = Flags::new(Some(file));
        let app = App::bind(Settings::load(&flags).unwrap()).await.unwrap().with_reloads(flags);
        let (address, admin) = (app.address().unwrap(), app.admin_address().unwrap());
        spawn(app.run(shutdown.clone()));
        let world = Self { apple, application, folder, address, admin, shutdown };
        world.until_ready("ready").await;
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("siwa.toml")
    }

    /// Writes the file for these apps, all at once, as a careful editor does.
    fn write(&self, client_ids: &[&str], extra: &str) {
        self.write_text(&text(&self.apple, self.application.address, client_ids, extra));
    }

    fn write_text(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    async fn metric(&self, name: &str) -> u64 {
        metrics::value_of(&get(self.admin, "/metrics", &[]).await.body, name)
    }

    async fn reloads(&self, result: &str) -> u64 {
        self.metric(&format!("siwa_config_reloads_total{{result=\"{result}\"}}")).await
    }

    /// Waits until settings have been read again this often with this result.
    async fn until_reloads(&self, result: &str, count: u64) {
        let reloaded = async {
            while self.reloads(result).await < count {
                pause().await;
            }
        };
        timeout(PATIENCE, reloaded).await.expect("the settings are read again");
    }

    async fn until_ready(&self, told: &str) {
        let ready = async {
            while !get(self.admin, "/readyz?verbose", &[])
                .await
                .body
                .ends_with(&format!("\n{told}\n"))
            {
                pause().await;
            }
        };
        timeout(PATIENCE, ready).await.expect("the proxy becomes ready");
    }

    fn bearer(&self, client_id: &str) -> String {
        format!("Bearer {}", self.apple.mint(&TokenTemplate::native().audience(client_id)))
    }

    async fn get(&self, bearer: &str) -> Reply {
        get(self.address, "/", &[("Authorization", bearer)]).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn text(apple: &Apple, upstream: SocketAddr, client_ids: &[&str], extra: &str) -> String {
    format!(
        r#"
        server.listen = "127.0.0.1:0"
        server.admin_listen = "127.0.0.1:0"
        upstream.url = "http://{upstream}"
        apple.client_ids = {client_ids:?}
        jwks.url = "{jwks_url}"
        reload.watch_every = "20ms"
        {extra}
        "#,
        jwks_url = apple.jwks_url(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_client_id_is_refused_from_the_next_request_on_remembered_verdicts_included() {
    let world = World::with("apple.max_token_age = '1h'").await;
    let bearer = world.bearer("com.example.app");
    assert_eq!(world.get(&bearer).await.status, 200);
    assert_eq!(world.get(&bearer).await.status, 200);
    assert_eq!(world.metric("siwa_verdicts_total{cache=\"hit\"}").await, 1);
    let fetches = world.metric("siwa_jwks_fetches_total{result=\"ok\"}").await;

    world.write(&["com.example.web"], "apple.max_token_age = '1h'");
    world.until_reloads("ok", 1).await;
    let refused = world.get(&bearer).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["code"], "token_audience");
    assert_eq!(world.get(&world.bearer("com.example.web")).await.status, 200);
    assert_eq!(world.metric("siwa_jwks_fetches_total{result=\"ok\"}").await, fetches);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_stays_revoked_whatever_is_reloaded() {
    let world = World::with(ON).await;
    let revoke = async |client_id: &str| {
        let event = TokenTemplate::notification(Event::consent_revoked(SUBJECT));
        let payload = world.apple.mint(&event.audience(client_id));
        post_notification(world.address, &payload).await.status
    };
    let bearer = world.bearer("com.example.app");
    assert_eq!(world.get(&bearer).await.status, 200);
    assert_eq!(revoke("com.example.app").await, 200);

    // A verifier with the keys of the one before, one that fetches anew, and the same one once more.
    let both = ["com.example.app", "com.example.web"];
    let nothing_else = format!("{ON}\nserver.max_body_bytes = 1000\njwks.refresh_every = '10m'");
    for (reloads, client_ids, extra) in [
        (1, &both[..], ON),
        (2, &both[..], &*format!("{ON}\njwks.refresh_every = '10m'")),
        (3, &both[..], &*nothing_else),
    ] {
        world.write(client_ids, extra);
        world.until_reloads("ok", reloads).await;
        let refused = world.get(&bearer).await;
        assert_eq!((refused.status, &refused.json()["code"]), (401, &"token_revoked".into()));
        assert_eq!(revoke("com.example.web").await, 200, "an app that joined");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_place_for_notifications_waits_for_a_restart() {
    const ELSEWHERE: &str = "/elsewhere";

    let world = World::with(ON).await;
    world.write(&["com.example.app"], &format!("notifications.path = '{ELSEWHERE}'"));
    world.until_reloads("ok", 1).await;
    assert_eq!(post_notification(world.address, "a.b.c").await.status, 400);
    let unknown = post(world.address, ELSEWHERE, "", "{}").await;
    assert_eq!(unknown.json()["code"], "no_credential", "a request for the application");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_change_nothing_and_are_told() {
    let world = World::start().await;
    let bearer = world.bearer("com.example.app");
    world.write_text("[apple]\nclient_ids = []\nleeway = 'soon'\n");
    world.until_reloads("failed", 1).await;

    assert_eq!(world.get(&bearer).await.status, 200);
    let told = get(world.admin, "/readyz?verbose", &[]).await;
    assert_eq!(told.status, 200);
    assert!(told.body.contains("newer ones were refused at"), "{}", told.body);
    assert!(told.body.contains("for 2 problems"), "{}", told.body);
    assert_eq!(world.metric("siwa_config_last_reload_successful").await, 0);

    world.write(&["com.example.app"], "");
    world.until_reloads("ok", 1).await;
    assert_eq!(world.metric("siwa_config_last_reload_successful").await, 1);
    let told = get(world.admin, "/readyz?verbose", &[]).await.body;
    assert!(!told.contains("refused"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_none_of_2000_requests() {
    let world = Arc::new(World::start().await);
    let bearer = world.bearer("com.example.app");
    let is_over = Arc::new(AtomicBool::new(false));
    let reloading = spawn({
        let (world, is_over) = (Arc::clone(&world), Arc::clone(&is_over));
        async move {
            let mut reloads = 0;
            while !is_over.load(Ordering::Relaxed) {
                reloads += 1;
                let other = ["com.example.app", if reloads % 2 == 0 { "com.b" } else { "com.c" }];
                world.write(&other, &format!("server.max_body_bytes = {}", 1000 + reloads));
                world.until_reloads("ok", reloads).await;
            }
            reloads
        }
    });
    let load: Vec<_> = (0..20)
        .map(|_| {
            let (address, head) = (world.address, head(&bearer));
            spawn(async move {
                for _ in 0..100 {
                    let reply = exchange(address, &head).await;
                    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
                }
            })
        })
        .collect();
    for callers in load {
        callers.await.expect("every request is answered");
    }
    is_over.store(true, Ordering::Relaxed);
    let reloads = timeout(PATIENCE, reloading).await.unwrap().unwrap();
    assert!(reloads > 1, "{reloads} reloads");
    assert_eq!(world.application.requests().len(), 2000);
}

fn head(bearer: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_sent_is_sent_whole_although_its_application_was_replaced() {
    let world = World::start().await;
    let (slowly, finish) = slow_application().await;
    let routed =
        format!("upstreams.slow.url = 'http://{slowly}'\nroute = [{{ upstream = 'slow' }}]");
    world.write(&["com.example.app"], &routed);
    world.until_reloads("ok", 1).await;

    let mut caller = open(world.address).await;
    caller.write_all(head(&world.bearer("com.example.app")).as_bytes()).await.unwrap();
    finish.has_begun.notified().await;
    world.write(&["com.example.app"], "");
    world.until_reloads("ok", 2).await;
    assert_eq!(world.get(&world.bearer("com.example.app")).await.body, "hello");
    finish.may_end.notify_one();
    assert_eq!(read_reply(&mut caller).await.body, "first half, second half");
}

/// What a slow application tells, and waits for.
#[derive(Default)]
struct Halves {
    has_begun: tokio::sync::Notify,
    may_end: tokio::sync::Notify,
}

/// An application that sends half of its answer, and the other half when it may.
async fn slow_application() -> (SocketAddr, Arc<Halves>) {
    let halves = Arc::new(Halves::default());
    let told = Arc::clone(&halves);
    let address = application(move |mut stream, _| {
        let told = Arc::clone(&told);
        async move {
            read_head(&mut stream).await.unwrap();
            let first = b"HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\nfirst half, ";
            stream.write_all(first).await.unwrap();
            told.has_begun.notify_one();
            told.may_end.notified().await;
            stream.write_all(b"second half").await.unwrap();
        }
    })
    .await;
    (address, halves)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_elsewhere_are_there_before_anybody_needs_them() {
    let world = World::start().await;
    let other = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let text = text(&other, world.application.address, &["com.example.app"], "");
    world.write_text(&text);
    world.until_reloads("ok", 1).await;
    let bearer = format!("Bearer {}", other.mint(&TokenTemplate::native()));
    assert_eq!(world.get(&bearer).await.status, 200);
    assert_eq!(world.get(&world.bearer("com.example.app")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_never_had_keys_takes_up_where_they_can_be_had() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siwa.toml");
    let right = text(&apple, application.address, &["com.example.app"], "");
    fs::write(&file, right.replace(&apple.jwks_url(), "http://127.0.0.1:9/keys")).unwrap();
    let flags = Flags::new(Some(file.clone()));
    let app = App::bind(Settings::load(&flags).unwrap()).await.unwrap().with_reloads(flags);
    let admin = app.admin_address().unwrap();
    let shutdown = CancellationToken::new();
    let running = spawn(app.run(shutdown.clone()));
    let told = get(admin, "/readyz?verbose", &[]).await.body;
    assert!(told.starts_with("[-]keys not ready: none yet\n"), "{told}");

    fs::write(&file, right).unwrap();
    let ready = async {
        while get(admin, "/readyz", &[]).await.status != 200 {
            pause().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("the proxy becomes ready");
    shutdown.cancel();
    timeout(PATIENCE, running).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_files_that_settings_name_although_the_text_is_the_same() {
    let (apple, authority) = (Apple::start(Arc::new(SystemClock)).await.unwrap(), Authority::new());
    let application = secure_application(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // What is in it at first is somebody else's.
    fs::copy(Authority::new().path("authority.pem"), at("authorities.pem")).unwrap();
    fs::write(at("admin"), "a-token-of-the-operator").unwrap();
    let text = format!(
        "reload.watch_every = '0s'\n{ON}\nrevocations.admin_token_file = '{}'\n\
         upstreams.secure = {{ url = 'https://{application}', ca_file = '{}', server_name = 'app.example' }}\n\
         [[route]]\npath = '/secure/*'\nupstream = 'secure'\n",
        at("admin").display(),
        at("authorities.pem").display()
    );
    fs::write(at("siwa.toml"), text).unwrap();
    let file = at("siwa.toml").display().to_string();
    let plain = Recorder::start().await;
    let (program, log) =
        Program::start_logging(&apple, plain.address, &["--config", &file], &[]).await;
    let bearer = format!("Bearer {}", apple.mint(&TokenTemplate::native()));
    let ask = async || get(program.address, "/secure/a", &[("Authorization", &bearer)]).await;
    assert_eq!(ask().await.json()["code"], "upstream_unreachable");

    fs::copy(authority.path("authority.pem"), at("authorities.pem")).unwrap();
    fs::write(at("admin"), "a-new-token-of-the-operator").unwrap();
    program.signal(Signal::HUP);
    let told = log.line("settings reloaded", |_| true).await;
    assert_eq!(told["changed"], "revocations.admin_token_file upstreams.secure.ca_file");
    let waits = log.line("settings that need a restart are not in effect yet", |_| true).await;
    assert_eq!(waits["keys"], "revocations.admin_token_file");
    assert_eq!(ask().await.body, "hello");

    fs::remove_file(at("authorities.pem")).unwrap();
    program.signal(Signal::HUP);
    log.line("the new settings cannot be used, the old ones stay", |_| true).await;
    assert_eq!(ask().await.body, "hello");
}

/// An application that speaks TLS, with a certificate of `authority`'s.
async fn secure_application(authority: &Authority) -> SocketAddr {
    let acceptor = authority.acceptor_for("app.example");
    application(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_anew_by_which_authorities_the_key_endpoint_is_believed() {
    let (apple, authority) = (Apple::start(Arc::new(SystemClock)).await.unwrap(), Authority::new());
    let endpoint = secure_endpoint(
        &authority,
        serde_json::json!({ "keys": [apple.keys().signing().jwk()] }).to_string(),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (file, authorities) = (folder.path().join("siwa.toml"), folder.path().join("ca.pem"));
    fs::copy(Authority::new().path("authority.pem"), &authorities).unwrap();
    let text = format!("reload.watch_every = '0s'\njwks.ca_file = '{}'", authorities.display());
    fs::write(&file, text).unwrap();
    let url = format!("https://localhost:{}/auth/keys", endpoint.port());
    let program =
        Program::start_alone(&url, 503, &["--config", file.to_str().unwrap()], &[]).await.0;

    fs::copy(authority.path("authority.pem"), &authorities).unwrap();
    program.signal(Signal::HUP);
    let ready = async { while get(program.admin, "/readyz", &[]).await.status != 200 {} };
    timeout(PATIENCE, ready).await.expect("the keys are there");
}

/// A file where Kubernetes would mount a `ConfigMap`.
fn mounted(folder: &Path, version: &str, text: &str) -> PathBuf {
    let at = |name: &str| folder.join(name);
    fs::create_dir(at(version)).unwrap();
    fs::write(at(version).join("siwa.toml"), text).unwrap();
    symlink(version, at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let file = at("siwa.toml");
    if !file.is_symlink() {
        symlink("..data/siwa.toml", &file).unwrap();
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_swapped_is_noticed_and_sighup_is_heard_by_the_program() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let version = |access: &str| {
        format!("reload.watch_every = '20ms'\n[[route]]\npath = '/a'\naccess = '{access}'\n")
    };
    let file = mounted(folder.path(), "..v1", &version("required"));
    let config = ["--config", file.to_str().unwrap()];
    let program = Program::start(&apple, application.address, &config).await;
    assert_eq!(get(program.address, "/a", &[]).await.status, 401);

    mounted(folder.path(), "..v2", &version("public"));
    let open_to_all = async {
        while get(program.address, "/a", &[]).await.status != 200 {
            pause().await;
        }
    };
    timeout(PATIENCE, open_to_all).await.expect("the swap is noticed");

    let reloads = "siwa_config_reloads_total{result=\"ok\"} ";
    program.signal(Signal::HUP);
    let heard = async {
        while !get(program.admin, "/metrics", &[]).await.body.contains(&format!("{reloads}2\n")) {
            pause().await;
        }
    };
    timeout(PATIENCE, heard).await.expect("the signal is heard");
    program.signal(Signal::TERM);
    assert_eq!(program.exit_code().await, Some(0));
}
