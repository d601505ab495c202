//! Who is this? A token goes in, an [`Identity`] comes out. Usable alone: no server, no configuration file.
//!
//! ```text
//! UnverifiedToken ── open(key, …): signature ──▶ SignedClaims ── ClaimRules: iss aud sub iat exp ──▶ Identity
//! ```
//!
//! Read [`Verifier::verify`] first: it is the whole of the product in two short functions. The second way to an identity is
//! [`Verifier::reopen`], from what we sealed ourselves when Apple's token had been verified.

#![warn(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod base64url;
mod bindings;
mod builder;
mod claim_names;
mod claims;
mod email;
mod error;
pub mod explain;
mod followed;
mod freshness;
mod identity;
mod json;
mod jwks;
mod keys_fault;
mod notification;
mod printable;
mod revocations;
mod seal;
mod secret;
mod session;
mod texts;
mod token;
mod turnstile;
mod verdicts;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

#[cfg(test)]
pub(crate) use self::claims::fixtures;
pub use self::{
    bindings::ExpectedNonce,
    builder::{BuildError, VerifierBuilder},
    email::Email,
    error::{
        ClaimProblem, Fault, FetchFault, KeysFault, Malformation, Mismatch, Part, TokenFault,
        VerifyError,
    },
    freshness::{ListFault, RefusalList},
    identity::{
        ClientId, ClientIds, Identity, InvalidClientIds, InvalidSubject, RealUserStatus, Subject,
    },
    jwks::{
        CanarySettings, Fetch, FileJwks, FixedJwks, HttpsJwks, InvalidDuration, Issuer,
        JwksSettings, JwksSource, KeyId, KeySource, usable_keys,
    },
    notification::SignedNotification,
    printable::Printable,
    revocations::{Revocation, Revocations},
    seal::{InvalidSealKey, SealError, SealKeys, Sealed},
    secret::AppleRefreshToken,
    session::{
        AppleGrant, BrowserSession, OpenedSession, RefreshToken, RenewError, SessionCookie,
        SessionFault, SessionId, SessionSettings, SessionTokens, Sessions,
    },
    token::UnverifiedToken,
};
use self::{
    claims::{ClaimRules, SignedClaims},
    jwks::{JwksCache, VerifyingKey},
    turnstile::Turnstile,
    verdicts::{TokenDigest, VerdictCache},
};
pub(crate) use self::{
    json::boolean as apple_boolean,
    revocations::{ClientGroups, RevocationsSettings},
    seal::Purpose,
    secret::SecretText,
    session::{Ending, SessionSpan, SessionSurroundings},
};
pub use crate::https::{HttpsError, HttpsOptions, TrustedUrl};
use crate::{
    clock::{Clock, UnixTime},
    telemetry::Metrics,
};

