//! The plan of the house, checked against `src/`: who may import whom, and what is absent where.
//!
//! Absence cannot be read off code, so it is tested: a breach is reported with its file, its line and the rule.

mod source;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use source::{NamedPath, Piece, Token};

/// The modules of the library, lowest floor first. A file names modules on lower floors only.
///
/// `telemetry` stands on `clock`, not beside it: the age of the keys is rendered for a moment, which is an argument.
const FLOORS: &[&str] = &[
    "per_core",
    "alarm",
    "clock",
    "telemetry",
    "peers",
    "rate",
    "es256",
    "https",
    "store",
    "verify",
    "apple",
    "webhooks",
    "authn",
    "upstream",
    "endpoints",
    "server",
    "config",
    "app",
    "measured",
    "cost",
];

/// Next door: it names `clock` alone, and no file of the library names it.
const SIMULATOR: &str = "sim";

/// The files of the binary, which uses the library from outside: `main.rs` and this folder.
const COMMANDS: &str = "commands/";

/// How long a file may be before its tests.
const MOST_LINES: usize = 350;

const OWN_FOLDER: &str = "a file names its own folder through `super`";
const UP: &str = "a file names lower floors only, and this is a higher one";
const NO_FLOOR: &str = "no such floor: name the module that holds it, or give the module a place in FLOORS (tests/floors.rs)";
const WHOLE_CRATE: &str = "a file names modules one by one, never the whole crate";
const AS_CRATE: &str = "a lower floor is named from the top, as `crate::…`";
const ITSELF: &str = "the library calls itself `crate`";
const SIMULATOR_NAMES: &str =
    "the simulator names `crate::clock` alone, so that it shares no type with what it tests";
const SIMULATOR_NAMED: &str = "only the binary and the tests know the simulator";
const ENVIRONMENT: &str = "only config/load.rs reads the environment";
const WALL_CLOCK: &str = "only clock.rs reads the wall clock; elsewhere time is an argument";
const UNTRACKED: &str = "an untracked task outlives shutdown: spawn on the tracker";
const NO_DECISION: &str =
    "only the command that shows an explanation names it: it reads claims that nobody signed";
const NO_SERVERS: &str = "verify/ does not know that HTTP servers exist";
const NO_APPLE: &str = "server/ does not know that Apple exists";

#[derive(Debug)]
struct Breach {
    file: String,
    line: usize,
    found: String,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, found, rule } = self;
        write!(f, "src/{file}:{line}: `{found}`: {rule}")
    }
}

/// Everything that is wrong with the file `name` (relative to `src/`, with `/`), in the order of its lines.
fn breaches(name: &str, text: &str) -> Vec<Breach> {
    let tokens = source::tokens(text);
    let paths = source::paths(&tokens, &module_of(name));
    let mut breaches: Vec<Breach> = misplaced_imports(name, &paths)
        .into_iter()
        .chain(misplaced_paths(name, &paths))
        .chain(misplaced_words(name, &tokens))
        .chain(excess_length(text.lines().count(), &tokens))
        .map(|(line, found, rule)| Breach { file: name.to_owned(), line, found, rule })
        .collect();
    breaches.sort_by_key(|breach| breach.line);
    breaches
}

/// `verify/token.rs` is the module `verify::token`, `verify/mod.rs` is `verify`, and `lib.rs` is the crate itself.
fn module_of(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(path, "lib" | "main") {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

fn is_of_the_binary(file: &str) -> bool {
    file == "main.rs" || file.starts_with(COMMANDS)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == module)
}

/// A line, what stands there, and the rule that it breaks.
type Finding = (usize, String, String);

/// Who may import whom.
fn misplaced_imports(file: &str, paths: &[NamedPath]) -> Vec<Finding> {
    let home = module_of(file);
    let Some(own) = home.first().filter(|_| !is_of_the_binary(file)) else { return Vec::new() };
    if own != SIMULATOR && floor_of(own).is_none() {
        return vec![(1, own.clone(), NO_FLOOR.to_owned())];
    }
    let finding = |path: &NamedPath| {
        let rule = forbids(own, path)?;
        Some((path.line, path.segments.join("::"), rule.to_owned()))
    };
    paths.iter().filter_map(finding).collect()
}

/// The rule that keeps a file of the module `own` from naming `path`, if one does.
fn forbids(own: &str, path: &NamedPath) -> Option<&'static str> {
    let mut segments = path.segments.iter().map(String::as_str);
    match segments.next() {
        Some("crate") => {}
        Some("siwa_proxy") => return Some(ITSELF),
        _ => return None,
    }
    let Some(target) = segments.next().filter(|target| *target != "*") else {
        return Some(WHOLE_CRATE);
    };
    if target == own {
        return path.from_crate.then_some(OWN_FOLDER);
    }
    if target == SIMULATOR {
        return Some(SIMULATOR_NAMED);
    }
    if own == SIMULATOR && target != "clock" {
        return Some(SIMULATOR_NAMES);
    }
    let Some(floor) = floor_of(target) else { return Some(NO_FLOOR) };
    // The simulator stands beside the house: to it, `clock` is below, and `clock` is all that is left here.
    if own != SIMULATOR && floor_of(own) < Some(floor) {
        return Some(UP);
    }
    (!path.from_crate).then_some(AS_CRATE)
}

