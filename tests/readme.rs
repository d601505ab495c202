//! The pages that people read first make claims; here they are tests.
//!
//! Commands are parsed by the real binary, links and named files exist, settings are accepted, header names are ours, and
//! the test command is the one that runs before every change lands.

mod markdown;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use markdown::{Line, Page, shell_words};
use siwa_proxy::config::Settings;
use tempfile::TempDir;

use crate::support::program::command;

/// Every header that may carry an identity to the application.
const IDENTITY_HEADERS: &[&str] = &[
    "x-apple-sub",
    "x-apple-email",
    "x-apple-email-verified",
    "x-apple-private-email",
    "x-apple-real-user-status",
    "x-apple-client-id",
    "x-apple-transfer-sub",
    "x-apple-issuer",
    "x-siwa-assertion",
];

/// The other `X-` headers that a proxy deals with.
const FORWARDING_HEADERS: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Names that an application may have had before it had a proxy, of those that presets and examples set.
const OTHER_NAMES: &[&str] = &["x-forwarded-user", "x-forwarded-email", "x-user-id"];

/// A span of code that ends like this names a file of the repository, if it also names its folder.
const FILE_ENDINGS: &[&str] =
    &[".rs", ".toml", ".md", ".yaml", ".yml", ".json", ".conf", ".sh", "/"];

/// The pages whose links and commands are checked; a page that is missing fails its test.
const PAGES: &[&str] = &["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// The pages of the deployment guide, whose links are relative to their folder.
const DEPLOYMENT: &[&str] = &["deploy/README.md", "deploy/SCALE.md"];

/// A claim that does not hold.
#[derive(Debug, PartialEq, Eq)]
struct Untrue {
    line: usize,
    why: String,
}

impl Untrue {
    fn new(line: &Line, why: &str) -> Self {
        Self { line: line.number, why: format!("`{}`: {why}", line.text.trim()) }
    }
}

impl fmt::Display for Untrue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.why)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `check` over each of `pages` and fails with all that is untrue.
fn assert_true(pages: &[&str], check: impl Fn(&Page) -> Vec<Untrue>) {
    let mut report = Vec::new();
    for name in pages {
        match fs::read_to_string(root().join(name)) {
            Ok(text) => {
                report.extend(
                    check(&Page::parse(&text)).iter().map(|untrue| format!("{name}:{untrue}")),
                );
            }
            Err(error) => report.push(format!("{name}: {error}")),
        }
    }
    assert!(report.is_empty(), "\n{}\n", report.join("\n"));
}

// === Commands ===

/// The arguments that a shell command gives to siwa-proxy, once for each time that it calls it.
fn calls(command: &str) -> Vec<Vec<String>> {
    let words = shell_words(command);
    words.split(|word| matches!(word.as_str(), "|" | "&" | ";")).filter_map(call).collect()
}

fn call(words: &[String]) -> Option<Vec<String>> {
    let is_assignment =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| !name.contains('-'));
    let start = words.iter().take_while(is_assignment).count();
    let (program, arguments) = words.get(start..)?.split_first()?;
    let arguments = match program.rsplit('/').next() {
        Some("siwa-proxy") => arguments,
        Some("cargo") if arguments.first().is_some_and(|word| word == "run") => {
            arguments.split(|word| word == "--").nth(1).unwrap_or_default()
        }
        _ => return None,
    };
    Some(arguments.iter().take_while(|word| !word.contains(['>', '<'])).cloned().collect())
}

