//! `/auth/usermigrationinfo`: whom a team knows under which `sub`, when an app moves from one team to another
//! (<https://developer.apple.com/documentation/technotes/tn3159>).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use http::Response;
use serde_json::json;

use super::{
    super::{
        State,
        answer::{Body, json_of},
        people::Person,
        teams::TeamKey,
    },
    form::Form,
    refusal::{Refusal, uncached},
};

/// Who is behind each transfer identifier, and for which team it was made.
#[derive(Debug, Default)]
pub(in super::super) struct Transfers(Mutex<HashMap<String, Transfer>>);

#[derive(Clone, Debug)]
struct Transfer {
    subject: String,
    target: String,
}

impl Transfers {
    /// The same for the same subject and target, however often it is asked for.
    fn add(&self, subject: &str, target: &str) -> String {
        let id = format!("{}.r{}", &subject[..6], hex_of(&format!("{subject} to {target}")));
        let transfer = Transfer { subject: subject.to_owned(), target: target.to_owned() };
        self.lock().insert(id.clone(), transfer);
        id
    }

    fn find(&self, id: &str) -> Option<Transfer> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Transfer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST /auth/usermigrationinfo`: the team that gives asks by `sub` and `target`, the one that takes by `transfer_sub`.
pub(super) fn answer(
    state: &State,
    form: &Form,
    asker: &TeamKey,
) -> Result<Response<Body>, Refusal> {
    match form.get("transfer_sub") {
        Some(id) => take(state, form, id, asker),
        None => give(state, form, asker),
    }
}

fn give(state: &State, form: &Form, asker: &TeamKey) -> Result<Response<Body>, Refusal> {
    form.allow(&["sub", "target"])?;
    let (subject, target) = (form.require("sub")?, form.require("target")?);
    if !is_subject(subject) {
        return Err(Refusal::invalid_request("there is no such sub"));
    }
    if target.len() != 10 || target == asker.team_id {
        return Err(Refusal::invalid_request("target is not the Team ID of another team"));
    }
    Ok(uncached(json_of(&json!({ "transfer_sub": state.transfers.add(subject, target) }))))
}

fn take(state: &State, form: &Form, id: &str, asker: &TeamKey) -> Result<Response<Body>, Refusal> {
    form.allow(&["transfer_sub"])?;
    let found = state.transfers.find(id).filter(|transfer| transfer.target == asker.team_id);
    let Transfer { subject, target } =
        found.ok_or_else(|| Refusal::invalid_request("there is no such transfer_sub"))?;
    let new = hex_of(&format!("{subject} of {target}"));
    let person = Person::of_subject(&subject);
    let (email, is_private) = match person.relay_email {
        Some(relay) => (relay, true),
        None => (person.email, false),
    };
    Ok(uncached(json_of(&json!({
        "sub": format!("{}.{new}.{}", &subject[..6], &subject[40..]),
        "email": email,
        "is_private_email": is_private,
    }))))
}

/// `NNNNNN.<32 hex>.NNNN`
fn is_subject(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let [first, middle, last] = parts[..] else { return false };
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = middle.bytes().all(|byte| byte.is_ascii_hexdigit());
    (first.len(), middle.len(), last.len()) == (6, 32, 4)
        && are_digits(first)
        && are_digits(last)
        && is_hex
}

/// The first 16 bytes of the SHA-256, in hexadecimal.
fn hex_of(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let number =
        hash.as_ref()[..16].iter().fold(0, |number, &byte| (number << 8) | u128::from(byte));
    format!("{number:032x}")
}
