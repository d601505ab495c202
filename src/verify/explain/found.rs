//! What a token says, signed or not: to be shown, and for nothing else.
//!
//! Lenient where the verifier is strict (padding, duplicate members, the order of members), so that what is wrong can be
//! seen. Private to its folder: no decision can lean on it.

use std::fmt;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::super::token::UnverifiedToken;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The members of a JSON object in the order in which they were written, duplicates included.
pub(super) struct Found(Vec<(String, Value)>);

/// What the first two parts of `text` hold, as far as they can be read. Nothing of a text that is too long to be a token.
pub(super) fn read(text: &str) -> (Option<Found>, Option<Found>) {
    if text.len() > UnverifiedToken::MAX_BYTES {
        return (None, None);
    }
    let mut parts = text.split('.');
    (parts.next().and_then(decode), parts.next().and_then(decode))
}

fn decode(part: &str) -> Option<Found> {
    serde_json::from_slice(&LENIENT.decode(part).ok()?).ok()
}

impl Found {
    pub(super) fn members(&self) -> &[(String, Value)] {
        &self.0
    }
}

impl Serialize for Found {
    /// As an object: of duplicates, the last.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().cloned().collect::<Map<_, _>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Found;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Found(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_can_still_be_seen() {
        // {"kid":"a","alg":"none","kid":"b"} with padding, and a second part that is no JSON.
        let (header, claims) = read("eyJraWQiOiJhIiwiYWxnIjoibm9uZSIsImtpZCI6ImIifQ==.eyJh.x");
        let names: Vec<_> =
            header.as_ref().unwrap().members().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["kid", "alg", "kid"]);
        assert!(claims.is_none());
    }

    #[test]
    fn no_text_is_too_odd_to_be_looked_at() {
        let long = "e".repeat(UnverifiedToken::MAX_BYTES + 1);
        let deep = LENIENT.encode("[".repeat(5_000));
        for text in ["", ".", "..", "e30", "\u{0}.\u{fffd}", "W10.W10", &long, &deep] {
            drop(read(text));
        }
    }
}
