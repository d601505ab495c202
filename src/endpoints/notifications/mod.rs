//! The door for Apple's server-to-server notifications.
//!
//! 200 means that an event is stored: Apple may forget it. 503 means that it is not, and that Apple may try again. What
//! Apple did not sign, or not for us, is 400; the reason is told in our log, and not to whoever sent it.

mod record;

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, request::Parts as Head};
use hyper::body::Incoming;
use serde::Deserialize;
use tracing::{info, warn};

use self::record::Recorded;
use super::{
    exchange::{self, Exchange},
    recorder::Recorder,
    whole_body::Readers,
};
use crate::{
    apple::Notification,
    authn::{Dialect, Realm, Rejection},
    peers::{NOWHERE, Peers},
    rate::Rate,
    telemetry::{Metrics, NotificationLabels, Outcome, causes},
    verify::{UnverifiedToken, Verifier, VerifyError},
};

/// Where notifications are posted, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotificationSettings {
    /// The path, exactly.
    pub(crate) path: String,
    /// How many one sender may post in a second, in the long run.
    pub(crate) per_second: NonZeroU32,
    /// How many at once, after a silence.
    pub(crate) burst: NonZeroU32,
}

/// Takes notifications. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Notifications(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    path: String,
    rate: Rate,
    readers: Readers,
    verifier: Verifier,
    recorder: Recorder,
    trusted_peers: Peers,
    realm: Realm,
    metrics: Metrics,
}

/// What the door needs to know of the house.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Judges what Apple signed.
    pub(crate) verifier: Verifier,
    /// Stores it.
    pub(crate) recorder: Recorder,
    /// Whose word about a sender is believed.
    pub(crate) trusted_peers: Peers,
    /// What rejections name.
    pub(crate) realm: Realm,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// How many requests may be in flight, of all kinds.
    pub(crate) max_requests: usize,
}

/// The body of the request.
#[derive(Deserialize)]
struct Posted {
    payload: String,
}

/// Why a request came to nothing, and what the event was, if there was one.
struct Refused {
    event: &'static str,
    code: &'static str,
    rejection: Rejection,
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self { event: "none", code: rejection.code(), rejection }
    }
}

impl Notifications {
    /// What the log and the metrics call it.
    const NAME: &str = "notifications";
    /// The longest body that is read, in bytes: a token and its wrapping.
    const MAX_BYTES: usize = UnverifiedToken::MAX_BYTES + 1024;
    /// How long a body may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(crate) fn new(settings: NotificationSettings, surroundings: Surroundings) -> Self {
        let NotificationSettings { path, per_second, burst } = settings;
        let Surroundings { verifier, recorder, trusted_peers, realm, metrics, max_requests } =
            surroundings;
        let (rate, readers) = (Rate::new(per_second, burst), Readers::of_senders(max_requests));
        Self(Arc::new(Parts {
            path,
            rate,
            readers,
            verifier,
            recorder,
            trusted_peers,
            realm,
            metrics,
        }))
    }

    /// Whether a request for `path` is for this door.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.0.path == path
    }

    pub(super) async fn answer(self, request: Request<Incoming>) -> Response<Bytes> {
        let parts = &*self.0;
        let (head, body) = request.into_parts();
        let mut exchange = parts.begin(&head);
        match exchange.run(|_exchange| parts.take(&head, body)).await {
            Ok((event, recorded)) => {
                let outcome = Outcome::from(recorded);
                parts.count(event, outcome.as_str());
                exchange.finish(Response::new(Bytes::new()), Ok(outcome))
            }
            Err(refused) => parts.refuse(&refused, exchange),
        }
    }

    /// The answer to a request that is refused before anybody has looked at it.
    pub(super) fn refuse<B>(&self, request: &Request<B>, rejection: Rejection) -> Response<Bytes> {
        self.0.refuse(&rejection.into(), self.0.begin(request))
    }
}

impl Parts {
    fn begin<'a>(&self, head: impl Into<exchange::Head<'a>>) -> Exchange {
        Exchange::of(head, Notifications::NAME, &self.trusted_peers, &self.metrics)
    }

    fn refuse(&self, refused: &Refused, exchange: Exchange) -> Response<Bytes> {
        let Refused { event, code, rejection } = refused;
        self.count(event, code);
        exchange.finish(rejection.render(Dialect::Http, &self.realm), Err(rejection))
    }

    /// Takes a notification; the event that it told of, and what became of it.
    async fn take(&self, head: &Head, body: Incoming) -> Result<(&'static str, Recorded), Refused> {
        if head.method != Method::POST {
            return Err(Rejection::MethodNotAllowed { allow: "POST" }.into());
        }
        let peer = head.extensions.get::<SocketAddr>().copied().unwrap_or(NOWHERE).ip();
        self.check_rate(peer, &head.headers)?;
        let (limit, patience) = (Notifications::MAX_BYTES, Notifications::PATIENCE);
        let body = self.readers.read(body, limit, patience).await?;
        let notification = self.open(&body).await?;
        let event = notification.event.label();
        match self.recorder.record(&notification).await {
            Ok(recorded) => Ok((event, recorded)),
            Err(error) => {
                warn!(cause = causes(&error), event, "a notification could not be stored");
                let rejection = Rejection::StoreUnavailable;
                Err(Refused { event, code: rejection.code(), rejection })
            }
        }
    }

    fn check_rate(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Rejection> {
        let sender = self.trusted_peers.client_behind(peer, headers);
        self.rate.take(sender).map_err(|retry_after| Rejection::RateLimited { retry_after })
    }

    async fn open(&self, body: &[u8]) -> Result<Notification, Refused> {
        let Ok(Posted { payload }) = serde_json::from_slice(body) else {
            info!("what was posted is no notification: a JSON object with a `payload` is");
            return Err(not_apples("not_json"));
        };
        match self.judge(&payload).await {
            Ok(notification) => Ok(notification),
            Err(VerifyError::Rejected(fault)) => {
                info!(code = fault.code(), reason = causes(&fault), "a notification was refused");
                Err(not_apples(fault.code()))
            }
            Err(unjudged) => Err(Rejection::from(unjudged).into()),
        }
    }

    async fn judge(&self, payload: &str) -> Result<Notification, VerifyError> {
        let signed = self.verifier.receive(&UnverifiedToken::parse(payload)?).await?;
        Ok(Notification::read(&signed)?)
    }

    fn count(&self, event: &'static str, outcome: &'static str) {
        let labels = NotificationLabels { event, outcome };
        self.metrics.notifications.get_or_create(&labels).inc();
    }
}

fn not_apples(code: &'static str) -> Refused {
    let rejection =
        Rejection::BadRequest("not a notification that Apple signed for an app of ours");
    Refused { event: "none", code, rejection }
}
