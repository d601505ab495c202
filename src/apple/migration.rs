//! Moving users along when an app moves to another team
//! (<https://developer.apple.com/documentation/technotes/tn3159>): the team that gives has each `sub` exchanged for a transfer
//! identifier, the one that takes has that exchanged for a `sub` of its own.

use std::{fmt, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    api::{AppleApi, AppleApiSettings, Operation},
    error::AppleFault,
    secrets::AccessToken,
    token_response::TokenResponse,
};
use crate::{
    clock::Clock,
    telemetry::Metrics,
    verify::{ClientId, HttpsError, apple_boolean},
};

/// Asks Apple whom two teams know under which identifiers. It works for 60 days from the transfer of the app. Clones share
/// connections and secrets.
#[derive(Clone, Debug)]
pub struct MigrationEndpoint {
    api: AppleApi,
}

/// Permission to ask about the users of an app, for an hour or so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrationGrant {
    /// The app.
    pub client_id: ClientId,
    /// How long it lives, if Apple says so.
    pub expires_in: Option<Duration>,
    access_token: AccessToken,
}

/// Somebody as the team that takes knows them. `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct MigratedUser {
    /// Their `sub` from now on.
    pub sub: String,
    /// Their address, another one than before if they hide it.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether that is one of Apple's relay.
    #[serde(default, deserialize_with = "flag")]
    pub is_private_email: Option<bool>,
}

impl MigrationEndpoint {
    /// An endpoint that is asked as `settings` say.
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

    /// Gets permission to ask about the users of `client_id`.
    ///
    /// # Errors
    ///
    /// [`AppleFault`].
    pub async fn authorize(&self, client_id: &ClientId) -> Result<MigrationGrant, AppleFault> {
        let fields = [("grant_type", "client_credentials"), ("scope", "user.migration")];
        let answer = self.api.post(Operation::MigrationToken, client_id, &fields).await?;
        let TokenResponse { access_token, expires_in, .. } = TokenResponse::of(&answer)?;
        Ok(MigrationGrant { client_id: client_id.clone(), expires_in, access_token })
    }

    /// The transfer identifier by which the team `target` will find out who `sub` is: for the team that gives.
    ///
    /// # Errors
    ///
    /// [`AppleFault`].
    pub async fn send(
        &self,
        grant: &MigrationGrant,
        sub: &str,
        target: &str,
    ) -> Result<String, AppleFault> {
        #[derive(Deserialize)]
        struct Wire {
            transfer_sub: String,
        }

        let Wire { transfer_sub } = self.ask(grant, &[("sub", sub), ("target", target)]).await?;
        Ok(transfer_sub)
    }

    /// Who `transfer_sub` is from now on: for the team that takes.
    ///
    /// # Errors
    ///
    /// [`AppleFault`].
    pub async fn receive(
        &self,
        grant: &MigrationGrant,
        transfer_sub: &str,
    ) -> Result<MigratedUser, AppleFault> {
        self.ask(grant, &[("transfer_sub", transfer_sub)]).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        grant: &MigrationGrant,
        fields: &[(&str, &str)],
    ) -> Result<T, AppleFault> {
        let MigrationGrant { client_id, access_token, .. } = grant;
        let bearer = Some(access_token);
        self.api.post_with(Operation::Migrate, client_id, fields, bearer).await?.json()
    }
}

fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(apple_boolean(&Value::deserialize(deserializer)?))
}

impl fmt::Debug for MigratedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigratedUser").finish_non_exhaustive()
    }
}
