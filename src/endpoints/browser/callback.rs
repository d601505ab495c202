//! Apple's answer, from the form that the browser posts to the session that begins.
//!
//! Anybody can post anything here. So the cheap questions come first: a form that belongs to no sign-in under way in this
//! browser costs one look at a cookie, and neither a verification nor a word to Apple or the store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, header::SET_COOKIE, request::Parts as Head};
use tracing::warn;

use super::{
    super::{exchange::Exchange, sign_in::UnverifiedName},
    Answer, BrowserParts, Outcome,
    form::AppleForm,
    keeper::session_cookie,
    redirect, set_cookie,
    state::{SignIn, StateFault},
};
use crate::{
    apple::{AppleFault, AuthorizationCode, TokenEndpoint},
    authn::Rejection,
    store::{Applied, Record, Space, Write},
    telemetry::causes,
    verify::{
        AppleGrant, ExpectedNonce, Fault, Identity, Mismatch, Printable, TokenFault,
        UnverifiedToken,
    },
    webhooks::Event,
};

/// How a sign-in ended.
enum Ended {
    /// With a session, for which this is the response.
    SignedIn(Response<Bytes>),
    /// The user did not want to.
    Cancelled,
    /// It had ended before.
    Before,
}

impl BrowserParts {
    /// Takes what Apple has the browser post.
    pub(super) async fn take_answer(
        &self,
        head: &Head,
        form: &AppleForm,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let sign_in = match self.find_sign_in(head, form)? {
            Ok(sign_in) => sign_in,
            Err(fault) => {
                return Ok(Answer::new(self.settings.tell_of_state(fault), fault.code()));
            }
        };
        let return_to = &sign_in.return_to;
        let mut answer = match self.end_sign_in(&sign_in, form, exchange).await {
            Ok(Ended::SignedIn(response)) => Answer::new(response, "signed_in"),
            Ok(Ended::Cancelled) => {
                Answer::new(self.settings.tell_of_cancellation(return_to), "cancelled")
            }
            Ok(Ended::Before) => {
                Answer::new(self.settings.tell_of_repetition(return_to), "state_replayed")
            }
            Err(rejection) => Answer {
                response: self.settings.tell_of(&rejection, Some(return_to)),
                outcome: Outcome::Refused(rejection),
            },
        };
        // However it ended, it is over.
        let name = sign_in.cookie_name();
        let gone = self.state_cookie(&name, "", Duration::ZERO);
        set_cookie(answer.response.headers_mut(), &gone);
        Ok(answer)
    }

    fn find_sign_in(
        &self,
        head: &Head,
        form: &AppleForm,
    ) -> Result<Result<SignIn, StateFault>, Rejection> {
        let origin = self.origin_of(head)?;
        let Some(state) = form.get("state") else { return Ok(Err(StateFault::Unknown)) };
        let (keys, limit) = (self.sessions.keys(), self.settings.sign_in_timeout);
        let found = SignIn::find(&head.headers, state, keys, self.clock.now(), limit);
        // Cookies do not tell ports apart.
        Ok(found.and_then(|sign_in| {
            if *sign_in.origin == *origin.as_str() { Ok(sign_in) } else { Err(StateFault::Foreign) }
        }))
    }

    async fn end_sign_in(
        &self,
        sign_in: &SignIn,
        form: &AppleForm,
        exchange: &mut Exchange,
    ) -> Result<Ended, Rejection> {
        if is_cancelled(form)? {
            return Ok(Ended::Cancelled);
        }
        let code = form.get("code").and_then(AuthorizationCode::parse);
        let code = code.ok_or(Rejection::BadRequest("Apple's answer holds no code"))?;
        let identity = self.judge(sign_in, form, &code).await?;
        exchange.proves(&identity);
        if self.spend(sign_in).await? == Applied::AlreadyThere {
            return Ok(Ended::Before);
        }
        let grant = match &self.token_endpoint {
            Some(endpoint) => self.redeem(endpoint, sign_in, &code, &identity).await?,
            None => None,
        };
        let response = self.begin_session(sign_in, &identity, grant.as_ref())?;
        self.tell(&identity, form).await?;
        Ok(Ended::SignedIn(response))
    }

    fn begin_session(
        &self,
        sign_in: &SignIn,
        identity: &Identity,
        grant: Option<&AppleGrant>,
    ) -> Result<Response<Bytes>, Rejection> {
        let lifetime = self.settings.session_lifetime;
        let cookie = self.sessions.begin_in_browser(identity, grant, lifetime);
        let cookie = cookie.map_err(|_says_no_more| Rejection::Undecided("it cannot be sealed"))?;
        let mut response = redirect(sign_in.return_to.as_str());
        response.headers_mut().append(SET_COOKIE, session_cookie(&cookie)?);
        Ok(response)
    }

