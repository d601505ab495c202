//! Which names there are, read off the sections themselves, and which of them a wrong one was meant to be.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
    forward_to_deserialize_any,
};

/// The names of `T`'s keys, as serde derived them.
pub(super) fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(FieldProbe) {
        Err(Fields(fields)) => fields,
        Ok(_) => &[],
    }
}

/// The name among `known` that `wrong` was probably meant to be.
pub(super) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LEAST_LIKENESS: f64 = 0.6;

    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&wrong, name), name))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// A deserialiser that has nothing to read, and fails with what it was asked for.
struct FieldProbe;

/// What a [`FieldProbe`] was asked for.
#[derive(Debug)]
struct Fields(&'static [&'static str]);

impl<'de> Deserializer<'de> for FieldProbe {
    type Error = Fields;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fields> {
        Err(Fields(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fields> {
        Err(Fields(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl de::Error for Fields {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self(&[])
    }
}

impl std::error::Error for Fields {}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asked for the fields {:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_section_are_its_fields() {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Section {
            one: u8,
            two: String,
        }
        assert_eq!(keys_of::<Section>(), ["one", "two"]);
    }

    #[test]
    fn a_typo_is_recognised_and_a_stranger_is_not() {
        let known = ["client_ids", "issuer", "leeway"];
        assert_eq!(nearest("client_id", known), Some("client_ids"));
        assert_eq!(nearest("leway", known), Some("leeway"));
        assert_eq!(nearest("ISUSER", known), Some("issuer"));
        assert_eq!(nearest("lgo", ["log", "jwks"]), Some("log"));
        assert_eq!(nearest("password", known), None);
    }
}
