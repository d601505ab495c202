//! `siwa-proxy schema`: the settings as a JSON Schema, for editors.

use std::io::{self, Write};

use siwa_proxy::config;

/// Prints it.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &config::schema())?;
    writeln!(out)?;
    Ok(())
}
