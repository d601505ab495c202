//! What apps ask of Apple: `/auth/token`, `/auth/revoke`, `/auth/usermigrationinfo`. Refusals are Apple's, and so are the
//! silences: a revocation of nothing is answered 200.

mod form;
mod grants;
mod migration;
mod refusal;
mod secret;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{Method, Request, Response, header::AUTHORIZATION, request};
use hyper::body::Incoming;
use serde_json::Value;

use super::{
    Apple, State,
    answer::{Answer, Body, json_of, read_body},
    faults::Fault,
};
use form::Form;
pub(super) use grants::Grants;
pub(super) use migration::Transfers;
use refusal::Refusal;

const TOKEN: &str = "/auth/token";
const REVOKE: &str = "/auth/revoke";
const MIGRATION: &str = "/auth/usermigrationinfo";

/// Requests that are remembered; older ones are forgotten.
const REMEMBERED: usize = 1000;

/// A request that an app sent, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// Where to.
    pub path: String,
    /// Its form, in its order; nothing if it was none.
    pub fields: Vec<(String, String)>,
}

impl Asked {
    /// The field `name`, if it was there.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// What was asked of late, and what goes wrong next.
#[derive(Debug, Default)]
pub(super) struct RequestLog(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    asked: VecDeque<Asked>,
    fault: Option<Fault>,
    /// How often it strikes; without end if there is no number.
    times: Option<u64>,
}

impl RequestLog {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>, times: Option<u64>) {
        let mut book = self.lock();
        book.fault = fault;
        book.times = times;
    }

    /// Notes a request, and says what is to go wrong with its answer.
    fn take(&self, asked: Asked) -> Option<Fault> {
        let mut book = self.lock();
        if book.asked.len() == REMEMBERED {
            book.asked.pop_front();
        }
        book.asked.push_back(asked);
        match &mut book.times {
            None => {}
            Some(0) => return None,
            Some(left) => *left -= 1,
        }
        book.fault.clone()
    }
}

impl Apple {
    /// What apps asked the token endpoint and its neighbours, the last thousand times.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.requests.lock().asked.iter().cloned().collect()
    }

    /// Spoils every answer of the token endpoint and its neighbours from here on. What was asked is done all the same, unless
    /// it is [refused](Fault::Refusal): a code is spent although nobody hears of it.
    pub fn fail_api_with(&self, fault: Fault) {
        self.state.requests.set_fault(Some(fault), None);
    }

    /// Likewise, but only the next `times` answers.
    pub fn fail_api_times(&self, fault: Fault, times: u64) {
        self.state.requests.set_fault(Some(fault), Some(times));
    }

    /// Answers properly again.
    pub fn recover_api(&self) {
        self.state.requests.set_fault(None, None);
    }
}

/// Whether this is the place to ask.
pub(super) fn is_at(method: &Method, path: &str) -> bool {
    method == Method::POST && matches!(path, TOKEN | REVOKE | MIGRATION)
}

pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let form = match read_body(body).await {
        Ok(body) => Form::parse(&head.headers, &body),
        Err(refusal) => Err(refusal.into()),
    };
    let fields = form.as_ref().map_or_else(|_| Vec::new(), |form| form.clone().into_fields());
    let fault = state.requests.take(Asked { path: head.uri.path().to_owned(), fields });
    let right = match form {
        Ok(_) if matches!(fault, Some(Fault::Refusal(..))) => json_of(&Value::Null),
        Ok(form) => act(state, &head, &form).unwrap_or_else(Refusal::render),
        Err(refusal) => refusal.render(),
    };
    match fault {
        Some(fault) => fault.spoil(right).await,
        None => Ok(right),
    }
}

/// Who asks comes first: nothing is said to anybody else.
fn act(state: &State, head: &request::Parts, form: &Form) -> Result<Response<Body>, Refusal> {
    let client_id = form.require("client_id")?;
    let asker = secret::check(state, form.require("client_secret")?, client_id)?;
    match head.uri.path() {
        TOKEN => grants::token(state, form, client_id),
        REVOKE => grants::revoke(state, form, client_id),
        _ => {
            let bearer = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
            let now = state.clock.now();
            if bearer.is_none_or(|token| !state.grants.may_migrate(token, client_id, now)) {
                return Err(Refusal::invalid_token());
            }
            migration::answer(state, form, &asker)
        }
    }
}

#[cfg(test)]
mod tests;
