//! What settings are made of, where no room has a type of its own for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    authn::AssertionKeys,
    store::RedisSettings,
    upstream::{CredentialForwarding, HostForwarding, UpstreamSettings},
    verify::{
        FetchFault, FileJwks, HttpsJwks, HttpsOptions, Issuer, JwksSource, SealKeys,
        SessionSettings, TrustedUrl,
    },
};

/// An application, and how it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamEntry {
    /// The section that describes it.
    pub(crate) section: String,
    /// Where it is, and how long it may take.
    pub(crate) settings: UpstreamSettings,
    /// What becomes of the credential.
    pub(crate) credential: CredentialForwarding,
    /// Which host it is told.
    pub(crate) host: HostForwarding,
    /// What it calls itself.
    pub(crate) audience: String,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteDestination {
    /// The place in [`Settings::upstreams`](super::Settings::upstreams).
    pub(crate) upstream: usize,
    /// Instead of the application's.
    pub(crate) response_timeout: Option<Duration>,
    /// Instead of the application's.
    pub(crate) idle_timeout: Option<Duration>,
}

/// How identities are asserted.
#[derive(Clone, Debug)]
pub(crate) struct AssertionSettings {
    /// What signs them.
    pub(crate) keys: AssertionKeys,
    /// Who says so.
    pub(crate) issuer: Arc<str>,
    /// Where the public keys are told.
    pub(crate) published: Published,
}

/// Where the public keys of assertions are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// On the admin listener.
    OnAdmin,
    /// On the public listener, too.
    Everywhere,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksFrom {
    /// A key endpoint, Apple's by default.
    Url(TrustedUrl),
    /// A file, read again at each refresh.
    File(PathBuf),
}

/// Where is kept what must outlive a request.
#[derive(Clone, Debug)]
pub(crate) enum StoreSettings {
    /// Nowhere: a restart forgets it.
    Memory,
    /// In a file of this process alone.
    File(PathBuf),
    /// In Redis, for a fleet.
    Redis(RedisSettings),
}

/// What seals sessions, and how long they live.
#[derive(Clone, Debug)]
pub(crate) struct SessionsEntry {
    /// What seals and opens them.
    pub(crate) keys: SealKeys,
    /// How long they live.
    pub(crate) settings: SessionSettings,
}

/// The keys of a further issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdditionalKeys {
    /// Whose they are.
    pub(crate) issuer: Issuer,
    /// Where they come from.
    pub(crate) from: JwksFrom,
}

impl JwksFrom {
    /// Gets the text of the key set, once.
    pub(crate) async fn fetch(&self, https: &HttpsOptions) -> Result<Bytes, FetchFault> {
        match self {
            Self::Url(url) => {
                let source = HttpsJwks::with_options(url.clone(), https);
                source.map_err(FetchFault::transport)?.fetch().await
            }
            Self::File(path) => FileJwks::new(path.clone()).fetch().await,
        }
    }

    /// Whether they are fetched from Apple itself.
    pub(crate) fn is_apple(&self) -> bool {
        *self == Self::Url(TrustedUrl::apple_keys())
    }
}
