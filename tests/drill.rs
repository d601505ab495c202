//! The operator's drill: what the README says of each kind of trouble, tried.

use std::{fmt, fs, path::Path, sync::Arc};

use rustix::process::Signal;
use serde_json::Value;
use siwa_proxy::{
    clock::{SystemClock, UnixTime},
    sim::{Apple, faults::Fault, token::TokenTemplate},
};

use crate::support::{
    Recorder, eventually, get,
    program::{LogFile, Program, free_address},
    secure::Authority,
};

/// One line of the README's table: what the log says, and what the metrics do.
struct Trouble {
    log: Vec<String>,
    metrics: Vec<String>,
}

impl Trouble {
    fn called(name: &str) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let page = fs::read_to_string(page).unwrap();
        let line = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let cells: Vec<_> = line.unwrap_or_else(|| panic!("{name}")).split(" | ").collect();
        let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Self { log: spans(cells[1]), metrics: spans(cells[2]) }
    }

    /// Waits until log and metrics say all of it.
    async fn shows(&self, log: &LogFile, program: &Program) {
        assert!(!self.log.is_empty() && !self.metrics.is_empty());
        let (said, counted) = (&self.log, &self.metrics);
        let what = fmt::from_fn(|f| write!(f, "{said:?} and {counted:?}:\n{}", log.text()));
        eventually(what, async || {
            let page = get(program.admin, "/metrics", &[]).await.body;
            self.missing(&log.text(), &page).is_empty()
        })
        .await;
    }

    fn missing(&self, log: &str, metrics: &str) -> Vec<&String> {
        let lines: Vec<Value> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_unsaid = |span: &&String| !lines.iter().any(|line| says(line, span));
        let is_untold = |span: &&String| !metrics.lines().any(|line| tells(line, span));
        let unsaid = self.log.iter().filter(is_unsaid);
        unsaid.chain(self.metrics.iter().filter(is_untold)).collect()
    }
}

/// `name=value` is a field, a single word is one with any value, and anything else is the message.
fn says(line: &Value, span: &str) -> bool {
    match span.split_once('=') {
        Some((name, value)) => line[name] == value,
        None if span.contains(' ') => line["message"] == span,
        None => !line[span].is_null(),
    }
}

/// `name{label="value"}` is a sample with these labels, and others, that is not nothing.
fn tells(line: &str, span: &str) -> bool {
    let (name, labels) = span.split_once('{').unwrap_or((span, ""));
    let labels = labels.trim_end_matches('}').split(',');
    let Some((sample, value)) = line.rsplit_once(' ') else { return false };
    let begins =
        sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    begins && labels.into_iter().all(|label| sample.contains(label)) && value != "0"
}

struct Drill {
    apple: Apple,
    program: Program,
    log: LogFile,
}

impl Drill {
    async fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let application = Recorder::start().await;
        Self::before(application.address, arguments, variables).await
    }

    async fn before(
        application: std::net::SocketAddr,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let (program, log) =
            Program::start_logging(&apple, application, arguments, variables).await;
        Self { apple, program, log }
    }

    /// A request with what `change` makes of a good token.
    async fn ask(&self, change: impl FnOnce(TokenTemplate) -> TokenTemplate) -> u16 {
        let token = change(TokenTemplate::native().audience("com.example.app"));
        let authorization = format!("Bearer {}", self.apple.mint(&token));
        get(self.program.address, "/", &[("Authorization", &authorization)]).await.status
    }

    async fn shows(&self, trouble: &str) {
        Trouble::called(trouble).shows(&self.log, &self.program).await;
    }
}

#[tokio::test]
async fn stale_keys_look_as_the_readme_says_and_still_serve() {
    let drill = Drill::start(&[], &[("SIWA_JWKS__REFRESH_EVERY", "20ms")]).await;
    drill.apple.fail_with(Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE));
    drill.shows("the keys are stale").await;
    assert_eq!(drill.ask(|token| token).await, 200);
}

#[tokio::test]
async fn a_proxy_that_never_becomes_ready_looks_as_the_readme_says() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    apple.fail_with(Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE));
    let (program, log) = Program::start_alone(&apple.jwks_url(), 503, &[], &[]).await;
    Trouble::called("it never becomes ready").shows(&log, &program).await;
}

#[tokio::test]
async fn a_wrong_audience_looks_as_the_readme_says_and_is_mended_by_its_client_id() {
    let other = |token: TokenTemplate| token.audience("com.other.app");
    let drill = Drill::start(&[], &[]).await;
    assert_eq!(drill.ask(other).await, 401);
    drill.shows("an app is refused").await;
    let mended = Drill::start(&["--client-id", "com.other.app"], &[]).await;
    assert_eq!(mended.ask(other).await, 200);
}

#[tokio::test]
async fn a_wrong_clock_looks_as_the_readme_says() {
    let drill = Drill::start(&[], &[]).await;
    assert_eq!(drill.ask(|token| token.issued_at(UnixTime::from_secs(4_000_000_000))).await, 401);
    drill.shows("a clock is wrong").await;
}

#[tokio::test]
async fn an_application_that_is_down_looks_as_the_readme_says() {
    let drill = Drill::before(free_address(), &[], &[]).await;
    assert_eq!(drill.ask(|token| token).await, 502);
    drill.shows("the application is down").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_as_the_readme_says() {
    let authority = Authority::new();
    let file = authority.path("siwa.toml");
    fs::write(&file, authority.configuration()).unwrap();
    let drill = Drill::start(&["--config", &file.display().to_string()], &[]).await;
    authority.renew();
    drill.shows("the certificate is about to end").await;
    drill.program.signal(Signal::TERM);
}
