//! The settled values as somebody would write them, each with the place that it comes from: what `check --show` shows,
//! and what a reload compares.

use std::{borrow::Cow, fmt};

use toml::{Table, Value};
use url::Url;

use super::{
    merge::Spot,
    problems::{Finding, Place, Problems},
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
    from: Option<Place>,
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
        let mut keys = self.0.iter().flat_map(|section| &section.keys);
        let from = keys.find(|key| key.full_name == name).and_then(|key| key.from.clone());
        Finding { places: from.into_iter().collect(), key: name.to_owned(), what }.to_string()
    }

    /// The names of the keys whose values are not those of `other`, in the order of the manual.
    pub(crate) fn changes_since(&self, other: &Self) -> Vec<String> {
        let keys = |written: &Self| -> Vec<(String, Option<Value>)> {
            let all = written.0.iter().flat_map(|section| &section.keys);
            all.map(|key| (key.full_name.clone(), key.value.clone())).collect()
        };
        let (ours, theirs) = (keys(self), keys(other));
        let is_missing = |key: &&(String, Option<Value>), among: &[_]| !among.contains(*key);
        let changed = ours.iter().filter(|key| is_missing(key, &theirs));
        let is_gone = |name: &str| !ours.iter().any(|(ours, _)| ours == name);
        let gone = theirs.iter().filter(|(name, value)| value.is_some() && is_gone(name));
        changed.chain(gone).map(|(name, _)| name.clone()).collect()
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
            Key { name, value: content.and_then(|keys| keys.get(*name)).cloned(), full_name, from }
        };
        Self { heading, keys: keys.iter().map(key).collect() }
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
    match Url::parse(text) {
        Ok(url) if is_telling(&url) => {
            let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
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
        _ => Cow::Borrowed(text),
    }
}

/// Whether an address holds what may be a secret: a name, a password or a query.
fn is_telling(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some() || url.query().is_some()
}

#[cfg(test)]
mod tests {
    use super::{super::Settings, *};

    const MINIMAL: &str = include_str!("../../config/minimal.toml");

    fn written(more: &str) -> Written {
        Settings::from_toml(&format!("{MINIMAL}\n{more}")).unwrap().written().clone()
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
    fn a_password_in_an_address_is_not_shown() {
        for (text, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:pass@proxy:3128/", "http://(secret)@proxy:3128/"),
            ("redis://:p@ss@host", "redis://(secret)@host"),
            ("https://keys.example/jwks?token=hunter2", "https://keys.example/jwks?(secret)"),
            ("me@example.com", "me@example.com"),
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
