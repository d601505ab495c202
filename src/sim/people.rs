//! Who has an account at the toy Apple: a few people with a name, and whoever is typed in.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::presets;

/// Somebody with an Apple Account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Person {
    /// The `sub` of their tokens.
    pub subject: String,
    /// Their first name.
    pub given_name: String,
    /// Their last name.
    pub family_name: String,
    /// Their address.
    pub email: String,
    /// What apps get instead if they hide it; a managed account cannot.
    pub relay_email: Option<String>,
}

impl Person {
    /// Jane Appleseed, of whom all tokens speak that say nothing else.
    #[must_use]
    pub fn jane() -> Self {
        Self {
            subject: presets::SUBJECT.to_owned(),
            given_name: "Jane".to_owned(),
            family_name: "Appleseed".to_owned(),
            email: presets::EMAIL.to_owned(),
            relay_email: Some(presets::RELAY_EMAIL.to_owned()),
        }
    }

    /// Somebody whose name is not ASCII.
    #[must_use]
    pub fn zoe() -> Self {
        Self {
            subject: "000721.5d0c7a1f4e6b4f0c9a3e8b2d1c6f7a90.1432".to_owned(),
            given_name: "Zoë".to_owned(),
            family_name: "Ångström".to_owned(),
            email: "zoe@example.org".to_owned(),
            relay_email: Some("k3v9x2m7qp@privaterelay.appleid.com".to_owned()),
        }
    }

    /// A managed account at a school, whose address Apple has not verified.
    #[must_use]
    pub fn sam() -> Self {
        Self {
            subject: "001204.e81b3c90d2a74f65b0c9f1a2d3e4b5c6.0807".to_owned(),
            given_name: "Sam".to_owned(),
            family_name: "Okafor".to_owned(),
            email: "sam@school.example".to_owned(),
            relay_email: None,
        }
    }

    /// Those who are here without being typed in.
    pub(super) fn everybody() -> [Self; 3] {
        [Self::jane(), Self::zoe(), Self::sam()]
    }

    /// Whoever has this address: one of those who are here, or somebody made up, the same each time.
    #[must_use]
    pub fn of_address(email: &str) -> Self {
        let known = Self::everybody().into_iter().find(|person| person.email == email);
        known.unwrap_or_else(|| Self::made_up(email))
    }

    /// The one of those who are here with this `sub`; else somebody of whom nothing but that is known for sure.
    #[must_use]
    pub fn of_subject(subject: &str) -> Self {
        let known = Self::everybody().into_iter().find(|person| person.subject == subject);
        known.unwrap_or_else(|| Self {
            subject: subject.to_owned(),
            ..Self::made_up(&format!("{subject}@example.com"))
        })
    }

    fn made_up(email: &str) -> Self {
        let hex = hex_digest(email);
        let name = email.split('@').next().unwrap_or(email);
        Self {
            subject: format!("009999.{hex}.0000"),
            given_name: name.to_owned(),
            family_name: "Example".to_owned(),
            email: email.to_owned(),
            relay_email: Some(format!("{}@privaterelay.appleid.com", &hex[22..])),
        }
    }

    /// How they are called.
    pub(super) fn full_name(&self) -> String {
        format!("{} {}", self.given_name, self.family_name)
    }

    /// The name as the `user` member has it.
    pub(super) fn name_object(&self) -> Value {
        json!({ "firstName": self.given_name, "lastName": self.family_name })
    }
}

/// The first 16 bytes of the SHA-256, in hexadecimal.
fn hex_digest(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let number =
        hash.as_ref()[..16].iter().fold(0, |number, &byte| (number << 8) | u128::from(byte));
    format!("{number:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_one_person_and_a_subject_has_the_form_of_apples() {
        assert_eq!(Person::of_address(presets::EMAIL), Person::jane());
        let typed = Person::of_address("ada@example.net");
        assert_eq!(typed, Person::of_address("ada@example.net"));
        assert_ne!(typed.subject, Person::of_address("bob@example.net").subject);
        let everybody = Person::everybody();
        for person in everybody.iter().chain([&typed]) {
            let parts: Vec<usize> = person.subject.split('.').map(str::len).collect();
            assert_eq!(parts, [6, 32, 4], "{person:?}");
        }
    }

    #[test]
    fn a_subject_finds_those_who_are_here_and_makes_up_the_others() {
        assert_eq!(Person::of_subject(presets::SUBJECT), Person::jane());
        assert_eq!(Person::of_subject("001").subject, "001");
    }
}
