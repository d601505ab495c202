//! The second way to an [`Identity`]: our own seal, and then the same questions as to a token of Apple's.

use std::sync::Arc;

use super::{
    super::{
        Verifier,
        error::{TokenFault, VerifyError},
        identity::Identity,
        printable::Printable,
    },
    BrowserSession, RefreshToken, SessionFault, Sessions,
};

impl Verifier {
    /// Says whose session the access token `text` (`siwa_a.…`) is of, at this moment.
    ///
    /// What is asked of Apple's tokens is asked of it, too: whether its app and its issuer are still accepted, whether it has
    /// expired, and whether its subject was revoked since Apple's token of the sign-in was issued. Not how old that is, as
    /// a session has an end of its own. No store is asked, and nobody is waited for.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Rejected`], mostly with a [`SessionFault`]; [`VerifyError::RevocationsUnavailable`] when it is not known
    /// yet who was revoked and which sessions were ended.
    pub fn reopen(&self, text: &str) -> Result<Arc<Identity>, VerifyError> {
        let identity = self.known_sessions()?.open(text)?;
        self.check_session(&identity)?;
        Ok(Arc::new(identity))
    }

    /// Says whose session the refresh token `text` is of, as [`reopen`](Self::reopen) does. That it was not used before is
    /// found out by [`Sessions::renew`].
    ///
    /// # Errors
    ///
    /// Those of [`reopen`](Self::reopen).
    pub fn reopen_refresh(&self, text: &str) -> Result<RefreshToken, VerifyError> {
        let refresh = self.known_sessions()?.open_refresh(text)?;
        self.check_session(refresh.session().identity())?;
        Ok(refresh)
    }

    /// Says whose session a browser's cookie (`siwa_c.…`) is of, as [`reopen`](Self::reopen) does, and what Apple granted with
    /// it. It lives for long, so that whoever takes it asks Apple from time to time, and nobody takes one as a bearer token.
    ///
    /// # Errors
    ///
    /// Those of [`reopen`](Self::reopen).
    pub fn reopen_cookie(&self, text: &str) -> Result<BrowserSession, VerifyError> {
        let cookie = self.known_sessions()?.open_cookie(text)?;
        self.check_session(cookie.session().identity())?;
        Ok(cookie)
    }

    /// Where there are no sessions, there is no key that opens one.
    fn known_sessions(&self) -> Result<&Sessions, SessionFault> {
        self.sessions.as_ref().ok_or(SessionFault::UnknownKey)
    }

    fn check_session(&self, identity: &Identity) -> Result<(), VerifyError> {
        self.check_accepted(identity)?;
        let now = self.clock.now();
        self.rules.check_begun("iat", identity.issued_at, now)?;
        if !self.rules.is_unexpired(identity.expires_at, now) {
            return Err(SessionFault::Expired { expired_at: identity.expires_at, now }.into());
        }
        if let Some((sessions, id)) = self.sessions.as_ref().zip(identity.session_id()) {
            sessions.0.ended.check(id)?;
        }
        if let Some(revocations) = &self.revocations {
            revocations.check(identity)?;
        }
        Ok(())
    }

    /// Settings may have changed since the sign-in.
    fn check_accepted(&self, identity: &Identity) -> Result<(), TokenFault> {
        if !self.keys.speak_for(identity.issuer()) {
            let [found, expected] = [identity.issuer(), &self.issuer];
            let [found, expected] = [found, expected].map(|it| Printable::new(it.as_str()));
            return Err(TokenFault::Issuer { found, expected });
        }
        let foreign = identity.audience().find(|id| !self.rules.client_ids().contains(id));
        match foreign {
            None => Ok(()),
            Some(id) => Err(TokenFault::Audience { found: Printable::new(id.as_str()) }),
        }
    }
}
