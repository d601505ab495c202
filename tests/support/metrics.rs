//! What the metrics are called and told apart by, read where they are declared: a test that misspells one is to fail, and not to
//! find that nothing was counted.

const TABLE: &str = include_str!("../../src/telemetry/table.rs");
const LABELS: &str = include_str!("../../src/telemetry/labels.rs");

/// A metric that is declared.
pub(crate) struct Declared {
    /// The names of its samples.
    pub(crate) samples: Vec<String>,
    /// The names of its labels, in the order in which the page has them.
    labels: Vec<&'static str>,
}

/// Every metric of ours.
pub(crate) fn declared() -> Vec<Declared> {
    let declared: Vec<_> = TABLE.lines().filter_map(Declared::of).collect();
    assert!(declared.len() > 40, "the table is read: {}", declared.len());
    declared
}

impl Declared {
    /// What `row` declares: `pub requests: Family<RequestLabels, Counter> = add("requests");`.
    fn of(row: &'static str) -> Option<Self> {
        let (field, call) = row.trim().strip_suffix(';')?.split_once(" = ")?;
        let (register, name) = call.split_once("(\"")?;
        let (_, kind) = field.split_once(": ")?;
        let unit = if register == "add" { "" } else { "_seconds" };
        let name = format!("siwa_{}{unit}", name.split('"').next()?);
        let suffixes: &[&str] = match kind {
            counter if counter.contains("Counter") => &["_total"],
            gauge if gauge.contains("Gauge") || gauge.contains("Present") => &[""],
            _ => &["_bucket", "_sum", "_count"],
        };
        let samples = suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
        Some(Self { samples, labels: labels_of(kind) })
    }
}

/// The fields of the labels that a metric of this `kind` has.
fn labels_of(kind: &str) -> Vec<&'static str> {
    let labels = match kind.strip_prefix("Family<").and_then(|kind| kind.split_once(',')) {
        Some((labels, _)) => labels,
        None if kind == "ByStatus" => "StatusLabels",
        None => return Vec::new(),
    };
    let (_, fields) = LABELS.split_once(&format!("pub struct {labels} {{")).expect(labels);
    let fields = fields.split('}').next().unwrap().lines();
    let fields = fields.filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    fields.map(|(name, _)| name).collect()
}

/// Fails unless there is such a `metric`, written as a page has it: its name and all its labels.
pub(crate) fn check(metric: &str) {
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    let pairs = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
    let written: Vec<_> = pairs.map(|pair| pair.split_once("=\"").expect(metric).0).collect();
    let declared = declared().into_iter().find(|it| it.samples.iter().any(|it| it == name));
    let declared = declared.unwrap_or_else(|| panic!("no metric is called {name}"));
    assert_eq!(written, declared.labels, "the labels of {name}");
}

/// What `page` says of `metric`; 0 if it has not been counted yet.
pub(crate) fn value_of(page: &str, metric: &str) -> u64 {
    check(metric);
    let value = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_metric_is_known_by_its_name_and_all_its_labels() {
    for known in [
        "siwa_requests_in_flight",
        "siwa_verify_duration_seconds_count",
        "siwa_revocations_age_seconds",
        "siwa_jwks_fetches_total{result=\"ok\"}",
        "siwa_requests_total{door=\"a\",route=\"b\",outcome=\"c\",fault=\"d\"}",
        "siwa_upstream_response_duration_seconds_count{status=\"2xx\"}",
    ] {
        check(known);
    }
    for unknown in [
        "siwa_requests_in_flight_total",
        "siwa_requests_in_flight{door=\"a\"}",
        "siwa_jwks_fetches",
        "siwa_jwks_fetches_total",
        "siwa_jwks_fetches_total{outcome=\"ok\"}",
        "siwa_requests_total{door=\"a\",outcome=\"c\",route=\"b\",fault=\"d\"}",
        "siwa_nothing",
    ] {
        assert!(std::panic::catch_unwind(|| check(unknown)).is_err(), "{unknown}");
    }
}
