//! `siwa-proxy check`: whether the proxy would serve with these settings, and what is doubtful about them.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use siwa_proxy::{
    app::{self, Finding},
    config::{Flags, Problems, Settings},
};

use super::{
    exit::{EX_UNAVAILABLE, EX_USAGE},
    options::SettingsOptions,
};

/// Say everything that is wrong or doubtful about the settings, each with its place and what to do.
///
/// Settings come from flags, the environment and a file, as for `serve`. What keeps the proxy from serving is a problem;
/// what it would serve with, and is probably not meant, is a warning. Files that settings name are read, and the store is
/// looked at, which disturbs no proxy that runs; nothing is connected to, unless by --online.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    settings: SettingsOptions,

    /// Print the settled values as TOML, each with the place that it comes from, and without secrets.
    #[arg(long)]
    show: bool,

    /// Fetch the keys from each source, ask Apple about the team key, connect to each application, and ask Redis for an
    /// answer.
    #[arg(long)]
    online: bool,
}

const EXAMPLE: &str = "\
Exit codes: 0 the settings can be used, 64 they cannot, 69 the keys, an
application or Redis cannot be had (--online).

Example:
  siwa-proxy check --config siwa-proxy.toml --show";

/// Reports on standard error; what is shown goes to standard output.
pub(crate) async fn run(options: CheckOptions) -> anyhow::Result<ExitCode> {
    let CheckOptions { settings, show, online } = options;
    let settings = match Settings::load(&Flags::from(settings)) {
        Ok(settings) => settings,
        Err(problems) => return Ok(report_problems(&problems)),
    };
    for warning in settings.warnings().lines() {
        say(&format!("warning: {warning}"));
    }
    if show {
        write!(io::stdout().lock(), "{}", settings.written())?;
    }
    let rehearsed = app::rehearse(&settings).await;
    if tell(&rehearsed) {
        return Ok(ExitCode::from(EX_USAGE));
    }
    if online && tell(&app::probe(&settings).await) {
        return Ok(ExitCode::from(EX_UNAVAILABLE));
    }
    say("the settings can be used");
    Ok(ExitCode::SUCCESS)
}

fn report_problems(problems: &Problems) -> ExitCode {
    for problem in problems.lines() {
        say(&problem);
    }
    for warning in problems.warnings().lines() {
        say(&format!("warning: {warning}"));
    }
    ExitCode::from(EX_USAGE)
}

/// Tells what was found, and whether anything is wrong with it.
fn tell(findings: &[Finding]) -> bool {
    for finding in findings {
        match finding {
            Finding::Works(what) => say(&format!("ok: {what}")),
            Finding::Doubtful(what) => say(&format!("warning: {what}")),
            Finding::Fails(what) => say(what),
        }
    }
    findings.iter().any(|finding| matches!(finding, Finding::Fails(_)))
}

#[expect(clippy::print_stderr, reason = "this is a program speaking to its operator")]
fn say(line: &str) {
    eprintln!("{line}");
}
