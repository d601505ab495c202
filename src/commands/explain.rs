//! `siwa-proxy explain`: why a token is good or not, with the settings that the proxy would judge it by.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use siwa_proxy::{
    authn::PolicyFault,
    clock::{Clock, SystemClock, UnixTime},
    config::{Flags, Settings},
    verify::{
        Identity,
        explain::{Explainer, Explanation, LastCheck, ListedKeys, Problem},
    },
};

/// Say step by step how a token is judged, and what to mend.
///
/// The token is read from standard input, and only from there: arguments are seen by everybody on the machine. It may stand
/// behind `Bearer` or `Authorization: Bearer`. Settings come from flags, the environment and a file, as for `serve`, so
/// that the answer is the proxy's, but for the policies of routes. What the token says is printed, personal data and
/// all.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct ExplainOptions {
    /// The settings, in TOML; SIWA_CONFIG names them too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The bundle id or Services ID of your app; repeat it for several.
    #[arg(long, value_name = "ID")]
    client_id: Vec<String>,

    /// Where to fetch the keys, instead of from Apple.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,

    /// A file to read the keys from, instead of fetching them: then nothing leaves this machine.
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<String>,

    /// Who signs tokens, instead of Apple: for a simulator.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,

    /// The moment to judge for, instead of now: 2026-11-21T09:18:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,

    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
Exit codes: 0 the token is good, 1 it is not, 64 the command line or the settings
are wrong, 69 it could not be judged, as the keys cannot be had.

Example:
  pbpaste | siwa-proxy explain --client-id com.example.app";

/// More than any token, so that one that is too long is still told its length.
const MOST_INPUT: u64 = 1024 * 1024;

/// Explains the token on standard input; what comes back tells whether it is good.
pub(crate) async fn run(options: ExplainOptions) -> anyhow::Result<ExitCode> {
    let (at, json) = (options.at, options.json);
    let settings = Settings::load(&options.into())?;
    let keys = fetch_keys(&settings).await?;
    let input = read_input().context("cannot read the token from standard input")?;
    let now = at.unwrap_or_else(|| SystemClock.now());
    let policy = LastCheck {
        name: "policy",
        asks: "[policy] lets this person pass (route policies are not checked here)".to_owned(),
        judge: |identity: &Identity| {
            settings.policy().check(identity).map_err(|fault| problem(&fault))
        },
    };
    let explanation = explainer(&settings, keys).explain_with(token_in(&input), now, policy);

    print(&explanation, json)?;
    Ok(if explanation.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fetch_keys(settings: &Settings) -> anyhow::Result<ListedKeys> {
    let first = settings.fetch_jwks().await;
    let first =
        first.with_context(|| format!("cannot get the keys from {}", settings.jwks_place()))?;
    let further = settings.fetch_additional_jwks().await.context("cannot get the further keys")?;
    let parse =
        |text: &[u8], issuer| ListedKeys::parse(text, issuer).context("cannot use the keys");
    further
        .into_iter()
        .try_fold(parse(&first, settings.issuer().clone())?, |keys, (issuer, text)| {
            Ok(keys.and(parse(&text, issuer)?))
        })
}

/// The same code as in the proxy's 403.
fn problem(fault: &PolicyFault) -> Problem {
    Problem { code: fault.code(), message: fault.to_string(), mend: fault.mend().to_owned() }
}

/// An explainer that judges as the proxy does.
fn explainer(settings: &Settings, keys: ListedKeys) -> Explainer {
    let explainer = Explainer::new(keys, settings.client_ids().clone()).leeway(settings.leeway());
    match settings.max_token_age() {
        Some(age) => explainer.max_token_age(age),
        None => explainer,
    }
}

fn print(explanation: &Explanation, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, explanation)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{explanation}")?;
    }
    Ok(())
}

fn read_input() -> io::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST_INPUT).read_to_end(&mut bytes)?;
    // What is no text is no token, and explained as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The token without what people copy along with it.
fn token_in(input: &str) -> &str {
    let mut token = input.trim();
    for prefix in ["authorization:", "bearer "] {
        if let Some((head, rest)) = token.split_at_checked(prefix.len())
            && head.eq_ignore_ascii_case(prefix)
        {
            token = rest.trim_start();
        }
    }
    token
}

impl From<ExplainOptions> for Flags {
    fn from(options: ExplainOptions) -> Self {
        let ExplainOptions { config, client_id, jwks_url, jwks_file, issuer, at: _, json: _ } =
            options;
        Self::new(config)
            .with("--client-id", ("apple", "client_ids"), client_id)
            .with("--jwks-url", ("jwks", "url"), jwks_url)
            .with("--jwks-file", ("jwks", "file"), jwks_file)
            .with("--issuer", ("apple", "issuer"), issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_copy_along_with_a_token_is_left_off() {
        for input in [
            "a.b.c",
            " a.b.c\n",
            "Bearer a.b.c",
            "Authorization: Bearer  a.b.c\r\n",
            "authorization:bearer a.b.c",
        ] {
            assert_eq!(token_in(input), "a.b.c", "{input}");
        }
        assert_eq!(token_in("é"), "é");
    }
}
