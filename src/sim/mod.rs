//! A toy Apple on loopback, for the `demo` and `sim` subcommands, for our tests and for our users' tests.
//!
//! [`Apple`] publishes keys, mints what the genuine one would (and what it never would), and fails on request.
//! [`Echo`](echo::Echo) is an application to stand behind the proxy. Nothing in here knows the verifier: a misspelt
//! claim cannot be wrong on both sides.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use http::{
    HeaderValue, Method, Request, Response,
    header::{CACHE_CONTROL, PRAGMA, USER_AGENT},
};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::clock::Clock;

pub mod event;
pub mod presets;
pub mod token;

pub mod consents;
pub mod people;
pub mod sign_in;
pub mod teams;

mod codes;

pub mod faults;
pub mod keys;

pub mod echo;
pub mod site;

pub mod api;

mod answer;
mod authorize;
mod clients;
mod control;
mod deliver;
mod discovery;
mod host;
mod orders;
mod script;
mod sender;

use answer::{Answer, Body, json_of};
use api::{Grants, RequestLog, Transfers};
use clients::Clients;
use codes::AuthorizationCodes;
use consents::Consents;
use faults::Fault;
pub use host::StartError;
use host::{Application, Host};
use keys::{PublishedKeys, SigningKey};
use teams::Teams;
use token::TokenTemplate;

/// The issuer of Apple's tokens.
pub const ISSUER: &str = "https://appleid.apple.com";

/// Any free port of this machine, unreachable from others.
const ANY_LOOPBACK_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running toy Apple. Dropping it stops it.
#[derive(Debug)]
pub struct Apple {
    host: Host,
    state: Arc<State>,
}

/// What the sockets and the handle share.
#[derive(Debug)]
struct State {
    /// Set as soon as the port is known.
    url: OnceLock<String>,
    clock: Arc<dyn Clock>,
    keys: PublishedKeys,
    clients: Clients,
    consents: Consents,
    codes: AuthorizationCodes,
    teams: Teams,
    grants: Grants,
    transfers: Transfers,
    requests: RequestLog,
    fetches: watch::Sender<u64>,
    discoveries: watch::Sender<u64>,
    changing: Mutex<Changing>,
}

#[derive(Debug)]
struct Changing {
    issuer: String,
    discovery_issuer: Option<String>,
    fault: Option<Fault>,
    user_agent: Option<String>,
    certificate: Option<String>,
}

impl Apple {
    /// Starts on a free loopback port with one key, in the time that `clock` shows.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when there is no port to be had.
    pub async fn start(clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_on(ANY_LOOPBACK_PORT, clock).await
    }

    /// Starts on `address`; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// [`StartError::NotLoopback`] when other machines could reach `address`; [`StartError::Bind`] when it is taken.
    pub async fn start_on(address: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        let state = Arc::new(State::new(clock));
        let host = Host::start(address, application(Arc::clone(&state))).await?;
        drop(state.url.set(format!("http://{}", host.address())));
        Ok(Self { host, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// Where it listens, as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where the JWK Set is.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/auth/keys", self.url())
    }

    /// The `iss` of its tokens: [`ISSUER`], unless it was changed.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.state.lock().issuer.clone()
    }

    /// Issues as `issuer` from here on.
    pub fn set_issuer(&self, issuer: &str) {
        issuer.clone_into(&mut self.state.lock().issuer);
    }

    /// Where the discovery document is.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.url())
    }

    /// Names `issuer` in the discovery document, as Apple named another for a day in June 2025, whatever the tokens say;
    /// `None` names theirs.
    pub fn set_discovery_issuer(&self, issuer: Option<&str>) {
        self.state.lock().discovery_issuer = issuer.map(str::to_owned);
    }

    /// Waits until the discovery document has been asked for `count` times since the start.
    pub async fn discovered(&self, count: u64) {
        let mut discoveries = self.state.discoveries.subscribe();
        // The sender lives in `self`, so the channel cannot be closed.
        drop(discoveries.wait_for(|&discoveries| discoveries >= count).await);
    }

    /// Its keys, to rotate, publish and withdraw.
    #[must_use]
    pub fn keys(&self) -> &PublishedKeys {
        &self.state.keys
    }

    /// A token that says what `template` says, signed with the key that signs now.
    #[must_use]
    pub fn mint(&self, template: &TokenTemplate) -> String {
        self.state.mint(template)
    }

