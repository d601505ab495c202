//! Apple's token endpoint, and the endpoint beside it that ends a consent.

use std::sync::Arc;

use super::{
    api::{AppleApi, AppleApiSettings, Operation},
    error::{AppleError, AppleFault},
    secrets::{AuthorizationCode, RedirectUri},
    token_response::TokenResponse,
};
use crate::{
    clock::Clock,
    telemetry::Metrics,
    verify::{AppleRefreshToken, ClientId, HttpsError},
};

/// Asks Apple's token endpoint in the name of our apps
/// (<https://developer.apple.com/documentation/signinwithapplerestapi/generate-and-validate-tokens>). Clones share
/// connections and secrets.
///
/// Nothing is ever asked twice: a code is spent by the first try, whatever we hear of it.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use siwa_proxy::{
///     apple::{AppleApiSettings, AuthorizationCode, TeamKey, TokenEndpoint},
///     clock::SystemClock,
///     telemetry::Metrics,
///     verify::ClientId,
/// };
///
/// # async fn doc(code: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let key = std::fs::read("AuthKey_ABC123DEFG.p8")?;
/// let key = TeamKey::from_pem("DEF123GHIJ", "ABC123DEFG", &key)?;
/// let endpoint =
///     TokenEndpoint::new(AppleApiSettings::new(key), Arc::new(SystemClock), Metrics::new())?;
///
/// let code = AuthorizationCode::parse(code).ok_or("this is no code")?;
/// let granted = endpoint.exchange(&ClientId::new("com.example.app")?, &code, None).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    api: AppleApi,
}

impl TokenEndpoint {
    /// An endpoint that is asked as `settings` say. Installs aws-lc-rs as the process's TLS provider unless one is installed.
    ///
    /// # Errors
    ///
    /// [`HttpsError`] when the certificate authorities cannot be loaded or the proxy is no proxy.
    pub fn new(
        settings: AppleApiSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, HttpsError> {
        Ok(Self { api: AppleApi::new(settings, clock, metrics)? })
    }

    /// Redeems the `code` that the app `client_id` got; with the `redirect_uri` to which the browser came back, if there was
    /// one, and without for codes from native apps.
    ///
    /// Check [`Identity::check_code`](crate::verify::Identity::check_code) first: a code that came beside another token would
    /// be spent for nothing.
    ///
    /// # Errors
    ///
    /// [`AppleFault`]; [`AppleError::InvalidGrant`] for a code that was used, has expired or is another app's, and
    /// [`AppleFault::OtherRedirectUri`] for one that was sent elsewhere. If the fault [is uncertain](AppleFault::is_uncertain) the
    /// code may be spent all the same.
    pub async fn exchange(
        &self,
        client_id: &ClientId,
        code: &AuthorizationCode,
        redirect_uri: Option<&RedirectUri>,
    ) -> Result<TokenResponse, AppleFault> {
        let mut fields = vec![("grant_type", "authorization_code"), ("code", code.expose())];
        fields.extend(redirect_uri.map(|uri| ("redirect_uri", uri.as_str())));
        match self.api.post(Operation::Exchange, client_id, &fields).await {
            Err(fault) if fault.is_invalid_client() => Err(self.whose(fault, client_id).await),
            answer => TokenResponse::of(&answer?),
        }
    }

    /// Whose `fault` it is that a code was refused: to Apple an app that it does not know by the key and a code that was sent to
    /// another `redirect_uri` are the same. Of a code that it never issued it says something else, if it knows the app.
    async fn whose(&self, fault: AppleFault, client_id: &ClientId) -> AppleFault {
        if !self.api.is_alarmed(client_id) && self.probe(client_id).await.is_ok() {
            return AppleFault::OtherRedirectUri;
        }
        fault
    }

    /// Asks whether the person still consents to the app `client_id`, which got the `refresh_token`. Once a day is enough:
    /// Apple may throttle whoever asks more often.
    ///
    /// # Errors
    ///
    /// [`AppleFault`]; [`AppleError::InvalidGrant`] when they do not: they stopped using the app, changed their password or
    /// deleted the account.
    pub async fn validate(
        &self,
        client_id: &ClientId,
        refresh_token: &AppleRefreshToken,
    ) -> Result<TokenResponse, AppleFault> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        TokenResponse::of(&self.api.post(Operation::Validate, client_id, &fields).await?)
    }

    /// Ends the person's consent to the app `client_id`, which got the `refresh_token`
    /// (<https://developer.apple.com/documentation/signinwithapplerestapi/revoke-tokens>).
    ///
    /// Apple says the same of a token that was no good any more, so that it is not known whether there was a consent to end.
    ///
    /// # Errors
    ///
    /// [`AppleFault`].
    pub async fn revoke(
        &self,
        client_id: &ClientId,
        refresh_token: &AppleRefreshToken,
    ) -> Result<(), AppleFault> {
        let fields = [("token", refresh_token.expose()), ("token_type_hint", "refresh_token")];
        self.api.post(Operation::Revoke, client_id, &fields).await?.nothing()
    }

    /// Asks whether Apple knows the app `client_id` by the team key, by redeeming a code that was never issued.
    ///
    /// # Errors
    ///
    /// [`AppleFault`] but for [`AppleError::InvalidGrant`], which is the answer of an Apple that knows the app and not the code.
    pub async fn probe(&self, client_id: &ClientId) -> Result<(), AppleFault> {
        let fields = [("grant_type", "authorization_code"), ("code", "c0.0.none.never-issued")];
        match self.api.post(Operation::Probe, client_id, &fields).await {
            Err(AppleFault::Refused { error: AppleError::InvalidGrant, .. }) | Ok(_) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}