fn misplaced_paths(file: &str, paths: &[NamedPath]) -> impl Iterator<Item = Finding> {
    paths.iter().filter_map(move |path| {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let rule = if file != "config/load.rs" && segments.starts_with(&["std", "env"]) {
            ENVIRONMENT
        } else if is_bare_spawn(&segments) {
            UNTRACKED
        } else {
            return None;
        };
        Some((path.line, segments.join("::"), rule.to_owned()))
    })
}

/// `tokio::spawn`, `tokio::task::spawn_blocking` and their kin, also when `task` was imported.
fn is_bare_spawn(segments: &[&str]) -> bool {
    matches!(segments, [.., "tokio" | "task", last] if last.starts_with("spawn"))
}

fn misplaced_words(file: &str, tokens: &[Token]) -> impl Iterator<Item = Finding> {
    tokens.iter().filter_map(move |token| {
        let (found, rule) = match &token.piece {
            Piece::Word(word) => {
                (word, forbidden_word(file, word).or_else(|| forbidden_text(file, word))?)
            }
            Piece::Text(text) => (text, forbidden_text(file, text)?),
            Piece::Mark(_) | Piece::Other => return None,
        };
        Some((token.line, found.clone(), rule.to_owned()))
    })
}

/// The rule that keeps `word` out of the code of `file`.
fn forbidden_word(file: &str, word: &str) -> Option<&'static str> {
    match word {
        "explain" | "Explanation" if !may_explain(file) => Some(NO_DECISION),
        "SystemTime" if file != "clock.rs" => Some(WALL_CLOCK),
        "hyper" | "hyper_util" | "axum" | "tower" if file.starts_with("verify/") => {
            Some(NO_SERVERS)
        }
        _ => None,
    }
}

fn may_explain(file: &str) -> bool {
    file.starts_with("verify/explain/") || file == "verify/mod.rs" || is_of_the_binary(file)
}

/// The rule that keeps `text` out of the code and the string literals of `file`.
fn forbidden_text(file: &str, text: &str) -> Option<&'static str> {
    (file.starts_with("server/") && text.to_lowercase().contains("apple")).then_some(NO_APPLE)
}

fn excess_length(lines: usize, tokens: &[Token]) -> Option<Finding> {
    let lines = first_line_of_tests(tokens).map_or(lines, |line| line - 1);
    let rule = || format!("no file has more than {MOST_LINES} lines before its tests");
    (lines > MOST_LINES).then(|| (lines, format!("{lines} lines"), rule()))
}

/// The line of the `#[cfg(test)]` that stands over a module.
fn first_line_of_tests(tokens: &[Token]) -> Option<usize> {
    (0..tokens.len())
        .map(|start| &tokens[start..])
        .find(|rest| starts_tests(rest))
        .map(|rest| rest[0].line)
}

/// Whether `tokens` begin with `#[cfg(test)]` and, past other attributes, `mod`.
fn starts_tests(tokens: &[Token]) -> bool {
    let mut head = tokens
        .iter()
        .map(|token| &token.piece)
        .take_while(|piece| !matches!(piece, Piece::Mark("{" | ";")));
    let attribute = [head.next(), head.nth(1), head.nth(1)];
    matches!(attribute, [Some(Piece::Mark("#")), Some(cfg), Some(test)] if cfg.is_word("cfg") && test.is_word("test"))
        && head.any(|piece| piece.is_word("mod"))
}

/// Every `.rs` file below `folder`, in the order of their names.
fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn every_file_keeps_to_its_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src).expect("src/ can be read");
    let mut all = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source file can be read");
        let name = file
            .strip_prefix(&src)
            .expect("a file below src/")
            .to_string_lossy()
            .replace('\\', "/");
        all.extend(breaches(&name, &text));
    }
    let report: Vec<String> = all.iter().map(Breach::to_string).collect();
    assert!(files.iter().any(|file| file.ends_with("lib.rs")), "src/ was not where it should be");
    assert!(report.is_empty(), "\n{}\n", report.join("\n"));
}

