//! One pile of values, each with the place where it was last set, and what it settles to.

use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::{
    Settings,
    names::nearest,
    problems::{Place, Problems},
    sections::{Sections, example_of, known_keys},
};

/// What has been read so far. A later value takes the place of an earlier one.
#[derive(Debug)]
pub(super) struct Merged {
    /// Section by section, key by key; every name in it is known.
    values: Table,
    /// What stands where nothing was written; it also shows of which kind a value must be.
    defaults: Table,
    problems: Problems,
}

impl Merged {
    #[expect(clippy::expect_used, reason = "constants, checked by a test")]
    pub(super) fn new() -> Self {
        let defaults =
            Table::try_from(Sections::default()).expect("the defaults can be written as TOML");
        Self { values: Table::new(), defaults, problems: Problems::default() }
    }

    pub(super) const fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    pub(super) fn knows_section(&self, name: &str) -> bool {
        self.defaults.contains_key(name)
    }

    /// Sets `key` of a known `section`, if there is such a key.
    pub(super) fn put(&mut self, section: &str, key: &str, value: Value, place: Place) {
        if !keys_of(section).contains(&key) {
            return self.note_no_key(section, key, place);
        }
        self.problems.set_at(&format!("{section}.{key}"), place);
        let keys = self.values.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = keys {
            keys.insert(key.to_owned(), value);
        }
    }

    /// Sets `key` to what `text` means where it stands: a list has commas.
    pub(super) fn put_text(&mut self, section: &str, key: &str, text: &str, place: Place) {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let value = match self.default_of(section, key) {
            Some(Value::Array(_)) => items.map(Value::from).collect::<Vec<_>>().into(),
            Some(default) => typed(text, default),
            // A key without a default is written as text.
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
        place: Place,
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
    pub(super) fn settle(mut self) -> Result<Settings, Problems> {
        let sections = self.read_sections();
        let settings = sections.check(&mut self.problems);
        self.problems.or(settings)
    }

    /// Reads all sections. A value of the wrong kind is noted and taken off the pile, until the rest can be read.
    fn read_sections(&mut self) -> Sections {
        loop {
            let values = Value::Table(self.values.clone());
            let error = match serde_path_to_error::deserialize(values) {
                Ok(sections) => return sections,
                Err(error) => error,
            };
            let mut names = error.path().iter().filter_map(|segment| match segment {
                Segment::Map { key } => Some(key.as_str()),
                Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
            });
            let (section, key) = (names.next().unwrap_or(""), names.next().unwrap_or(""));
            let name = format!("{section}.{key}");
            let mend = self.mend(section, key);
            self.problems.note_unusable(&name, format!("{}{mend}", error.inner().message()));
            let taken_off = match self.values.get_mut(section) {
                Some(Value::Table(keys)) => keys.remove(key),
                _ => None,
            };
            if taken_off.is_none() {
                // An error without a key would come again for ever.
                return Sections::default();
            }
        }
    }

    /// Shows how a value of `key` is written where this one stands.
    fn mend(&self, section: &str, key: &str) -> String {
        let name = format!("{section}.{key}");
        let Some(example) = example_of(&name).or_else(|| self.default_of(section, key).cloned())
        else {
            return String::new();
        };
        match (example, self.problems.place_of(&name)) {
            (Value::String(text), Some(Place::Variable(_) | Place::Flag(_))) => {
                format!("; write it like `{text}`")
            }
            (example, _) => format!("; write it like `{example}`"),
        }
    }

    /// Notes that there is no such section; what it was meant to be is not missing, then.
    pub(super) fn note_no_section(&mut self, name: &str, place: Place) {
        let sections = known_keys().map(|(section, _)| section);
        let what = if sections.contains(&name) {
            self.problems.excuse(name);
            format!("is a section: write its keys below [{name}]")
        } else if let Some(meant) = nearest(name, sections) {
            self.problems.excuse(meant);
            format!("is no section: did you mean [{meant}]?")
        } else if let Some(meant) = section_with(name) {
            self.problems.excuse(&format!("{meant}.{name}"));
            format!("is no section: write it below [{meant}]")
        } else {
            format!("is no section: there are {}", sections.join(", "))
        };
        self.problems.note_at(place, name, what);
    }

    fn note_no_key(&mut self, section: &str, key: &str, place: Place) {
        let keys = keys_of(section);
        let what = if let Some(meant) = nearest(key, keys.iter().copied()) {
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

/// The names of the keys of `section`.
fn keys_of(section: &str) -> &'static [&'static str] {
    known_keys().into_iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The section that has a key of exactly this name.
fn section_with(key: &str) -> Option<&'static str> {
    known_keys().into_iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| section)
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
