//! The list of revocations, on the admin listener, for whoever has the token.
//!
//! | | body | answer |
//! |---|---|---|
//! | `GET /revocations` | | one JSON object a line |
//! | `POST /revocations` | the same lines | they are added |
//! | `DELETE /revocations` | the same lines | they are lifted |

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tower::Service;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{Recorder, whole_body};
use crate::{
    authn::Rejection,
    clock::UnixTime,
    telemetry::causes,
    verify::{ClientId, Revocation, Subject, Verifier},
};

/// What opens the view. It does not print itself.
#[derive(Clone)]
pub(crate) struct AdminToken(blake3::Hash);

impl AdminToken {
    /// The fewest characters.
    pub(crate) const SHORTEST: usize = 16;

    /// Takes `text` if it is hard to guess.
    pub(crate) fn new(text: &Zeroizing<String>) -> Option<Self> {
        let text = text.trim();
        let legal =
            text.len() >= Self::SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(blake3::hash(text.as_bytes())))
    }

    /// Digests are compared in constant time.
    fn opens(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let token = line.as_bytes().strip_prefix(b"Bearer ");
        token.is_some_and(|token| blake3::hash(token) == self.0)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// The view, in front of the rest of the admin listener.
#[derive(Clone, Debug)]
pub(crate) struct RevocationsView<S> {
    rest: S,
    /// Without a token there is no view.
    open: Option<(AdminToken, View)>,
}

/// What is viewed.
#[derive(Clone, Debug)]
struct View {
    recorder: Recorder,
    /// Who says which apps there are now.
    verifiers: watch::Receiver<Verifier>,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sub: String,
    /// The app whose group it concerns; all apps if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// RFC 3339, or seconds since 1970; now if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lifted: bool,
}

impl<S> RevocationsView<S> {
    const PATH: &str = "/revocations";
    /// The longest body that is read, in bytes: some ten thousand lines.
    const MAX_BYTES: usize = 1 << 20;
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Answers for the recorder's list whoever knows the token, and gives everything else to `rest`. The apps are those of
    /// the latest of `verifiers`.
    pub(crate) fn new(
        rest: S,
        open: Option<(AdminToken, Recorder)>,
        verifiers: watch::Receiver<Verifier>,
    ) -> Self {
        let open = open.map(|(token, recorder)| (token, View { recorder, verifiers }));
        Self { rest, open }
    }
}

/// Answers one request of somebody who has the token.
async fn answer(view: View, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if !matches!(head.method, Method::GET | Method::POST | Method::DELETE) {
        let mut response = say(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
        return response;
    }
    if head.method == Method::GET {
        return list(&view.recorder);
    }
    let (limit, patience) = (RevocationsView::<()>::MAX_BYTES, RevocationsView::<()>::PATIENCE);
    match whole_body::read(body, limit, patience).await {
        Ok(body) => change(&view, &head.method, &body).await,
        Err(rejection) => refuse(&rejection),
    }
}

fn list(recorder: &Recorder) -> Response<Full<Bytes>> {
    let mut page = Vec::new();
    for revocation in recorder.revocations.list() {
        // Strings and a boolean: serialising them cannot fail.
        serde_json::to_writer(&mut page, &Line::of(&revocation)).ok();
        page.push(b'\n');
    }
    let mut response = say(StatusCode::OK, page);
    let lines = HeaderValue::from_static("application/jsonl");
    response.headers_mut().insert(CONTENT_TYPE, lines);
    response
}

async fn change(view: &View, method: &Method, body: &[u8]) -> Response<Full<Bytes>> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let mut revocations = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        match parse(view, method, line) {
            Ok(revocation) => revocations.push(revocation),
            Err(what) => {
                let what = format!("line {}: {what}; nothing was changed\n", index + 1);
                return say(StatusCode::BAD_REQUEST, what);
            }
        }
    }
    let count = revocations.len();
    match view.recorder.put(revocations).await {
        Ok(()) => {
            info!(count, method = method.as_str(), "an operator changed the list of revocations");
            say(StatusCode::OK, format!("{count}\n"))
        }
        Err(error) => {
            warn!(cause = causes(&error), "the list of revocations could not be stored");
            refuse(&Rejection::StoreUnavailable)
        }
    }
}

/// As far as clocks may differ.
const AHEAD: Duration = Duration::from_mins(5);

fn parse(view: &View, method: &Method, line: &[u8]) -> Result<Revocation, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let subject: Subject = line.sub.parse().map_err(|error| format!("sub: {error}"))?;
    let client_id = line.client_id.as_deref().map(|id| view.app(id)).transpose()?;
    let recorder = &view.recorder;
    let at = line.revoked_at.as_deref().map(str::parse::<UnixTime>).transpose();
    let at = at.map_err(|error| format!("revoked_at: {error}"))?;
    let known = recorder.revocations.find(&subject, client_id.as_ref());
    if *method == Method::DELETE {
        return known.map(Revocation::lifted).ok_or_else(|| "is not on the list".to_owned());
    }
    let now = recorder.revocations.now();
    // It would outlast every later word, and lifting it would let old tokens in for as long.
    if at.is_some_and(|at| at > now.saturating_add(AHEAD)) {
        return Err("revoked_at: is in the future; mind that it counts seconds".to_owned());
    }
    let at = at.unwrap_or(now);
    // One that was lifted is revoked anew only by a later moment.
    let at = known.filter(|_| !line.lifted).map_or(at, |known| at.max(known.next_moment()));
    let revocation = Revocation::new(subject, at);
    let revocation = match client_id {
        None => revocation,
        Some(client_id) => revocation.for_app(client_id),
    };
    Ok(if line.lifted { revocation.lifted() } else { revocation })
}

impl View {
    /// The app of that name. One that is unknown is in no group, and what concerns no group concerns all apps.
    fn app(&self, name: &str) -> Result<ClientId, String> {
        let known = ClientId::new(name).map_err(|error| format!("client_id: {error}"))?;
        if self.verifiers.borrow().accepts(&known) {
            return Ok(known);
        }
        Err("client_id: is not one of apple.client_ids; without one it concerns all apps"
            .to_owned())
    }
}

impl Line {
    fn of(revocation: &Revocation) -> Self {
        Self {
            sub: revocation.subject().as_str().to_owned(),
            client_id: revocation.client_id().map(|id| id.as_str().to_owned()),
            revoked_at: Some(revocation.revoked_at().to_string()),
            lifted: revocation.is_lifted(),
        }
    }
}

fn refuse(rejection: &Rejection) -> Response<Full<Bytes>> {
    say(rejection.status(), format!("{rejection}\n"))
}

fn unauthorized() -> Response<Full<Bytes>> {
    let mut response = say(StatusCode::UNAUTHORIZED, "the admin token is needed\n");
    let challenge = HeaderValue::from_static("Bearer realm=\"siwa-proxy admin\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn say(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<S> Service<Request<Incoming>> for RevocationsView<S>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let view = self.open.as_ref().filter(|_| request.uri().path() == Self::PATH);
        let Some((token, view)) = view else { return Box::pin(self.rest.call(request)) };
        if !token.opens(request.headers()) {
            return Box::pin(std::future::ready(Ok(unauthorized())));
        }
        let answering = answer(view.clone(), request);
        Box::pin(async { Ok(answering.await) })
    }
}
