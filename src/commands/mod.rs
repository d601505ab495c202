//! The subcommands: what each may be told, and what it does.

mod check;
mod completions;
mod demo;
mod exit;
mod explain;
mod healthcheck;
mod migrate;
mod options;
mod revocations;
mod schema;
mod serve;
mod session_key;
mod sim;

use std::{io, process::ExitCode, thread};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::exit::{EX_USAGE, conclude};

/// The auth proxy for Sign in with Apple: verifies Apple's identity tokens in front of any HTTP application.
#[derive(Parser, Debug)]
#[command(version, long_version = env!("BUILT_VERSION"), arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<serve::ServeOptions>),
    Check(Box<check::CheckOptions>),
    Explain(explain::ExplainOptions),
    Revocations(revocations::RevocationsOptions),
    Migrate(Box<migrate::MigrateOptions>),
    Healthcheck(healthcheck::HealthcheckOptions),
    Demo(demo::DemoOptions),
    Sim(sim::SimOptions),
    /// Print a new key, which seals sessions: for a file that nobody else can read.
    SessionKey,
    /// Print the JSON Schema of the settings file, which editors find by `#:schema FILE` in its first line.
    Schema,
    Completions(completions::CompletionsOptions),
}

const EXIT_CODES: &str = "\
Exit codes: 0 ended as asked, 1 the token is not good (explain), the proxy is
not ready (healthcheck) or Apple refused somebody (migrate), 64 the command line
or the settings are wrong, 69 an address cannot be listened on, the keys, an
application or Redis cannot be had (explain, check --online) or Apple cannot be
asked (migrate), 70 something else failed.";

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = runtime().context("cannot start the runtime")?;
        match self.command {
            Command::Serve(options) => runtime.block_on(serve::run(*options))?,
            Command::Check(options) => return runtime.block_on(check::run(*options)),
            Command::Explain(options) => return runtime.block_on(explain::run(options)),
            Command::Revocations(options) => runtime.block_on(revocations::run(options))?,
            Command::Migrate(options) => return runtime.block_on(migrate::run(*options)),
            Command::Healthcheck(options) => return Ok(runtime.block_on(healthcheck::run(options))),
            Command::SessionKey => session_key::run()?,
            Command::Schema => schema::run()?,
            Command::Completions(options) => completions::run(options),
            Command::Demo(options) => runtime.block_on(demo::run(options))?,
            Command::Sim(options) => runtime.block_on(sim::run(options))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One thread where there is one core, or a quota of one: to share work with nobody costs each request something.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut builder =
        if cores == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}
