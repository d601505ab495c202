//! One pile of values, each with the place where it was last set, and what it settles to.

use std::path::PathBuf;

use toml::{Table, Value};

use super::{
    Settings, Source,
    names::nearest,
    plain::plain,
    problems::{Problems, WrittenAt},
    reading::Step,
    secrets::Secrets,
    sections::{Sections, example_of, known_groups, known_keys, route},
    warnings,
    written::Written,
};
use crate::server::ListenOn;

/// What tells a section from others that are written alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// There is only one.
    Only,
    /// The place in a list, as of a `[[route]]`.
    Listed(usize),
    /// The name, as of an `[upstreams.NAME]`.
    Named(String),
}

impl Spot {
    /// What the section is called in problems.
    pub(super) fn section(&self, group: &str) -> String {
        match self {
            Self::Only => group.to_owned(),
            Self::Listed(index) => route::at(*index),
            Self::Named(name) => format!("{group}.{name}"),
        }
    }

    /// The section in `values`.
    fn of<'a>(&self, group: &str, values: &'a mut Table) -> Option<&'a mut Table> {
        let section = match (self, values.get_mut(group)?) {
            (Self::Only, section) => section,
            (Self::Listed(index), Value::Array(list)) => list.get_mut(*index)?,
            (Self::Named(name), Value::Table(group)) => group.get_mut(name)?,
            _ => return None,
        };
        section.as_table_mut()
    }
}

/// What has been read so far. A later value takes the place of an earlier one.
#[derive(Debug)]
pub(super) struct Merged {
    /// Section by section, key by key; every name of a key in it is known.
    values: Table,
    /// What stands where nothing was written; it also shows of which kind a value must be.
    defaults: Table,
    problems: Problems,
    files: Vec<(PathBuf, blake3::Hash)>,
}

impl Merged {
    #[expect(clippy::expect_used, reason = "constants, checked by a test")]
    pub(super) fn new() -> Self {
        let defaults =
            Table::try_from(Sections::default()).expect("the defaults can be written as TOML");
        Self { values: Table::new(), defaults, problems: Problems::default(), files: Vec::new() }
    }

    pub(super) const fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// Remembers that the file was read, and what was in it.
    pub(super) fn has_read(&mut self, file: PathBuf, text: &str) {
        self.files.push((file, blake3::hash(text.as_bytes())));
    }

    /// Whether there is a section of this name, which is written once.
    #[expect(clippy::unused_self, reason = "what is known is the pile's business")]
    pub(super) fn knows_section(&self, name: &str) -> bool {
        known_keys().into_iter().any(|(section, _)| section == name)
    }

    /// Adds an empty section at `spot` of a known `group`.
    pub(super) fn add_member(&mut self, group: &str, spot: &Spot) {
        let empty = || Value::Table(Table::new());
        match spot {
            Spot::Only => drop(self.values.entry(group).or_insert_with(empty)),
            Spot::Named(name) => {
                let members = self.values.entry(group).or_insert_with(empty);
                if let Value::Table(members) = members {
                    members.insert(name.clone(), empty());
                }
            }
            Spot::Listed(_) => {
                let members = self.values.entry(group).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(members) = members {
                    members.push(empty());
                }
            }
        }
    }

    /// Sets `key` of the section that was added at `spot` of `group`, if there is such a key.
    pub(super) fn put_at(
        &mut self,
        group: &str,
        spot: &Spot,
        key: &str,
        value: Value,
        place: WrittenAt,
    ) {
        let section = spot.section(group);
        if !keys_of(group).contains(&key) {
            return self.note_no_key(group, &section, key, place);
        }
        self.problems.set_at(&format!("{section}.{key}"), place);
        if let Some(keys) = spot.of(group, &mut self.values) {
            keys.insert(key.to_owned(), value);
        }
    }

    /// Sets `key` of a known `section`, if there is such a key.
    pub(super) fn put(&mut self, section: &str, key: &str, value: Value, place: WrittenAt) {
        self.add_member(section, &Spot::Only);
        self.put_at(section, &Spot::Only, key, value, place);
    }

    /// Sets `key` to what `text` means where it stands: a list has commas, or is written as in TOML.
    pub(super) fn put_text(&mut self, section: &str, key: &str, text: &str, place: WrittenAt) {
        // A key without a default is of the kind of its example.
        let example = || example_of(&format!("{section}.{key}"));
        let value = match self.default_of(section, key).cloned().or_else(example) {
            Some(Value::Array(_)) => list(text),
            Some(like) => typed(text, &like),
            None => text.into(),
        };
        self.put(section, key, value, place);
    }

    /// Sets `key` to what `words` mean: all of them for a list, else the last one.
    pub(super) fn put_words(
        &mut self,
        section: &str,
        key: &str,
        mut words: Vec<String>,
        place: WrittenAt,
    ) {
        if matches!(self.default_of(section, key), Some(Value::Array(_))) {
            let list = words.into_iter().map(Value::from).collect::<Vec<_>>();
            self.put(section, key, list.into(), place);
        } else if let Some(word) = words.pop() {
            self.put_text(section, key, &word, place);
        }
    }

    fn default_of(&self, section: &str, key: &str) -> Option<&Value> {
        self.defaults.get(section)?.get(key)
    }

    /// Turns the pile into settings.
    pub(super) fn settle(mut self, secrets: Secrets) -> Result<Settings, Problems> {
        let sections = self.read_sections();
        let written = Written::new(&sections.in_effect(), &self.problems);
        let settings = sections.check(secrets, &mut self.problems);
        if let Some(settings) = &settings {
            warnings::look(settings, &mut self.problems);
        }
        let (settings, warnings) = self.problems.or(settings)?;
        let source = Source { written, warnings, files: self.files };
        Ok(Settings { source, ..settings })
    }

