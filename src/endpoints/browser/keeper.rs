//! What browsers are to the one decision: whose session goes on, what their pages may not do, and what somebody sees who has
//! to sign in.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, LOCATION, SET_COOKIE},
};
use tokio::time::Instant;

use super::{
    super::{apple_check::AppleCheck, original::OriginalRequest},
    cookies::{self, SameSite, SetCookie},
    navigation::{is_navigation, is_part_of_a_page},
    place::BrowserPlace,
    redirect,
    settings::{BrowserSettings, Login},
};
use crate::{
    authn::Rejection,
    clock::Clock,
    verify::{Identity, SessionCookie, Sessions, Verifier},
};

/// The name of the session's cookie, which browsers take from this host alone.
pub(crate) const SESSION_COOKIE: &str = "__Host-siwa_session";

/// Whether a request with these `headers` brings the session's cookie, good or not.
pub(in crate::endpoints) fn carries_session(headers: &HeaderMap) -> bool {
    cookies::all(headers).any(|(name, _)| name == SESSION_COOKIE)
}

/// What a browser gets besides the answer, or in its place.
#[derive(Debug, Default)]
pub(in crate::endpoints) struct ForBrowser {
    /// In place of a refusal: the way to sign in, or a page.
    pub(in crate::endpoints) instead: Option<Response<Bytes>>,
    /// The session's cookie, renewed or taken away.
    pub(in crate::endpoints) cookie: Option<HeaderValue>,
    /// The origin of ours at which the browser is.
    pub(in crate::endpoints) origin: Option<Box<str>>,
}

impl ForBrowser {
    /// What some caches heed before `Cache-Control` (RFC 9213 §2.2, and what came before it).
    pub(in crate::endpoints) const OTHER_CACHE_HEADERS: [&str; 4] =
        ["cdn-cache-control", "surrogate-control", "x-accel-expires", "expires"];

    /// What stands in for the refusal, if anything does.
    pub(in crate::endpoints) fn or(
        &mut self,
        refusal: impl FnOnce() -> Response<Bytes>,
    ) -> Response<Bytes> {
        self.instead.take().unwrap_or_else(refusal)
    }

    /// Has the way lead from the browser's own origin, for a gateway that reads it as leading from ours.
    pub(in crate::endpoints) fn lead_from_origin(&mut self) {
        let Some((origin, way)) = self.origin.as_ref().zip(self.instead.as_mut()) else { return };
        let Some(location) = way.headers_mut().get_mut(LOCATION) else { return };
        let place = location.to_str().ok().filter(|place| place.starts_with('/'));
        let place = place.map(|place| HeaderValue::try_from(format!("{origin}{place}")));
        if let Some(Ok(mut place)) = place {
            place.set_sensitive(true);
            *location = place;
        }
    }

    /// Where it would be sent.
    pub(in crate::endpoints) fn way(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((LOCATION, self.instead.as_ref()?.headers().get(LOCATION)?.clone()))
    }

