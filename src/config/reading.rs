//! Values → sections, by a deserializer that knows where it is.
//!
//! Everything that an operator can write is compiled for the deserializer that reads it. For toml's own, with one around it
//! that keeps the path, that is several times as much.

use std::{fmt, iter::Enumerate, vec};

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer,
        MapAccess, SeqAccess, Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};
use toml::{Table, Value, map};

/// One step into what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Unreadable {
    message: String,
    /// From the value outwards.
    steps: Vec<Step>,
}

impl Unreadable {
    /// The way to the value.
    pub(super) fn path(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().rev()
    }

    fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Error for Unreadable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), steps: Vec::new() }
    }

    /// Without the text: it may be a secret that was written in place of the name of its file.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let is_text = matches!(found, Unexpected::Str(_));
        let found = if is_text { Unexpected::Other("a string") } else { found };
        Self::custom(format_args!("invalid type: {found}, expected {expected}"))
    }
}

/// Reads what is written in `values`.
///
/// # Errors
///
/// The first value that cannot be read, and where it stands.
pub(super) fn read<T: DeserializeOwned>(values: Table) -> Result<T, Unreadable> {
    T::deserialize(Reader(Value::Table(values)))
}

struct Reader(Value);

impl Reader {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.0 {
            Value::String(text) => Unexpected::Str(text),
            Value::Integer(number) => Unexpected::Signed(*number),
            Value::Float(number) => Unexpected::Float(*number),
            Value::Boolean(flag) => Unexpected::Bool(*flag),
            Value::Datetime(_) => Unexpected::Other("date or time"),
            Value::Array(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            Value::Datetime(moment) => visitor.visit_string(moment.to_string()),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Value::Table(members) => visitor.visit_map(Members::new(members)),
        }
    }

    /// What is not written is absent, so that what is written is something.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    /// From a table alone: serde would also take a list of its members, whose names nobody could see.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let Value::Table(members) = self.0 else {
            return Err(Error::invalid_type(self.unexpected(), &visitor));
        };
        visitor.visit_map(Members::new(members))
    }

    /// From its name alone: no choice that settings leave has content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let Value::String(variant) = self.0 else {
            return Err(Error::invalid_type(self.unexpected(), &"a string"));
        };
        visitor.visit_enum(variant.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items(Enumerate<vec::IntoIter<Value>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        let Some((index, item)) = self.0.next() else { return Ok(None) };
        let read = seed.deserialize(Reader(item));
        read.map(Some).map_err(|error| error.at(Step::Index(index)))
    }
}

struct Members {
    rest: map::IntoIter<String, Value>,
    current: Option<(String, Value)>,
}

impl Members {
    fn new(members: Table) -> Self {
        Self { rest: members.into_iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unreadable> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.current = Some((name.clone(), value));
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Unreadable> {
        let (name, value) = self.current.take().ok_or_else(|| Error::custom("no value is left"))?;
        seed.deserialize(Reader(value)).map_err(|error| error.at(Step::Key(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        number: Option<u16>,
        list: Vec<Item>,
        named: BTreeMap<String, Item>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        One,
        Other,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        choice: Choice,
    }

    fn read_text(text: &str) -> Result<Written, Unreadable> {
        read(text.parse().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "number = 7\nlist = [{choice = 'one'}]\nnamed.a.choice = 'other'";
        let expected = Written {
            number: Some(7),
            list: vec![Item { choice: Choice::One }],
            named: [("a".to_owned(), Item { choice: Choice::Other })].into(),
        };
        assert_eq!(read_text(text).unwrap(), expected);
        assert_eq!(read_text("list = []\nnamed = {}").unwrap().number, None);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_way_to_it() {
        for (text, path, message) in [
            (
                "number = 'x'\nlist = []\nnamed = {}",
                "number",
                "invalid type: a string, expected u16",
            ),
            ("number = 70000", "number", "invalid value: integer `70000`, expected u16"),
            (
                "list = [{choice = 'one'}, {choice = 1}]",
                "list 1 choice",
                "invalid type: integer `1`, expected a string",
            ),
            ("list = [['one']]", "list 0", "invalid type: sequence, expected struct Item"),
            ("list = 1", "list", "invalid type: integer `1`, expected a sequence"),
            (
                "named.a.choice = 'two'",
                "named a choice",
                "unknown variant `two`, expected `one` or `other`",
            ),
            ("named.a.b = 1", "named a", "unknown field `b`, expected `choice`"),
            ("list = []", "", "missing field `named`"),
        ] {
            let error = read_text(text).unwrap_err();
            let steps = error.path().map(|step| match step {
                Step::Key(name) => name.clone(),
                Step::Index(index) => index.to_string(),
            });
            assert_eq!(steps.collect::<Vec<_>>().join(" "), path, "{text}");
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
