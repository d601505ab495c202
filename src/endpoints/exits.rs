//! Who signs out where apps and browsers do so at the same path: an app by a token, a browser by its cookie.

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body::Body;
use hyper::body::Incoming;

use super::{
    Router,
    browser::{BrowserDoor, BrowserPlace, carries_session},
    sign_in::{AppDoor, SignInPlace},
};

impl Router {
    /// The door at which browsers sign in, and what a request is for there. Apps may sign out at the same path.
    pub(super) fn browser_at<B: Body>(
        &self,
        request: &Request<B>,
    ) -> Option<(&BrowserDoor, BrowserPlace)> {
        let (door, path) = (self.browser.as_ref()?, request.uri().path());
        let place = door.find(path)?;
        let is_an_apps = self.app_at(path).is_some() && comes_with_token(request);
        (!is_an_apps).then_some((door, place))
    }

    /// The door at which apps sign in, and what a request for `path` is for there.
    pub(super) fn app_at(&self, path: &str) -> Option<(&AppDoor, SignInPlace)> {
        let door = self.apps.as_ref()?;
        Some((door, door.find(path)?))
    }

    /// The door at which apps sign in, if somebody signs out there by a token and by a browser's cookie: one of two sessions
    /// would go on, and nobody could say which.
    pub(super) fn signs_out_twice_at<B>(&self, request: &Request<B>) -> Option<&AppDoor> {
        let (door, place) = self.app_at(request.uri().path())?;
        let headers = request.headers();
        let by_both = headers.contains_key(AUTHORIZATION) && carries_session(headers);
        (self.browser.is_some() && place == SignInPlace::Logout && by_both).then_some(door)
    }

    /// The door at which apps sign in, if somebody signs out there as a browser, and with a body: what is in it may be a token
    /// of an app.
    pub(super) fn exit_beside<B: Body>(&self, request: &Request<B>) -> Option<&AppDoor> {
        let (door, place) = self.app_at(request.uri().path())?;
        (place == SignInPlace::Logout && has_body(request)).then_some(door)
    }
}

/// Whether who signs out does so as an app, by a token in a header or in the body. A browser brings a cookie besides; what is
/// in its body is looked at before it signs out.
fn comes_with_token<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(AUTHORIZATION) || (has_body(request) && !carries_session(headers))
}

/// Whether something may follow the head of `request`.
fn has_body<B: Body>(request: &Request<B>) -> bool {
    !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0)
}

/// The answer to a browser at `place`, unless it brings what an app signs out by at `apps`, the same place.
pub(super) async fn answer_browser(
    door: BrowserDoor,
    place: BrowserPlace,
    apps: Option<AppDoor>,
    mut request: Request<Incoming>,
) -> Response<Bytes> {
    if let Some(apps) = apps
        && let Err(rejection) = apps.check_no_token(&mut request).await
    {
        return apps.refuse(&request, rejection);
    }
    door.answer(place, request).await
}
