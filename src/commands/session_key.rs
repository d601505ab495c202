//! `siwa-proxy session-key`: a new key, which seals sessions.

use std::io::{self, Write};

use siwa_proxy::verify::SealKeys;

/// Prints one.
pub(crate) fn run() -> anyhow::Result<()> {
    let key = SealKeys::generate()?;
    writeln!(io::stdout().lock(), "{}", *key)?;
    Ok(())
}