// What follows shows that the checks bite.

/// The lines and rules that `text` breaks as the file `name`.
fn check(name: &str, text: &str, expected: &[(usize, &str)]) {
    let found = breaches(name, text);
    let found: Vec<(usize, &str)> =
        found.iter().map(|breach| (breach.line, breach.rule.as_str())).collect();
    assert_eq!(found, expected, "in {name}:\n{text}");
}

#[test]
fn a_lower_floor_may_be_named() {
    check("verify/token.rs", "use crate::{clock::UnixTime, telemetry};", &[]);
    check("app.rs", "fn run() { crate::config::load::load(); crate::clock::SystemClock; }", &[]);
    check("sim/mod.rs", "use crate::clock::Clock;", &[]);
}

#[test]
fn a_higher_floor_may_not_be_named() {
    check("verify/token.rs", "\nuse crate::authn::Credential;", &[(2, UP)]);
    check("authn/mod.rs", "fn f() {\n    crate::server::stop();\n}", &[(2, UP)]);
    check("config/load.rs", "use crate::app;", &[(1, UP)]);
    check("clock.rs", "use crate::telemetry::Metrics;", &[(1, UP)]);
    check("clock.rs", "use super::telemetry::Metrics;", &[(1, UP)]);
}

#[test]
fn the_own_folder_is_named_through_super() {
    check("verify/claims.rs", "use super::identity::Identity;", &[]);
    check("verify/jwks/cache.rs", "use super::{super::error::KeysFault, JwkSet};", &[]);
    check("verify/claims.rs", "use crate::verify::Identity;", &[(1, OWN_FOLDER)]);
    check(
        "verify/mod.rs",
        "use crate::clock::Clock;\nuse crate::verify::token;",
        &[(2, OWN_FOLDER)],
    );
}

#[test]
fn super_is_no_way_out_of_the_folder() {
    check("verify/claims.rs", "use super::super::server::Limits;", &[(1, UP)]);
    check("verify/claims.rs", "use super::super::clock::Clock;", &[(1, AS_CRATE)]);
    check("verify/mod.rs", "use super::{clock::Clock, server};", &[(1, AS_CRATE), (1, UP)]);
    check(
        "clock.rs",
        "mod tests {\n    use super::*;\n    use super::super::server;\n}",
        &[(3, UP)],
    );
}

#[test]
fn nested_braces_are_followed_to_the_line_of_the_name() {
    let text = "use std::fmt;\nuse crate::{\n    clock::{Clock, UnixTime},\n    apple::{\n        TokenEndpoint,\n    },\n};";
    check("verify/mod.rs", text, &[(5, UP)]);
    check("verify/mod.rs", "use {std::fmt, crate::{clock::Clock, config}};", &[(1, UP)]);
}

#[test]
fn a_path_is_found_wherever_it_stands() {
    check("store/mod.rs", "pub(crate) struct S { v: Option<crate::verify::Identity> }", &[(1, UP)]);
    check(
        "store/mod.rs",
        "impl From<S> for T { fn from() -> crate::app::App { todo() } }",
        &[(1, UP)],
    );
    check("store/mod.rs", "macro_rules! m { () => { $crate::verify::open() } }", &[(1, UP)]);
    check("store/mod.rs", "let x = Vec::<crate::verify::Identity>::new();", &[(1, UP)]);
}

#[test]
fn comments_strings_and_visibility_name_nothing() {
    check(
        "clock.rs",
        "//! See [`crate::server`].\n/* crate::app /* crate::sim */ crate::app */",
        &[],
    );
    check(
        "clock.rs",
        r##"let a = "crate::app"; let b = r#"" crate::app "#; let c = b"crate::app";"##,
        &[],
    );
    check(
        "clock.rs",
        "fn f<'a>(x: &'a str) -> char { if x == \"\\\"\" { '\"' } else { '\\'' } }",
        &[],
    );
    check("verify/jwks/mod.rs", "pub(in crate::verify) fn f() {}", &[]);
}

#[test]
fn code_after_a_literal_is_still_read() {
    check("clock.rs", "let q = '\"'; use crate::app;", &[(1, UP)]);
    check("clock.rs", "let q = \"a\\\\\"; use crate::app; // \"", &[(1, UP)]);
    check("clock.rs", "let q = r\"\\\";\nuse crate::app;", &[(2, UP)]);
    check("clock.rs", "let q = b'\\''; /* \" */ use crate::app;", &[(1, UP)]);
}

