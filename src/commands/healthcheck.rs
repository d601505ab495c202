//! `siwa-proxy healthcheck`: how a running proxy is, for images without a shell.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use siwa_proxy::{
    app::{self, Question},
    config::Flags,
};

/// Ask the proxy that runs here whether it is ready.
///
/// It is asked at its admin listener, which flags, the environment and the file name as for `serve`: run it with the same.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct HealthcheckOptions {
    /// The settings, in TOML; SIWA_CONFIG names them too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where the proxy serves health, if the settings do not say so [default: 127.0.0.1:4181].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,

    /// Ask whether it is alive, and not whether it is ready: for what would restart it.
    #[arg(long)]
    live: bool,

    /// How long to wait for the answer.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    timeout: Duration,
}

const EXAMPLE: &str = "\
Exit codes: 0 it is, 1 it is not or does not answer, 64 the command line is wrong.

Example, in a Dockerfile:
  HEALTHCHECK CMD [\"siwa-proxy\", \"healthcheck\"]";

/// Asks, and says nothing if all is well.
#[expect(clippy::print_stderr, reason = "this is a program speaking to its operator")]
pub(crate) async fn run(options: HealthcheckOptions) -> ExitCode {
    let HealthcheckOptions { config, admin_listen, live, timeout } = options;
    let flags = Flags::new(config).with("--admin-listen", ("server", "admin_listen"), admin_listen);
    let question = if live { Question::Alive } else { Question::Ready };
    match app::healthcheck(&flags, question, timeout).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(not_well) => {
            eprintln!("siwa-proxy: {:#}", anyhow::Error::from(not_well));
            ExitCode::FAILURE
        }
    }
}
