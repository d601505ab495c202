//! Apple's answer, from the form that the browser posts to the session that begins.
//!
//! Anybody can post anything here. So the cheap questions come first: a form that belongs to no sign-in under way in this
//! browser costs one look at a cookie, and neither a verification nor a word to Apple or the store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, header::SET_COOKIE, request::Parts as Head};
use tracing::warn;

use super::{
    super::{
        exchange::Exchange,
        finished::finished,
        grant::{self, Code},
        once::Once,
        sign_in::UnverifiedName,
    },
    Answer, BrowserParts,
    form::AppleForm,
    keeper::session_cookie,
    pending::{PendingSignIn, StateFault},
    redirect, set_cookie,
};
use crate::{
    apple::AuthorizationCode,
    authn::{Rejection, SignInFault},
    telemetry::Outcome,
    verify::{
        AppleGrant, ExpectedNonce, Identity, Mismatch, Printable, SessionSpan, TokenFault,
        UnverifiedToken,
    },
    webhooks::Event,
};

/// How a sign-in ended.
enum Ended {
    /// With this session, for which there is this response.
    SignedIn(Response<Bytes>, SessionSpan),
    /// The user did not want to.
    Cancelled,
    /// It had ended before.
    Before,
}

/// When a sign-in was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    /// Just now.
    Now,
    /// By another answer, which came first.
    Before,
}

impl BrowserParts {
    /// Takes what Apple has the browser post.
    pub(super) async fn take_answer(
        self: &Arc<Self>,
        head: &Head,
        form: AppleForm,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let sign_in = match self.find_sign_in(head, &form)? {
            Ok(sign_in) => Arc::new(sign_in),
            Err(fault) => {
                return Ok(Answer::new(self.settings.tell_of_state(fault), fault.into()));
            }
        };
        let ended = self.end_sign_in(Arc::clone(&sign_in), form, exchange).await;
        let mut answer = self.tell_of_end(ended, &head.headers, &sign_in);
        // However it ended, it is over.
        let name = sign_in.cookie_name();
        let gone = self.state_cookie(&name, "", Duration::ZERO);
        set_cookie(answer.response.headers_mut(), &gone);
        Ok(answer)
    }

    /// What whoever asked with the headers `asked_with` sees of how `sign_in` has `ended`.
    fn tell_of_end(
        &self,
        ended: Result<Ended, Rejection>,
        asked_with: &HeaderMap,
        sign_in: &PendingSignIn,
    ) -> Answer {
        let return_to = &sign_in.return_to;
        match ended {
            Ok(Ended::SignedIn(mut response, span)) => {
                self.tell_others(asked_with, sign_in, span, response.headers_mut());
                Answer::new(response, Outcome::SignedIn)
            }
            Ok(Ended::Cancelled) => {
                Answer::new(self.settings.tell_of_cancellation(return_to), Outcome::Cancelled)
            }
            Ok(Ended::Before) => {
                Answer::new(self.settings.tell_of_repetition(return_to), Outcome::StateReplayed)
            }
            Err(rejection @ Rejection::NotAllowed(_)) => {
                Answer { response: self.settings.turn_away(return_to), came_to: Err(rejection) }
            }
            Err(rejection) => self.refused(rejection, Some(return_to)),
        }
    }

    fn find_sign_in(
        &self,
        head: &Head,
        form: &AppleForm,
    ) -> Result<Result<PendingSignIn, StateFault>, Rejection> {
        let origin = self.origin_of(head)?;
        let Some(state) = form.get("state") else { return Ok(Err(StateFault::Unknown)) };
        let (keys, now) = (self.sessions.keys(), self.clock.now());
        let found = PendingSignIn::find(&head.headers, state, keys, now);
        // Cookies do not tell ports apart.
        Ok(found.and_then(|sign_in| {
            if *sign_in.origin == *origin.as_str() { Ok(sign_in) } else { Err(StateFault::Foreign) }
        }))
    }

