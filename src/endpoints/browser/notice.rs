//! What people are told in the end, and where they can go from there: always somewhere, and never in a circle.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};

use super::{
    page::{Page, Way},
    pending::StateFault,
    place::BrowserPlace,
    return_to::ReturnTo,
    settings::BrowserSettings,
};
use crate::authn::Rejection;

impl BrowserSettings {
    /// Apple's button, on a page of ours.
    pub(super) fn ask_to_sign_in(&self, return_to: &ReturnTo) -> Response<Bytes> {
        let title = match &self.name {
            Some(name) => format!("Sign in to {name}"),
            None => "Sign in".to_owned(),
        };
        let text = "You need to sign in to see this page.";
        self.offer_to_sign_in((StatusCode::OK, &title, text), Some(return_to))
    }

    /// For somebody who is signed in already. Nobody is sent on by itself: whoever sent them here would send them back.
    pub(super) fn greet(&self, return_to: &ReturnTo) -> Response<Bytes> {
        let (logout, then) = (self.at(BrowserPlace::Logout), self.origin_after_logout());
        let text = "There is nothing more to do here.";
        let sign_out = Way::SignOut { to: &logout, then: then.as_deref() };
        let ways = [Way::Continue(return_to.as_str()), sign_out];
        page(StatusCode::OK, "You are signed in", text, &ways)
    }

    pub(super) fn tell_of_cancellation(&self, return_to: &ReturnTo) -> Response<Bytes> {
        let text = "You can try again whenever you like.";
        let title = "Sign-in was cancelled";
        self.offer_to_sign_in((StatusCode::OK, title, text), Some(return_to))
    }

    /// For an answer of Apple's that belongs to no sign-in under way here.
    pub(super) fn tell_of_state(&self, fault: StateFault) -> Response<Bytes> {
        let (title, text) = match fault {
            StateFault::Unknown => (
                "This sign-in is not under way",
                "It may be complete already, in another tab, or this browser does not keep cookies for this site.",
            ),
            StateFault::Foreign => (
                "This sign-in was begun elsewhere",
                "It has to end in the browser in which it began.",
            ),
            StateFault::Expired => {
                ("This sign-in took too long", "Nothing is lost: please begin once more.")
            }
        };
        let (login, home) = (self.at(BrowserPlace::Start), ReturnTo::home());
        let ways = [Way::SignIn(&login), Way::Continue(home.as_str())];
        page(StatusCode::BAD_REQUEST, title, text, &ways)
    }

    /// For somebody whom Apple signed in and we do not.
    pub(super) fn turn_away(&self, return_to: &ReturnTo) -> Response<Bytes> {
        let (title, text) =
            ("This is not open to you", "This account is not let in here. You can try another.");
        self.offer_to_sign_in((StatusCode::FORBIDDEN, title, text), Some(return_to))
    }

    /// For an answer of Apple's that came twice.
    pub(super) fn tell_of_repetition(&self, return_to: &ReturnTo) -> Response<Bytes> {
        let again = self.way_to(BrowserPlace::Start, Some(return_to));
        let ways = [Way::Continue(return_to.as_str()), Way::SignIn(&again)];
        let text = "It was sent twice, and counted once.";
        page(StatusCode::CONFLICT, "This sign-in is complete already", text, &ways)
    }

    pub(super) fn say_goodbye(&self) -> Response<Bytes> {
        let text = "You can close this window.";
        self.offer_to_sign_in((StatusCode::OK, "You are signed out", text), None)
    }

    /// For whoever is refused. The reason is told in words; its code and more of it are in our log.
    pub(super) fn tell_of(
        &self,
        rejection: &Rejection,
        return_to: Option<&ReturnTo>,
    ) -> Response<Bytes> {
        let status = rejection.status();
        if status == StatusCode::FORBIDDEN {
            let (logout, then) = (self.at(BrowserPlace::Logout), self.origin_after_logout());
            let text = "You are signed in, but this account may not do that.";
            let sign_out = Way::SignOut { to: &logout, then: then.as_deref() };
            return page(status, "This is not open to you", text, &[sign_out]);
        }
        if status.is_server_error() {
            let (title, text) =
                ("This does not work at the moment", "Please try again in a moment.");
            let mut response = self.offer_to_sign_in((status, title, text), return_to);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        }
        // To a window, 401 without a dialogue of the browser's own is a faulty request like any other.
        let is_plain = status != StatusCode::UNAUTHORIZED;
        let status = if is_plain { status } else { StatusCode::BAD_REQUEST };
        let (title, text) = ("That did not work", "Please try to sign in again.");
        let mut response = self.offer_to_sign_in((status, title, text), return_to);
        if let Rejection::MethodNotAllowed { allow } = rejection {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    fn offer_to_sign_in(
        &self,
        (status, title, text): (StatusCode, &str, &str),
        return_to: Option<&ReturnTo>,
    ) -> Response<Bytes> {
        let start = self.way_to(BrowserPlace::Start, return_to);
        page(status, title, text, &[Way::SignIn(&start)])
    }
}

fn page(status: StatusCode, title: &str, text: &str, ways: &[Way<'_>]) -> Response<Bytes> {
    Page { status, title, text, ways }.render()
}
