//! The tests' small vocabulary: a proxy with a toy Apple beside it and a recording application behind it, and a client
//! that writes bytes.

mod application;
pub(crate) mod browser;
mod client;
#[cfg(feature = "otlp")]
pub(crate) mod collector;
pub(crate) mod fixture;
mod log;
pub(crate) mod metrics;
pub(crate) mod notifying;
pub(crate) mod process;
pub(crate) mod program;
mod recorder;
pub(crate) mod secure;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use siwa_proxy::{
    app::{App, AppError},
    clock::{Clock, ManualClock, SystemClock},
    config::Settings,
    sim::{Apple, token::TokenTemplate},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    application::{application, application_that_tells, granting, read_head, serve_http},
    client::{Reply, exchange, exchange_h2, get, open, read_reply, read_reply_from},
    log::Log,
    recorder::{Recorder, Request},
};

/// How long anything may take before a test gives up. Never reached when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running proxy, its Apple and its application.
pub(crate) struct House {
    pub(crate) apple: Arc<Apple>,
    pub(crate) application: Recorder,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), AppError>>,
}

impl House {
    /// A house with nothing special about it, ready.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// A house whose configuration says `extra` besides, ready.
    pub(crate) async fn with(extra: &str) -> Self {
        let house = Self::build(extra, Arc::new(SystemClock), |_| {}).await;
        house.ready().await;
        house
    }

    /// A house before this application, whose configuration says `extra` besides; ready.
    pub(crate) async fn before(application: SocketAddr, extra: &str) -> Self {
        Self::with(&format!("upstream.url = 'http://{application}'\n{extra}")).await
    }

    /// A house that lives by `clock`, ready.
    pub(crate) async fn at(clock: ManualClock) -> Self {
        let house = Self::build("", Arc::new(clock), |_| {}).await;
        house.ready().await;
        house
    }

    /// A house without an application, whose proxy is asked by other gateways; ready.
    pub(crate) async fn verifier(extra: &str) -> Self {
        let house = Self::troubled_verifier(extra, |_| {}).await;
        house.ready().await;
        house
    }

    /// Likewise; `before` may trouble Apple before the proxy starts. It need not become ready.
    pub(crate) async fn troubled_verifier(extra: &str, before: impl FnOnce(&Apple)) -> Self {
        let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
        before(&apple);
        let settings = settings(&apple.jwks_url(), None, extra);
        let application = Recorder::start().await;
        Self::run(settings, Arc::new(SystemClock), apple, application).await
    }

    /// A house; `before` may trouble Apple before the proxy starts. It need not become ready.
    pub(crate) async fn build(
        extra: &str,
        clock: Arc<dyn Clock>,
        before: impl FnOnce(&Apple),
    ) -> Self {
        let apple = Arc::new(Apple::start(Arc::clone(&clock)).await.unwrap());
        before(&apple);
        let application = Recorder::start().await;
        let settings = settings(&apple.jwks_url(), application.address, extra);
        Self::run(settings, clock, apple, application).await
    }

    /// A house with an application, whose Apple was there before, as its settings name it; ready.
    pub(crate) async fn with_apple(apple: Arc<Apple>, extra: &str) -> Self {
        let application = Recorder::start().await;
        let settings = settings(&apple.jwks_url(), application.address, extra);
        let house = Self::run(settings, Arc::new(SystemClock), apple, application).await;
        house.ready().await;
        house
    }

    /// Likewise, that lives by `clock`.
    pub(crate) async fn with_apple_at(clock: ManualClock, apple: Arc<Apple>, extra: &str) -> Self {
        let application = Recorder::start().await;
        let settings = settings(&apple.jwks_url(), application.address, extra);
        let house = Self::run(settings, Arc::new(clock), apple, application).await;
        house.ready().await;
        house
    }

