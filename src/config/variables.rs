//! What the environment says: `SIWA_SECTION__KEY`, `SIWA_SECTION__KEY_FILE`, and OpenTelemetry's own variables. It is handed
//! in, as only `load.rs` reads it.

use std::{ffi::OsString, fs, path::PathBuf};

use super::{merge::Merged, names::nearest, problems::WrittenAt, sections::known_keys};
use crate::telemetry::{InvalidVariable, TraceSettings};

/// What begins the name of each of our variables.
const PREFIX: &str = "SIWA_";
/// Names the file, as `--config` does.
pub(super) const FILE_VARIABLE: &str = "SIWA_CONFIG";
/// Ends the name of a variable that holds not the value, but the name of a file with it.
const FILE_SUFFIX: &str = "_FILE";

/// What the variables of OpenTelemetry ask for, which have names of their own everywhere.
pub(super) fn traces(
    merged: &mut Merged,
    environment: &[(OsString, OsString)],
) -> Option<TraceSettings> {
    let value_of = |name: &str| {
        let (_, value) = environment.iter().find(|(other, _)| other == name)?;
        Some(value.to_string_lossy().into_owned())
    };
    TraceSettings::from_variables(value_of).unwrap_or_else(|faults| {
        for InvalidVariable { name, what } in faults {
            merged.problems().note_at(WrittenAt::Variable(name.to_owned()), name, what);
        }
        None
    })
}

/// A variable with our prefix.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: OsString,
}

impl Variable {
    pub(super) fn new((name, value): (OsString, OsString)) -> Option<Self> {
        let name = name.to_string_lossy().into_owned();
        let is_ours = name.starts_with(PREFIX) && !is_service_link(&name);
        is_ours.then_some(Self { name, value })
    }
}

/// Kubernetes describes each Service of the namespace to every container in such variables, and one of them may well be
/// called `siwa-proxy`: <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str) -> bool {
    let names_a_port = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(names_a_port)
}

/// Adds the value that `name` holds, or that is in the file whose name it holds.
pub(super) fn add_variable(merged: &mut Merged, Variable { name, value }: Variable) {
    if name == FILE_VARIABLE {
        return;
    }
    let place = WrittenAt::Variable(name.clone());
    if let Some((section, key)) = key_of(&name) {
        match value.into_string() {
            Ok(text) => merged.put_text(section, key, &text, place),
            Err(_bytes) => note_unreadable_value(merged, (section, key), place, "must be UTF-8"),
        }
    } else if let Some((section, key)) = name.strip_suffix(FILE_SUFFIX).and_then(key_of) {
        let file = PathBuf::from(value);
        match fs::read_to_string(&file) {
            Ok(text) => {
                // Editors end a file with a line break that nobody means.
                merged.put_text(section, key, text.trim_end_matches(['\r', '\n']), place);
                merged.has_read(file, &text);
            }
            Err(error) => {
                let what = format!("cannot be read from {}: {error}", file.display());
                note_unreadable_value(merged, (section, key), place, what);
            }
        }
    } else {
        note_no_variable(merged, &name);
    }
}

/// Nothing more is said about a key whose value could not be read.
fn note_unreadable_value(
    merged: &mut Merged,
    (section, key): (&str, &str),
    place: WrittenAt,
    what: impl Into<String>,
) {
    let name = format!("{section}.{key}");
    merged.problems().excuse(&name);
    merged.problems().note_at(place, &name, what);
}

/// Nobody can mean a variable and its file both.
pub(super) fn note_doubles(merged: &mut Merged, variables: &[Variable]) {
    for Variable { name, .. } in variables {
        let file = format!("{name}{FILE_SUFFIX}");
        if let Some((section, key)) = key_of(name)
            && key_of(&file).is_none()
            && variables.iter().any(|other| other.name == file)
        {
            let what = format!("is set beside {file}: remove one of them");
            let place = WrittenAt::Variable(name.clone());
            merged.problems().note_at(place, &format!("{section}.{key}"), what);
        }
    }
}

/// The section and the key that the variable `name` stands for.
fn key_of(name: &str) -> Option<(&'static str, &'static str)> {
    let all = known_keys()
        .into_iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| (section, *key)));
    all.into_iter().find(|(section, key)| variable_of(section, key) == name)
}

/// The variable that stands for `key` of `section`.
fn variable_of(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase())
}

fn note_no_variable(merged: &mut Merged, name: &str) {
    let known = known_keys();
    let dotted: Vec<String> = known
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
        .collect();
    let wrong = name.strip_prefix(PREFIX).unwrap_or(name).replace("__", ".");
    let what = match nearest(&wrong, dotted.iter().map(String::as_str)) {
        Some(meant) => {
            merged.problems().excuse(meant);
            let (section, key) = meant.split_once('.').unwrap_or((meant, ""));
            format!("is no variable of ours: did you mean {}?", variable_of(section, key))
        }
        None => "is no variable of ours: they are called SIWA_SECTION__KEY; remove it".to_owned(),
    };
    merged.problems().note_at(WrittenAt::Variable(name.to_owned()), name, what);
}
