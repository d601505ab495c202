//! The page of metrics, as one or the other reader takes it.

/// How the page of metrics is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// `OpenMetrics` 1.0, for those who ask for it, as Prometheus does.
    OpenMetrics,
    /// Prometheus' older text format 0.0.4, which everybody else reads: `promtool`, agents, people.
    Plain,
}

impl PageFormat {
    /// The one that an `Accept` header asks for.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let asks = |accept: &str| accept.contains("application/openmetrics-text");
        if accept.is_some_and(asks) { Self::OpenMetrics } else { Self::Plain }
    }

    /// The `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The `page` in the older format: there the suffix `_total` belongs to a counter's name, and units and the end are not told.
pub(super) fn plain(page: &str) -> String {
    let mut plain = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if line.starts_with("# HELP ") {
            help = line.strip_prefix("# HELP ");
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            describe(&mut plain, help.take().unwrap_or_default(), told);
        } else if !line.starts_with('#') {
            plain.extend([line, "\n"]);
        }
    }
    plain
}

/// Both lines about one metric. The help comes before the type, and its name depends on it.
fn describe(page: &mut String, help: &str, told: &str) {
    let (name, kind) = told.split_once(' ').unwrap_or((told, "untyped"));
    let text = help.split_once(' ').map_or("", |(_, text)| text);
    let suffix = if kind == "counter" { "_total" } else { "" };
    page.extend(["# HELP ", name, suffix, " ", text, "\n"]);
    page.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(PageFormat::accepted(Some(prometheus)), PageFormat::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain")] {
            assert_eq!(PageFormat::accepted(other), PageFormat::Plain);
        }
    }

    #[test]
    fn the_older_format_has_counters_with_their_suffix_and_neither_units_nor_an_end() {
        let page = "# HELP a_seconds Some, in all.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1\n\
                    # HELP b Others.\n# TYPE b counter\nb_total{c=\"d\"} 2\n# EOF\n";
        let expected = "# HELP a_seconds Some, in all.\n# TYPE a_seconds gauge\na_seconds 1\n\
                        # HELP b_total Others.\n# TYPE b_total counter\nb_total{c=\"d\"} 2\n";
        assert_eq!(plain(page), expected);
    }
}
