//! The way to Apple.

use std::time::Duration;

use http::request::Parts as Head;

use super::{
    super::exchange::Exchange,
    Answer, BrowserParts,
    cookies::{SameSite, SetCookie},
    navigation,
    origin::Origin,
    pending::{Beginning, BrowserMark, PendingSignIn, PendingSignIns},
    redirect, set_cookie,
    settings::Login,
};
use crate::{authn::Rejection, telemetry::Outcome};

impl BrowserParts {
    /// Apple's button, or its page at once. Who is signed in is not signed in again unawares.
    pub(super) async fn login(
        &self,
        head: &Head,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        self.origin_of(head)?;
        let return_to = self.settings.return_to(head.uri.query());
        if self.gate.caller(&head.method, &head.headers, exchange).await.is_ok() {
            let response = self.settings.greet(&return_to);
            return Ok(Answer::new(response, Outcome::SignedInAlready));
        }
        match self.settings.login {
            Login::Redirect => self.start(head),
            Login::Page => {
                let response = self.settings.ask_to_sign_in(&return_to);
                Ok(Answer::new(response, Outcome::Asked))
            }
        }
    }

    /// Begins a sign-in, if a window is to show Apple's page. No other site's page takes one away that is under way: where
    /// there are as many as there may be, the user is asked.
    pub(super) fn start(&self, head: &Head) -> Result<Answer, Rejection> {
        let origin = self.origin_of(head)?;
        if navigation::is_embedded(&head.headers) {
            return Err(Rejection::BadRequest("a sign-in begins in a window"));
        }
        let (mark, keys) = (BrowserMark::find(&head.headers), self.sessions.keys());
        let pending = PendingSignIns::find(&head.headers, mark.as_ref(), keys);
        if pending.are_many() && navigation::is_cross_origin(&head.headers) {
            let return_to = self.settings.return_to(head.uri.query());
            return Ok(Answer::new(self.settings.ask_to_sign_in(&return_to), Outcome::Asked));
        }
        self.begin(head, origin, &mark.unwrap_or_else(BrowserMark::make), &pending)
    }

    /// Begins a sign-in: what has to be known again goes into cookies, and the browser to Apple.
    fn begin(
        &self,
        head: &Head,
        origin: &Origin,
        mark: &BrowserMark,
        pending: &PendingSignIns,
    ) -> Result<Answer, Rejection> {
        let (settings, origin) = (&self.settings, origin.as_str());
        let timeout = settings.sign_in_timeout;
        let beginning = Beginning {
            mark,
            replaces: self.replaced_by_a_sign_in(&head.headers),
            ends_at: self.clock.now().saturating_add(timeout),
        };
        let return_to = settings.return_to(head.uri.query());
        let sign_in = PendingSignIn::begin(return_to, origin, beginning);
        let sealed = sign_in.seal(self.sessions.keys());
        let sealed = sealed.map_err(|_says_no_more| Rejection::Undecided("it cannot be sealed"))?;

        let url = settings.authorization_request(origin, &sign_in.state, &sign_in.nonce);
        let mut response = redirect(url.as_str());
        let headers = response.headers_mut();
        for name in pending.in_the_way() {
            set_cookie(headers, &self.state_cookie(&name, "", Duration::ZERO));
        }
        let name = sign_in.cookie_name();
        set_cookie(headers, &self.state_cookie(&name, sealed.as_str(), timeout));
        set_cookie(headers, &mark.cookie(timeout));
        Ok(Answer::new(response, Outcome::Started))
    }

    /// The cookie `name` of a sign-in under way, for our paths alone; gone at once if it has no time.
    pub(super) fn state_cookie<'a>(
        &'a self,
        name: &'a str,
        value: &'a str,
        max_age: Duration,
    ) -> SetCookie<'a> {
        SetCookie { name, value, path: &self.settings.path, same_site: SameSite::None, max_age }
    }
}
