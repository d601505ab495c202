//! File, environment and flags, each read into one pile. The only file that reads the environment.

use std::{
    env,
    ffi::OsString,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    Settings,
    merge::{Merged, Spot},
    problems::{Problems, WrittenAt},
    secrets::Secrets,
    variables::{FILE_VARIABLE, Variable, add_variable, note_doubles, traces},
};
use crate::server::ListenOn;

/// Names the file.
const FILE_FLAG: &str = "--config";

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    file: Option<PathBuf>,
    given: Vec<Flag>,
}

#[derive(Clone, Debug)]
struct Flag {
    name: &'static str,
    section: &'static str,
    key: &'static str,
    values: Vec<String>,
}

impl Flags {
    /// Reads `file`, if there is one.
    #[must_use]
    pub const fn new(file: Option<PathBuf>) -> Self {
        Self { file, given: Vec::new() }
    }

    /// Says that the flag `name`, which stands for `key` of `section`, was given with `values`; without one it was not
    /// given.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        (section, key): (&'static str, &'static str),
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.given.push(Flag { name, section, key, values });
        }
        self
    }

    /// Where health and metrics are served, as far as settings can be read; by default otherwise.
    #[must_use]
    pub(crate) fn admin_listen(&self) -> ListenOn {
        gather(self, environment()).admin_listen()
    }
}

/// The environment of the process.
pub(super) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os()
}

/// Settles everything: defaults < file < `environment` < `flags`.
pub(super) fn load(
    flags: &Flags,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Settings, Problems> {
    let environment: Vec<_> = environment.into_iter().collect();
    let mut merged = gather(flags, environment.iter().cloned());
    let traces = traces(&mut merged, &environment);
    Ok(Settings { traces, ..merged.settle(Secrets::default())? })
}

fn gather(flags: &Flags, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Merged {
    let mut merged = Merged::new();
    let variables: Vec<Variable> = environment.into_iter().filter_map(Variable::new).collect();
    if let Some((file, place)) = file(flags, &variables) {
        match fs::read_to_string(&file) {
            Ok(text) => {
                add_text(&mut merged, &file.display().to_string(), &text);
                merged.has_read(file, &text);
            }
            Err(error) => note_unreadable(&mut merged, &file, place, &error),
        }
    }
    note_doubles(&mut merged, &variables);
    for variable in variables {
        add_variable(&mut merged, variable);
    }
    for Flag { name, section, key, values } in flags.given.clone() {
        merged.put_words(section, key, values, WrittenAt::Flag(name));
    }
    merged
}

/// Settles a file alone, with `secrets` in place of the files that it would name.
pub(super) fn from_toml(name: &str, text: &str, secrets: Secrets) -> Result<Settings, Problems> {
    let mut merged = Merged::new();
    add_text(&mut merged, name, text);
    merged.settle(secrets)
}

// === The file ===

/// The file that is named, and where it is.
fn file(flags: &Flags, variables: &[Variable]) -> Option<(PathBuf, WrittenAt)> {
    if let Some(file) = &flags.file {
        return Some((file.clone(), WrittenAt::Flag(FILE_FLAG)));
    }
    let variable = variables.iter().find(|variable| variable.name == FILE_VARIABLE)?;
    Some((PathBuf::from(&variable.value), WrittenAt::Variable(variable.name.clone())))
}

fn note_unreadable(merged: &mut Merged, file: &Path, place: WrittenAt, error: &io::Error) {
    let what = format!("cannot be read: {error}; name a file that can");
    merged.problems().note_at(place, &file.display().to_string(), what);
    merged.problems().excuse_all();
}

/// Adds the file `name` with this `text`.
fn add_text(merged: &mut Merged, name: &str, text: &str) {
    let place = |span: Range<usize>| WrittenAt::File {
        name: name.to_owned(),
        line: 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count(),
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        // The first error alone: most others follow from it, and half a file would look as if the other half had not
        // been written.
        Err(error) => {
            let what = format!("is not TOML: {}", error.message());
            merged.problems().note_at(place(error.span().unwrap_or_default()), name, what);
            return merged.problems().excuse_all();
        }
    };
    for (section, content) in table.into_inner() {
        let at = place(section.span());
        let content = content.into_inner();
        if !merged.knows_section(section.as_ref()) {
            match Members::of(section.as_ref(), content) {
                Some(members) => add_members(merged, section.as_ref(), members, &place),
                None => merged.note_no_section(section.as_ref(), at),
            }
        } else if let DeValue::Table(keys) = content {
            add_keys(merged, section.as_ref(), &Spot::Only, keys, &place);
        } else {
            merged.note_no_section(section.as_ref(), at);
        }
    }
}

/// Adds the keys of one section, the one of `group` at `spot`.
fn add_keys(
    merged: &mut Merged,
    group: &str,
    spot: &Spot,
    keys: DeTable<'_>,
    place: &impl Fn(Range<usize>) -> WrittenAt,
) {
    merged.add_member(group, spot);
    for (key, value) in keys {
        let at = place(key.span());
        match plain(value) {
            Ok(value) => merged.put_at(group, spot, key.as_ref(), value, at),
            Err(error) => {
                let name = format!("{}.{}", spot.section(group), key.as_ref());
                merged.problems().excuse(&name);
                merged.problems().note_at(at, &name, error.message());
            }
        }
    }
}

/// The sections of a group, with what tells them apart.
struct Members<'a>(Vec<(Spot, Spanned<DeValue<'a>>)>);

