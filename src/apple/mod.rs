//! What Apple says to us, server-to-server notifications about accounts; and what we ask of Apple in the name of an app: its
//! token endpoint, and whom another team knows under which identifier.

mod answer;
mod api;
mod client_secret;
mod error;
mod migration;
mod notification;
mod secrets;
mod team_key;
mod token_endpoint;
mod token_response;

pub use self::{
    api::AppleApiSettings,
    client_secret::ClientSecret,
    error::{AppleError, AppleFault, ErrorDescription, Unavailable},
    migration::{MigratedUser, MigrationEndpoint, MigrationGrant},
    notification::{AccountEvent, EventKind, Notification, RelayAddress},
    secrets::{AccessToken, AuthorizationCode, IdToken, InvalidRedirectUri, RedirectUri},
    team_key::{InvalidTeamKey, TeamKey},
    token_endpoint::TokenEndpoint,
    token_response::TokenResponse,
};
