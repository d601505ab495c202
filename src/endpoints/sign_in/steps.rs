//! A sign-in, from what was posted to the answer. What is cheap and certain comes first; what cannot be undone, the code and
//! whatever is good once, comes when nothing else is left to refuse it.

use std::sync::Arc;

use super::{
    super::{
        exchange::Exchange,
        finished::finished,
        grant::{self, Code},
        once::Once,
    },
    NonceRule, Parts, UNSEALED,
    answer::{Answer, SignedIn},
    name::UnverifiedName,
    nonce::Nonces,
    posted::Posted,
};
use crate::{
    apple::RedirectUri,
    authn::{Rejection, SignInFault},
    clock::UnixTime,
    telemetry::Outcome,
    verify::{AppleGrant, ExpectedNonce, Fault, Identity, SessionTokens, UnverifiedToken},
    webhooks::Event,
};

impl Parts {
    pub(super) async fn sign_in(
        self: &Arc<Self>,
        posted: Posted,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let Posted { token, nonce, code, name } = posted;
        let identity = self.judge(&token).await?;
        exchange.note_identity(&identity);
        let mut once = Once::default();
        self.check_nonce(nonce.as_deref(), &identity, &mut once)?;
        if self.settings.single_use {
            once.token(&token, self.end_of(&identity));
        }
        let code = self.check_code(code, &identity)?;

        let parts = Arc::clone(self);
        let ending = async move { parts.end_sign_in(&token, &identity, code, name, once).await };
        finished(&self.house.recorder.tasks, ending).await
    }

    /// What cannot be undone, in one piece: a code that Apple has redeemed is worth nothing a second time.
    async fn end_sign_in(
        &self,
        token: &str,
        identity: &Identity,
        code: Option<Code>,
        name: Option<UnverifiedName>,
        once: Once,
    ) -> Result<Answer, Rejection> {
        let store = &*self.house.recorder.store;
        once.spend(store).await?;
        let ended = self.end_once(token, identity, code, name.as_ref()).await;
        // Nothing came of it, and whoever asked may ask again.
        if ended.as_ref().is_err_and(|rejection| rejection.fault() != Fault::Caller) {
            once.give_back(store).await;
        }
        ended
    }

    async fn end_once(
        &self,
        token: &str,
        identity: &Identity,
        code: Option<Code>,
        name: Option<&UnverifiedName>,
    ) -> Result<Answer, Rejection> {
        let grant = self.redeem(code, identity).await?;
        let session = self.begin(identity, grant.as_ref())?;
        self.tell(token, identity, name).await?;
        Ok(Answer::json(Outcome::SignedIn, &SignedIn::new(identity, name, session.as_ref())))
    }

    /// Whom `token` proves, if they may pass at all.
    async fn judge(&self, token: &str) -> Result<Arc<Identity>, Rejection> {
        let token = UnverifiedToken::parse(token)?;
        let identity = self.house.verifier.verify(&token).await?;
        self.house.verifier.check_age(&identity, self.settings.max_token_age)?;
        self.house.policy.check(&identity)?;
        Ok(identity)
    }

    /// Checks the `nonce` if there is one; a nonce of ours is for `once`. Where one is required, Apple must have carried it. One
    /// of ours in the token is required in any case: who leaves it out repeats a sign-in.
    fn check_nonce(
        &self,
        nonce: Option<&str>,
        identity: &Identity,
        once: &mut Once,
    ) -> Result<(), Rejection> {
        let is_required = self.settings.nonce == NonceRule::Required
            || (self.nonces.is_some() && identity.nonce().is_some_and(Nonces::claims));
        let Some((nonce, expected)) = nonce.and_then(|it| Some((it, ExpectedNonce::new(it)?)))
        else {
            return if is_required { Err(SignInFault::NonceMissing.into()) } else { Ok(()) };
        };
        if is_required || (Nonces::claims(nonce) && self.nonces.is_some()) {
            let nonces = self.nonces.as_ref().ok_or(SignInFault::NonceUnknown)?;
            once.nonce(nonce, nonces.end_of(nonce)?);
            return Ok(identity.require_nonce(&expected)?);
        }
        Ok(identity.check_nonce(&expected)?)
    }

    /// The `code`, if it can be redeemed here: it must belong to the token. Otherwise it is none of our business, as it may be
    /// for the application.
    fn check_code(
        &self,
        code: Option<Code>,
        identity: &Identity,
    ) -> Result<Option<Code>, Rejection> {
        let Self { house, .. } = self;
        if house.token_endpoint.is_none() || house.sessions.is_none() {
            return Ok(None);
        }
        if let Some(Code { code, redirect_uri }) = &code {
            identity.check_code(code.expose())?;
            self.check_redirect_uri(redirect_uri.as_ref())?;
        }
        Ok(code)
    }

    fn check_redirect_uri(&self, posted: Option<&RedirectUri>) -> Result<(), Rejection> {
        if posted.is_none_or(|posted| self.settings.redirect_uris.contains(posted)) {
            return Ok(());
        }
        Err(Rejection::BadRequest("the redirect URI is none of sign_in.redirect_uris"))
    }

    async fn redeem(
        &self,
        code: Option<Code>,
        identity: &Identity,
    ) -> Result<Option<AppleGrant>, Rejection> {
        let house = &self.house;
        let Some((code, endpoint)) = code.zip(house.token_endpoint.as_ref()) else {
            return Ok(None);
        };
        grant::redeem(endpoint, &code, identity, &house.verifier, house.clock.now()).await
    }

    fn begin(
        &self,
        identity: &Identity,
        grant: Option<&AppleGrant>,
    ) -> Result<Option<SessionTokens>, Rejection> {
        let begun = self.house.sessions.as_ref().map(|sessions| sessions.begin(identity, grant));
        begun.transpose().map_err(|_sealing| UNSEALED)
    }

    /// Tells applications, if they are to be told: from here on it will be delivered.
    async fn tell(
        &self,
        token: &str,
        identity: &Identity,
        name: Option<&UnverifiedName>,
    ) -> Result<(), Rejection> {
        if !self.settings.webhook {
            return Ok(());
        }
        let event = Event::of_sign_in(token, identity, name, self.house.clock.now());
        self.house.recorder.tell_of_sign_in(&event).await
    }

    /// When the token of `identity` is refused for its age by everybody.
    fn end_of(&self, identity: &Identity) -> UnixTime {
        self.house.clock.now().saturating_add(self.house.verifier.remaining(identity))
    }
}
