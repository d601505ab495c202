//! Places to listen, as they are written: one, or a list.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::server::ListenOn;

/// One place to listen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListenPlace(pub(super) ListenOn);

impl Serialize for ListenPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ListenPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text)
    }
}

fn parse<E: de::Error>(text: &str) -> Result<ListenPlace, E> {
    text.parse().map(ListenPlace).map_err(|wrong| E::custom(format!("`{text}` {wrong}")))
}

/// Several; a single one may be written without the brackets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct ListenPlaces(pub(super) Vec<ListenPlace>);

impl<'de> Deserialize<'de> for ListenPlaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> de::Visitor<'de> for OneOrMany {
    type Value = ListenPlaces;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place to listen, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ListenPlaces, E> {
        Ok(ListenPlaces(vec![parse(text)?]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<ListenPlaces, A::Error> {
        let mut places = Vec::new();
        while let Some(place) = items.next_element()? {
            places.push(place);
        }
        Ok(ListenPlaces(places))
    }
}
