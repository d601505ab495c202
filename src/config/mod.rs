//! What the operator wrote, settled: past [`Settings`] nothing is validated again.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{
    authn::{IdentityHeader, Realm, UnverifiedEmail},
    server::ServerSettings,
    upstream::{BodyLimits, CredentialForwarding, UpstreamSettings},
    verify::{ClientIds, Issuer, JwksSettings, TrustedUrl},
};

/// Everything that a running proxy needs to know, in the types that use it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where callers connect to.
    pub(crate) listen: SocketAddr,
    /// Where health and metrics are served: never the public port.
    pub(crate) admin_listen: SocketAddr,
    /// How the listeners behave.
    pub(crate) server: ServerSettings,
    /// The apps whose tokens are accepted.
    pub(crate) client_ids: ClientIds,
    /// Whose tokens are accepted.
    pub(crate) issuer: Issuer,
    /// How far clocks may differ.
    pub(crate) leeway: Duration,
    /// How many verdicts are remembered at most.
    pub(crate) verdict_capacity: u64,
    /// Where the keys come from.
    pub(crate) jwks_from: JwksFrom,
    /// How the keys are kept fresh.
    pub(crate) jwks: JwksSettings,
    /// The application.
    pub(crate) upstream: UpstreamSettings,
    /// What becomes of the credential.
    pub(crate) credential: CredentialForwarding,
    /// The identity headers that are set.
    pub(crate) identity_headers: Vec<IdentityHeader>,
    /// What becomes of an unverified email address.
    pub(crate) unverified_email: UnverifiedEmail,
    /// What challenges name.
    pub(crate) realm: Realm,
    /// How much of a request's body is taken.
    pub(crate) request_body: BodyLimits,
    /// The peers whose forwarding headers are believed.
    pub(crate) trusted_peers: Vec<IpNet>,
    /// How the log looks.
    pub(crate) log: LogSettings,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksFrom {
    /// A key endpoint, Apple's by default.
    Url(TrustedUrl),
    /// A file, read again at each refresh.
    File(PathBuf),
}

/// How the log looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Which events are logged: a level, or `target=level` pairs.
    pub filter: String,
    /// For people or for programs.
    pub format: LogFormat,
}

/// For whom the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}
