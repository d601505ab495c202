//! What is wrong with the settings: everything at once, each with its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
};

/// Where the operator wrote something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WrittenAt {
    /// A line of a file, counted from 1.
    File { name: String, line: usize },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for WrittenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Everything that keeps settings from being used, one a line:
/// `key: what is wrong and the mend (from FILE:LINE | env NAME | flag --name)`.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Note>,
    /// What can be used, and deserves a second look.
    warnings: Vec<Note>,
    /// Where each key that was set was set last, by its full name: `jwks.url`.
    places: BTreeMap<String, WrittenAt>,
    silenced: Box<Silenced>,
}

/// Of what nothing more is said.
#[derive(Debug, Default)]
struct Silenced {
    /// Keys whose value is unusable: a default stands in for it, of which nothing can be said.
    spoiled: BTreeSet<String>,
    /// Keys and sections that are probably there, under a wrong name: nothing can be said if they seem not to be set.
    excused: BTreeSet<String>,
    /// Part of what was written could not be read: all keys are excused.
    unread: bool,
}

/// What deserves a second look in settings that can be used, one a line, in the manner of [`Problems`].
#[derive(Clone, Debug, Default)]
pub struct Warnings(Vec<Note>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Note {
    pub(super) places: Vec<WrittenAt>,
    pub(super) key: String,
    pub(super) what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)?;
        let places: Vec<String> = self.places.iter().map(WrittenAt::to_string).collect();
        if places.is_empty() { Ok(()) } else { write!(f, " (from {})", places.join(" and ")) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl Error for Problems {}

impl Warnings {
    /// Each, as a line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(Note::to_string)
    }
}

impl Problems {
    /// Each, as a line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.found.iter().map(Note::to_string)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Notes what is wrong with the value of `key`.
    pub(super) fn note(&mut self, key: &str, what: impl Into<String>) {
        self.note_about(key, &[key], what.into());
    }

    /// Notes that the values of two keys do not go together.
    pub(super) fn note_clash(&mut self, key: &str, other: &str, what: impl Into<String>) {
        self.note_about(key, &[key, other], what.into());
    }

    fn note_about(&mut self, key: &str, keys: &[&str], what: String) {
        if keys.iter().any(|key| self.is_unknowable(key)) {
            return;
        }
        let note = self.note_with_places(key, keys, what);
        self.found.push(note);
    }

    /// Notes that the value of `key` can be used, and why it is probably not what is meant.
    pub(super) fn warn(&mut self, key: &str, what: impl Into<String>) {
        let note = self.note_with_places(key, &[key], what.into());
        self.warnings.push(note);
    }

    fn note_with_places(&self, key: &str, keys: &[&str], what: String) -> Note {
        let places = keys.iter().filter_map(|key| self.place_at_or_above(key).cloned()).collect();
        Note { places, key: key.to_owned(), what }
    }

    /// Notes a problem with something that is no key, or not a known one.
    pub(super) fn note_at(&mut self, place: WrittenAt, name: &str, what: impl Into<String>) {
        self.found.push(Note { places: vec![place], key: name.to_owned(), what: what.into() });
    }

    /// Notes that the value of `key` is not even of the right kind. Its default stands in for it from here on, and
    /// nothing more is said about it.
    pub(super) fn note_unusable(&mut self, key: &str, what: impl Into<String>) {
        self.note(key, what);
        self.silenced.spoiled.insert(key.to_owned());
    }

    /// Does not call `key`, or the keys of a whole section, missing: it was written under a wrong name.
    pub(super) fn excuse(&mut self, key: &str) {
        self.silenced.excused.insert(key.to_owned());
    }

    /// Does not call any key missing: it may be in what could not be read.
    pub(super) fn excuse_all(&mut self) {
        self.silenced.unread = true;
    }

    /// Remembers that `key` was set at `place`.
    pub(super) fn set_at(&mut self, key: &str, place: WrittenAt) {
        self.places.insert(key.to_owned(), place);
    }

    /// Where `key` was set.
    pub(super) fn place_of(&self, key: &str) -> Option<&WrittenAt> {
        self.places.get(key)
    }

    /// Where `key` was set, or what it is written in.
    fn place_at_or_above(&self, key: &str) -> Option<&WrittenAt> {
        self.place_of(key).or_else(|| self.place_of(key.rsplit_once('.')?.0))
    }

    fn is_unknowable(&self, key: &str) -> bool {
        let section = key.split('.').next().unwrap_or(key);
        let is_excused = self.silenced.unread
            || self.silenced.excused.contains(key)
            || self.silenced.excused.contains(section);
        self.silenced.spoiled.contains(key) || (is_excused && !self.places.contains_key(key))
    }

    /// The warnings, whether or not there are problems.
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        Warnings(self.warnings.clone())
    }

    /// `settings` and the warnings about them, if nothing was found.
    pub(super) fn or<T>(mut self, settings: Option<T>) -> Result<(T, Warnings), Self> {
        // In the order in which an operator walks through a file; what has no place comes first.
        self.found.sort();
        self.warnings.sort();
        match settings {
            Some(settings) if self.found.is_empty() => Ok((settings, Warnings(self.warnings))),
            _ => Err(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: usize) -> WrittenAt {
        WrittenAt::File { name: "a.toml".to_owned(), line }
    }

    fn report(problems: Problems) -> String {
        problems.or(Some(())).unwrap_err().to_string()
    }

    #[test]
    fn each_problem_is_a_line_with_its_place_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        problems.set_at("b.two", line(10));
        problems.set_at("a.one", line(9));
        problems.note("b.two", "is wrong");
        problems.note("a.one", "is wrong too");
        problems.note("c.three", "is missing");
        problems.note_clash("a.one", "b.two", "are both set");
        assert_eq!(
            report(problems),
            "c.three: is missing\n\
             a.one: is wrong too (from a.toml:9)\n\
             a.one: are both set (from a.toml:9 and a.toml:10)\n\
             b.two: is wrong (from a.toml:10)"
        );
    }

    #[test]
    fn what_follows_from_a_problem_is_not_another() {
        let mut problems = Problems::default();
        problems.note_unusable("a.one", "is no number");
        problems.note("a.one", "is missing");
        problems.note_clash("a.two", "a.one", "is less than a.one");
        problems.excuse("b");
        problems.note("b.one", "is missing");
        assert_eq!(report(problems), "a.one: is no number");
    }

    #[test]
    fn nothing_is_missing_in_a_file_that_cannot_be_read() {
        let mut problems = Problems::default();
        problems.set_at("a.one", WrittenAt::Flag("--one"));
        problems.excuse_all();
        problems.note("a.one", "is wrong");
        problems.note("a.two", "is missing");
        assert_eq!(report(problems), "a.one: is wrong (from flag --one)");
    }
}
