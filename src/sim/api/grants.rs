//! `/auth/token` and `/auth/revoke`.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Response, StatusCode};
use serde_json::json;

use super::{
    super::{
        State,
        answer::{Body, json_of, respond},
        codes::{Grant, opaque},
        token::TokenTemplate,
    },
    form::Form,
    refusal::{Refusal, uncached},
};
use crate::clock::UnixTime;

/// How long an access token lives.
const ACCESS_LIFETIME: Duration = Duration::from_hours(1);

/// Every token that was granted. Whether it is good depends on the consent behind it.
#[derive(Debug, Default)]
pub(in super::super) struct Grants(Mutex<HashMap<String, Granted>>);

/// What a token stands for.
#[derive(Clone, Debug)]
enum Granted {
    Refresh(Grant),
    Access(Grant, UnixTime),
    Migration { client_id: String, ends_at: UnixTime },
}

impl Grants {
    fn add(&self, kind: char, granted: Granted) -> String {
        let token = opaque(kind);
        self.lock().insert(token.clone(), granted);
        token
    }

    fn find(&self, token: &str) -> Option<Granted> {
        self.lock().get(token).cloned()
    }

    /// Whether `token` lets `client_id` migrate users at `now`: one for that, or of somebody who signed in.
    pub(super) fn may_migrate(&self, token: &str, client_id: &str, now: UnixTime) -> bool {
        match self.find(token) {
            Some(Granted::Migration { client_id: of, ends_at }) => of == client_id && now < ends_at,
            Some(Granted::Access(grant, ends_at)) => grant.client_id == client_id && now < ends_at,
            Some(Granted::Refresh(_)) | None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Granted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST /auth/token`.
pub(super) fn token(
    state: &State,
    form: &Form,
    client_id: &str,
) -> Result<Response<Body>, Refusal> {
    match form.require("grant_type")? {
        "authorization_code" => redeem(state, form, client_id),
        "refresh_token" => validate(state, form, client_id),
        "client_credentials" => grant_migration(state, form, client_id),
        _ => Err(Refusal::unsupported_grant_type()),
    }
}

fn redeem(state: &State, form: &Form, client_id: &str) -> Result<Response<Body>, Refusal> {
    form.allow(&["grant_type", "code", "redirect_uri"])?;
    let grant = state.redeem(form.require("code")?, client_id, form.get("redirect_uri"))?;
    let identity_token = grant.identity_token();
    let refresh_token = state.grants.add('r', Granted::Refresh(grant.clone()));
    let mut content = with_access_token(state, grant, identity_token);
    content["refresh_token"] = refresh_token.into();
    Ok(uncached(json_of(&content)))
}

/// No new refresh token, and an identity token that says next to nothing.
fn validate(state: &State, form: &Form, client_id: &str) -> Result<Response<Body>, Refusal> {
    form.allow(&["grant_type", "refresh_token"])?;
    let token = form.require("refresh_token")?;
    let Some(Granted::Refresh(grant)) = state.grants.find(token) else {
        return Err(Refusal::invalid_grant());
    };
    if grant.client_id != client_id || !state.consents.stands(&grant.consent) {
        return Err(Refusal::invalid_grant());
    }
    let identity_token =
        TokenTemplate::refresh_grant().audience(client_id).subject(&grant.person.subject);
    Ok(uncached(json_of(&with_access_token(state, grant, identity_token))))
}

fn with_access_token(
    state: &State,
    grant: Grant,
    identity_token: TokenTemplate,
) -> serde_json::Value {
    let ends_at = state.clock.now().saturating_add(ACCESS_LIFETIME);
    let access_token = state.grants.add('a', Granted::Access(grant, ends_at));
    let id_token = state.mint(&identity_token.access_token(&access_token));
    json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_LIFETIME.as_secs(),
        "id_token": id_token,
    })
}

fn grant_migration(state: &State, form: &Form, client_id: &str) -> Result<Response<Body>, Refusal> {
    form.allow(&["grant_type", "scope"])?;
    if form.get("scope") != Some("user.migration") {
        return Err(Refusal::invalid_scope());
    }
    let ends_at = state.clock.now().saturating_add(ACCESS_LIFETIME);
    let granted = Granted::Migration { client_id: client_id.to_owned(), ends_at };
    Ok(uncached(json_of(&json!({
        "access_token": state.grants.add('a', granted),
        "token_type": "Bearer",
        "expires_in": ACCESS_LIFETIME.as_secs(),
    }))))
}

/// `POST /auth/revoke`: 200 and no word, whether there was something to revoke or not.
pub(super) fn revoke(
    state: &State,
    form: &Form,
    client_id: &str,
) -> Result<Response<Body>, Refusal> {
    form.allow(&["token", "token_type_hint"])?;
    let token = form.require("token")?;
    let hint = form.get("token_type_hint");
    if hint.is_some_and(|hint| !matches!(hint, "refresh_token" | "access_token")) {
        return Err(Refusal::invalid_request("there is no such token_type_hint"));
    }
    if let Some((grant, kind)) = revocable(state, token) {
        if hint.is_some_and(|hint| hint != kind) {
            return Err(Refusal::invalid_request("the token is of another type than the hint"));
        }
        if grant.client_id != client_id {
            return Err(Refusal::invalid_grant());
        }
        state.consents.withdraw(&grant.person.subject, Some(client_id));
    }
    Ok(uncached(respond(StatusCode::OK, "application/json", "")))
}

/// What `token` stands for, if anything still, and of which type it is.
fn revocable(state: &State, token: &str) -> Option<(Grant, &'static str)> {
    let (grant, kind) = match state.grants.find(token)? {
        Granted::Refresh(grant) => (grant, "refresh_token"),
        Granted::Access(grant, ends_at) if state.clock.now() < ends_at => (grant, "access_token"),
        Granted::Access(..) | Granted::Migration { .. } => return None,
    };
    state.consents.stands(&grant.consent).then_some((grant, kind))
}