    async fn end_sign_in(
        self: &Arc<Self>,
        sign_in: Arc<PendingSignIn>,
        form: AppleForm,
        exchange: &mut Exchange,
    ) -> Result<Ended, Rejection> {
        if is_cancelled(&form)? {
            return Ok(Ended::Cancelled);
        }
        let code = form.get("code").and_then(AuthorizationCode::parse);
        let code = code.ok_or(Rejection::BadRequest("Apple's answer holds no code"))?;
        let identity = self.judge(&sign_in, &form, &code).await?;
        exchange.note_identity(&identity);
        let parts = Arc::clone(self);
        let ending = async move { parts.end_once(&sign_in, &form, code, &identity).await };
        finished(&self.recorder.tasks, ending).await
    }

    /// What cannot be undone, in one piece: a code that Apple has redeemed is worth nothing a second time. That the sign-in
    /// is over is stored before anything comes of it.
    async fn end_once(
        &self,
        sign_in: &PendingSignIn,
        form: &AppleForm,
        code: AuthorizationCode,
        identity: &Identity,
    ) -> Result<Ended, Rejection> {
        if self.spend(sign_in).await? == Spent::Before {
            return Ok(Ended::Before);
        }
        let grant = self.redeem(sign_in, code, identity).await?;
        let (response, span) = self.begin_session(sign_in, identity, grant.as_ref())?;
        self.tell(identity, form).await?;
        self.end_replaced(sign_in).await;
        Ok(Ended::SignedIn(response, span))
    }

    fn begin_session(
        &self,
        sign_in: &PendingSignIn,
        identity: &Identity,
        grant: Option<&AppleGrant>,
    ) -> Result<(Response<Bytes>, SessionSpan), Rejection> {
        let lifetime = self.settings.session_lifetime;
        let cookie = self.sessions.begin_in_browser(identity, grant, lifetime);
        let cookie = cookie.map_err(|_says_no_more| Rejection::Undecided("it cannot be sealed"))?;
        let mut response = redirect(sign_in.return_to.as_str());
        response.headers_mut().append(SET_COOKIE, session_cookie(&cookie)?);
        Ok((response, cookie.span()))
    }

    /// Whom Apple's token proves, if they may pass at all: issued to the app that we asked for, for this sign-in (`nonce`), and
    /// beside this code (`c_hash`). The form's `user` is nobody's word: Apple signs it not at all.
    async fn judge(
        &self,
        sign_in: &PendingSignIn,
        form: &AppleForm,
        code: &AuthorizationCode,
    ) -> Result<Arc<Identity>, Rejection> {
        let token = form.get("id_token");
        let token = token.ok_or(Rejection::BadRequest("Apple's answer holds no identity token"))?;
        let identity = self.verifier.verify(&UnverifiedToken::parse(token)?).await?;
        self.check_client_id(&identity)?;
        let nonce = ExpectedNonce::new(&sign_in.nonce);
        // Sealed by us, and never empty. That some of Apple's systems carry none (`nonce_supported`) excuses no web page.
        identity.require_nonce(&nonce.ok_or(TokenFault::Nonce(Mismatch::Missing))?)?;
        identity.check_code(code.expose())?;
        self.policy.check(&identity)?;
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

    /// Spends `sign_in`: each ends once, whichever replica is asked, and whatever time it is there.
    async fn spend(&self, sign_in: &PendingSignIn) -> Result<Spent, Rejection> {
        let mut once = Once::default();
        once.nonce(&sign_in.nonce, sign_in.ends_at());
        match once.spend(&*self.recorder.store).await {
            Ok(()) => Ok(Spent::Now),
            Err(Rejection::SignIn(SignInFault::NonceSpent)) => Ok(Spent::Before),
            Err(unknown) => Err(unknown),
        }
    }

    /// Redeems `code`, if we can: Apple says by it that the consent stands, and hands out what it can be asked with later.
    async fn redeem(
        &self,
        sign_in: &PendingSignIn,
        code: AuthorizationCode,
        identity: &Identity,
    ) -> Result<Option<AppleGrant>, Rejection> {
        let Some(endpoint) = &self.token_endpoint else { return Ok(None) };
        let code = Code { code, redirect_uri: self.settings.redirect_uri(&sign_in.origin) };
        grant::redeem(endpoint, &code, identity, &self.verifier, self.clock.now()).await
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
