//! The authorization code: it is redeemed at Apple, once, for the grant that goes with the session.

use super::posted::Code;
use crate::{
    apple::TokenEndpoint,
    authn::{Rejection, SignInFault},
    clock::UnixTime,
    verify::{AppleGrant, Identity, Verifier, VerifyError},
};

/// Redeems `code`, which [belongs](Identity::check_code) to the token of `identity`. Apple's answer must be about the same
/// person and app.
///
/// # Errors
///
/// [`Rejection::Apple`] as Apple says, or does not say; [`SignInFault::ForeignGrant`] if its answer is about somebody else.
pub(super) async fn redeem(
    endpoint: &TokenEndpoint,
    code: &Code,
    identity: &Identity,
    verifier: &Verifier,
    now: UnixTime,
) -> Result<Option<AppleGrant>, Rejection> {
    let Code { code, redirect_uri } = code;
    let client_id = identity.client_id();
    let granted = endpoint.exchange(client_id, code, redirect_uri.as_ref()).await?;
    let other = match granted.identity(verifier, client_id).await {
        Ok(Some(other)) => other,
        Ok(None) | Err(VerifyError::Rejected(_)) => return Err(SignInFault::ForeignGrant.into()),
        Err(unjudged) => return Err(unjudged.into()),
    };
    if !other.is_of_same_person(identity) {
        return Err(SignInFault::ForeignGrant.into());
    }
    Ok(granted.into_grant(client_id, now))
}