    /// The same, signed with `key`, published or not.
    #[must_use]
    pub fn mint_with(&self, key: &SigningKey, template: &TokenTemplate) -> String {
        template.sign(key, &self.issuer(), self.state.clock.now())
    }

    /// Spoils every fetch of the key set from here on.
    pub fn fail_with(&self, fault: Fault) {
        self.state.set_fault(Some(fault));
    }

    /// Answers fetches properly again. One that already hangs goes on hanging.
    pub fn recover(&self) {
        self.state.set_fault(None);
    }

    /// How often the key set was asked for, failures included.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        *self.state.fetches.borrow()
    }

    /// Waits until the key set has been asked for `count` times since the start.
    pub async fn fetched(&self, count: u64) {
        let mut fetches = self.state.fetches.subscribe();
        // The sender lives in `self`, so the channel cannot be closed.
        drop(fetches.wait_for(|&fetches| fetches >= count).await);
    }

    /// The `User-Agent` of the last fetch, if it had one.
    #[must_use]
    pub fn user_agent(&self) -> Option<String> {
        self.state.lock().user_agent.clone()
    }

    /// Ends every connection and refuses new ones, until [`restart`](Self::restart).
    pub async fn stop(&self) {
        self.host.stop().await;
    }

    /// Listens again on the same port, with the same keys.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when another program has taken the port meanwhile.
    pub async fn restart(&self) -> Result<(), StartError> {
        self.host.restart().await
    }
}

impl State {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            url: OnceLock::new(),
            clock,
            keys: PublishedKeys::new(SigningKey::generate()),
            clients: Clients::default(),
            consents: Consents::default(),
            codes: AuthorizationCodes::default(),
            teams: Teams::default(),
            grants: Grants::default(),
            transfers: Transfers::default(),
            requests: RequestLog::default(),
            fetches: watch::Sender::new(0),
            discoveries: watch::Sender::new(0),
            changing: Mutex::new(Changing {
                issuer: ISSUER.to_owned(),
                discovery_issuer: None,
                fault: None,
                user_agent: None,
                certificate: None,
            }),
        }
    }

    fn mint(&self, template: &TokenTemplate) -> String {
        let issuer = self.lock().issuer.clone();
        template.sign(&self.keys.signing(), &issuer, self.clock.now())
    }

    fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn application(state: Arc<State>) -> Application {
    Arc::new(move |request| {
        let state = Arc::clone(&state);
        Box::pin(async move { answer(&state, request).await })
    })
}

async fn answer(state: &State, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/auth/keys") => {}
        (&Method::GET, "/.well-known/openid-configuration") => return Ok(discover(state)),
        (_, "/auth/authorize") => return Ok(authorize::answer(state, request).await),
        (&Method::GET, path) if script::is_at(path) => return Ok(script::answer()),
        (method, path) if api::is_at(method, path) => return api::answer(state, request).await,
        _ => return Ok(control::answer(state, request).await),
    }
    let (right, fault) = take_fetch(state, &request);
    match fault {
        Some(fault) => fault.spoil(right).await,
        None => Ok(right),
    }
}

/// Notes a fetch of the key set and says how it is to be answered.
fn take_fetch(state: &State, request: &Request<Incoming>) -> (Response<Body>, Option<Fault>) {
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .map(|agent| String::from_utf8_lossy(agent.as_bytes()).into());
    let fault = {
        let mut changing = state.lock();
        changing.user_agent = user_agent;
        changing.fault.clone()
    };
    let right = jwk_set(state);
    // Last, so that whoever waits for the fetch finds everything else noted.
    state.fetches.send_modify(|fetches| *fetches += 1);
    (right, fault)
}

/// The discovery document.
fn discover(state: &State) -> Response<Body> {
    let issuer = {
        let changing = state.lock();
        changing.discovery_issuer.clone().unwrap_or_else(|| changing.issuer.clone())
    };
    let url = state.url.get().map_or("", String::as_str);
    let document = json_of(&discovery::document(&issuer, url));
    state.discoveries.send_modify(|discoveries| *discoveries += 1);
    document
}

/// The key set with the headers that Apple sends: nothing to cache by, and the order is another each time.
fn jwk_set(state: &State) -> Response<Body> {
    let turn = *state.fetches.borrow();
    let mut response = json_of(&state.keys.jwk_set(turn));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests;