    /// Whom Apple's token proves: issued to the app that we asked for, for this sign-in (`nonce`), and beside this code
    /// (`c_hash`). The form's `user` is nobody's word: Apple signs it not at all.
    async fn judge(
        &self,
        sign_in: &SignIn,
        form: &AppleForm,
        code: &AuthorizationCode,
    ) -> Result<Arc<Identity>, Rejection> {
        let token = form.get("id_token");
        let token = token.ok_or(Rejection::BadRequest("Apple's answer holds no identity token"))?;
        let identity = self.verifier.verify(&UnverifiedToken::parse(token)?).await?;
        self.check_client_id(&identity)?;
        let nonce = ExpectedNonce::new(&sign_in.nonce);
        // Sealed by us, and never empty.
        identity.check_nonce(&nonce.ok_or(TokenFault::Nonce(Mismatch::Missing))?)?;
        identity.check_code(code.expose())?;
        Ok(identity)
    }

    /// Another app of ours is another one: its token was not asked for here.
    fn check_client_id(&self, identity: &Identity) -> Result<(), TokenFault> {
        if identity.audience().all(|id| *id == self.settings.client_id) {
            return Ok(());
        }
        Err(TokenFault::Audience { found: Printable::new(identity.client_id().as_str()) })
    }

    /// Tells the application, if it is to be told: from here on it will be. The name that Apple has the browser post at the
    /// first sign-in is told as what it is, nobody's word; the address beside it is not told at all.
    async fn tell(&self, identity: &Identity, form: &AppleForm) -> Result<(), Rejection> {
        if !self.settings.webhook {
            return Ok(());
        }
        let name = form.get("user").and_then(UnverifiedName::of_user);
        // It was judged, so that it is there.
        let token = form.get("id_token").unwrap_or_default();
        let event = Event::of_sign_in(token, identity, name.as_ref(), self.clock.now());
        self.recorder.tell_of_sign_in(&event).await
    }

    /// Each sign-in ends once, whichever replica is asked.
    async fn spend(&self, sign_in: &SignIn) -> Result<Applied, Rejection> {
        let record = Record {
            key: sign_in.nonce.to_string(),
            value: String::new(),
            expires_at: self.clock.now().saturating_add(self.settings.sign_in_timeout),
        };
        let spending = self.recorder.store.apply(vec![Write::Insert(Space::SpentNonces, record)]);
        spending.await.map_err(|error| {
            warn!(cause = causes(&error), "that a sign-in is over could not be stored");
            Rejection::StoreUnavailable
        })
    }

    /// Redeems `code`, once: Apple says by it that the consent stands, and hands out what it can be asked with later.
    async fn redeem(
        &self,
        endpoint: &TokenEndpoint,
        sign_in: &SignIn,
        code: &AuthorizationCode,
        identity: &Identity,
    ) -> Result<Option<AppleGrant>, Rejection> {
        let client_id = &self.settings.client_id;
        let redirect_uri = self.settings.redirect_uri(&sign_in.origin);
        let answered = endpoint.exchange(client_id, code, redirect_uri.as_ref()).await;
        let tokens = answered.map_err(|fault| refused(&fault))?;
        let granted = tokens.identity(&self.verifier, client_id).await?;
        if !granted.is_none_or(|granted| granted.is_of_same_person(identity)) {
            return Err(Rejection::BadRequest("the code is somebody else's"));
        }
        Ok(tokens.into_grant(client_id, self.clock.now()))
    }
}

/// Whether the user did not want to. There is no other error that Apple documents.
fn is_cancelled(form: &AppleForm) -> Result<bool, Rejection> {
    match form.get("error") {
        None => Ok(false),
        Some("user_cancelled_authorize") => Ok(true),
        Some(other) => {
            warn!(error = Printable::new(other).as_str(), "Apple did not sign somebody in");
            Err(Rejection::BadRequest("Apple did not sign the user in"))
        }
    }
}

/// What Apple refuses may be the caller's fault, a code that was used before; everything else could not be judged.
fn refused(fault: &AppleFault) -> Rejection {
    warn!(code = fault.code(), cause = causes(fault), "a code could not be redeemed");
    match fault.fault() {
        Fault::Caller => Rejection::BadRequest("Apple does not take the code"),
        Fault::Apple | Fault::Upstream | Fault::Us => {
            Rejection::Undecided("Apple's token endpoint cannot be asked now")
        }
    }
}
