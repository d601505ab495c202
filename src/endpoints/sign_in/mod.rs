//! The door for apps: they sign in once, with the token that Apple gave them.
//!
//! | request | what is in it | what comes of it |
//! |---|---|---|
//! | `POST {path}` | [an identity token](posted), JSON or a form | 200 and who it is; a session, if we keep any |
//! | `POST {path}/nonce` | | 200 and a [nonce] to start a sign-in with |
//! | `POST {path}/refresh` | a refresh token | 200 and the [next tokens](refresh) |
//! | `POST {path}/logout` | an access or a refresh token | 200: the session [has ended](logout) |
//! | `DELETE {path}/account` | a refresh token of ours | 200 and what became of [the account](account) |
//!
//! What happens to a token, step by step, is in [`steps`].
//!
//! [Answers](answer) have the shape of the usual tutorial's server, or that of problem details for those who ask.

mod account;
mod answer;
mod logout;
mod name;
mod nonce;
mod place;
mod posted;
mod refresh;
mod steps;
mod tree;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::ORIGIN, request::Parts as Head};
use hyper::body::Incoming;

pub(in crate::endpoints) use self::name::UnverifiedName;
use self::{answer::Answer, nonce::Nonces, posted::Posted};
pub(crate) use self::{nonce::NonceRule, place::SignInPlace};
use super::{
    apple_check::AppleCheck,
    cors::{Cors, answer_preflight, is_preflight},
    exchange::{self, Exchange},
    recorder::Recorder,
    whole_body::Readers,
};
use crate::{
    apple::{RedirectUri, TokenEndpoint},
    authn::{Policy, Realm, Rejection},
    clock::Clock,
    peers::Peers,
    rate::Rate,
    telemetry::{Metrics, Outcome},
    verify::{Sessions, Verifier},
};

/// Where apps sign in, how, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignInSettings {
    /// The path, exactly; all others begin with it.
    pub(crate) path: Box<str>,
    /// How many requests one client may send in a second, in the long run.
    pub(crate) per_second: NonZeroU32,
    /// How many at once, after a silence.
    pub(crate) burst: NonZeroU32,
    /// How long ago Apple may have issued a token that signs in.
    pub(crate) max_token_age: Duration,
    /// Which nonces are asked for.
    pub(crate) nonce: NonceRule,
    /// Whether a token is good for one sign-in.
    pub(crate) single_use: bool,
    /// Which redirect URIs a code from the web may have been sent to. At any other, Apple says that it does not know the
    /// app: no caller is to have it say so.
    pub(crate) redirect_uris: Box<[RedirectUri]>,
    /// Whether applications are told of sign-ins.
    pub(crate) webhook: bool,
}

/// Signs apps in. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct AppDoor(Arc<Parts>);

/// What the door needs to know of the house.
#[derive(Debug)]
pub(crate) struct SignInParts {
    /// Judges tokens.
    pub(crate) verifier: Verifier,
    /// Makes sessions and nonces, if we keep any.
    pub(crate) sessions: Option<Sessions>,
    /// Redeems codes, if Apple knows us by a key.
    pub(crate) token_endpoint: Option<TokenEndpoint>,
    /// Remembers what was used, and tells applications.
    pub(crate) recorder: Recorder,
    /// Asks Apple whether consents still stand.
    pub(crate) apple_check: AppleCheck,
    /// Says what time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// Who may pass, wherever they go: nobody else need sign in.
    pub(crate) policy: Policy,
    /// Whose word about a client is believed.
    pub(crate) trusted_peers: Peers,
    /// Which pages may read the answers.
    pub(crate) cors: Cors,
    /// What rejections name.
    pub(crate) realm: Realm,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// Whose bodies are on their way.
    pub(crate) readers: Readers,
}

#[derive(Debug)]
struct Parts {
    settings: SignInSettings,
    rate: Rate,
    nonces: Option<Nonces>,
    house: SignInParts,
}

