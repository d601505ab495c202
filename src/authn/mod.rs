//! One request head meets the verifier: the single decision behind every door.

mod assertion;
mod body;
mod credential;
mod email_pattern;
mod identity_headers;
mod layer;
mod policy;
mod rejection;
mod standing;

use std::{pin::pin, sync::Arc, time::Duration};

use http::HeaderMap;
use tracing::Instrument;

use self::credential::Credential;
pub use self::{
    assertion::{Assertion, AssertionKeys, InvalidAssertionKey},
    body::RejectionBody,
    credential::SessionCookieName,
    email_pattern::{EmailPattern, InvalidEmailPattern},
    identity_headers::{IdentityHeader, IdentityHeaders, OwnHeaders, Stripped, UnverifiedEmail},
    layer::{OptionalIdentity, OptionalIdentityLayer, RequireIdentity, RequireIdentityLayer},
    policy::{EmailRule, Members, Policy, PolicyFault, PolicyRules, PrivateRelay},
    rejection::{Dialect, Realm, Rejection, SignInFault},
};
pub(crate) use self::{
    identity_headers::reads_as,
    standing::{Standing, StandingEnd},
};
use crate::{
    telemetry::traces::spans,
    verify::{Identity, KeyId, Verifier},
};

/// Decides who sends a request, and whether they may.
#[derive(Clone, Debug)]
pub struct Authenticator {
    verifier: Verifier,
    realm: Realm,
    policy: Policy,
    /// Where browsers present their session, if they may.
    session_cookie: Option<SessionCookieName>,
}

impl Authenticator {
    /// Decides by `verifier`; asks for credentials in the name of `realm`. Everybody known may pass, unless
    /// [`with_policy`](Self::with_policy) or the policy of a route says otherwise.
    #[must_use]
    pub const fn new(verifier: Verifier, realm: Realm) -> Self {
        Self { verifier, realm, policy: Policy::permissive(), session_cookie: None }
    }

    /// Lets pass only whom `policy` does, wherever they go.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Takes the session in the cookie `name` for a credential, too. Whoever does must see to it that no other site can
    /// have a browser send it.
    #[must_use]
    pub fn with_session_cookie(self, name: Option<SessionCookieName>) -> Self {
        Self { session_cookie: name, ..self }
    }

    /// Says who sends the request with these `headers`, if they may pass `here` as well as everywhere.
    ///
    /// The policy of the place is an argument, so that it cannot be forgotten: [`Policy::permissive`] where there is none.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] when nobody is proved, when that could not be told, or when who it is may not pass.
    pub async fn require(
        &self,
        headers: &HeaderMap,
        here: &Policy,
    ) -> Result<Arc<Identity>, Rejection> {
        self.identify(headers, here).await?.ok_or(Rejection::NoCredential)
    }

    /// Says who sends the request with these `headers`: nobody known, if there is no credential that we know.
    ///
    /// # Errors
    ///
    /// Those of [`require`](Self::require), but for a missing credential. A bad one is refused here too: who presents one
    /// believes to be somebody, and must not go on as nobody unawares.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        here: &Policy,
    ) -> Result<Option<Arc<Identity>>, Rejection> {
        let identity = match Credential::find(headers, self.session_cookie.as_ref())? {
            None => return Ok(None),
            Some(Credential::Token(token)) => {
                pin!(self.verifier.verify(&token)).instrument(spans::verify()).await?
            }
            Some(Credential::Session(text)) => self.verifier.reopen(text)?,
            Some(Credential::Cookie(text)) => {
                Arc::clone(self.verifier.reopen_cookie(text)?.session().identity())
            }
        };
        self.policy.check(&identity)?;
        here.check(&identity)?;
        Ok(Some(identity))
    }

    /// The key that the credential in `headers` names, if there is one that names any. Nobody has verified that: it helps to
    /// find out why a token was refused, and is good for nothing else.
    pub(crate) fn unverified_key_id(headers: &HeaderMap) -> Option<KeyId> {
        let Ok(Some(Credential::Token(token))) = Credential::find(headers, None) else {
            return None;
        };
        token.key_id().ok().cloned()
    }

    /// Why there may be no credential in `headers` though somebody sent one, without anything of it.
    pub(crate) fn oddity_of(headers: &HeaderMap) -> Option<&'static str> {
        credential::oddity_of(headers)
    }

    /// The token of a session that `Authorization` presents, if it presents one.
    pub(crate) fn session_bearer(headers: &HeaderMap) -> Result<Option<&str>, Rejection> {
        Ok(match Credential::find(headers, None)? {
            Some(Credential::Session(text)) => Some(text),
            Some(Credential::Token(_) | Credential::Cookie(_)) | None => None,
        })
    }

    /// How long `identity` will still be taken for unexpired.
    #[must_use]
    pub fn remaining(&self, identity: &Identity) -> Duration {
        self.verifier.remaining(identity)
    }

    /// For how long `identity` may stay, where that can end before its token does.
    pub(crate) fn standing(&self, identity: &Arc<Identity>) -> Option<Standing> {
        let revocations = self.verifier.revocations().cloned();
        let sessions = self.verifier.sessions().filter(|_| identity.session_id().is_some());
        let can_end = revocations.is_some() || sessions.is_some();
        can_end.then(|| Standing::new(Arc::clone(identity), revocations, sessions.cloned()))
    }

    /// What the challenge of a rejection names.
    #[must_use]
    pub const fn realm(&self) -> &Realm {
        &self.realm
    }
}
