//! `deploy/grafana` and `deploy/prometheus`: what they ask for is what we tell.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use crate::support::metrics::declared;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("deploy/grafana/siwa-proxy.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The name of every sample.
fn told() -> BTreeSet<String> {
    let mut names: BTreeSet<_> = declared().into_iter().flat_map(|it| it.samples).collect();
    let process = ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"];
    names.extend(process.map(|name| format!("process_{name}")));
    names.insert("siwa_build_info".to_owned());
    names
}

/// The metrics that `expression` names.
fn named(expression: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let words = expression.split(|c: char| !is_part(c));
    let ours = |word: &&str| word.starts_with("siwa_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

/// Every query of the dashboard, with what Grafana would put in it.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions
        .map(|it| it.replace("$__rate_interval", "1m").replace("$job", ".*"))
        .map(|it| it.replace("$instance", ".*"))
        .collect()
}

/// Every expression of the alerts. Those of several lines are written as blocks.
fn alerts() -> Vec<String> {
    let text = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml")).unwrap();
    let mut expressions = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.trim().strip_prefix("expr: ") else { continue };
        let mut expression = first.trim_start_matches('|').to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("          ")) {
            expression.push_str(more);
        }
        expressions.push(expression);
    }
    expressions
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let told = told();
    let expressions = [queries(), alerts()].concat();
    assert!(expressions.len() > 50, "{} expressions", expressions.len());
    for expression in &expressions {
        for name in named(expression) {
            assert!(told.contains(&name), "{name} is no metric of ours: {expression}");
        }
    }
}

#[test]
fn every_metric_that_calls_for_action_is_on_the_dashboard() {
    let shown: BTreeSet<_> = queries().iter().flat_map(|query| named(query)).collect();
    for alert in alerts() {
        for name in named(&alert) {
            assert!(shown.contains(&name), "{name} wakes somebody, and is shown nowhere");
        }
    }
}

/// What Grafana asks of a dashboard's JSON, as far as ours goes:
/// <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>.
#[test]
fn the_dashboard_is_one_that_grafana_can_show() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "siwa-proxy");
    assert!(dashboard["schemaVersion"].is_u64() && dashboard["title"].is_string());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|it| panel["gridPos"][it].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is within 24 columns");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} says what it means");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
        let targets = panel["targets"].as_array().unwrap();
        let references: BTreeSet<_> =
            targets.iter().map(|it| it["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{title}");
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_mend() {
    let text = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml")).unwrap();
    let rules: Vec<_> = text.split("- alert: ").skip(1).collect();
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        for needed in ["summary:", "runbook:", "severity: "] {
            assert!(rule.contains(needed), "{needed} {rule}");
        }
    }
}

mod real_programs {
    use std::{
        io::Write,
        net::SocketAddr,
        process::{Command, Output, Stdio},
    };

    use siwa_proxy::sim::token::TokenTemplate;

    use super::*;
    use crate::support::{House, PATIENCE, get, process::Process, program::free_address};

    /// The real Prometheus, which scrapes a proxy.
    struct Prometheus {
        _process: Process,
        address: SocketAddr,
        _folder: tempfile::TempDir,
    }

    impl Prometheus {
        fn start(target: SocketAddr) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let address = free_address();
            let (config, rules) = (folder.path().join("prometheus.yml"), root());
            let rules = rules.join("deploy/prometheus/alerts.yaml");
            let text = format!(
                "global: {{scrape_interval: 200ms, evaluation_interval: 1s}}\n\
                 rule_files: ['{}']\n\
                 scrape_configs: [{{job_name: siwa-proxy, static_configs: [{{targets: ['{target}']}}]}}]\n",
                rules.display()
            );
            fs::write(&config, text).unwrap();
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Self { _process: Process::start(&mut command), address, _folder: folder }
        }

        /// What its API answers; nothing while it starts.
        async fn ask(&self, path: &str) -> Option<Value> {
            tokio::net::TcpStream::connect(self.address).await.ok()?;
            let reply = get(self.address, path, &[]).await;
            serde_json::from_str(&reply.body).ok()
        }

        async fn query(&self, expression: &str) -> Value {
            let encoded = url::form_urlencoded::byte_serialize(expression.as_bytes());
            let path = format!("/api/v1/query?query={}", encoded.collect::<String>());
            self.ask(&path).await.unwrap_or_else(|| panic!("{expression}: no answer"))
        }

        /// Waits until `expression` has a value.
        async fn knows(&self, expression: &str) {
            let learning = async {
                loop {
                    if self.is_up().await {
                        let answer = self.query(expression).await;
                        let result = answer["data"]["result"].as_array();
                        if result.is_some_and(|result| !result.is_empty()) {
                            return;
                        }
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(PATIENCE, learning)
                .await
                .unwrap_or_else(|_| panic!("{expression}"));
        }

        async fn is_up(&self) -> bool {
            self.ask("/api/v1/status/buildinfo").await.is_some()
        }
    }

    fn promtool(arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("promtool");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("promtool is installed");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// A proxy to which most things have happened.
    async fn lived_in() -> House {
        let house = House::start().await;
        house.get("/", &[("Authorization", &house.bearer()), ("X-Apple-Sub", "spoof")]).await;
        let other = house.bearer_of(&TokenTemplate::native().audience("com.other.app"));
        for authorization in ["Bearer a.b.c", "Basic abc", &other] {
            house.get("/", &[("Authorization", authorization)]).await;
        }
        house
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs prometheus; .ci/run installs it"]
    async fn promtool_finds_nothing_wrong_with_our_metrics_and_our_alerts() {
        let house = lived_in().await;
        let page = get(house.admin, "/metrics", &[]).await.body;
        let found = promtool(&["check", "metrics"], &page);
        assert!(found.status.success() && found.stderr.is_empty(), "{found:?}");
        let alerts = root().join("deploy/prometheus/alerts.yaml");
        let found = promtool(&["check", "rules", &alerts.display().to_string()], "");
        assert!(found.status.success(), "{found:?}");
        let tests = root().join("deploy/prometheus/alerts_test.yaml");
        let found = promtool(&["test", "rules", &tests.display().to_string()], "");
        assert!(found.status.success(), "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs prometheus; .ci/run installs it"]
    async fn prometheus_scrapes_us_and_evaluates_every_query_of_dashboard_and_alerts() {
        let house = lived_in().await;
        let prometheus = Prometheus::start(house.admin);
        prometheus.knows("siwa_requests_total{outcome=\"forwarded\"} == 1").await;
        // Twice at least, so that rates can be told.
        prometheus.knows("count_over_time(siwa_build_info[1m]) > 2").await;

        let targets = prometheus.ask("/api/v1/targets").await.unwrap();
        let target = &targets["data"]["activeTargets"][0];
        assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()));

        for expression in [queries(), alerts()].concat() {
            let answer = prometheus.query(&expression).await;
            assert_eq!(answer["status"], "success", "{expression}: {answer}");
        }
        for always in ["requests_total", "jwks_age_seconds", "jwks_state", "verdict_cache_entries"]
        {
            let shown = queries().into_iter().find(|query| query.contains(always)).unwrap();
            let answer = prometheus.query(&shown).await;
            let result = answer["data"]["result"].as_array().unwrap();
            assert!(!result.is_empty(), "{shown} shows something");
        }
        let names = prometheus.ask("/api/v1/label/__name__/values").await.unwrap();
        let told = told();
        for name in names["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
            let is_ours = name.starts_with("siwa_");
            assert!(!is_ours || told.contains(name), "{name} is told, and declared nowhere");
        }
    }
}