/// Asks the binary itself: it reads the arguments in order, and only when it knows them all does it come to `--help`.
fn help_for(arguments: &[String]) -> Result<String, String> {
    let output =
        command().args(arguments).arg("--help").output().map_err(|error| error.to_string())?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && help.contains("Usage:") {
        return Ok(help);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(complaint.lines().next().unwrap_or("the binary prints no usage for it").to_owned())
}

fn untrue_commands(page: &Page) -> Vec<Untrue> {
    let shells = page
        .blocks
        .iter()
        .filter(|block| matches!(block.language.as_str(), "console" | "sh" | "bash"));
    let commands = shells.flat_map(markdown::Block::commands);
    let check = |line: Line| -> Vec<Untrue> {
        let complaints =
            calls(&line.text).into_iter().filter_map(|arguments| help_for(&arguments).err());
        complaints.map(|complaint| Untrue::new(&line, &complaint)).collect()
    };
    commands.flat_map(check).collect()
}

/// The help of the program and of each of its subcommands.
fn all_help() -> Result<String, String> {
    let mut help = help_for(&[])?;
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let commands =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let commands: Vec<String> = commands.map(str::to_owned).collect();
    for command in commands {
        help.push_str(&help_for(&[command])?);
    }
    Ok(help)
}

/// A flag in the prose (`--listen`, `--client-id com.example.app`) is one that some subcommand has.
fn untrue_flags(page: &Page, help: &str) -> Vec<Untrue> {
    let is_flag_character = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let known: Vec<&str> =
        help.split(|c| !is_flag_character(c)).filter(|word| word.starts_with("--")).collect();
    let is_unknown = |line: &Line| {
        let flag = line.text.split(|c| !is_flag_character(c)).next().unwrap_or_default();
        flag.starts_with("--") && !known.contains(&flag)
    };
    let unknown = page.code_spans().into_iter().filter(is_unknown);
    unknown.map(|line| Untrue::new(&line, "no subcommand has this flag")).collect()
}

/// A test command on the page is one that runs before every change lands.
fn untrue_test_commands(page: &Page, ci: &str) -> Vec<Untrue> {
    let commands = page.blocks.iter().flat_map(markdown::Block::commands);
    let tests = commands.filter(|line| line.text.starts_with("cargo test"));
    let unknown = tests.filter(|line| {
        let command = shell_words(&line.text).join(" ");
        !ci.lines().any(|line| line.trim() == command)
    });
    unknown.map(|line| Untrue::new(&line, ".ci/run does not run this")).collect()
}

#[test]
fn the_binary_understands_every_command_on_the_pages() {
    assert_true(PAGES, untrue_commands);
    assert_true(DEPLOYMENT, untrue_commands);
}

#[test]
fn every_flag_in_the_readme_exists() {
    let help = all_help().expect("the binary explains itself");
    assert_true(&["README.md"], |page| untrue_flags(page, &help));
}

#[test]
fn the_test_command_on_the_pages_is_the_one_that_decides() {
    let ci = fs::read_to_string(root().join(".ci/run")).expect(".ci/run can be read");
    assert_true(PAGES, |page| untrue_test_commands(page, &ci));
}

// === Files ===

/// Every file and folder of the repository, relative to its root; folders end in `/`.
fn repository() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    collect(&root(), "", &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if !entry.file_type()?.is_dir() {
            found.push(name);
        } else if !matches!(name.as_str(), ".git" | "target") {
            found.push(format!("{name}/"));
            collect(&entry.path(), &format!("{name}/"), found)?;
        }
    }
    Ok(())
}

fn untrue_links(page: &Page, files: &[String]) -> Vec<Untrue> {
    let anchors = page.anchors();
    let is_broken = |line: &Line| {
        if line.text.contains("://") || line.text.starts_with("mailto:") {
            return false;
        }
        let (path, anchor) = line.text.split_once('#').unwrap_or((&line.text, ""));
        if path.is_empty() {
            return !anchors.iter().any(|known| known == anchor);
        }
        let path = path.trim_start_matches("./");
        !files.iter().any(|file| file == path || file.trim_end_matches('/') == path)
    };
    page.link_targets()
        .into_iter()
        .filter(is_broken)
        .map(|line| Untrue::new(&line, "leads nowhere"))
        .collect()
}

/// A file that a code span names exists: `authn/rejection.rs` is found in `src/`, and a lone name only in `anywhere`.
fn untrue_file_names(page: &Page, files: &[String], anywhere: bool) -> Vec<Untrue> {
    let names_a_file = |text: &str| {
        let is_plain =
            text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
        let is_ours =
            !text.starts_with('/') && FILE_ENDINGS.iter().any(|ending| text.ends_with(ending));
        is_plain && is_ours && (anywhere || text.contains('/'))
    };
    let exists =
        |text: &str| files.iter().any(|file| file == text || file.ends_with(&format!("/{text}")));
    let missing = page
        .code_spans()
        .into_iter()
        .filter(|line| names_a_file(&line.text) && !exists(&line.text));
    missing.map(|line| Untrue::new(&line, "no such file")).collect()
}