impl AppDoor {
    /// What the log and the metrics call it.
    const NAME: &str = "sign_in";
    /// The longest body that is read, in bytes.
    const MAX_BYTES: usize = 64 * 1024;
    /// How long a body may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(crate) fn new(settings: SignInSettings, house: SignInParts) -> Self {
        let rate = Rate::new(settings.per_second, settings.burst);
        let nonces = house
            .sessions
            .as_ref()
            .map(|sessions| Nonces::new(sessions.keys().clone(), Arc::clone(&house.clock)));
        Self(Arc::new(Parts { settings, rate, nonces, house }))
    }

    /// What a request for `path` is for, if it comes to this door.
    pub(super) fn find(&self, path: &str) -> Option<SignInPlace> {
        SignInPlace::find(&self.0.settings.path, path)
    }

    /// Answers a request that came to `place`.
    pub(super) async fn answer(
        self,
        place: SignInPlace,
        request: Request<Incoming>,
    ) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let mut exchange = self.begin(&head);
        let responding = exchange.run(|exchange| self.0.respond(place, &head, body, exchange));
        let answered = responding.await;
        self.conclude(answered, &head.headers, exchange)
    }

    /// The answer to a request that is refused before anybody has looked at it.
    pub(super) fn refuse<B>(&self, request: &Request<B>, rejection: Rejection) -> Response<Bytes> {
        self.conclude(Err(rejection), request.headers(), self.begin(request))
    }

    fn begin<'a>(&self, head: impl Into<exchange::Head<'a>>) -> Exchange {
        let SignInParts { trusted_peers, metrics, .. } = &self.0.house;
        Exchange::of(head, Self::NAME, trusted_peers, metrics)
    }

    /// What a request came to, on its way to whoever `asked_with` these headers.
    fn conclude(
        &self,
        answered: Result<Answer, Rejection>,
        asked_with: &HeaderMap,
        exchange: Exchange,
    ) -> Response<Bytes> {
        let SignInParts { cors, realm, .. } = &self.0.house;
        let (mut response, came_to) = match answered {
            Ok(Answer { response, outcome }) => (response, Ok(outcome)),
            Err(rejection) => (answer::refusal(&rejection, asked_with, realm), Err(rejection)),
        };
        cors.allow_origin(response.headers_mut(), asked_with.get(ORIGIN));
        exchange.finish(response, came_to.as_ref().copied())
    }
}

impl Parts {
    async fn respond(
        self: &Arc<Self>,
        place: SignInPlace,
        head: &Head,
        body: Incoming,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        if is_preflight(&head.method, &head.headers) {
            let response = answer_preflight(place.method(), "Authorization, Content-Type");
            return Ok(Answer { response, outcome: Outcome::Preflight });
        }
        if head.method.as_str() != place.method() {
            return Err(Rejection::MethodNotAllowed { allow: place.method() });
        }
        let client = exchange.arrival().client();
        self.rate.take(client).map_err(|retry_after| Rejection::RateLimited { retry_after })?;
        let (limit, patience) = (AppDoor::MAX_BYTES, AppDoor::PATIENCE);
        let body = self.house.readers.read(body, limit, patience).await?;
        match place {
            SignInPlace::SignIn => {
                self.sign_in(Posted::parse(&head.headers, &body)?, exchange).await
            }
            SignInPlace::Nonce => self.issue_nonce(),
            SignInPlace::Refresh => self.refresh(&head.headers, &body, exchange).await,
            SignInPlace::Logout => self.log_out(&head.headers, &body, exchange).await,
            SignInPlace::Account => self.delete_account(&head.headers, &body, exchange).await,
        }
    }

    /// The sessions, where there are any.
    fn sessions(&self) -> Result<&Sessions, Rejection> {
        self.house.sessions.as_ref().ok_or(Rejection::NotFound)
    }

    /// A nonce to start a sign-in with. There are none without a key to seal them.
    fn issue_nonce(&self) -> Result<Answer, Rejection> {
        let nonces = self.nonces.as_ref().ok_or(Rejection::NotFound)?;
        let nonce = nonces.issue().map_err(|_sealing| UNSEALED)?;
        let expires_in = Nonces::LIFETIME.as_secs();
        Ok(Answer::json(Outcome::NonceIssued, &answer::Nonce { nonce: nonce.as_str(), expires_in }))
    }
}

/// The system gives no random numbers.
const UNSEALED: Rejection = Rejection::Undecided("nothing can be sealed at the moment");
