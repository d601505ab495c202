//! Who has let which app in. The first time is told from the others by this alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::people::Person;

/// What an app asked to be told, by the `scope` of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scopes {
    /// `name`.
    pub name: bool,
    /// `email`.
    pub email: bool,
}

impl Scopes {
    /// Both.
    pub const NAME_AND_EMAIL: Self = Self { name: true, email: true };
}

/// What a person does about their address at the first sign-in. Apple does not ask again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmailChoice {
    /// "Share My Email".
    #[default]
    Share,
    /// "Hide My Email": the app gets a relay address. A managed account shares all the same.
    Hide,
}

/// One person's consent to one app, until it is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// Another for each consent, so that one given anew after a withdrawal revives nothing.
    number: u64,
    subject: String,
    client_id: String,
    /// The address that the app was granted, and whether it is a relay.
    pub(super) address: Option<(String, Relay)>,
}

/// Whether an address is the person's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    No,
    Yes,
}

/// Whether somebody has let this app in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    First,
    Again,
}

/// Every consent that stands.
#[derive(Debug, Default)]
pub(super) struct Consents(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    given: u64,
    standing: Vec<Consent>,
}

impl Consents {
    /// The consent of `person` to `client_id`: the one that stands, or else a new one on these terms.
    pub(super) fn give(
        &self,
        person: &Person,
        client_id: &str,
        asked: Scopes,
        choice: EmailChoice,
    ) -> (Consent, Visit) {
        let mut book = self.lock();
        if let Some(standing) = book.find(&person.subject, client_id) {
            return (standing.clone(), Visit::Again);
        }
        book.given += 1;
        let consent = Consent {
            number: book.given,
            subject: person.subject.clone(),
            client_id: client_id.to_owned(),
            address: asked.email.then(|| address(person, choice)),
        };
        book.standing.push(consent.clone());
        (consent, Visit::First)
    }

    /// Whether this person has let this app in.
    pub(super) fn has(&self, subject: &str, client_id: &str) -> bool {
        self.lock().find(subject, client_id).is_some()
    }

    /// Whether nobody has withdrawn this very consent.
    pub(super) fn stands(&self, consent: &Consent) -> bool {
        self.lock().standing.iter().any(|standing| standing.number == consent.number)
    }

    /// Ends what `subject` consented to, with one app or with all; how many consents that were.
    pub(super) fn withdraw(&self, subject: &str, client_id: Option<&str>) -> usize {
        let mut book = self.lock();
        let before = book.standing.len();
        book.standing.retain(|consent| {
            consent.subject != subject || client_id.is_some_and(|id| id != consent.client_id)
        });
        before - book.standing.len()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn find(&self, subject: &str, client_id: &str) -> Option<&Consent> {
        self.standing
            .iter()
            .find(|consent| consent.subject == subject && consent.client_id == client_id)
    }
}

fn address(person: &Person, choice: EmailChoice) -> (String, Relay) {
    match (choice, &person.relay_email) {
        (EmailChoice::Hide, Some(relay)) => (relay.clone(), Relay::Yes),
        (EmailChoice::Hide, None) | (EmailChoice::Share, _) => (person.email.clone(), Relay::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "com.example.app";

    #[test]
    fn only_the_first_consent_chooses_and_a_withdrawal_makes_the_next_one_the_first() {
        let (consents, jane) = (Consents::default(), Person::jane());
        let give = |choice| consents.give(&jane, APP, Scopes::NAME_AND_EMAIL, choice);

        let (first, visit) = give(EmailChoice::Hide);
        assert_eq!((visit, first.address.clone().unwrap().1), (Visit::First, Relay::Yes));
        assert_eq!(give(EmailChoice::Share), (first.clone(), Visit::Again));
        assert_eq!(consents.withdraw(&jane.subject, Some("com.example.other")), 0);
        assert!(consents.stands(&first) && consents.has(&jane.subject, APP));

        assert_eq!(consents.withdraw(&jane.subject, None), 1);
        assert!(!consents.stands(&first) && !consents.has(&jane.subject, APP));
        let (second, visit) = give(EmailChoice::Share);
        assert_eq!(
            (visit, second.address.clone()),
            (Visit::First, Some((jane.email.clone(), Relay::No)))
        );
        assert!(!consents.stands(&first) && consents.stands(&second));
    }

    #[test]
    fn a_managed_account_cannot_hide_and_nobody_is_told_what_they_did_not_ask() {
        let (consents, sam) = (Consents::default(), Person::sam());
        let (consent, _) = consents.give(&sam, APP, Scopes::NAME_AND_EMAIL, EmailChoice::Hide);
        assert_eq!(consent.address, Some((sam.email, Relay::No)));
        let name = Scopes { name: true, email: false };
        let (consent, _) = consents.give(&Person::zoe(), APP, name, EmailChoice::Share);
        assert_eq!(consent.address, None);
    }
}
