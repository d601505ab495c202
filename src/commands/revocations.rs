//! `siwa-proxy revocations`: the list of a running proxy, by way of its admin listener.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use siwa_proxy::{
    app::{AdminAnswer, AdminClient},
    clock::UnixTime,
    config::{Flags, Settings},
};

/// Show and change whose sign-ins a running proxy refuses.
///
/// The proxy is asked on its admin listener, with the token in revocations.admin_token_file; both are found in the settings,
/// as for `serve`. What it is told is stored before this command ends, and holds for all replicas that share its store.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct RevocationsOptions {
    /// The settings, in TOML; SIWA_CONFIG names them too.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the list for people, one subject a line.
    List,
    /// Refuse the tokens of a subject that were issued until now.
    Add(AddOptions),
    /// Lift the revocation of a subject: their tokens are good again.
    Remove(Whom),
    /// Print the list as JSON lines.
    Export,
    /// Add the JSON lines on standard input.
    Import,
}

#[derive(Debug, Args)]
struct AddOptions {
    #[command(flatten)]
    whom: Whom,

    /// Refuse those that were issued until then, instead of now: 2026-11-21T09:18:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
}

#[derive(Debug, Args)]
struct Whom {
    /// The subject (`sub`).
    #[arg(value_name = "SUBJECT")]
    subject: String,

    /// In the group of this app alone, instead of in all apps.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
}

const EXAMPLE: &str = "\
Examples:
  siwa-proxy revocations add 001999.0a1b2c3d4e5f60718293a4b5c6d7e8f9.0918
  siwa-proxy revocations export > revocations.jsonl";

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines that are sent at once.
const PAGE: usize = 2_000;

/// Does what was asked for.
pub(crate) async fn run(options: RevocationsOptions) -> anyhow::Result<()> {
    let settings = Settings::load(&Flags::new(options.config))?;
    let admin = Admin::of(&settings)?;
    match options.command {
        Command::List => {
            let list = admin.ask(Method::GET, String::new()).await?;
            if list.is_empty() {
                say("the list is empty: no sign-in is refused");
            }
            print(&listed(&list)?)
        }
        Command::Export => print(&admin.ask(Method::GET, String::new()).await?),
        Command::Add(AddOptions { whom, at }) => {
            let mut line = whom.line();
            if let Some(at) = at {
                line["revoked_at"] = at.to_string().into();
            }
            admin.tell(Method::POST, &whom, &line).await?;
            let until = at.map_or_else(|| "now".to_owned(), |at| at.to_string());
            say(&format!("added: what was issued to {} until {until} is refused", whom.subject));
            Ok(())
        }
        Command::Remove(whom) => {
            admin.tell(Method::DELETE, &whom, &whom.line()).await?;
            say(&format!("lifted: what was issued to {} is good again", whom.subject));
            Ok(())
        }
        Command::Import => {
            let count = import(&admin).await?;
            say(&format!("added: {count}"));
            Ok(())
        }
    }
}

/// Sends standard input page by page; a page is taken whole or not at all. Returns how many entries there were.
async fn import(admin: &Admin) -> anyhow::Result<usize> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).context("cannot read standard input")?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for (page, lines) in lines.chunks(PAGE).enumerate() {
        let first = page * PAGE + 1;
        let sent = admin.ask(Method::POST, lines.join("\n")).await;
        sent.with_context(|| format!("in the page that begins with entry {first}"))?;
    }
    Ok(lines.len())
}

impl Whom {
    fn line(&self) -> Value {
        match &self.client_id {
            None => json!({ "sub": self.subject }),
            Some(client_id) => json!({ "sub": self.subject, "client_id": client_id }),
        }
    }
}

/// A running proxy, and what opens its list.
struct Admin {
    client: AdminClient,
    token: String,
}

impl Admin {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let token = read_token(settings.admin_token_file())?;
        Ok(Self { client: AdminClient::of(settings, PATIENCE)?, token })
    }

    async fn answer(&self, method: Method, body: String) -> anyhow::Result<AdminAnswer> {
        Ok(self.client.ask(method, "/revocations", Some(&self.token), body).await?)
    }

    /// Sends the one `line` that concerns `whom`.
    async fn tell(&self, method: Method, whom: &Whom, line: &Value) -> anyhow::Result<()> {
        let AdminAnswer { status, text } = self.answer(method, line.to_string()).await?;
        let why = text.trim();
        // Whoever wrote no lines need not hear of any.
        let why = why.strip_prefix("line 1: ").unwrap_or(why);
        ensure!(status.is_success(), "{}: {why} (the proxy answered {status})", whom.subject);
        Ok(())
    }

    async fn ask(&self, method: Method, body: String) -> anyhow::Result<String> {
        let AdminAnswer { status, text } = self.answer(method, body).await?;
        ensure!(status.is_success(), "the proxy answered {status}: {}", text.trim());
        Ok(text)
    }
}

fn read_token(file: Option<&Path>) -> anyhow::Result<String> {
    let Some(file) = file else {
        bail!("revocations.admin_token_file is not set: without it the proxy shows nobody its list")
    };
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// The lines for people: when, in which apps, whether it is lifted, and who.
fn listed(lines: &str) -> anyhow::Result<String> {
    let mut page = String::new();
    for line in lines.lines() {
        let line: Value =
            serde_json::from_str(line).context("the proxy answered something else")?;
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let apps = line["client_id"].as_str().unwrap_or("all apps");
        let state = if line["lifted"] == true { "lifted " } else { "refused" };
        let (at, subject) = (text("revoked_at"), text("sub"));
        writeln!(page, "{at}  {state}  {subject}  {apps}")?;
    }
    Ok(page)
}

/// To whoever looks on; what is piped on is on standard output.
#[expect(clippy::print_stderr, reason = "this is a program speaking to its operator")]
fn say(line: &str) {
    eprintln!("{line}");
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot print")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_printed_one_subject_a_line() {
        let lines = "{\"sub\":\"001\",\"revoked_at\":\"2026-11-21T09:18:00Z\"}\n\
                     {\"sub\":\"002\",\"client_id\":\"a\",\"revoked_at\":\"2026-11-21T09:18:00Z\",\"lifted\":true}\n";
        assert_eq!(
            listed(lines).unwrap(),
            "2026-11-21T09:18:00Z  refused  001  all apps\n2026-11-21T09:18:00Z  lifted   002  a\n"
        );
    }
}