    /// Where health and metrics are served, whatever else is wrong.
    pub(super) fn admin_listen(mut self) -> ListenOn {
        self.read_sections().admin_listen()
    }

    /// Reads all sections. A value of the wrong kind is noted and taken off the pile, until the rest can be read.
    fn read_sections(&mut self) -> Sections {
        loop {
            let error = match Sections::read(self.values.clone()) {
                Ok(sections) => return sections,
                Err(error) => error,
            };
            let (group, spot, key) = whereabouts(error.path());
            let name = format!("{}.{key}", spot.section(&group));
            let mend = self.mend(&group, &name, &key);
            let what = plain(&error.to_string());
            self.problems.note_unusable(&name, format!("{what}{mend}"));
            let taken_off = spot.of(&group, &mut self.values).and_then(|keys| keys.remove(&key));
            if taken_off.is_none() {
                // An error without a key would come again for ever.
                return Sections::default();
            }
        }
    }

    /// Shows how a value of `key` is written where this one stands.
    fn mend(&self, group: &str, name: &str, key: &str) -> String {
        // Sections of a group have the keys of one that is written once, or examples of their own.
        let section = if group == "upstreams" { "upstream" } else { group };
        let Some(example) = example_of(&format!("{section}.{key}"))
            .or_else(|| self.default_of(section, key).cloned())
        else {
            return String::new();
        };
        match (example, self.problems.place_of(name)) {
            (Value::String(text), Some(WrittenAt::Variable(_) | WrittenAt::Flag(_))) => {
                format!("; write it like `{text}`")
            }
            (example, _) => format!("; write it like `{example}`"),
        }
    }

    /// Notes that there is no such section; what it was meant to be is not missing, then.
    pub(super) fn note_no_section(&mut self, name: &str, place: WrittenAt) {
        let sections = known_keys().map(|(section, _)| section);
        let what = if name == "route" {
            "is a list: write each route below a [[route]] of its own".to_owned()
        } else if name == "upstreams" {
            "holds sections: write each application below an [upstreams.NAME]".to_owned()
        } else if sections.contains(&name) {
            self.problems.excuse(name);
            format!("is a section: write its keys below [{name}]")
        } else if let Some(meant) = nearest(name, all_names()) {
            self.problems.excuse(meant);
            format!("is no section: did you mean {}?", heading(meant))
        } else if let Some(meant) = section_with(name) {
            self.problems.excuse(&format!("{meant}.{name}"));
            format!("is no section: write it below [{meant}]")
        } else {
            let all: Vec<_> = all_names().collect();
            format!("is no section: there are {}", all.join(", "))
        };
        self.problems.note_at(place, name, what);
    }

    fn note_no_key(&mut self, group: &str, section: &str, key: &str, place: WrittenAt) {
        let keys = keys_of(group);
        let what = if matches!(key, "alg" | "algs" | "algorithm" | "algorithms") {
            "is no key, and needs none: Apple signs identity tokens with RS256, and no other algorithm is ever accepted \
             (ES256 is for client secrets, which Apple verifies); remove it"
                .to_owned()
        } else if let Some(meant) = nearest(key, keys.iter().copied()) {
            self.problems.excuse(&format!("{section}.{meant}"));
            format!("is no key: did you mean `{meant}`?")
        } else if let Some(meant) = section_with(key) {
            self.problems.excuse(&format!("{meant}.{key}"));
            format!("is no key of [{section}]: write it below [{meant}]")
        } else {
            format!("is no key: [{section}] has {}", keys.join(", "))
        };
        self.problems.note_at(place, &format!("{section}.{key}"), what);
    }
}

/// The group, the section in it and the key that `path` leads to.
fn whereabouts<'a>(mut path: impl Iterator<Item = &'a Step>) -> (String, Spot, String) {
    let mut next = || path.next();
    let name = |step: Option<&Step>| match step {
        Some(Step::Key(key)) => key.clone(),
        _ => String::new(),
    };
    let group = name(next());
    let is_group = known_groups().iter().any(|(known, _)| *known == group);
    let spot = match is_group.then(&mut next).flatten() {
        Some(Step::Index(index)) => Spot::Listed(*index),
        Some(Step::Key(key)) => Spot::Named(key.clone()),
        _ => Spot::Only,
    };
    (group, spot, name(next()))
}

/// The names of the sections that are written once, and of the groups.
fn all_names() -> impl Iterator<Item = &'static str> {
    known_keys().into_iter().chain(known_groups()).map(|(name, _)| name)
}

/// How the section or group `name` is written.
fn heading(name: &str) -> String {
    match name {
        "route" => "[[route]]".to_owned(),
        "upstreams" => "[upstreams.NAME]".to_owned(),
        name => format!("[{name}]"),
    }
}

/// The names of the keys of the section or group `name`.
fn keys_of(name: &str) -> &'static [&'static str] {
    let mut known = known_keys().into_iter().chain(known_groups());
    known.find(|(known, _)| *known == name).map_or(&[], |(_, keys)| keys)
}

/// The section that has a key of exactly this name.
fn section_with(key: &str) -> Option<&'static str> {
    known_keys().into_iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| section)
}

/// `one, two`, or `["one", "two"]` for items that have commas themselves.
fn list(text: &str) -> Value {
    if text.trim_start().starts_with('[')
        && let Ok(list @ Value::Array(_)) = text.trim().parse()
    {
        return list;
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(Value::from).collect::<Vec<_>>().into()
}

/// What `text` means where `like` could stand. If it cannot be that, it stays text, and the section complains.
fn typed(text: &str, like: &Value) -> Value {
    let meant = match like {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::String(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    };
    meant.unwrap_or_else(|| Value::from(text))
}
