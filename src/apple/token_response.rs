//! What Apple's token endpoint grants.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::Answer,
    error::{AppleFault, Unavailable},
    secrets::{AccessToken, IdToken},
};
use crate::{
    clock::UnixTime,
    verify::{
        AppleGrant, AppleRefreshToken, ClientId, Identity, Mismatch, Printable, TokenFault,
        UnverifiedToken, Verifier, VerifyError,
    },
};

/// What the token endpoint grants (RFC 6749 §5.1,
/// <https://developer.apple.com/documentation/signinwithapplerestapi/tokenresponse>). Nothing of it prints.
#[derive(Debug)]
#[non_exhaustive]
pub struct TokenResponse {
    /// Good for little: see [`AccessToken`].
    pub access_token: AccessToken,
    /// How long the access token lives, if Apple says so.
    pub expires_in: Option<Duration>,
    /// To ask later whether the person still consents. Only a code yields one.
    pub refresh_token: Option<AppleRefreshToken>,
    /// Who the person is: see [`identity`](Self::identity).
    pub id_token: Option<IdToken>,
}

/// As it comes.
#[derive(Deserialize)]
struct Wire {
    access_token: AccessToken,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    refresh_token: Option<AppleRefreshToken>,
    #[serde(default)]
    id_token: Option<IdToken>,
}

impl TokenResponse {
    pub(super) fn of(answer: &Answer) -> Result<Self, AppleFault> {
        let Wire { access_token, token_type, expires_in, refresh_token, id_token } =
            answer.json()?;
        // Apple's page says `bearer`, and its example `Bearer`.
        if !token_type.eq_ignore_ascii_case("bearer") {
            return Err(Unavailable::malformed("token_type is not bearer").into());
        }
        let expires_in = expires_in.as_ref().and_then(seconds).map(Duration::from_secs);
        Ok(Self { access_token, expires_in, refresh_token, id_token })
    }

    /// Who it was granted for: the identity token, verified, and checked to be of the app `client_id` and of the access token
    /// beside it. None if Apple sent no identity token.
    ///
    /// Whether it is who is expected is for the caller to compare.
    ///
    /// # Errors
    ///
    /// Those of [`Verifier::verify`]; [`TokenFault::Audience`] and [`TokenFault::AccessTokenHash`].
    pub async fn identity(
        &self,
        verifier: &Verifier,
        client_id: &ClientId,
    ) -> Result<Option<Arc<Identity>>, VerifyError> {
        let Some(id_token) = &self.id_token else { return Ok(None) };
        let identity = verifier.verify(&UnverifiedToken::parse(id_token.expose())?).await?;
        if identity.audience().all(|id| id != client_id) {
            let found = Printable::new(identity.client_id().as_str());
            return Err(TokenFault::Audience { found }.into());
        }
        match identity.check_access_token(self.access_token.expose()) {
            // Apple promises the claim nowhere, and both came on one connection from Apple (OpenID Connect Core §3.1.3.8).
            Ok(()) | Err(TokenFault::AccessTokenHash(Mismatch::Missing)) => Ok(Some(identity)),
            Err(fault) => Err(fault.into()),
        }
    }
}

impl TokenResponse {
    /// What a session keeps of it, if it holds anything that can be asked about later: granted to the app `client_id`, and
    /// known to stand `checked_at` that moment.
    pub(crate) fn into_grant(
        self,
        client_id: &ClientId,
        checked_at: UnixTime,
    ) -> Option<AppleGrant> {
        let client_id = client_id.clone();
        self.refresh_token.map(|refresh_token| AppleGrant { refresh_token, client_id, checked_at })
    }
}

/// A number in Apple's examples; as text it means the same.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