/// Judges tokens. Clones share keys and verdicts; the keys are kept fresh until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: JwksCache,
    rules: Arc<ClaimRules>,
    verdicts: VerdictCache,
    turnstile: Turnstile,
    revocations: Option<Revocations>,
    /// The second way to an identity.
    sessions: Option<Sessions>,
    /// The one that may tell of its users.
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Verifier {
    /// Starts to describe a verifier of Apple's tokens for the apps `client_ids`.
    pub fn builder(client_ids: ClientIds) -> VerifierBuilder {
        VerifierBuilder::new(client_ids)
    }

    /// Says whom `token` proves, if anyone, at this moment.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Rejected`] when the token is no good: sending it again cannot help.
    /// [`VerifyError::KeysUnavailable`] and [`VerifyError::RevocationsUnavailable`] when it could not be judged: the caller
    /// may retry.
    pub async fn verify(&self, token: &UnverifiedToken<'_>) -> Result<Arc<Identity>, VerifyError> {
        let now = self.clock.now();
        let digest = self.verdicts.digest(token).ok();
        let remembered = digest.as_ref().and_then(|digest| self.verdicts.get(digest));
        let (identity, now) = if let Some(identity) = remembered {
            self.metrics.verdict_hit();
            (identity, now)
        } else {
            self.metrics.verdict_miss();
            // Rare, and much larger than everything else. Time passes while a key is waited for.
            (Box::pin(self.judge(token, digest, now)).await?, self.clock.now())
        };

        // A remembered verdict says the token was good once. Whether it still is depends on the time, and on what Apple told
        // us since.
        self.rules.check_time(&identity, now)?;
        if let Some(revocations) = &self.revocations {
            revocations.check(&identity)?;
        }
        Ok(identity)
    }

    /// Says what the server-to-server notification `token` tells, if Apple signed it for one of our apps and it is of today.
    /// Of several issuers only the first is heard: that of [`VerifierBuilder::issuer`].
    /// It may have been received before: see [`SignedNotification::id`].
    ///
    /// # Errors
    ///
    /// Those of [`verify`](Self::verify).
    pub async fn receive(
        &self,
        token: &UnverifiedToken<'_>,
    ) -> Result<SignedNotification, VerifyError> {
        let now = self.clock.now();
        let (key, notification) =
            self.try_keys(token, &|claims| self.rules.receive(claims, now)).await?;
        // A further issuer may name subjects as it likes, and what it tells must not end another's sign-ins.
        if *key.issuer() != self.issuer {
            let [found, expected] = [key.issuer(), &self.issuer];
            let [found, expected] = [found, expected].map(|it| Printable::new(it.as_str()));
            return Err(TokenFault::Issuer { found, expected }.into());
        }
        Ok(notification)
    }

    /// Whether `identity` is of the first issuer, about whose subjects revocations are: another's may have the same name.
    pub(crate) fn is_of_first_issuer(&self, identity: &Identity) -> bool {
        *identity.issuer() == self.issuer
    }

    /// Whether tokens that were issued to `client_id` are accepted.
    pub(crate) fn accepts(&self, client_id: &ClientId) -> bool {
        self.rules.client_ids().contains(client_id)
    }

    /// Whose tokens are refused although they have not expired, if anybody's can be.
    pub(crate) const fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// The sessions that are opened, if any are.
    #[must_use]
    pub const fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// Key, signature, claims: each step takes what only the step before can give.
    async fn judge(
        &self,
        token: &UnverifiedToken<'_>,
        digest: Option<TokenDigest>,
        now: UnixTime,
    ) -> Result<Arc<Identity>, VerifyError> {
        let started = Instant::now();
        let judged = self.try_keys(token, &|claims| self.rules.prove(claims, now)).await;
        self.metrics.verify_seconds.observe(started.elapsed());
        if let Err(VerifyError::Rejected(TokenFault::UnknownKey { .. })) = &judged {
            self.metrics.unknown_key_ids.inc();
        }
        let (key, identity) = judged?;
        let identity = Arc::new(identity);

        if let Some(digest) = digest {
            self.verdicts.remember(digest, Arc::clone(&identity), key);
        }
        Ok(identity)
    }

    /// Tries the keys that the token's `kid` finds. Where two sources use one name, whichever key fits is the right one; and
    /// where the name is known but no key fits, a source that does not hold it yet may have given it to another key.
    async fn try_keys<T>(
        &self,
        token: &UnverifiedToken<'_>,
        accept: &(impl Fn(SignedClaims<'_>) -> Result<T, TokenFault> + Sync),
    ) -> Result<(Arc<VerifyingKey>, T), VerifyError> {
        let key_id = token.key_id()?;
        let keys = self.keys.find(key_id).await?;
        let judged = self.turnstile.pass(|| try_each(token, &keys, accept)).await;
        let fault = match judged {
            Err(fault) if fault.is_about_the_key() => fault,
            decided => return Ok(decided?),
        };
        let keys = self.keys.find_elsewhere(key_id, &keys).await?;
        if keys.is_empty() {
            return Err(fault.into());
        }
        Ok(self.turnstile.pass(|| try_each(token, &keys, accept)).await?)
    }

    /// Checks that the token of `identity` was issued no longer ago than `limit`, leeway not included: for whoever asks for
    /// younger ones than are taken elsewhere.
    pub(crate) fn check_age(&self, identity: &Identity, limit: Duration) -> Result<(), TokenFault> {
        self.rules.check_within(identity, limit, self.clock.now())
    }

    /// How long `identity` will still be taken for unexpired, leeway included.
    #[must_use]
    pub fn remaining(&self, identity: &Identity) -> Duration {
        self.rules.refused_from(identity).saturating_since(self.clock.now())
    }

    /// Waits until tokens can be judged: until every key source has had a first usable set.
    pub async fn ready(&self) {
        self.keys.ready().await;
    }
}

/// The first key by which the token's claims are accepted, else the first fault that another key would not have mended.
fn try_each<T>(
    token: &UnverifiedToken<'_>,
    keys: &[Arc<VerifyingKey>],
    accept: &impl Fn(SignedClaims<'_>) -> Result<T, TokenFault>,
) -> Result<(Arc<VerifyingKey>, T), TokenFault> {
    let mut first = None;
    for key in keys {
        match token.open(key, accept) {
            Ok(accepted) => return Ok((Arc::clone(key), accepted)),
            Err(fault) if fault.is_about_the_key() => first = first.or(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    Err(match first {
        Some(fault) => fault,
        None => TokenFault::UnknownKey { key_id: token.key_id()?.clone() },
    })
}
