//! Flags and subcommands → exit code.
//!
//! | code | meaning (`sysexits.h`) |
//! |---|---|
//! | 0 | asked to end, and ended well |
//! | 1 | `explain`: the token is not good; `healthcheck`: the proxy is not ready; `migrate`: Apple refused somebody |
//! | 64 | the command line or the settings are wrong |
//! | 69 | an address cannot be listened on; `explain`, `check --online`: the keys, an application or Redis cannot be had;
//! |    | `migrate`: Apple cannot be asked |
//! | 70 | something else failed |

mod check;
mod demo;
mod explain;
mod healthcheck;
mod migrate;
mod options;
mod revocations;

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use siwa_proxy::{
    app::{self, App, AppError},
    apple::AppleFault,
    clock::SystemClock,
    config::{self, Flags, Problems, Settings},
    sim::{Apple, StartError},
    telemetry,
    verify::{FetchFault, SealKeys},
};

use options::SettingsOptions;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The auth proxy for Sign in with Apple: verifies Apple's identity tokens in front of any HTTP application.
#[derive(Parser, Debug)]
#[command(version, long_version = env!("BUILT_VERSION"), arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<ServeOptions>),
    Check(Box<check::CheckOptions>),
    Explain(explain::ExplainOptions),
    Revocations(revocations::RevocationsOptions),
    Migrate(Box<migrate::MigrateOptions>),
    Healthcheck(healthcheck::HealthcheckOptions),
    Demo(demo::DemoOptions),
    Sim(SimOptions),
    /// Print a new key, which seals sessions: for a file that nobody else can read.
    SessionKey,
    /// Print the JSON Schema of the settings file, which editors find by `#:schema FILE` in its first line.
    Schema,
    Completions(CompletionsOptions),
}

/// Verify the token of every request, and forward those that prove somebody.
///
/// What a flag does not say, the environment may (`--jwks-url` is SIWA_JWKS__URL; SIWA_JWKS__URL_FILE names a file that
/// holds the value), then the file (`url` below [jwks]), then the default. Everything that is wrong with them is reported
/// at once.
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
struct ServeOptions {
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Run a toy Apple on loopback: keys, tokens, rotation and faults on request, for trying and testing.
#[derive(Args, Debug)]
#[command(after_help = SIM_EXAMPLE)]
struct SimOptions {
    /// Where it listens: a loopback address, as it mints tokens for whoever asks.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4190")]
    listen: SocketAddr,
}

/// Print what makes a shell complete these commands: put it where your shell looks for such.
#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS_EXAMPLE)]
struct CompletionsOptions {
    /// For which shell.
    shell: Shell,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ended as asked, 1 the token is not good (explain), the proxy is
not ready (healthcheck) or Apple refused somebody (migrate), 64 the command line
or the settings are wrong, 69 an address cannot be listened on, the keys, an
application or Redis cannot be had (explain, check --online) or Apple cannot be
asked (migrate), 70 something else failed.";

const SERVE_EXAMPLE: &str = "\
Example:
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app
  curl -i http://127.0.0.1:4180/ -H 'Authorization: Bearer <identity token>'

A request with a genuine token reaches the application with X-Apple-Sub and
X-Apple-Email; any other is refused, and the body says why.";

const SIM_EXAMPLE: &str = "\
Example, in three terminals:
  siwa-proxy sim
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app \\
      --jwks-url http://127.0.0.1:4190/auth/keys
  curl -d '{}' http://127.0.0.1:4190/sim/token

`curl http://127.0.0.1:4190/` lists what else it does.";

const COMPLETIONS_EXAMPLE: &str = "\
Example:
  siwa-proxy completions bash > ~/.local/share/bash-completion/completions/siwa-proxy";

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    // Fails only if there is a provider already, and nothing ran before this line.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match Cli::try_parse() {
        Ok(cli) => conclude(run(cli.command)),
        Err(answer) if answer.to_string().contains("eyJ") => {
            // So begins every token, and what is printed may be kept.
            refuse_token_as_argument()
        }
        Err(answer) => {
            // Help and version come this way too. If nobody reads them, there is nobody to tell.
            drop(answer.print());
            if answer.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the binary speaks to the terminal")]
fn refuse_token_as_argument() -> ExitCode {
    eprintln!(
        "siwa-proxy: a token is no argument, where others could read it: pass it on standard input"
    );
    ExitCode::from(EX_USAGE)
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match command {
        Command::Serve(options) => runtime.block_on(serve(*options))?,
        Command::Check(options) => return runtime.block_on(check::run(*options)),
        Command::Explain(options) => return runtime.block_on(explain::run(options)),
        Command::Revocations(options) => runtime.block_on(revocations::run(options))?,
        Command::Migrate(options) => return runtime.block_on(migrate::run(*options)),
        Command::Healthcheck(options) => return Ok(runtime.block_on(healthcheck::run(options))),
        Command::SessionKey => print_session_key()?,
        Command::Schema => print_schema()?,
        Command::Completions(CompletionsOptions { shell }) => complete(shell),
        Command::Demo(options) => runtime.block_on(demo::run(options))?,
        Command::Sim(options) => runtime.block_on(sim(options))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_schema() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &config::schema())?;
    writeln!(out)?;
    Ok(())
}

fn print_session_key() -> anyhow::Result<()> {
    let key = SealKeys::generate()?;
    writeln!(io::stdout().lock(), "{}", *key)?;
    Ok(())
}

fn complete(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "siwa-proxy", &mut io::stdout());
}

async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let flags = Flags::from(options.settings);
    let settings = Settings::load(&flags)?;
    // Dropped last: what is left of the traces goes out then.
    let _telling = telemetry::init(settings.log(), settings.traces())
        .context("cannot set up log and traces")?;
    App::bind(settings).await?.with_reloads(flags).run_until_signalled().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the binary speaks to the terminal")]
async fn sim(options: SimOptions) -> anyhow::Result<()> {
    let apple = Apple::start_on(options.listen, Arc::new(SystemClock)).await?;
    println!(
        "a toy Apple listens on {url}; its keys are at {keys}",
        url = apple.url(),
        keys = apple.jwks_url()
    );
    println!(
        "a token:  curl -d '{{\"claims\": {{\"aud\": \"com.example.app\"}}}}' {}/sim/token",
        apple.url()
    );
    app::signalled().await?;
    Ok(())
}

/// Tells what went wrong, causes and all, and says it in a number.
#[expect(clippy::print_stderr, reason = "the binary speaks to the terminal")]
fn conclude(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(problems) = error.downcast_ref::<Problems>() {
        eprintln!("{problems}");
    } else {
        eprintln!("siwa-proxy: {error:#}");
    }
    ExitCode::from(code_of(&error))
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Problems>() || error.is::<migrate::Misused>() {
        return EX_USAGE;
    }
    if error.is::<FetchFault>() || error.is::<migrate::Unavailable>() || error.is::<AppleFault>() {
        return EX_UNAVAILABLE;
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(AppError::Tls(_)), _) => EX_USAGE,
        (Some(AppError::Listen { .. }), _) | (_, Some(StartError::Bind { .. })) => EX_UNAVAILABLE,
        (_, Some(StartError::NotLoopback(_))) => EX_USAGE,
        _ => EX_SOFTWARE,
    }
}
