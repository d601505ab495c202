//! The simulator's own endpoints: what a test in any language can ask of it over HTTP.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::sleep;
use url::Url;

use crate::clock::UnixTime;

use super::{
    State,
    answer::{Body, Refusal, json_of, parse_json, respond},
    deliver::deliver,
    event::Event,
    faults::Fault,
    orders,
    presets::SUBJECT,
    sender::check_sender,
    teams::some_id,
    token::TokenTemplate,
};

/// The page that explains the endpoints.
const PAGE: &str = include_str!("page.txt");

/// Does what `request` asks for.
pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    obey(state, request).await.unwrap_or_else(Refusal::render)
}

async fn obey(state: &State, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::GET {
        check_sender(&parts)?;
    }
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/") => Ok(respond(StatusCode::OK, "text/plain; charset=utf-8", PAGE)),
        (&Method::POST, "/sim/token") => mint(state, body).await,
        (&Method::POST, "/sim/notification") => notify(state, body).await,
        (&Method::POST, "/sim/sign-in") => orders::sign_in(state, body).await,
        (&Method::POST, "/sim/consent/withdraw") => orders::withdraw_consent(state, body).await,
        (&Method::POST, "/sim/clients") => orders::register_client(state, body).await,
        (&Method::POST, "/sim/keys/rotate") => rotate(state, body).await,
        (&Method::POST, "/sim/keys/withdraw") => withdraw(state, body).await,
        (&Method::POST, "/sim/team-key") => issue_team_key(state, body).await,
        (&Method::POST, "/sim/fault") => set_fault(state, body).await,
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such endpoint; GET / lists them")),
    }
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
    #[serde(default)]
    as_documented: bool,
    #[serde(default)]
    happened_seconds_ago: u64,
    #[serde(default)]
    deliver_to: Option<Url>,
    #[serde(default)]
    delay_milliseconds: u64,
    #[serde(default = "once")]
    times: u8,
}

const fn once() -> u8 {
    1
}

impl NotificationOrder {
    fn template(&self, state: &State) -> TokenTemplate {
        let subject = self.sub.as_deref().unwrap_or(SUBJECT);
        let happened_at = seconds_ago(state, self.happened_seconds_ago);
        let mut event = Event::new(&self.r#type, subject).at(happened_at);
        if let Some(email) = &self.email {
            event = event.email(email);
        }
        if self.as_documented {
            event = event.as_documented();
        }
        let template = TokenTemplate::notification(event);
        match &self.aud {
            Some(aud) => template.audience(aud),
            None => template,
        }
    }
}

/// Mints a notification, and posts it as Apple does if it is told where to: late, and more than once, if so ordered.
async fn notify(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let order: NotificationOrder = parse_json(body).await?;
    let payload = state.mint(&order.template(state));
    let Some(url) = &order.deliver_to else {
        return Ok(json_of(&json!({ "payload": payload })));
    };
    sleep(Duration::from_millis(order.delay_milliseconds)).await;
    let certificate = state.lock().certificate.clone();
    let mut statuses = Vec::new();
    for _ in 0..order.times {
        let answered = deliver(url.clone(), &payload, certificate.as_deref()).await;
        statuses.push(answered.map_err(|error| {
            Refusal::new(StatusCode::BAD_GATEWAY, format!("cannot deliver: {error}"))
        })?);
    }
    Ok(json_of(&json!({ "payload": payload, "statuses": statuses })))
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

/// `POST /sim/team-key`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TeamKeyOrder {
    team_id: Option<String>,
    client_ids: Vec<String>,
}

async fn issue_team_key(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let TeamKeyOrder { team_id, client_ids } = parse_json(body).await?;
    let file = state.teams.issue(&team_id.unwrap_or_else(some_id), client_ids);
    Ok(json_of(&json!({
        "team_id": file.team_id,
        "key_id": file.key_id,
        "private_key": file.text,
    })))
}

async fn set_fault(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let order: Map<String, Value> = parse_json(body).await?;
    let mut fault = order.clone();
    let times = fault
        .remove("times")
        .map(|times| times.as_u64().ok_or_else(|| Refusal::bad_request("times must be a number")));
    let times = times.transpose()?;
    match fault.remove("of").as_ref().and_then(Value::as_str) {
        Some("api") => state.requests.set_fault(Fault::parse(fault.into())?, times),
        Some("keys") | None if times.is_none() => state.set_fault(Fault::parse(fault.into())?),
        _ => {
            return Err(Refusal::bad_request(
                r#""of" is "keys", or "api" with or without "times""#,
            ));
        }
    }
    Ok(json_of(&order.into()))
}

fn list_keys(state: &State) -> Response<Body> {
    json_of(&json!({ "signing": state.keys.signing().kid(), "published": state.keys.kids() }))
}

fn seconds_ago(state: &State, seconds: u64) -> UnixTime {
    UnixTime::from_secs(state.clock.now().as_secs().saturating_sub(seconds))
}
