//! JSON as a security boundary reads it: one object, unique member names at every depth, little nesting.
//!
//! RFC 8259 §4 leaves duplicate names open, and two readers that pick different ones disagree about who the user is;
//! RFC 7515 §4 and RFC 7519 §4 let us refuse them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// A JSON object, parsed strictly: its members in their order, which are so few that to look through them is to find one.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Name<'a>, Value)>);

/// The name of a member, as it stands in the text unless something in it is escaped.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Object<'_> {
    /// The value of the member `name`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find_map(|(other, value)| (*other == *name).then_some(value))
    }

    /// Whether there is a member `name`.
    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(Name(name), value)| (name.as_ref(), value))
    }

    /// Whether two members have one name.
    fn repeats_a_name(&self) -> bool {
        // By length first, in which most differ.
        let mut names: Vec<_> = self.iter().map(|(name, _)| (name.len(), name)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    }
}

impl From<Object<'_>> for Map<String, Value> {
    fn from(object: Object<'_>) -> Self {
        object.0.into_iter().map(|(Name(name), value)| (name.into_owned(), value)).collect()
    }
}

#[cfg(test)]
impl From<Map<String, Value>> for Object<'_> {
    fn from(members: Map<String, Value>) -> Self {
        Self(members.into_iter().map(|(name, value)| (Name(name.into()), value)).collect())
    }
}

/// The members of the longest token of Apple's, and some more.
const USUAL_MEMBERS: usize = 16;

/// Apple nests two levels (a notification's `events`); more is nobody's token.
const DEEPEST: u8 = 8;

/// Parses exactly one JSON object from `bytes`.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Object<'_>, serde_json::Error> {
    // Once for all, instead of for each string in it.
    let text = str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = reader.deserialize_any(Members(Strict { depth: DEEPEST }))?;
    reader.end()?;
    Ok(object)
}

/// The object itself, whose values are `Strict`.
struct Members(Strict);

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object<'de>, A::Error> {
        let inner = self.0.deeper()?;
        let mut object = Object(Vec::with_capacity(USUAL_MEMBERS));
        while let Some(name) = members.next_key()? {
            object.0.push((name, members.next_value_seed(inner)?));
        }
        if object.repeats_a_name() {
            return Err(A::Error::custom("duplicate member name"));
        }
        Ok(object)
    }
}

/// A boolean as Apple writes it: as a string until February 2024, as a boolean since, and either is documented
/// (<https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token>).
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

#[derive(Clone, Copy)]
struct Strict {
    depth: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        self.depth
            .checked_sub(1)
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("duplicate member name"));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        parse_object(text.as_bytes()).is_err()
    }

    #[test]
    fn an_object_is_read_with_all_its_members() {
        let object = parse_object(br#" {"a":1,"b":[true,null,-2,"x"],"c":{"d":1.5}} "#).unwrap();
        assert_eq!(
            Value::Object(object.into()),
            serde_json::json!({"a":1,"b":[true,null,-2,"x"],"c":{"d":1.5}})
        );
    }

    #[test]
    fn duplicate_members_are_refused_at_every_depth_and_in_every_spelling() {
        assert!(refused(r#"{"a":1,"a":1}"#));
        assert!(refused(r#"{"a":1,"\u0061":2}"#));
        assert!(refused(r#"{"x":[{"a":1,"a":2}]}"#));
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for text in [
            "",
            "1",
            "[]",
            "null",
            "{} {}",
            "{}x",
            "{",
            r#"{"a":1,}"#,
            "\u{feff}{}",
            r#"{"a":1e400}"#,
        ] {
            assert!(refused(text), "{text}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs_stack() {
        let deep =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(!refused(&deep(7)));
        assert!(refused(&deep(8)));
        assert!(refused(&deep(1_000_000)));
    }
}
