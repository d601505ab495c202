//! `siwa-proxy migrate`: moves users along when an app moves to another team, as Apple's technical note 3159 describes it.

mod journal;
mod moving;
mod table;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use siwa_proxy::{
    apple::{MigrationEndpoint, TeamKey},
    clock::SystemClock,
    config::{Flags, Settings},
    telemetry::Metrics,
    verify::ClientId,
};

pub(crate) use self::moving::Unavailable;
use self::{
    journal::Journal,
    moving::{Moving, Tally},
};

/// Move users along when an app moves to another team of developers.
///
/// An app that moves gets other subjects (`sub`) for the same people. Within 60 days of the transfer Apple tells which: the
/// team that gives the app away runs `send`, hands the result to the one that takes it, and that runs `receive`. Each asks
/// Apple by its own team key: apple.team_id, apple.key_id and apple.private_key_file, in the settings or as flags.
///
/// It may be interrupted at any time: the same command goes on where it was. See
/// <https://developer.apple.com/documentation/technotes/tn3159>.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct MigrateOptions {
    #[command(subcommand)]
    direction: DirectionOptions,
}

#[derive(Debug, Subcommand)]
enum DirectionOptions {
    /// Exchange subjects for transfer identifiers: what the team does that gives the app away.
    ///
    /// The input has a column `sub`, or is a list of subjects; the output has the columns `sub,transfer_sub,error`.
    Send {
        /// The Team ID of those who take the app.
        #[arg(long, value_name = "ID")]
        target: String,

        #[command(flatten)]
        options: Options,
    },
    /// Exchange transfer identifiers for subjects: what the team does that takes the app.
    ///
    /// The input has a column `transfer_sub`, as `send` writes it, or is a list; the output has the columns
    /// `transfer_sub,sub,email,is_private_email,error`.
    Receive {
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
struct Options {
    /// The users, in CSV.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,

    /// Where the result is written, in CSV; beside it is FILE.part until all is done. Where it is there already, only what it
    /// lacks is asked for.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// How many users are asked about at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,

    /// The settings, in TOML; SIWA_CONFIG names them too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The app that moves. Needed if the settings name several.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// The Team ID of those who run this, instead of that in the settings.
    #[arg(long, value_name = "ID")]
    team_id: Option<String>,

    /// The Key ID, likewise.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,

    /// The .p8 file, likewise.
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<String>,

    /// Where Apple is asked, likewise: for a simulator.
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
}

const EXAMPLE: &str = "\
Exit codes: 0 everybody has moved, 1 Apple refused somebody (the column `error`
says why, and the same command tries them again), 64 the command line or the
settings are wrong, 69 Apple cannot be asked: try the same command again later.

Example:
  siwa-proxy migrate send --target ZZZ123GHIJ --input subs.csv --output moved.csv \\
      --client-id com.example.app --team-id DEF123GHIJ --key-id ABC123DEFG \\
      --private-key-file AuthKey_ABC123DEFG.p8";

/// What was asked for makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misused(String);

/// Which way users go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direction {
    /// To another team, of this Team ID.
    Send { target: String },
    /// From another team.
    Receive,
}

impl Direction {
    /// What finds a user, and what is found out about them.
    const fn columns(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Send { .. } => ("sub", &["transfer_sub"]),
            Self::Receive => ("transfer_sub", &["sub", "email", "is_private_email"]),
        }
    }
}

/// Moves everybody in the input.
pub(crate) async fn run(options: MigrateOptions) -> anyhow::Result<ExitCode> {
    let (direction, options) = match options.direction {
        DirectionOptions::Send { target, options } => (Direction::Send { target }, options),
        DirectionOptions::Receive { options } => (Direction::Receive, options),
    };
    if let Direction::Send { target } = &direction
        && !TeamKey::is_identifier(target)
    {
        let what = "is no Team ID: Apple's have ten capitals and digits";
        return Err(Misused(format!("--target: `{target}` {what}")).into());
    }
    let Options { input, output, parallel, .. } = &options;
    let users = table::read_keys(input, direction.columns().0)?;
    let journal = Journal::open(output, &direction)?;
    let (endpoint, client_id) = endpoint(&options)?;
    let moving = Moving { endpoint, client_id, direction, parallel: usize::from(*parallel) };
    let tally = moving.run(users, journal).await?;
    say(&tally);
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn endpoint(options: &Options) -> anyhow::Result<(MigrationEndpoint, ClientId)> {
    let Options { config, client_id, team_id, key_id, private_key_file, api_url, .. } = options;
    let flags = Flags::new(config.clone())
        .with("--client-id", ("apple", "client_ids"), client_id.clone())
        .with("--team-id", ("apple", "team_id"), team_id.clone())
        .with("--key-id", ("apple", "key_id"), key_id.clone())
        .with("--private-key-file", ("apple", "private_key_file"), private_key_file.clone())
        .with("--api-url", ("apple", "api_url"), api_url.clone());
    let settings = Settings::load(&flags)?;
    let mut ids = settings.client_ids().iter();
    let (Some(client_id), None) = (ids.next(), ids.next()) else {
        let what = "the settings name several apps: say by --client-id which one moves";
        return Err(Misused(what.to_owned()).into());
    };
    let no_key = "there is no team key: set --team-id, --key-id and --private-key-file";
    let api = settings.apple_api().ok_or_else(|| Misused(no_key.to_owned()))?;
    let endpoint = MigrationEndpoint::new(api.clone(), Arc::new(SystemClock), Metrics::new())
        .context("Apple cannot be asked")?;
    Ok((endpoint, client_id.clone()))
}

#[expect(clippy::print_stderr, reason = "this is a program speaking to its operator")]
fn say(tally: &Tally) {
    let Tally { moved, known, refused } = tally;
    // The bar stands there already.
    if io::stderr().is_terminal() {
        eprintln!();
    }
    eprintln!("moved: {moved}, were known before: {known}, refused: {refused}");
}
