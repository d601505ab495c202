//! How the log is written: to standard error, for people on a terminal and for programs elsewhere.

use std::{
    error::Error,
    io::{self, IsTerminal},
};

use tracing_subscriber::{
    EnvFilter, filter, fmt, layer::SubscriberExt, util::SubscriberInitExt, util::TryInitError,
};

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

    fn to_env_filter(&self) -> EnvFilter {
        // Parsed once already, so that nothing is lost.
        EnvFilter::builder().parse_lossy(&self.0)
    }
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

/// Writes the log of this process as `settings` say, from here on.
///
/// # Errors
///
/// When the process has a log already.
pub fn init_log(settings: &LogSettings) -> Result<(), TryInitError> {
    let is_terminal = io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(io::stderr);
    let filter = settings.filter.to_env_filter();
    let as_text = match settings.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if as_text {
        // The layer knows `NO_COLOR`; asked for colours, it would no longer heed it.
        let lines = if is_terminal { lines } else { lines.with_ansi(false) };
        tracing_subscriber::registry().with(filter).with(lines).try_init()
    } else {
        let lines = lines.json().flatten_event(true);
        tracing_subscriber::registry().with(filter).with(lines).try_init()
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
    fn the_default_filter_is_one() {
        assert!(LogFilter::new(LogFilter::default().as_str()).is_ok());
    }
}
