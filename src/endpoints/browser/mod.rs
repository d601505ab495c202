//! The door for browsers: people sign in at Apple's page, and a cookie says from then on who they are.
//!
//! ```text
//! GET /orders ── no session ──▶ 303 login ── Apple's button ──▶ 302 Apple ── form_post ──▶ callback ──▶ 303 /orders
//! ```
//!
//! | request | what comes of it |
//! |---|---|
//! | `GET {path}/login` | a page with Apple's button; or Apple's page at once |
//! | `GET {path}/start` | a [sign-in under way](pending), and on to Apple's page |
//! | `POST {path}/callback` | Apple's answer is [judged](callback), a session begins |
//! | `POST {path}/logout` | the session [ends](logout) |
//! | `POST {path}/android-callback` | Apple's answer, [handed on](android) to an Android app |
//!
//! Three cookies, each for what only it can do. The session's is `__Host-` and `SameSite=Lax`: no other host sets it, and no
//! other site's page posts with it. Apple's answer is a POST from Apple's page, to which no such cookie comes: what was
//! remembered for it is in cookies of their own, `SameSite=None`, sealed, for our paths and for minutes.
//!
//! Nothing that a request says leads anywhere but to [origins](origin) that the operator wrote.

mod android;
mod callback;
mod cookies;
mod form;
mod keeper;
mod login;
mod logout;
mod navigation;
mod notice;
mod origin;
mod page;
mod pending;
mod place;
mod random;
mod return_to;
mod settings;
mod succession;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION, ORIGIN, SET_COOKIE},
    request::Parts as Head,
};
use hyper::body::Incoming;

pub(in crate::endpoints) use self::keeper::{ForBrowser, carries_session};
pub(crate) use self::{
    android::AndroidApp,
    keeper::{BrowserKeeper, SESSION_COOKIE},
    origin::{Origin as BrowserOrigin, Origins},
    place::BrowserPlace,
    settings::{BrowserSettings, CrossOrigin, Login},
};
use self::{cookies::SetCookie, form::AppleForm, origin::Origin, return_to::ReturnTo};
use super::{
    exchange::{self, Exchange},
    gate::Gate,
    recorder::Recorder,
    whole_body::Readers,
};
use crate::{
    apple::TokenEndpoint,
    authn::{Policy, Rejection},
    clock::Clock,
    peers::Peers,
    telemetry::{Metrics, Outcome},
    upstream::Host,
    verify::{Sessions, Verifier},
};

/// Signs browsers in and out. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct BrowserDoor(Arc<BrowserParts>);

/// What a [`BrowserDoor`] is made of.
#[derive(Debug)]
pub(crate) struct BrowserParts {
    /// What the operator says.
    pub(crate) settings: Arc<BrowserSettings>,
    /// Decides who somebody is who comes with a session.
    pub(crate) gate: Arc<Gate>,
    /// Judges Apple's tokens.
    pub(crate) verifier: Verifier,
    /// Who of those whom Apple's tokens prove may sign in.
    pub(crate) policy: Policy,
    /// Makes sessions, and ends them.
    pub(crate) sessions: Sessions,
    /// Remembers which sign-ins are over, and whom to tell of them.
    pub(crate) recorder: Recorder,
    /// Redeems codes, if we have a key to sign with.
    pub(crate) token_endpoint: Option<TokenEndpoint>,
    /// Says what time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whose word about a request is believed.
    pub(crate) trusted_peers: Peers,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Whose forms are on their way.
    pub(crate) readers: Readers,
}

/// An answer, and what the request came to. Who is refused is answered by a page of some kind, too.
struct Answer {
    response: Response<Bytes>,
    came_to: Result<Outcome, Rejection>,
}

impl Answer {
    const fn new(response: Response<Bytes>, outcome: Outcome) -> Self {
        Self { response, came_to: Ok(outcome) }
    }
}

impl BrowserDoor {
    /// What the log and the metrics call it.
    const NAME: &str = "browser";

    pub(crate) fn new(parts: BrowserParts) -> Self {
        Self(Arc::new(parts))
    }

    /// What a request for `path` is for, if it comes to this door.
    pub(super) fn find(&self, path: &str) -> Option<BrowserPlace> {
        let settings = &self.0.settings;
        let place = BrowserPlace::find(&settings.path, path)?;
        (place != BrowserPlace::Android || settings.android.is_some()).then_some(place)
    }

