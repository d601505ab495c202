//! `[log]`.

use serde::{Deserialize, Serialize};

use super::super::problems::Problems;
use crate::telemetry::{LogFilter, LogFormat, LogSettings};

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogSection {
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, and `target=level` pairs, separated by commas
    /// (`info,siwa_proxy::verify=debug`); default `info`. More explains more and costs time and space; no level shows a
    /// token, a subject or an address of a person. Of the libraries underneath nothing below `info` is logged, as they would.
    filter: String,

    /// For whom: `text` for people, `json` for programs, or `auto`, the default: text on a terminal, JSON elsewhere.
    #[serde(with = "LogFormatKey")]
    format: LogFormat,
}

/// How [`LogFormat`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "LogFormat", rename_all = "lowercase")]
enum LogFormatKey {
    Auto,
    Text,
    Json,
}

impl Default for LogSection {
    fn default() -> Self {
        let LogSettings { filter, format } = LogSettings::default();
        Self { filter: filter.as_str().to_owned(), format }
    }
}

impl LogSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<LogSettings> {
        let Self { filter, format } = self;

        let filter =
            LogFilter::new(&filter).map_err(|error| problems.note("log.filter", error.to_string()));
        Some(LogSettings { filter: filter.ok()?, format })
    }
}
