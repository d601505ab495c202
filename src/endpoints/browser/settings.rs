//! What the operator says of browsers.

use std::time::Duration;

use http::HeaderMap;
use url::{Url, form_urlencoded};

use super::{android::AndroidApp, origin::Origins, place::BrowserPlace, return_to::ReturnTo};
use crate::{apple::RedirectUri, verify::ClientId};

/// How browsers sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrowserSettings {
    /// The path that ours begin with.
    pub(crate) path: Box<str>,
    /// Where they sign in, and where they are sent afterwards.
    pub(crate) origins: Origins,
    /// The Services ID that they sign in to.
    pub(crate) client_id: ClientId,
    /// What Apple is asked to tell besides who it is: names, with spaces between.
    pub(crate) scopes: Box<str>,
    /// Apple's page.
    pub(crate) authorize_url: Url,
    /// What they see first.
    pub(crate) login: Login,
    /// What the application is called on our pages.
    pub(crate) name: Option<Box<str>>,
    /// The longest that a sign-in may take.
    pub(crate) sign_in_timeout: Duration,
    /// How long a session may lie idle.
    pub(crate) session_lifetime: Duration,
    /// Whether the application is told of sign-ins, by webhook.
    pub(crate) webhook: bool,
    /// Where they are sent when they have signed out; to a page of ours unless it is said.
    pub(crate) after_logout: Option<Box<str>>,
    /// What other sites' pages may have them do.
    pub(crate) cross_origin: CrossOrigin,
    /// Whom Apple's answer is handed on to at [`BrowserPlace::Android`].
    pub(crate) android: Option<AndroidApp>,
}

/// What somebody sees first who has to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    /// A page of ours, with Apple's button.
    #[default]
    Page,
    /// Apple's page, at once.
    Redirect,
}

/// What becomes of requests that change something and come from another site's page, with the session cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CrossOrigin {
    /// They are refused, but for those from pages of these origins.
    RefuseBut(Origins),
    /// They go on: the application protects itself.
    Forward,
}

impl BrowserSettings {
    /// The path of `place`.
    pub(super) fn at(&self, place: BrowserPlace) -> String {
        format!("{}{}", self.path, place.suffix())
    }

    /// The path at `place` from where one comes back to `return_to`.
    pub(super) fn way_to(&self, place: BrowserPlace, return_to: Option<&ReturnTo>) -> String {
        let mut way = self.at(place);
        if let Some(return_to) = return_to.filter(|it| **it != ReturnTo::home()) {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("return_to", return_to.as_str());
            way.push('?');
            way.push_str(&query.finish());
        }
        way
    }

    /// What `query` says of where to go, if that is somewhere of ours.
    pub(super) fn return_to(&self, query: Option<&str>) -> ReturnTo {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut said = pairs.filter(|(name, _)| name == "return_to").map(|(_, value)| value);
        let said = said.next().filter(|_| said.next().is_none());
        said.and_then(|said| self.place_of_ours(&said)).unwrap_or_else(ReturnTo::home)
    }

    /// `text` as somewhere to go, if it is somewhere of ours.
    pub(super) fn place_of_ours(&self, text: &str) -> Option<ReturnTo> {
        ReturnTo::parse(text, &self.origins, &self.path)
    }

    /// Where Apple has the browser post its answer, for a sign-in that began at `origin`.
    pub(super) fn return_url(&self, origin: &str) -> String {
        format!("{origin}{}", self.at(BrowserPlace::Callback))
    }

    /// The same, as the token endpoint is told.
    pub(super) fn redirect_uri(&self, origin: &str) -> Option<RedirectUri> {
        RedirectUri::new(&self.return_url(origin)).ok()
    }

    /// Apple's page, asked for `state` and `nonce` and to answer to `origin`
    /// (<https://developer.apple.com/documentation/signinwithapplerestapi/request-an-authorization-to-the-sign-in-with-apple-server.>).
    pub(super) fn authorization_request(&self, origin: &str, state: &str, nonce: &str) -> Url {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", self.client_id.as_str())
            .append_pair("redirect_uri", &self.return_url(origin))
            .append_pair("response_type", "code id_token")
            .append_pair("response_mode", "form_post")
            .append_pair("state", state)
            .append_pair("nonce", nonce);
        if !self.scopes.is_empty() {
            query.append_pair("scope", &self.scopes);
        }
        let mut url = self.authorize_url.clone();
        // Apple reads `+` as itself; one that was there is `%2B`.
        url.set_query(Some(&query.finish().replace('+', "%20")));
        url
    }

    /// The origin where they are sent when they have signed out, unless that is a path of ours.
    pub(super) fn origin_after_logout(&self) -> Option<String> {
        let url = Url::parse(self.after_logout.as_deref()?).ok()?;
        Some(url.origin().ascii_serialization())
    }

    /// Whether a page of somebody else's may have caused a request with these `headers`, where that matters.
    pub(super) fn may_be_forged(&self, method: &http::Method, headers: &HeaderMap) -> bool {
        match &self.cross_origin {
            CrossOrigin::RefuseBut(trusted) => {
                super::navigation::may_be_forged(method, headers, &self.origins, trusted)
            }
            CrossOrigin::Forward => false,
        }
    }
}