    /// Answers a request that came to `place`.
    pub(super) async fn answer(
        self,
        place: BrowserPlace,
        request: Request<Incoming>,
    ) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let mut exchange = self.begin(&head);
        let responding = exchange.run(|exchange| self.0.respond(place, &head, body, exchange));
        let answered = responding.await;
        self.0.conclude(answered, exchange)
    }

    /// The answer to a request that is refused before anybody has looked at it.
    pub(super) fn refuse<B>(&self, request: &Request<B>, rejection: Rejection) -> Response<Bytes> {
        self.0.conclude(Err(rejection), self.begin(request))
    }

    fn begin<'a>(&self, head: impl Into<exchange::Head<'a>>) -> Exchange {
        let BrowserParts { trusted_peers, metrics, .. } = &*self.0;
        Exchange::of(head, Self::NAME, trusted_peers, metrics)
    }
}

impl BrowserParts {
    async fn respond(
        self: &Arc<Self>,
        place: BrowserPlace,
        head: &Head,
        body: Incoming,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let allow = place.methods();
        if !allow.split(", ").any(|method| method == head.method.as_str()) {
            return Err(Rejection::MethodNotAllowed { allow });
        }
        match place {
            BrowserPlace::Login => self.login(head, exchange).await,
            BrowserPlace::Start => self.start(head),
            BrowserPlace::Callback => {
                let form = AppleForm::read(&head.headers, body, &self.readers).await?;
                self.take_answer(head, form, exchange).await
            }
            BrowserPlace::Logout => self.log_out(head, exchange).await,
            BrowserPlace::Android => {
                self.check_sender(head)?;
                let form = AppleForm::read(&head.headers, body, &self.readers).await?;
                self.hand_on(&form)
            }
        }
    }

    /// Refuses what another page than Apple's posts: an app that does not check `state` would sign its user in as whoever that
    /// page pleases. Browsers say where a POST comes from.
    fn check_sender(&self, head: &Head) -> Result<(), Rejection> {
        self.origin_of(head)?;
        let apple = self.settings.authorize_url.origin().ascii_serialization();
        let is_apples = |origin: &HeaderValue| origin.as_bytes() == apple.as_bytes();
        if head.headers.get_all(ORIGIN).iter().all(is_apples) {
            return Ok(());
        }
        Err(Rejection::CrossOrigin)
    }

    fn hand_on(&self, form: &AppleForm) -> Result<Answer, Rejection> {
        let app = self.settings.android.as_ref().ok_or(Rejection::NotFound)?;
        Ok(Answer::new(app.open(form), Outcome::HandedOn))
    }

    /// What a request came to, on its way. Whoever asks here sees a page, whatever becomes of it.
    fn conclude(&self, answered: Result<Answer, Rejection>, exchange: Exchange) -> Response<Bytes> {
        let answered = answered.unwrap_or_else(|rejection| self.refused(rejection, None));
        exchange.finish(answered.response, answered.came_to.as_ref().copied())
    }

    fn refused(&self, rejection: Rejection, return_to: Option<&ReturnTo>) -> Answer {
        let response = self.settings.tell_of(&rejection, return_to);
        Answer { response, came_to: Err(rejection) }
    }

    /// The origin of ours that a request is for. Any other host is somebody's who has browsers connect here: it gets no
    /// cookie and no redirect.
    fn origin_of(&self, head: &Head) -> Result<&Origin, Rejection> {
        let host = Host::asked_for(&head.uri, &head.headers)?;
        let own = self.settings.origins.at(host.as_str());
        own.ok_or(Rejection::BadRequest("nobody signs in at this host"))
    }
}

/// Sends a browser on, by GET.
fn redirect(to: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    // Addresses are visible ASCII: of ours, of settings, or of a `ReturnTo`.
    if let Ok(mut to) = HeaderValue::try_from(to) {
        to.set_sensitive(true);
        headers.insert(LOCATION, to);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn set_cookie(headers: &mut HeaderMap, cookie: &SetCookie<'_>) {
    if let Some(value) = cookie.render() {
        headers.append(SET_COOKIE, value);
    }
}
