//! The authorization code: it is redeemed at Apple, once, for the grant that goes with the session. At both doors by the same
//! rules.

use tracing::warn;

use crate::{
    apple::{AuthorizationCode, RedirectUri, TokenEndpoint},
    authn::{Rejection, SignInFault},
    clock::UnixTime,
    verify::{AppleGrant, Identity, Verifier, VerifyError},
};

/// An authorization code, and what belongs to it.
pub(super) struct Code {
    pub(super) code: AuthorizationCode,
    /// Where Apple's page sent the browser, if the code is from the web: to Apple a part of the code.
    pub(super) redirect_uri: Option<RedirectUri>,
}

/// Redeems `code`, which [belongs](Identity::check_code) to the token of `identity`. Apple's answer must be about the same
/// person and app.
///
/// # Errors
///
/// [`Rejection::Apple`] as Apple says, or does not say; [`SignInFault::ForeignGrant`] if its answer is about somebody else, or
/// does not say whom it is about.
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
        Ok(None) | Err(VerifyError::Rejected(_)) => return Err(foreign()),
        Err(unjudged) => return Err(unjudged.into()),
    };
    if !other.is_of_same_person(identity) {
        return Err(foreign());
    }
    Ok(granted.into_grant(client_id, now))
}

fn foreign() -> Rejection {
    warn!("what Apple granted for a code is not for who signed in");
    SignInFault::ForeignGrant.into()
}
