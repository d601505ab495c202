//! The settled values as somebody would write them, each with the place that it comes from: what `check --show` shows,
//! and what a reload compares.

use std::{borrow::Cow, fmt, fs, path::Path};

use toml::{Table, Value};
use url::Url;

use super::{
    merge::Spot,
    problems::{Note, Problems, WrittenAt},
    sections::{Sections, known_groups, known_keys},
};

/// Every key of every section, in the order of the manual. Printed, it is TOML without secrets.
#[derive(Clone, Debug, Default)]
pub struct Written(Vec<Section>);

#[derive(Clone, Debug)]
struct Section {
    /// `[server]`, `[[route]]`, `[upstreams.NAME]`.
    heading: String,
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    name: &'static str,
    /// As problems call it: `server.listen`, `route[1].path`.
    full_name: String,
    /// None for what is not set and has no default.
    value: Option<Value>,
    /// None for a default.
    from: Option<WrittenAt>,
    /// What is in the files that it names.
    contents: Contents,
}

/// What is in files; none for one that cannot be read. It does not print itself: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
struct Contents(Vec<Option<blake3::Hash>>);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(..)")
    }
}

impl Written {
    #[expect(clippy::expect_used, reason = "they were read from TOML, or are defaults")]
    pub(super) fn new(sections: &Sections, problems: &Problems) -> Self {
        let values = Table::try_from(sections).expect("sections can be written as TOML");
        let once = known_keys().into_iter().map(|(name, keys)| {
            let content = values.get(name).and_then(Value::as_table);
            Section::new(format!("[{name}]"), name, keys, content, problems)
        });
        let groups = known_groups().into_iter().flat_map(|(group, keys)| {
            members(group, values.get(group)).into_iter().map(move |(spot, content)| {
                let heading = match spot {
                    Spot::Listed(_) => format!("[[{group}]]"),
                    Spot::Only | Spot::Named(_) => format!("[{}]", spot.section(group)),
                };
                Section::new(heading, &spot.section(group), keys, Some(content), problems)
            })
        });
        Self(once.chain(groups).collect())
    }

    /// `what` about the key `name`, with the place that its value comes from.
    pub(crate) fn problem(&self, name: &str, what: String) -> String {
        let from = self.keys().find(|key| key.full_name == name).and_then(|key| key.from.clone());
        Note { places: from.into_iter().collect(), key: name.to_owned(), what }.to_string()
    }

    /// The names of the keys whose values are not those of `other`, or name files in which something else is, in the order
    /// of the manual.
    pub(crate) fn changes_since(&self, other: &Self) -> Vec<String> {
        let is_missing = |key: &&Key, among: &Self| !among.keys().any(|other| key.says_what(other));
        let changed = self.keys().filter(|key| is_missing(key, other));
        let is_gone = |gone: &Key| !self.keys().any(|key| key.full_name == gone.full_name);
        let gone = other.keys().filter(|key| key.value.is_some() && is_gone(key));
        changed.chain(gone).map(|key| key.full_name.clone()).collect()
    }

    /// The files that are named for the secrets in them, each with its key.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let keys = self.keys().filter(|key| key.names_secrets());
        keys.flat_map(|key| {
            let paths = paths_in(key.value.as_ref()).iter().filter_map(Value::as_str);
            paths.map(|path| (key.full_name.as_str(), Path::new(path)))
        })
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().flat_map(|section| &section.keys)
    }
}

/// The sections of a group, with what tells them apart.
fn members<'a>(group: &str, content: Option<&'a Value>) -> Vec<(Spot, &'a Table)> {
    match content {
        Some(Value::Array(list)) => {
            let tables = list.iter().enumerate();
            tables.filter_map(|(i, it)| Some((Spot::Listed(i), it.as_table()?))).collect()
        }
        Some(Value::Table(tables)) => {
            let named = |name: &String| Spot::Named(name.clone());
            tables.iter().filter_map(|(name, it)| Some((named(name), it.as_table()?))).collect()
        }
        _ => {
            debug_assert!(content.is_none(), "[{group}] is a list or has names");
            Vec::new()
        }
    }
}

impl Section {
    fn new(
        heading: String,
        section: &str,
        keys: &'static [&'static str],
        content: Option<&Table>,
        problems: &Problems,
    ) -> Self {
        let key = |name: &&'static str| {
            let full_name = format!("{section}.{name}");
            let from = problems.place_of(&full_name).cloned();
            let value = content.and_then(|keys| keys.get(*name)).cloned();
            Key { name, full_name, contents: Contents::read(name, value.as_ref()), value, from }
        };
        Self { heading, keys: keys.iter().map(key).collect() }
    }
}

impl Key {
    /// Whether there is a secret in each file that it names.
    fn names_secrets(&self) -> bool {
        const NAMES: [&str; 6] = [
            "admin_token_file",
            "client_key_file",
            "key_files",
            "private_key_file",
            "redis_password_file",
            "secret_files",
        ];
        NAMES.contains(&self.name) || self.full_name == "tls.key"
    }

    fn says_what(&self, other: &Self) -> bool {
        self.full_name == other.full_name
            && self.value == other.value
            && self.contents == other.contents
    }
}

/// One path, a list of them, or none.
fn paths_in(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(paths)) => paths,
        Some(path) => std::slice::from_ref(path),
        None => &[],
    }
}