#[test]
fn every_link_on_the_pages_leads_somewhere() {
    let files = repository().expect("the repository can be read");
    assert_true(PAGES, |page| untrue_links(page, &files));
    let deployment: Vec<String> =
        files.iter().filter_map(|file| file.strip_prefix("deploy/")).map(str::to_owned).collect();
    assert_true(DEPLOYMENT, |page| untrue_links(page, &deployment));
}

#[test]
fn every_file_named_on_the_pages_exists() {
    let files = repository().expect("the repository can be read");
    assert_true(PAGES, |page| untrue_file_names(page, &files, false));
    assert_true(DEPLOYMENT, |page| untrue_file_names(page, &files, false));
}

#[test]
fn every_file_named_in_the_guide_exists() {
    let source = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
    let guide =
        source.lines().flat_map(|line| [line.strip_prefix("//!").unwrap_or_default(), "\n"]);
    let files = repository().expect("the repository can be read");
    let untrue = untrue_file_names(&Page::parse(&guide.collect::<String>()), &files, true);
    let report: Vec<String> = untrue.iter().map(|untrue| format!("src/lib.rs:{untrue}")).collect();
    assert!(report.is_empty(), "\n{}\n", report.join("\n"));
}

// === Settings and headers ===

/// The folder below which the page keeps what only the proxy may read.
const SECRETS: &str = "/etc/siwa-proxy/";

/// The files that the page's settings name, in a folder of the test's own.
fn secrets() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let team_key = rcgen::KeyPair::generate().expect("a key on P-256").serialize_pem();
    let session_key = BASE64_STANDARD.encode([1; 32]);
    let webhook_secret = format!("whsec_{}", BASE64_STANDARD.encode([2; 32]));
    for (name, text) in [
        ("session-key", session_key),
        ("webhook-secret", webhook_secret),
        ("AuthKey_ABC123DEFG.p8", team_key),
    ] {
        fs::write(folder.path().join(name), text).expect("a file in it");
    }
    folder
}

fn untrue_settings(page: &Page) -> Vec<Untrue> {
    let secrets = secrets();
    let here = format!("{}/", secrets.path().display());
    let blocks = page.blocks.iter().filter(|block| block.language == "toml");
    let check = |block: &markdown::Block| {
        let error = Settings::from_toml(&block.text().replace(SECRETS, &here)).err()?;
        block.lines.first().map(|line| Untrue::new(line, &error.to_string()))
    };
    blocks.filter_map(check).collect()
}

/// A header that the page names is one of ours or one that we forward. `X-Apple-*` means several and passes.
fn untrue_headers(page: &Page) -> Vec<Untrue> {
    let lines = page.prose.iter().chain(page.blocks.iter().flat_map(|block| &block.lines));
    let check = |line: &Line| -> Vec<Untrue> {
        let names = header_names(&line.text).into_iter();
        let number = line.number;
        let unknown = names.filter(|name| !name.ends_with('-') && !is_known_header(name));
        unknown
            .map(|text| Untrue::new(&Line { number, text }, "no header that the proxy knows"))
            .collect()
    };
    let mut untrue: Vec<Untrue> = lines.flat_map(check).collect();
    untrue.sort_by_key(|untrue| untrue.line);
    untrue
}

fn header_names(text: &str) -> Vec<String> {
    // A slash belongs to the word, so that the media type `application/x-www-form-urlencoded` is no header.
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/')));
    words
        .filter(|word| word.len() > 2 && word.to_lowercase().starts_with("x-"))
        .map(str::to_owned)
        .collect()
}

/// Known in any case, and with `_` for `-`: a page may show how a spoofed spelling is stripped.
fn is_known_header(name: &str) -> bool {
    let name = name.to_lowercase().replace('_', "-");
    [IDENTITY_HEADERS, FORWARDING_HEADERS, OTHER_NAMES]
        .into_iter()
        .flatten()
        .any(|known| *known == name)
}

