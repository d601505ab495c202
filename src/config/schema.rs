//! The JSON Schema of the file, for editors: asked of the sections themselves, and explained in the reference's words.
//!
//! Nothing is written down twice. Which values a key takes is found out by having its section read some; what it means is
//! the comment above it in `config/reference.toml`, which is tested to have every key.

use serde_json::{Map, Value as Json, json};
use toml::{Table, Value};

use super::sections::{Sections, known_groups, known_keys};

const REFERENCE: &str = include_str!("../../config/reference.toml");

/// What TOML tools understand: taplo, and with it Even Better TOML.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of `siwa-proxy.toml`.
#[must_use]
pub fn schema() -> Json {
    let mut properties = Map::new();
    for (name, keys) in known_keys() {
        let defaults = defaults_of(name);
        let section = object_of(&Probe::Section(name), keys, defaults.as_ref());
        properties.insert(name.to_owned(), section);
    }
    for (name, keys) in known_groups() {
        let group = Probe::group(name);
        let member = object_of(&group, keys, None);
        let description = describe(name, None);
        let group = match group {
            Probe::Listed(_) => json!({ "type": "array", "items": member }),
            Probe::Section(_) | Probe::Named(_) => {
                json!({ "type": "object", "additionalProperties": member })
            }
        };
        properties.insert(name.to_owned(), with_text(group, description));
    }
    json!({
        "$schema": DRAFT,
        "title": "siwa-proxy",
        "description": "The settings of siwa-proxy, the auth proxy for Sign in with Apple",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn defaults_of(section: &str) -> Option<Table> {
    let all = Table::try_from(Sections::default()).ok()?;
    all.get(section)?.as_table().cloned()
}

fn object_of(at: &Probe<'_>, keys: &[&str], defaults: Option<&Table>) -> Json {
    let property = |key: &&str| {
        let mut property = with_text(at.values_of(key), describe(at.name(), Some(key)));
        if let (Some(default), Some(property)) =
            (defaults.and_then(|keys| keys.get(*key)), property.as_object_mut())
        {
            property.insert("default".to_owned(), json!(default));
        }
        ((*key).to_owned(), property)
    };
    let properties: Map<String, Json> = keys.iter().map(property).collect();
    let object =
        json!({ "type": "object", "additionalProperties": false, "properties": properties });
    with_text(object, describe(at.name(), None))
}

fn with_text(mut schema: Json, text: Option<String>) -> Json {
    if let (Some(object), Some(text)) = (schema.as_object_mut(), text) {
        object.insert("description".to_owned(), Json::String(text));
    }
    schema
}

// === What a key takes ===

/// Where in the settings a value is tried out.
enum Probe<'a> {
    /// `[name]`.
    Section(&'a str),
    /// `[[name]]`.
    Listed(&'a str),
    /// `[name.NAME]`.
    Named(&'a str),
}

impl<'a> Probe<'a> {
    /// A group is a list, or its members have names: whichever can be read.
    fn group(name: &'a str) -> Self {
        let as_list = Value::Array(vec![Table::new().into()]);
        if can_be_read(name, as_list) { Self::Listed(name) } else { Self::Named(name) }
    }

    const fn name(&self) -> &'a str {
        match self {
            Self::Section(name) | Self::Listed(name) | Self::Named(name) => name,
        }
    }

    /// Whether `value` can stand at `key`; if not, why not.
    fn try_out(&self, key: &str, value: Value) -> Result<(), String> {
        let section: Value = Table::from_iter([(key.to_owned(), value)]).into();
        let (name, content) = match self {
            Self::Section(name) => (name, section),
            Self::Listed(name) => (name, Value::Array(vec![section])),
            Self::Named(name) => (name, Table::from_iter([("any".to_owned(), section)]).into()),
        };
        read(name, content)
    }

    fn takes(&self, key: &str, value: impl Into<Value>) -> bool {
        self.try_out(key, value.into()).is_ok()
    }

    /// The schema of the values that `key` takes.
    fn values_of(&self, key: &str) -> Json {
        let mut kinds = Vec::new();
        if self.takes(key, true) {
            kinds.push(json!({ "type": "boolean" }));
        }
        if let Some(least) = [-1, 0, 1].into_iter().find(|number| self.takes(key, *number)) {
            kinds.push(json!({ "type": "integer", "minimum": least }));
        }
        kinds.extend(self.texts_of(key, |text| text.into()));
        let in_a_list = |text: &str| Value::Array(vec![text.into()]);
        kinds.extend(
            self.texts_of(key, in_a_list).map(|items| json!({ "type": "array", "items": items })),
        );
        if kinds.is_empty() && self.takes(key, Value::Array(Vec::new())) {
            kinds.push(json!({ "type": "array", "items": { "type": "object" } }));
        }
        if self.takes(key, Table::new()) {
            kinds.push(inner_section(key));
        }
        match <[Json; 1]>::try_from(kinds) {
            Ok([kind]) => kind,
            Err(kinds) => json!({ "anyOf": kinds }),
        }
    }

    /// The schema of the texts that `key` takes, if it takes any where `within` puts them.
    fn texts_of(&self, key: &str, within: impl Fn(&str) -> Value) -> Option<Json> {
        /// No value of any kind but text.
        const NONSENSE: &str = "?";

        let pattern = pattern_of(self.name(), key);
        let refusal = match self.try_out(key, within(NONSENSE)) {
            Ok(()) => {
                let any = json!({ "type": "string" });
                return Some(
                    pattern.map_or(any, |pattern| json!({ "type": "string", "pattern": pattern })),
                );
            }
            Err(refusal) => refusal,
        };
        if let Some((_, variants)) = refusal.split_once("unknown variant `?`, expected ") {
            let names: Vec<&str> = variants.split('`').skip(1).step_by(2).collect();
            return Some(json!({ "enum": names }));
        }
        let kind = KINDS.into_iter().find(|kind| self.takes(key, within(kind.sample)))?;
        Some(json!({ "type": "string", "pattern": pattern.unwrap_or(kind.pattern) }))
    }
}

/// A kind of value that is written as text.
struct Kind {
    sample: &'static str,
    pattern: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { sample: "1s", pattern: r"^\s*([0-9]+\s*[a-zA-Z]+\s*)+$" },
    Kind { sample: "5KiB", pattern: r"^[0-9]+\s*([kKmMgG][iI]?)?[bB]?$" },
    Kind {
        sample: "127.0.0.1:1",
        pattern: r"^(systemd(:[0-9]+)?|unix:/.+|\[[0-9a-fA-F:.]+\]:[0-9]+|[0-9.]+:[0-9]+)$",
    },
    Kind { sample: "https://a", pattern: r"^[a-z][a-z0-9+.-]*:" },
];

/// What a text must look like, where reading it does not tell: it is judged only when all is read.
fn pattern_of(section: &str, key: &str) -> Option<&'static str> {
    match (section, key) {
        ("upstream" | "upstreams", "url") => Some(r"^((https?|h2c)://[^/?#@]+/?|unix:/.+)$"),
        ("jwks", "url") => {
            Some(r"^(https://|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?(/|$))")
        }
        ("jwks", "proxy") => Some("^https?://"),
        ("server", "trusted_peers" | "proxy_protocol_peers") => {
            Some(r"^(unix|[0-9a-fA-F:.]+(/[1-9][0-9]*)?)$")
        }
        _ => None,
    }
}

/// A section that is written inside another: it has the keys of the one that is called like it.
fn inner_section(name: &str) -> Json {
    match known_keys().into_iter().find(|(section, _)| *section == name) {
        Some((section, keys)) => object_of(&Probe::Section(section), keys, None),
        None => json!({ "type": "object" }),
    }
}

fn can_be_read(name: &str, content: Value) -> bool {
    read(name, content).is_ok()
}

fn read(name: &str, content: Value) -> Result<(), String> {
    let settings = Table::from_iter([(name.to_owned(), content)]);
    Sections::read(settings).map(drop).map_err(|error| error.to_string())
}

// === What a key means ===

/// The comment above `key` of `section` in the reference, or above the section itself.
fn describe(section: &str, key: Option<&str>) -> Option<String> {
    // The keys of further applications are those of the first, and explained there.
    let section = if section == "upstreams" && key.is_some() { "upstream" } else { section };
    let heads = [format!("[{section}]"), format!("# [[{section}]]"), format!("# [{section}.")];
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let is_head = |line: &&str| {
        line.starts_with(&heads[0]) || heads[1..].iter().any(|head| line.starts_with(head))
    };
    let head = lines.iter().position(is_head)?;
    let at = match key {
        None => head,
        Some(key) => {
            let (written, shown) = (format!("{key} = "), format!("# {key} = "));
            let is_key = |line: &&str| line.starts_with(&written) || line.starts_with(&shown);
            let section = lines[head + 1..].iter().take_while(|line| !line.starts_with('['));
            head + 1 + section.copied().position(|line| is_key(&line))?
        }
    };
    let is_prose = |line: &&&str| {
        let text = line.strip_prefix('#').map(str::trim);
        text.is_some_and(|text| !is_shown_head(text) && !is_shown_key(text))
    };
    let comment: Vec<&str> = lines[..at].iter().rev().take_while(is_prose).copied().collect();
    let lines = comment.iter().rev().map(|line| line.trim_start_matches('#'));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Whether a comment shows how a section begins: `[upstreams.reports]`, `[[route]]`. A reference to a flag, `[--upstream]`,
/// and a sentence that begins with a section's name are none.
fn is_shown_head(text: &str) -> bool {
    let name = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    name.is_some_and(|name| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']'))
    })
}

/// Whether a comment shows how a key is written: `url = "…"`.
fn is_shown_key(text: &str) -> bool {
    text.split_once(" = ").is_some_and(|(key, _)| {
        key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(section: &str, key: &str) -> Json {
        schema()["properties"][section]["properties"][key].clone()
    }

    #[test]
    fn what_a_key_takes_is_found_out_from_its_section() {
        for (section, key, expected) in [
            ("log", "format", json!({ "enum": ["auto", "text", "json"] })),
            ("server", "max_headers", json!({ "type": "integer", "minimum": 1 })),
            ("upstream", "forward_credential", json!({ "type": "boolean" })),
            ("identity", "realm", json!({ "type": "string" })),
            ("apple", "client_ids", json!({ "type": "array", "items": { "type": "string" } })),
            ("apple", "leeway", json!({ "type": "string", "pattern": KINDS[0].pattern })),
        ] {
            let mut found = property(section, key);
            found
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !matches!(name.as_str(), "description" | "default"));
            assert_eq!(found, expected, "{section}.{key}");
        }
        let size = property("server", "max_header_bytes");
        assert_eq!(size["anyOf"].as_array().unwrap().len(), 2, "{size}");
    }

    #[test]
    fn what_a_key_means_is_said_whole_in_paragraphs_and_beside_names_of_sections() {
        assert_eq!(
            property("identity", "headers")["description"],
            "The headers that are set, in upper or lower case. There are also \"X-Apple-Email-Verified\", \
             \"X-Apple-Private-Email\", \"X-Apple-Real-User-Status\", \"X-Apple-Client-Id\", \
             \"X-Apple-Transfer-Sub\" and \"X-Apple-Issuer\", which jwks.additional implies. Each more tells the \
             application more about a person; without the subject, the one name that never changes, it cannot tell \
             people apart, and an empty list only keeps strangers out. For an application that believes other names \
             already: \"oauth2-proxy\" stands for X-Forwarded-User (the subject) and X-Forwarded-Email, \"authelia\" \
             for Remote-User and Remote-Email, \"apple\" for the default, and \"NAME=VALUE\" for a name of your own, \
             X-… or Remote-…, and what it says: \"X-User=sub\", or email, client-id … as above. All X-Apple-* names \
             and all that are set are stripped from what callers send, and with the presets their kin, too \
             (X-Forwarded-Groups, X-Auth-Request-User, Remote-Groups …)."
        );
        let ext_authz = describe("ext_authz", None).unwrap();
        assert!(
            ext_authz.starts_with("Where Envoy asks (and Istio, and Envoy Gateway)"),
            "{ext_authz}"
        );
    }

    #[test]
    fn what_a_key_means_is_what_the_reference_says() {
        let leeway = property("apple", "leeway");
        assert_eq!(leeway["default"], "30s");
        assert!(
            leeway["description"]
                .as_str()
                .unwrap()
                .starts_with("How far our clock and Apple's may differ")
        );
        for (section, keys) in known_keys().into_iter().chain(known_groups()) {
            for key in keys {
                assert!(describe(section, Some(key)).is_some(), "{section}.{key}");
            }
        }
    }
}