impl<'a> Members<'a> {
    /// Takes `content` for what is written at `group`, if there is such a group and it is written like this.
    fn of(group: &str, content: DeValue<'a>) -> Option<Self> {
        let members = match (group, content) {
            ("route", DeValue::Array(list)) => {
                list.into_iter().enumerate().map(|(i, member)| (Spot::Listed(i), member)).collect()
            }
            ("upstreams", DeValue::Table(table)) => {
                let spot = |name: &str| Spot::Named(name.to_owned());
                table.into_iter().map(|(name, member)| (spot(name.as_ref()), member)).collect()
            }
            _ => return None,
        };
        Some(Self(members))
    }
}

fn add_members(
    merged: &mut Merged,
    group: &str,
    Members(members): Members<'_>,
    place: &impl Fn(Range<usize>) -> WrittenAt,
) {
    for (spot, member) in members {
        let at = place(member.span());
        if let DeValue::Table(keys) = member.into_inner() {
            add_keys(merged, group, &spot, keys, place);
        } else {
            let section = spot.section(group);
            merged.problems().note_at(at, &section, "must be a section with keys of its own");
        }
    }
}

/// The value without its place. Numbers that no integer holds are refused here.
fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, toml::de::Error> {
    Value::deserialize(ValueDeserializer::from(value))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::{super::NEEDED, *};
    use crate::{
        upstream::CredentialForwarding,
        verify::{ClientId, VerifierBuilder},
    };

    /// What is wrong, line by line.
    fn lines(settings: Result<Settings, Problems>) -> Vec<String> {
        settings.unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    fn problems_of(text: &str) -> Vec<String> {
        lines(Settings::from_toml(text))
    }

    /// The one problem with the minimal file and `more`.
    fn problem_of(more: &str) -> String {
        let problems = problems_of(&format!("{NEEDED}\n{more}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    fn variables(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Flags that suffice to start.
    fn flags() -> Flags {
        Flags::new(None)
            .with("--client-id", ("apple", "client_ids"), ["com.example.app".to_owned()])
            .with("--upstream", ("upstream", "url"), Some("http://127.0.0.1:3000".to_owned()))
    }

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siwa.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    const TEN_MISTAKES: &str = r#"[server]
listen = "4180"
max_header_bytes = "lots"
trusted_peers = ["0.0.0.0/0"]

[upstream]
url = "https://app.internal/base"
conect_timeout = "5s"

[apple]
client_id = "com.example.app"
leeway = "10m"

[jwks]
url = "http://keys.example.com/"
refresh_every = 900

[lgo]
filter = "debug"
"#;

    #[test]
    fn ten_mistakes_are_ten_findings_each_with_its_place() {
        let expected = [
            "server.listen: `4180` is neither an address with a port, nor unix:PATH, nor systemd; write it like `\"0.0.0.0:4180\"` \
         (from config.toml:2)",
            "server.max_header_bytes: `lots` is no size; write it like `\"64KiB\"` (from config.toml:3)",
            "server.trusted_peers: `0.0.0.0/0` is the whole Internet: list the proxies in front of this one (from \
         config.toml:4)",
            "upstream.url: must end after host and port: paths are forwarded byte for byte, so there is none to add (from \
         config.toml:7)",
            "upstream.conect_timeout: is no key: did you mean `connect_timeout`? (from config.toml:8)",
            "apple.client_id: is no key: did you mean `client_ids`? (from config.toml:11)",
            "apple.leeway: is too long: `5m` is the most (from config.toml:12)",
            "jwks.url: must be https, or http to a loopback host such as 127.0.0.1 (from config.toml:15)",
            "jwks.refresh_every: invalid type: integer `900`, expected a duration; write it like `\"15m\"` (from \
         config.toml:16)",
            "lgo: is no section: did you mean [log]? (from config.toml:18)",
        ];
        assert_eq!(problems_of(TEN_MISTAKES), expected);
    }

    #[test]
    fn a_syntax_error_hides_nothing_but_the_file() {
        let (_folder, path) = written("[apple]\nclient_ids = [\"a\"\n[upstream\nurl = 1\n");
        let flags = Flags::new(Some(path.clone()));
        let problems = lines(load(&flags, variables(&[("SIWA_APPLE__LEEWAY", "soon")])));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|line| line.contains("is not TOML")), "{problems:?}");
        assert!(problems.iter().any(|line| line.starts_with("apple.leeway")), "{problems:?}");

        assert!(problems[0].contains(&format!("(from {}:", path.display())), "{problems:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_and_nothing_is_called_missing() {
        let problems =
            lines(load(&Flags::new(None), variables(&[("SIWA_CONFIG", "/no/such.toml")])));
        assert_eq!(
            problems,
            [
                "/no/such.toml: cannot be read: No such file or directory (os error 2); name a file that can (from env \
          SIWA_CONFIG)"
            ]
        );
    }

    #[test]
    fn an_unknown_name_is_met_with_the_known_ones() {
        for (more, expected) in [
            ("[logs]\n", "logs: is no section: did you mean [log]? (from config.toml:11)"),
            (
                "[[routes]]\n",
                "routes: is no section: did you mean [[route]]? (from config.toml:11)",
            ),
            (
                "[upstrems.a]\n",
                "upstrems: is no section: did you mean [upstreams.NAME]? (from config.toml:11)",
            ),
            (
                "[log]\nurl = 1\n",
                "log.url: is no key of [log]: write it below [upstream] (from config.toml:12)",
            ),
            (
                "[verdicts]\nzzz = 1\n",
                "verdicts.zzz: is no key: [verdicts] has capacity (from config.toml:12)",
            ),
        ] {
            assert_eq!(problem_of(more), expected);
        }
        assert!(
            problems_of("listen = 'x'\n").iter().any(|line| line
                == "listen: is no section: write it below [server] (from config.toml:1)")
        );
        assert!(
            problems_of("jwks = 3\n")[1].starts_with("jwks: is a section: write its keys below")
        );
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
        let (_folder, path) = written(
            "[server]\nlisten = '127.0.0.1:1'\nadmin_listen = '127.0.0.1:2'\n[verdicts]\ncapacity = 3\n",
        );
        let flags = Flags { file: Some(path), ..flags() }.with(
            "--listen",
            ("server", "listen"),
            ["127.0.0.1:9".to_owned(), "127.0.0.1:10".to_owned()],
        );
        let environment = variables(&[
            ("SIWA_SERVER__LISTEN", "127.0.0.1:5"),
            ("SIWA_SERVER__ADMIN_LISTEN", "127.0.0.1:6"),
        ]);
        let settings = load(&flags, environment).unwrap();
        assert_eq!(
            settings.server.listen,
            ["127.0.0.1:9", "127.0.0.1:10"].map(|on| on.parse().unwrap())
        );
        assert_eq!(settings.server.admin_listen, "127.0.0.1:6".parse().unwrap());
        assert_eq!(settings.verdict_capacity, 3);
        assert_eq!(settings.apple.leeway, VerifierBuilder::LEEWAY);
    }

    #[test]
    fn the_environment_alone_suffices() {
        let settings = load(
            &Flags::default(),
            variables(&[
                ("SIWA_APPLE__CLIENT_IDS", "com.a, com.b"),
                ("SIWA_UPSTREAM__URL", "http://app:8080"),
                ("SIWA_UPSTREAM__FORWARD_CREDENTIAL", "true"),
                ("SIWA_VERDICTS__CAPACITY", "7"),
                ("SIWA_SERVER__MAX_BODY_BYTES", "4096"),
                ("SIWA_SERVER__MAX_CONNECTIONS", "30"),
                ("PATH", "/bin"),
            ]),
        )
        .unwrap();
        let ids: Vec<&str> = settings.apple.client_ids.iter().map(ClientId::as_str).collect();
        assert_eq!(ids, ["com.a", "com.b"]);
        assert_eq!(settings.upstreams[0].credential, CredentialForwarding::Keep);
        assert_eq!(settings.verdict_capacity, 7);
        assert_eq!(settings.server.settings.max_connections.get(), 30);
        assert_eq!(settings.server.request_body.max_bytes, Some(4096));
    }

    #[test]
    fn a_repeated_flag_is_a_list() {
        let two = ["com.a".to_owned(), "com.b".to_owned()];
        let flags = flags().with("--client-id", ("apple", "client_ids"), two);
        assert_eq!(load(&flags, []).unwrap().apple.client_ids.iter().count(), 2);
    }

    #[test]
    fn a_problem_names_the_variable_or_the_flag() {
        let flags = flags().with("--listen", ("server", "listen"), Some("4180".to_owned()));
        let environment = variables(&[
            ("SIWA_VERDICTS__CAPACITY", "many"),
            ("SIWA_JWKS_URL", "https://a"),
            ("SIWA_PASSWORD", "x"),
            ("SIWA_UPSTREAM__FORWARD_CREDENTIAL", "yes"),
        ]);
        assert_eq!(
            lines(load(&flags, environment)),
            [
                "SIWA_JWKS_URL: is no variable of ours: did you mean SIWA_JWKS__URL? (from env SIWA_JWKS_URL)",
                "SIWA_PASSWORD: is no variable of ours: they are called SIWA_SECTION__KEY; remove it (from env \
             SIWA_PASSWORD)",
                "upstream.forward_credential: invalid type: a string, expected true or false; write it like `false` (from \
             env SIWA_UPSTREAM__FORWARD_CREDENTIAL)",
                "verdicts.capacity: invalid type: a string, expected a whole number, at least 0; write it like `100000` (from env \
             SIWA_VERDICTS__CAPACITY)",
                "server.listen: `4180` is neither an address with a port, nor unix:PATH, nor systemd; write it like `0.0.0.0:4180` \
             (from flag --listen)",
            ]
        );
    }

    #[test]
    fn two_places_that_clash_are_both_named() {
        let flags = flags().with("--jwks-file", ("jwks", "file"), Some("keys.json".to_owned()));
        let problems = lines(load(&flags, variables(&[("SIWA_JWKS__URL", "https://a/keys")])));
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].ends_with("(from env SIWA_JWKS__URL and flag --jwks-file)"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_variable_that_is_no_text_is_a_problem() {
        let name = OsString::from("SIWA_APPLE__ISSUER");
        let problems = lines(load(&flags(), [(name, OsString::from_vec(vec![0xff]))]));
        assert_eq!(problems, ["apple.issuer: must be UTF-8 (from env SIWA_APPLE__ISSUER)"]);
    }

    #[test]
    fn a_variable_with_file_at_its_end_names_a_file_that_holds_the_value() {
        let (_folder, path) = written("com.example.app\n");
        let (_folder, keys_file) = written("");
        let environment = vec![
            ("SIWA_APPLE__CLIENT_IDS_FILE".into(), path.clone().into()),
            ("SIWA_UPSTREAM__URL".into(), "http://app".into()),
            // A key of its own, and not the file of a key called `cache`.
            ("SIWA_JWKS__CACHE_FILE".into(), keys_file.clone().into()),
        ];
        let settings = load(&Flags::new(None), environment.clone()).unwrap();
        assert!(settings.apple.client_ids.iter().map(ClientId::as_str).eq(["com.example.app"]));
        assert_eq!(settings.jwks.cache_file, Some(keys_file));
        assert_eq!(settings.source.files, [(path, blake3::hash(b"com.example.app\n"))]);

        let mut both = environment;
        both.push(("SIWA_APPLE__CLIENT_IDS".into(), "com.other".into()));
        both.push(("SIWA_APPLE__LEEWAY_FILE".into(), "/no/such".into()));
        assert_eq!(
            lines(load(&Flags::new(None), both)),
            [
                "apple.client_ids: is set beside SIWA_APPLE__CLIENT_IDS_FILE: remove one of them (from env \
                 SIWA_APPLE__CLIENT_IDS)",
                "apple.leeway: cannot be read from /no/such: No such file or directory (os error 2) (from env \
                 SIWA_APPLE__LEEWAY_FILE)",
            ]
        );
    }

    #[test]
    fn a_list_in_the_environment_has_commas_or_is_written_as_in_toml() {
        for text in ["com.a, com.b,", "[\"com.a\", 'com.b']", " ['com.a','com.b'] "] {
            let environment = variables(&[
                ("SIWA_APPLE__CLIENT_IDS", text),
                ("SIWA_UPSTREAM__URL", "http://app"),
            ]);
            let settings = load(&Flags::new(None), environment).unwrap();
            assert!(
                settings.apple.client_ids.iter().map(ClientId::as_str).eq(["com.a", "com.b"]),
                "{text}"
            );
        }
    }

    #[test]
    fn an_algorithm_to_expect_is_not_asked_for() {
        let problem = problem_of("[jwks]\nalgorithms = ['ES256']");
        assert!(problem.contains("Apple signs identity tokens with RS256"), "{problem}");
    }

    #[test]
    fn what_kubernetes_says_about_a_service_called_siwa_is_no_mistake() {
        let environment = variables(&[
            ("SIWA_SERVICE_HOST", "10.0.0.1"),
            ("SIWA_PROXY_SERVICE_PORT_HTTP", "80"),
            ("SIWA_PROXY_PORT", "tcp://10.0.0.1:80"),
            ("SIWA_PROXY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ]);
        assert!(load(&flags(), environment).is_ok());
    }
}