#[test]
fn the_whole_crate_may_not_be_named() {
    check("app.rs", "use crate::*;", &[(1, WHOLE_CRATE)]);
    check("app.rs", "use super::*;", &[(1, WHOLE_CRATE)]);
    check("app.rs", "use crate::{self as house};", &[(1, WHOLE_CRATE)]);
    check("app.rs", "use crate as house;", &[(1, WHOLE_CRATE)]);
    check("app.rs", "use siwa_proxy::clock;", &[(1, ITSELF)]);
}

#[test]
fn a_name_without_a_floor_is_refused() {
    check("app.rs", "use crate::Verifier;", &[(1, NO_FLOOR)]);
    check("cellar/mod.rs", "use crate::clock::Clock;", &[(1, NO_FLOOR)]);
}

#[test]
fn the_simulator_stands_apart() {
    check("sim/keys.rs", "use crate::verify::SignedClaims;", &[(1, SIMULATOR_NAMES)]);
    check("app.rs", "use crate::sim::Simulator;", &[(1, SIMULATOR_NAMED)]);
    check("main.rs", "use siwa_proxy::{app, sim};\nmod demo;", &[]);
    check("commands/demo/mod.rs", "use siwa_proxy::sim::Simulator;", &[]);
    check("lib.rs", "pub use crate::verify::Verifier;", &[]);
}

#[test]
fn only_the_loader_reads_the_environment() {
    check("config/load.rs", "use std::env;", &[]);
    check("lib.rs", "const VERSION: &str = env!(\"CARGO_PKG_VERSION\");", &[]);
    check("main.rs", "use std::{\n    env,\n    fmt,\n};", &[(2, ENVIRONMENT)]);
    check("telemetry.rs", "let filter = ::std::env::var(\"RUST_LOG\");", &[(1, ENVIRONMENT)]);
}

#[test]
fn only_the_clock_knows_the_wall_clock() {
    check("clock.rs", "use std::time::SystemTime;", &[]);
    check("app.rs", "use crate::clock::SystemClock;\n// SystemTime", &[]);
    check("verify/mod.rs", "use std::time::{Duration, SystemTime};", &[(1, WALL_CLOCK)]);
}

#[test]
fn tasks_are_spawned_on_the_tracker_alone() {
    check("app.rs", "tasks.spawn(refresher.run(stop));\ntokio::select! {}", &[]);
    check("app.rs", "tokio::spawn(async {});", &[(1, UNTRACKED)]);
    check("sim/mod.rs", "use tokio::{net, task};\ntask::spawn_blocking(f);", &[(2, UNTRACKED)]);
    check("server/mod.rs", "use tokio::{\n    net,\n    spawn,\n};", &[(3, UNTRACKED)]);
}

#[test]
fn the_verifier_does_not_know_servers() {
    check("verify/jwks/source.rs", "use http::header; // unlike hyper", &[]);
    check("verify/jwks/source.rs", "use hyper::Request;", &[(1, NO_SERVERS)]);
    check("verify/mod.rs", "fn f(s: &dyn tower::Service) {}", &[(1, NO_SERVERS)]);
    check("authn/mod.rs", "use crate::verify::explain::explain;", &[(1, NO_DECISION); 2]);
    check("commands/explain.rs", "use siwa_proxy::verify::explain::explain;", &[]);
}

#[test]
fn the_server_does_not_know_apple() {
    check("server/mod.rs", "// Apple is elsewhere.\nuse crate::telemetry::Metrics;", &[]);
    check("server/admin.rs", "\nstruct AppleProbe;", &[(2, NO_APPLE)]);
    check("server/admin.rs", "headers.insert(\"x-apple-sub\", subject);", &[(1, NO_APPLE)]);
}

#[test]
fn a_file_is_short_and_its_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(MOST_LINES);
    let tests = format!(
        "#[cfg(test)]\n#[expect(missing_docs)]\nmod tests {{\n{}}}\n",
        "    fn t() {}\n".repeat(99)
    );
    let rule = "no file has more than 350 lines before its tests";
    check("app.rs", &format!("{code}{tests}"), &[]);
    check("app.rs", &format!("{code}fn g() {{}}\n{tests}"), &[(351, rule)]);
    check("app.rs", &format!("#[cfg(test)]\nfn probe() {{}}\n{code}{tests}"), &[(352, rule)]);
}