    /// Adds the cookie to the answer with these `headers`. What the application says of caching is of an answer for
    /// everybody, and this one is not: a cache in front would hand the session on with it.
    pub(in crate::endpoints) fn tell(&mut self, headers: &mut HeaderMap) {
        if let Some(cookie) = self.cookie.take() {
            headers.append(SET_COOKIE, cookie);
            for name in Self::OTHER_CACHE_HEADERS {
                headers.remove(name);
            }
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

/// Keeps the sessions of browsers.
#[derive(Debug)]
pub(crate) struct BrowserKeeper {
    /// What the operator says.
    pub(crate) settings: Arc<BrowserSettings>,
    /// Makes the next cookie.
    pub(crate) sessions: Sessions,
    /// Opens the last one.
    pub(crate) verifier: Verifier,
    /// Asks Apple whether the consent stands.
    pub(crate) apple_check: AppleCheck,
    /// Says what time it is.
    pub(crate) clock: Arc<dyn Clock>,
}

impl BrowserKeeper {
    /// The shortest time between two cookies of one session: a page loads in many requests.
    const RENEW_EVERY: Duration = Duration::from_mins(5);

    /// Whether a request with these `headers` that proved somebody did so by the session's cookie. A bearer token beside it
    /// would have been refused.
    fn is_by_cookie(headers: &HeaderMap) -> bool {
        cookies::only(headers, SESSION_COOKIE).is_some()
    }

    /// Refuses what another site's page may want of somebody who is proved.
    ///
    /// # Errors
    ///
    /// [`Rejection::CrossOrigin`].
    pub(in crate::endpoints) fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Rejection> {
        if Self::is_by_cookie(headers) && self.settings.may_be_forged(method, headers) {
            return Err(Rejection::CrossOrigin);
        }
        Ok(())
    }

    /// Whether the session of `identity`, if it is a browser's, is to be [`renewed`](Self::renewed). `identity` remembers when
    /// its cookie was sealed, so that the cookie is not opened again to find out.
    pub(in crate::endpoints) fn is_due(&self, identity: &Identity) -> bool {
        let Some(sealed_at) = identity.sealed_at() else { return false };
        let age = self.clock.now().saturating_since(sealed_at);
        age >= Self::RENEW_EVERY.min(self.settings.session_lifetime / 2)
    }

    /// The next cookie for somebody who is proved by one that is not new any more, so that the session does not end while it
    /// is used. It is the time to ask Apple, too, which is waited for until `deadline`.
    ///
    /// What a page is made of comes without one: applications let caches keep such things, and a gateway that forwards may
    /// have no way to take that back.
    ///
    /// # Errors
    ///
    /// Apple says that the user withdrew consent, or has been out of reach for too long to tell.
    pub(in crate::endpoints) async fn renewed(
        &self,
        headers: &HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<Option<HeaderValue>, Rejection> {
        let Some(text) = cookies::only(headers, SESSION_COOKIE) else { return Ok(None) };
        let cookie = self.verifier.reopen_cookie(text)?;
        let lifetime = self.settings.session_lifetime;
        let grant = self.apple_check.check(cookie.session(), &self.sessions, deadline).await?;
        if is_part_of_a_page(headers) {
            return Ok(None);
        }
        // Without a new one the old one goes on for as long as it does.
        let renewed = self.sessions.renew_in_browser(cookie.with_grant(grant), lifetime).ok();
        Ok(renewed.and_then(|cookie| session_cookie(&cookie).ok()))
    }

    /// The origin of ours that the `original` request is for, as browsers write it.
    pub(in crate::endpoints) fn origin_of(
        &self,
        original: &OriginalRequest<'_>,
    ) -> Option<Box<str>> {
        self.settings.origins.at(original.host()).map(|origin| origin.as_str().into())
    }

    /// What goes with `rejection` of the `original` request: on a route for browsers, what people can do about it.
    pub(in crate::endpoints) fn help(
        &self,
        original: &OriginalRequest<'_>,
        headers: &HeaderMap,
        rejection: &Rejection,
    ) -> Option<Response<Bytes>> {
        // Cookies for another host would not come here, nor would Apple's answer.
        self.settings.origins.at(original.host())?;
        if !is_navigation(headers) {
            return None;
        }
        let place = original.path_and_query().and_then(|it| self.settings.place_of_ours(it));
        let reads = matches!(*original.method(), Method::GET | Method::HEAD);
        let return_to = place.filter(|_| reads);
        if rejection.status() == StatusCode::UNAUTHORIZED {
            let place = match self.settings.login {
                Login::Page => BrowserPlace::Login,
                Login::Redirect => BrowserPlace::Start,
            };
            return Some(redirect(&self.settings.way_to(place, return_to.as_ref())));
        }
        let is_about_the_caller = !matches!(rejection, Rejection::BadRequest(_));
        is_about_the_caller.then(|| self.settings.tell_of(rejection, return_to.as_ref()))
    }

    /// Takes away a cookie that `rejection` says is no good: it would be no good the next time.
    pub(in crate::endpoints) fn withdrawn(
        headers: &HeaderMap,
        rejection: &Rejection,
    ) -> Option<HeaderValue> {
        let is_no_good = matches!(rejection, Rejection::Token(_)) && Self::is_by_cookie(headers);
        is_no_good.then(expired_session_value).flatten()
    }
}

const fn session(value: &str, max_age: Duration) -> SetCookie<'_> {
    SetCookie { name: SESSION_COOKIE, value, path: "/", same_site: SameSite::Lax, max_age }
}

/// The header value that sets the session's cookie.
///
/// # Errors
///
/// [`Rejection::Undecided`] where it would be longer than browsers keep.
pub(super) fn session_cookie(cookie: &SessionCookie) -> Result<HeaderValue, Rejection> {
    /// Name, value and attributes (RFC 6265bis §5.5).
    const LONGEST: usize = 4096;

    let value = session(cookie.value.as_str(), cookie.expires_in).render();
    let value = value.filter(|value| value.len() < LONGEST);
    value.ok_or(Rejection::Undecided("the session is too long for a cookie"))
}

fn expired_session_value() -> Option<HeaderValue> {
    session("", Duration::ZERO).render()
}

/// What takes the session's cookie away.
pub(super) fn expired_session() -> Option<(HeaderName, HeaderValue)> {
    expired_session_value().map(|value| (SET_COOKIE, value))
}
