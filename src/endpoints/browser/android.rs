//! Apple's answer handed on to an Android app: its browser tab is told by an `intent:` URL to open the app
//! (<https://developer.chrome.com/docs/android/intents>). Apple has no sign-in of its own on Android, so that every app there
//! takes the way of browsers, with a return URL here.

use http::{HeaderValue, Response, StatusCode, header::LOCATION};
use url::form_urlencoded;

use super::{form::AppleForm, page::Body};

/// The app that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AndroidApp {
    /// Its package (`com.example.app`): the URL opens no other.
    pub(crate) package: Box<str>,
    /// The scheme that its activity is registered for.
    pub(crate) scheme: Box<str>,
}

impl AndroidApp {
    /// What clients in the field are registered for (Flutter's `sign_in_with_apple`).
    pub(crate) const SCHEME: &str = "signinwithapple";

    /// Sends the browser on to the app with what Apple said, encoded anew: nothing in it can end the URL early and name
    /// another package. Nobody has verified any of it; the app sends it to its server, as any app does.
    pub(super) fn open(&self, form: &AppleForm) -> Response<Body> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form.fields() {
            query.append_pair(name, value);
        }
        let (query, Self { package, scheme }) = (query.finish(), self);
        let url = format!("intent://callback?{query}#Intent;package={package};scheme={scheme};end");
        let mut response = Response::new(Body::new());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        // Percent-encoded, and settings that were checked.
        if let Ok(mut url) = HeaderValue::try_from(url) {
            url.set_sensitive(true);
            response.headers_mut().insert(LOCATION, url);
        }
        response
    }
}
