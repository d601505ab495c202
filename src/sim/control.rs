//! The simulator's own endpoints: what a test in any language can ask of it over HTTP.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::clock::UnixTime;

use super::{
    State,
    answer::{Body, Refusal, json_of, parse_json, respond},
    event::Event,
    faults::Fault,
    presets::SUBJECT,
    token::TokenTemplate,
};

/// The page that explains the endpoints.
const PAGE: &str = include_str!("page.txt");

/// Does what `request` asks for.
pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answered = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/") => Ok(respond(StatusCode::OK, "text/plain; charset=utf-8", PAGE)),
        (&Method::POST, "/sim/token") => mint(state, body).await,
        (&Method::POST, "/sim/notification") => notify(state, body).await,
        (&Method::POST, "/sim/keys/rotate") => rotate(state, body).await,
        (&Method::POST, "/sim/keys/withdraw") => withdraw(state, body).await,
        (&Method::POST, "/sim/fault") => set_fault(state, body).await,
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such endpoint; GET / lists them")),
    };
    answered.unwrap_or_else(Refusal::render)
}

/// `POST /sim/token`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TokenOrder {
    preset: Preset,
    claims: Map<String, Value>,
    remove: Vec<String>,
    header: Map<String, Value>,
    issued_seconds_ago: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Preset {
    #[default]
    Native,
    RelayEmail,
    NoEmail,
    LegacyStringBooleans,
    WorkAndSchool,
    RefreshGrant,
    #[serde(rename = "minutes_2019")]
    Minutes2019,
}

impl Preset {
    fn template(&self) -> TokenTemplate {
        match self {
            Self::Native => TokenTemplate::native(),
            Self::RelayEmail => TokenTemplate::relay_email(),
            Self::NoEmail => TokenTemplate::no_email(),
            Self::LegacyStringBooleans => TokenTemplate::legacy_string_booleans(),
            Self::WorkAndSchool => TokenTemplate::work_and_school(),
            Self::RefreshGrant => TokenTemplate::refresh_grant(),
            Self::Minutes2019 => TokenTemplate::minutes_2019(),
        }
    }
}

async fn mint(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let TokenOrder { preset, claims, remove, header, issued_seconds_ago } =
        parse_json(body).await?;
    let mut template = preset.template().issued_at(seconds_ago(state, issued_seconds_ago));
    for (name, value) in claims {
        template = template.claim(&name, value);
    }
    for name in remove {
        template = template.without(&name);
    }
    for (name, value) in header {
        template = template.header(&name, value);
    }
    Ok(json_of(&json!({ "identity_token": state.mint(&template) })))
}

/// `POST /sim/notification`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotificationOrder {
    r#type: String,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    aud: Option<String>,
}

async fn notify(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let NotificationOrder { r#type, sub, email, aud } = parse_json(body).await?;
    let mut event = Event::new(&r#type, sub.as_deref().unwrap_or(SUBJECT));
    if let Some(email) = email {
        event = event.email(&email);
    }
    let mut template = TokenTemplate::notification(event);
    if let Some(aud) = aud {
        template = template.audience(&aud);
    }
    Ok(json_of(&json!({ "payload": state.mint(&template) })))
}

/// `POST /sim/keys/rotate`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RotateOrder {
    old_keys: OldKeys,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum OldKeys {
    #[default]
    Keep,
    Drop,
}

async fn rotate(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let RotateOrder { old_keys } = parse_json(body).await?;
    match old_keys {
        OldKeys::Keep => state.keys.rotate(),
        OldKeys::Drop => state.keys.replace_all(),
    };
    Ok(list_keys(state))
}

/// `POST /sim/keys/withdraw`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawOrder {
    kid: String,
}

async fn withdraw(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let WithdrawOrder { kid } = parse_json(body).await?;
    state
        .keys
        .withdraw(&kid)
        .ok_or_else(|| Refusal::bad_request(format!("no key {kid:?} is published")))?;
    Ok(list_keys(state))
}

async fn set_fault(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let order: Value = parse_json(body).await?;
    let fault = Fault::parse(order.clone())?;
    state.set_fault(fault);
    Ok(json_of(&order))
}

fn list_keys(state: &State) -> Response<Body> {
    json_of(&json!({ "signing": state.keys.signing().kid(), "published": state.keys.kids() }))
}

fn seconds_ago(state: &State, seconds: u64) -> UnixTime {
    UnixTime::from_secs(state.clock.now().as_secs().saturating_sub(seconds))
}