#[test]
fn every_settings_block_in_the_readme_is_toml() {
    assert_true(&["README.md"], untrue_settings);
}

#[test]
fn every_header_in_the_readme_is_one_that_the_proxy_knows() {
    assert_true(&["README.md"], untrue_headers);
}

// What follows shows that the checks bite.

/// The lines that `check` finds untrue in `text`.
fn bites(text: &str, check: impl Fn(&Page) -> Vec<Untrue>, expected: &[usize]) {
    let untrue = check(&Page::parse(text));
    let lines: Vec<usize> = untrue.iter().map(|untrue| untrue.line).collect();
    assert_eq!(lines, expected, "{untrue:?} in:\n{text}");
}

#[test]
fn a_call_is_found_in_any_shell_dress() {
    let found =
        |command: &str| calls(command).into_iter().map(|call| call.join(" ")).collect::<Vec<_>>();
    assert_eq!(found("siwa-proxy serve --config 'a b.toml'"), ["serve --config a b.toml"]);
    assert_eq!(found("SIWA_LOG=debug ./target/release/siwa-proxy demo &"), ["demo"]);
    assert_eq!(found("cargo run --release -- demo  # ready in a second"), ["demo"]);
    assert_eq!(found("siwa-proxy sim | head && siwa-proxy demo > log"), ["sim", "demo"]);
    assert!(found("curl -i http://127.0.0.1:4180/ -H 'X-Apple-Sub: siwa-proxy'").is_empty());
    assert!(found("cargo install siwa-proxy").is_empty());
}

#[test]
fn an_unknown_command_or_flag_is_untrue() {
    let text = "# T\n```console\n$ siwa-proxy --help\nsiwa-proxy frobnicate is output\n$ siwa-proxy frobnicate\n```\n";
    bites(text, untrue_commands, &[5]);
    bites("```sh\nsiwa-proxy serve \\\n  --no-such-flag\nls\n```", untrue_commands, &[2]);
    bites(
        "Set `--listen`, or\n`--lissten 0.0.0.0:1`; `cargo --x`.",
        |page| untrue_flags(page, "  --listen <A>"),
        &[2],
    );
}

#[test]
fn a_test_command_that_nobody_runs_is_untrue() {
    let check = |page: &Page| untrue_test_commands(page, "echo\n  cargo test --locked\n");
    bites("```sh\ncargo test --locked  # all\ncargo test --everything\n```", check, &[3]);
}

#[test]
fn a_broken_link_is_untrue() {
    let files = ["docs/".to_owned(), "docs/a.md".to_owned()];
    let text = "# Old Habits, new\n[a](docs/a.md#x) [b](./docs) [c](https://example.com)\n[d](#old-habits-new)\n\
                [e](docs/b.md)\n[f](#new)";
    bites(text, |page| untrue_links(page, &files), &[4, 5]);
}

#[test]
fn a_missing_file_is_untrue() {
    let files = ["src/verify/".to_owned(), "src/verify/token.rs".to_owned()];
    let text = "`verify/token.rs`, `verify/`, `/etc/siwa.toml`, `text/html`\n`verify/tokens.rs`\n`gone.rs`";
    bites(text, |page| untrue_file_names(page, &files, false), &[2]);
    bites(text, |page| untrue_file_names(page, &files, true), &[2, 3]);
}

#[test]
fn a_settings_block_that_is_no_toml_is_untrue() {
    let good = "```toml\nupstream.url = \"http://a\"\napple.client_ids = [\"com.a\"]\n```\n";
    bites(&format!("{good}\n```toml\nlisten: 1\n```\n"), untrue_settings, &[7]);
    bites("```toml\n[server]\nlissten = 1\n```\n", untrue_settings, &[2]);
}

#[test]
fn an_unknown_header_is_untrue() {
    let text = "`X-Apple-Sub`, x_apple_sub, `X-Apple-*`, application/x-www-form-urlencoded\nX-Apple-User\n\
                ```console\n$ curl -H 'x-apple_sub: a' -H 'X-Forwarded-Proto: https' -H 'X-User: b'\n```";
    bites(text, untrue_headers, &[2, 4]);
}
