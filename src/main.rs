//! Flags and subcommands → exit code.
//!
//! | code | meaning (`sysexits.h`) |
//! |---|---|
//! | 0 | asked to end, and ended well |
//! | 1 | `explain`: the token is not good |
//! | 64 | the command line or the settings are wrong |
//! | 69 | an address cannot be listened on; `explain`: the keys cannot be had |
//! | 70 | something else failed |

mod demo;
mod explain;
mod revocations;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use siwa_proxy::{
    app::{self, App, AppError},
    clock::SystemClock,
    config::{Flags, Problems, Settings},
    sim::{Apple, StartError},
    telemetry,
    verify::FetchFault,
};

/// The auth proxy for Sign in with Apple: verifies Apple's identity tokens in front of any HTTP application.
#[derive(Parser, Debug)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<ServeOptions>),
    Explain(explain::ExplainOptions),
    Revocations(revocations::RevocationsOptions),
    Demo(demo::DemoOptions),
    Sim(SimOptions),
}

/// Verify the token of every request, and forward those that prove somebody.
///
/// What a flag does not say, the environment may (`--jwks-url` is SIWA_JWKS__URL), then the file (`url` below [jwks]), then
/// the default. Everything that is wrong with them is reported at once.
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
struct ServeOptions {
    /// The settings, in TOML; SIWA_CONFIG names them too. None are read unless named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where your application listens, such as http://127.0.0.1:3000. Only the proxy should be able to reach it.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// The bundle id or Services ID of your app; repeat it for several. Tokens for other apps are refused.
    #[arg(long, value_name = "ID")]
    client_id: Vec<String>,

    /// Where callers connect to: an address, unix:PATH or systemd; repeat it for several [default: 0.0.0.0:4180].
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// Where /livez, /readyz and /metrics are served, for you alone [default: 127.0.0.1:4181].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,

    /// The certificate that callers see, in PEM; with it callers connect by TLS.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,

    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,

    /// Where to fetch the keys, instead of from Apple: https, or http to loopback for the simulator.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,

    /// A file to read the keys from, instead of fetching them.
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<String>,

    /// Who signs tokens, instead of Apple: for a simulator [default: https://appleid.apple.com].
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,

    /// What is logged: a level (error, warn, info, debug, trace) or target=level pairs [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,

    /// How the log looks: text, json, or auto for text on a terminal and JSON elsewhere [default: auto].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Run a toy Apple on loopback: keys, tokens, rotation and faults on request, for trying and testing.
#[derive(Args, Debug)]
#[command(after_help = SIM_EXAMPLE)]
struct SimOptions {
    /// Where it listens: a loopback address, as it mints tokens for whoever asks.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4190")]
    listen: SocketAddr,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ended as asked, 1 the token is not good (explain), 64 the command
line or the settings are wrong, 69 an address cannot be listened on or the keys
cannot be had (explain), 70 something else failed.";

const SERVE_EXAMPLE: &str = "\
Example:
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app
  curl -i http://127.0.0.1:4180/ -H 'Authorization: Bearer <identity token>'

A request with a genuine token reaches the application with X-Apple-Sub and
X-Apple-Email; any other is answered 401, and the body says why.";

const SIM_EXAMPLE: &str = "\
Example, in three terminals:
  siwa-proxy sim
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app \\
      --jwks-url http://127.0.0.1:4190/auth/keys
  curl -d '{}' http://127.0.0.1:4190/sim/token

`curl http://127.0.0.1:4190/` lists what else it does.";

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
        Command::Explain(options) => return runtime.block_on(explain::run(options)),
        Command::Revocations(options) => runtime.block_on(revocations::run(options))?,
        Command::Demo(options) => runtime.block_on(demo::run(options))?,
        Command::Sim(options) => runtime.block_on(sim(options))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let settings = Settings::load(&options.into())?;
    // Dropped last: what is left of the traces goes out then.
    let _telling = telemetry::init(settings.log(), settings.traces())
        .context("cannot set up log and traces")?;
    App::bind(settings).await?.run_until_signalled().await?;
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

impl From<ServeOptions> for Flags {
    fn from(options: ServeOptions) -> Self {
        let ServeOptions {
            config,
            upstream,
            client_id,
            listen,
            admin_listen,
            tls_cert,
            tls_key,
            jwks_url,
            jwks_file,
            issuer,
            log,
            log_format,
        } = options;
        Self::new(config)
            .with("--upstream", ("upstream", "url"), upstream)
            .with("--client-id", ("apple", "client_ids"), client_id)
            .with("--listen", ("server", "listen"), listen)
            .with("--admin-listen", ("server", "admin_listen"), admin_listen)
            .with("--tls-cert", ("tls", "certificate"), tls_cert)
            .with("--tls-key", ("tls", "key"), tls_key)
            .with("--jwks-url", ("jwks", "url"), jwks_url)
            .with("--jwks-file", ("jwks", "file"), jwks_file)
            .with("--issuer", ("apple", "issuer"), issuer)
            .with("--log", ("log", "filter"), log)
            .with("--log-format", ("log", "format"), log_format)
    }
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
    if error.is::<Problems>() {
        return EX_USAGE;
    }
    if error.is::<FetchFault>() {
        return EX_UNAVAILABLE;
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(AppError::Tls(_)), _) => EX_USAGE,
        (Some(AppError::Listen { .. }), _) | (_, Some(StartError::Bind { .. })) => EX_UNAVAILABLE,
        (_, Some(StartError::NotLoopback(_))) => EX_USAGE,
        _ => EX_SOFTWARE,
    }
}