    /// A house whose Apple was there before, as its settings name it, and whose application they name if there is one; ready.
    pub(crate) async fn beside(apple: Arc<Apple>, extra: &str) -> Self {
        let application = Recorder::start().await;
        Self::between(apple, application, Arc::new(SystemClock), extra).await
    }

    /// Likewise, whose application was there before, too, and which lives by `clock`.
    pub(crate) async fn between(
        apple: Arc<Apple>,
        application: Recorder,
        clock: Arc<dyn Clock>,
        extra: &str,
    ) -> Self {
        let settings = settings(&apple.jwks_url(), None, extra);
        let house = Self::run(settings, clock, apple, application).await;
        house.ready().await;
        house
    }

    async fn run(
        settings: Settings,
        clock: Arc<dyn Clock>,
        apple: Arc<Apple>,
        application: Recorder,
    ) -> Self {
        let app = App::bind(settings).await.unwrap().with_clock(clock);
        let (address, admin) = (app.address().unwrap(), app.admin_address().unwrap());
        let shutdown = CancellationToken::new();
        let running = spawn(app.run(shutdown.clone()));
        Self { apple, application, address, admin, shutdown, running }
    }

    /// Waits until the proxy says that it is ready.
    pub(crate) async fn ready(&self) {
        let is_ready = async || get(self.admin, "/readyz", &[]).await.status == 200;
        eventually("the proxy is ready", is_ready).await;
    }

    /// Ends the proxy and waits until it has ended.
    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, &mut self.running).await.expect("it ends").unwrap().unwrap();
    }

    /// An `Authorization` header value that is good.
    pub(crate) fn bearer(&self) -> String {
        self.bearer_of(&TokenTemplate::native())
    }

    /// An `Authorization` header value made from `template`.
    pub(crate) fn bearer_of(&self, template: &TokenTemplate) -> String {
        format!("Bearer {}", self.apple.mint(template))
    }

    /// What whoever comes with `bearer` is answered.
    pub(crate) async fn status(&self, bearer: &str) -> u16 {
        self.get("/", &[("Authorization", bearer)]).await.status
    }

    /// Sends a GET with `headers` and returns the answer.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        get(self.address, path, headers).await
    }

    /// What the metrics page says of `metric`, with its labels; 0 if it has not been counted yet.
    pub(crate) async fn metric(&self, metric: &str) -> u64 {
        metrics::value_of(&get(self.admin, "/metrics", &[]).await.body, metric)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.running.abort();
    }
}

/// Waits until it `is_so`.
pub(crate) async fn eventually(what: impl fmt::Display, mut is_so: impl AsyncFnMut() -> bool) {
    awaited(what, async || is_so().await.then_some(())).await;
}

/// Asks until there is an answer, and returns it.
pub(crate) async fn awaited<T>(
    what: impl fmt::Display,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            // Others have work to do meanwhile. And whoever connects to a port of its own that nobody listens on, without a
            // pause, meets itself in the end.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Settings for loopback, with `extra` TOML laid over them.
pub(crate) fn settings(
    jwks_url: &str,
    upstream: impl Into<Option<SocketAddr>>,
    extra: &str,
) -> Settings {
    let mut base: toml::Table = toml::from_str(&format!(
        r#"
        server.listen = "127.0.0.1:0"
        server.admin_listen = "127.0.0.1:0"
        apple.client_ids = ["com.example.app", "com.example.web"]
        jwks.url = "{jwks_url}"
        "#
    ))
    .unwrap();
    if let Some(address) = upstream.into() {
        let upstream: toml::Table = toml::from_str(&format!("url = 'http://{address}'")).unwrap();
        base.insert("upstream".to_owned(), upstream.into());
    }
    lay_over(&mut base, toml::from_str(extra).unwrap());
    Settings::from_toml(&base.to_string()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn lay_over(base: &mut toml::Table, extra: toml::Table) {
    for (key, value) in extra {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

/// Runs a task beside the test; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's runtime drops its tasks when the test ends"
)]
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(task)
}
