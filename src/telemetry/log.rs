//! How the log is written: to standard error, for people on a terminal and for programs elsewhere. And who else listens:
//! those who collect traces.

use std::{
    error::Error,
    io::{self, IsTerminal},
};

#[cfg(feature = "otlp")]
use tracing::info;
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{self, FilterExt, filter_fn},
    fmt,
    layer::{Filter, SubscriberExt},
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use super::{json_lines::JsonLines, traces::TraceSettings};

/// The target of the line about each request.
pub(crate) const ACCESS: &str = "access";

/// How the log looks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// What is logged.
    pub filter: LogFilter,
    /// For whom.
    pub format: LogFormat,
}

/// Which events are logged: a level, or `target=level` pairs, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// For whom the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl LogFilter {
    const DEFAULT: &str = "info";
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Takes `text` for a filter.
    ///
    /// # Errors
    ///
    /// [`InvalidLogFilter`].
    pub fn new(text: &str) -> Result<Self, InvalidLogFilter> {
        // A lone word would be taken for a target, so that `debgu` would silence everything else.
        let is_lone = |word: &&str| !word.contains(['=', '[', ']']) && !Self::is_level(word);
        if let Some(word) = text.split(',').map(str::trim).find(is_lone) {
            return Err(InvalidLogFilter::NoLevel(word.to_owned()));
        }
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_level(word: &str) -> bool {
        Self::LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
    }

    /// Which events are written. Spans are not: they are for traces.
    fn to_filter<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Filter<S> + use<S> {
        // Parsed once already, so that nothing is lost.
        let asked_for = EnvFilter::builder().parse_lossy(&self.0);
        asked_for.and(filter_fn(|event| !event.is_span() && keeps_secrets(event)))
    }
}

/// Whether what the line tells is ours to vouch for. Whatever the filter says, of the crates that we stand on nothing below
/// `info` is written: what they trace is whole heads and frames, with the token and the email address in them.
fn keeps_secrets(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::INFO || is_ours(event.target())
}

/// Our modules, and the lines that have a target of their own.
fn is_ours(target: &str) -> bool {
    target == ACCESS || target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

impl Default for LogFilter {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLogFilter {
    /// A lone word is a level.
    #[error("`{0}` is no level: write off, error, warn, info, debug or trace, or `target=level`")]
    NoLevel(String),
    /// Something else.
    #[error(transparent)]
    Syntax(#[from] filter::ParseError),
}

/// Keeps traces going out; when it is dropped, what is left of them goes out too.
#[derive(Debug, Default)]
#[must_use = "traces end with it"]
pub struct Telling {
    #[cfg(feature = "otlp")]
    _exporter: Option<super::traces::Exporter>,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The process has a log already.
    #[error(transparent)]
    Log(#[from] TryInitError),
    /// Traces cannot be exported.
    #[cfg(feature = "otlp")]
    #[error("traces cannot be exported")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Writes the log of this process as `settings` say, from here on.
///
/// # Errors
///
/// When the process has a log already.
pub fn init_log(settings: &LogSettings) -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(lines(settings)).try_init()
}

/// Writes the log of this process, and exports its traces if there are settings for them.
///
/// # Errors
///
/// [`InitError`].
pub fn init(log: &LogSettings, traces: Option<&TraceSettings>) -> Result<Telling, InitError> {
    #[cfg(feature = "otlp")]
    if let Some(settings) = traces {
        let exporter = super::traces::Exporter::new(settings)?;
        tracing_subscriber::registry().with(lines(log)).with(exporter.layer()).try_init()?;
        info!(endpoint = settings.endpoint().origin().ascii_serialization(), "exporting traces");
        return Ok(Telling { _exporter: Some(exporter) });
    }
    init_log(log)?;
    if traces.is_some() {
        warn!("no traces are exported, though OTEL_* asks for them: this build has no `otlp`");
    }
    Ok(Telling::default())
}

fn lines<S>(settings: &LogSettings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let is_terminal = io::stderr().is_terminal();
    let filter = settings.filter.to_filter();
    let as_text = match settings.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if as_text {
        let lines = fmt::layer().with_writer(io::stderr);
        // The layer knows `NO_COLOR`; asked for colours, it would no longer heed it.
        let lines = if is_terminal { lines } else { lines.with_ansi(false) };
        lines.with_filter(filter).boxed()
    } else {
        JsonLines(io::stderr).with_filter(filter).boxed()
    }
}

/// `error` and what caused it, in one line: `cannot connect: connection refused`. Each level is told once.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut level = error.source();
    while let Some(cause) = level {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        level = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_targets() {
        for text in ["info", "OFF", "info,siwa_proxy=debug", "siwa_proxy::verify=trace, warn"] {
            assert!(LogFilter::new(text).is_ok(), "{text}");
        }
        for text in ["", "debgu", "info,hyper", "siwa_proxy=loud", "a[=info"] {
            assert!(LogFilter::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_is_ours_by_its_crate_and_not_by_its_beginning() {
        for ours in ["access", "siwa_proxy", "siwa_proxy::verify::jwks"] {
            assert!(is_ours(ours), "{ours}");
        }
        for foreign in ["hyper", "h2::codec", "siwa_proxy_extras", "accessory", "log"] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_default_filter_is_one() {
        assert!(LogFilter::new(LogFilter::default().as_str()).is_ok());
    }
}
