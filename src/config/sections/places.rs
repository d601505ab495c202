//! Places to listen, as they are written: one, or a list.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::server::ListenOn;

/// One place to listen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place(pub(super) ListenOn);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text)
    }
}

fn parse<E: de::Error>(text: &str) -> Result<Place, E> {
    text.parse().map(Place).map_err(|wrong| E::custom(format!("`{text}` {wrong}")))
}

/// Several; a single one may be written without the brackets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Places(pub(super) Vec<Place>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> de::Visitor<'de> for OneOrMany {
    type Value = Places;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place to listen, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Places, E> {
        Ok(Places(vec![parse(text)?]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Places, A::Error> {
        let mut places = Vec::new();
        while let Some(place) = items.next_element()? {
            places.push(place);
        }
        Ok(Places(places))
    }
}
