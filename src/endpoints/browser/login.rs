//! The way to Apple.

use std::{sync::Arc, time::Duration};

use http::request::Parts as Head;

use super::{
    super::exchange::Exchange,
    Answer, BrowserParts,
    cookies::{SameSite, SetCookie},
    redirect, set_cookie,
    settings::Login,
    state::{BrowserMark, SignIn},
};
use crate::authn::Rejection;

impl BrowserParts {
    /// Apple's button, or its page at once. Who is signed in is not signed in again unawares.
    pub(super) async fn login(
        &self,
        head: &Head,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        self.origin_of(head)?;
        let return_to = self.settings.return_to(head.uri.query());
        if self.gate.caller(&head.headers, exchange).await.is_ok() {
            let response = self.settings.greet(&return_to);
            return Ok(Answer::new(response, "signed_in_already"));
        }
        match self.settings.login {
            Login::Redirect => self.start(head),
            Login::Page => {
                let response = self.settings.ask_to_sign_in(&return_to);
                Ok(Answer::new(response, "asked"))
            }
        }
    }

    /// Begins a sign-in: what has to be known again goes into cookies, and the browser to Apple.
    pub(super) fn start(&self, head: &Head) -> Result<Answer, Rejection> {
        let settings = Arc::clone(&self.settings);
        let origin = self.origin_of(head)?.as_str();
        let mark = BrowserMark::find_or_make(&head.headers);
        let return_to = settings.return_to(head.uri.query());
        let sign_in = SignIn::begin(return_to, origin, &mark, self.clock.now());
        let sealed = sign_in.seal(self.sessions.keys());
        let sealed = sealed.map_err(|_says_no_more| Rejection::Undecided("it cannot be sealed"))?;

        let url = settings.authorization_request(origin, &sign_in.state, &sign_in.nonce);
        let mut response = redirect(url.as_str());
        let headers = response.headers_mut();
        for name in SignIn::in_the_way(&head.headers, self.sessions.keys()) {
            set_cookie(headers, &self.state_cookie(&name, "", Duration::ZERO));
        }
        let (name, timeout) = (sign_in.cookie_name(), settings.sign_in_timeout);
        set_cookie(headers, &self.state_cookie(&name, sealed.as_str(), timeout));
        set_cookie(headers, &mark.cookie(timeout));
        Ok(Answer::new(response, "started"))
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