impl Contents {
    /// Reads what `key` names: nothing, unless its name says that it names what somebody else writes and nothing but
    /// settings reads.
    fn read(key: &str, value: Option<&Value>) -> Self {
        let names_files = key.ends_with("_file") || key.ends_with("_files");
        let paths = paths_in(value);
        let read = |path: &Value| fs::read(path.as_str()?).ok().map(|text| blake3::hash(&text));
        // The proxy's own file changes with the keys.
        let is_read = names_files && key != "cache_file";
        Self(if is_read { paths.iter().map(read).collect() } else { Vec::new() })
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Section { heading, keys }) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            writeln!(f, "{gap}{heading}")?;
            for key in keys {
                writeln!(f, "{key}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    /// `listen = ["0.0.0.0:4180"]  # default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, from, .. } = self;
        let Some(value) = value else { return write!(f, "# {name} is not set") };
        let value = if is_secret(name) { Value::from(HIDDEN) } else { without_secrets(value) };
        match from {
            Some(place) => write!(f, "{name} = {value}  # {place}"),
            None => write!(f, "{name} = {value}  # default"),
        }
    }
}

/// What stands in a secret's place.
const HIDDEN: &str = "(secret)";

/// Whether the value of a key of this name is a secret itself, and not the name of a file that holds one.
fn is_secret(key: &str) -> bool {
    ["secret", "secrets", "password", "token", "tokens"]
        .contains(&key.rsplit('_').next().unwrap_or(key))
}

/// `value`, with nothing in it of what an address says about who asks.
fn without_secrets(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_credentials(text).into_owned()),
        Value::Array(items) => items.iter().map(without_secrets).collect::<Vec<_>>().into(),
        Value::Table(table) => {
            let entry = |(name, value): (&String, &Value)| {
                let value = if is_secret(name) { HIDDEN.into() } else { without_secrets(value) };
                (name.clone(), value)
            };
            table.iter().map(entry).collect::<Table>().into()
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            value.clone()
        }
    }
}

/// `https://somebody:password@host/path?query` without what only those who wrote it should know (RFC 3986 §3.2.1, §3.4).
fn without_credentials(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    if !Url::parse(text).is_ok_and(|url| is_telling(&url)) {
        return Cow::Borrowed(text);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once('@') {
        Some((_userinfo, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, _query)) => format!("{path}?{HIDDEN}"),
        None => path.to_owned(),
    };
    Cow::Owned(format!("{scheme}://{host}{path}"))
}

/// Whether an address holds what may be a secret: a name, a password or a query.
fn is_telling(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some() || url.query().is_some()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{NEEDED, Settings},
        *,
    };

    fn written(more: &str) -> Written {
        Settings::from_toml(&format!("{NEEDED}\n{more}")).unwrap().written().clone()
    }

    #[test]
    fn each_key_is_shown_with_its_place_and_is_toml() {
        let shown =
            written("[[route]]\npath = '/a'\npolicy = { require_email = true }").to_string();
        for line in [
            "url = \"http://127.0.0.1:3000/\"  # config.toml:5",
            "leeway = \"30s\"  # default",
            "# max_token_age is not set",
            "[[route]]",
            "path = \"/a\"  # config.toml:12",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
        }
    }

    #[test]
    fn what_is_shown_settles_to_the_same() {
        let first = written("[upstreams.b]\nurl = 'unix:/run/b.sock'\n[log]\nfilter = 'warn'");
        let second = Settings::from_toml(&first.to_string()).unwrap();
        assert!(second.written().changes_since(&first).is_empty());
    }

    #[test]
    fn changes_are_named_whether_they_come_or_go() {
        let (one, other) = (written("[log]\nfilter = 'warn'"), written("[[route]]\npath = '/a'"));
        let changes = other.changes_since(&one);
        assert_eq!(changes[0], "log.filter");
        assert!(changes.contains(&"route[1].path".to_owned()), "{changes:?}");
        assert!(one.changes_since(&other).contains(&"route[1].path".to_owned()));
    }

    #[test]
    fn a_file_with_something_else_in_it_is_a_change_of_the_key_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["ca.pem", "keys.json"].map(|name| folder.path().join(name));
        let [authorities, kept] = &paths;
        let settled = |text: &str| {
            for path in &paths {
                fs::write(path, text).unwrap();
            }
            let [authorities, kept] = [authorities.display(), kept.display()];
            written(&format!("[jwks]\nca_file = '{authorities}'\ncache_file = '{kept}'"))
        };
        let (one, same, other) = (settled("one"), settled("one"), settled("other"));
        assert_eq!(same.changes_since(&one), [""; 0]);
        assert_eq!(other.changes_since(&one), ["jwks.ca_file"]);
        fs::remove_file(authorities).unwrap();
        let gone = written(&format!(
            "[jwks]\nca_file = '{}'\ncache_file = '{}'",
            authorities.display(),
            kept.display()
        ));
        assert_eq!(gone.changes_since(&other), ["jwks.ca_file"]);
        assert!(format!("{one:?}").contains("Contents(..)"), "{one:?}");
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        for (text, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:pass@proxy:3128/", "http://(secret)@proxy:3128/"),
            ("redis://:p@ss@host", "redis://(secret)@host"),
            ("https://keys.example/jwks?token=hunter2", "https://keys.example/jwks?(secret)"),
            ("me@example.com", "me@example.com"),
            ("unix:/run/siwa-proxy.sock?mode=660", "unix:/run/siwa-proxy.sock?mode=660"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
        let shown = written("[jwks]\nproxy = 'http://me:hunter2@proxy:3128'").to_string();
        assert!(shown.contains("(secret)") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_key_whose_name_says_so_is_a_secret() {
        for (key, expected) in [
            ("client_secret", true),
            ("password", true),
            ("admin_tokens", true),
            ("key", false),
            ("key_files", false),
            ("max_token_age", false),
            ("tokens_per_second", false),
        ] {
            assert_eq!(is_secret(key), expected, "{key}");
        }
    }
}
