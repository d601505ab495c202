//! What settings are made of, where no room has a type of its own for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    apple::AppleApiSettings,
    authn::{AssertionKeys, IdentityHeader, OwnHeaders, Realm, UnverifiedEmail},
    endpoints::{AdminToken, DoorPaths, ExtAuthzSettings},
    peers::Peers,
    server::{ListenOn, ServerSettings},
    store::RedisSettings,
    upstream::{BodyLimits, CredentialForwarding, HostForwarding, UpstreamSettings},
    verify::{
        ClientIds, FetchFault, FileJwks, HttpsJwks, HttpsOptions, Issuer, JwksSettings, JwksSource,
        RevocationsSettings, SealKeys, SessionSettings, TrustedUrl,
    },
};

/// Where is listened, and how.
#[derive(Clone, Debug)]
pub(crate) struct ServerEntry {
    /// Where callers connect to.
    pub(crate) listen: Vec<ListenOn>,
    /// Where health and metrics are served: never the public port.
    pub(crate) admin_listen: ListenOn,
    /// How the listeners behave.
    pub(crate) settings: ServerSettings,
    /// Time at shutdown until the listeners close.
    pub(crate) drain_delay: Duration,
    /// How much of a request's body is taken.
    pub(crate) request_body: BodyLimits,
    /// The peers whose forwarding headers are believed.
    pub(crate) trusted_peers: Peers,
}

/// Whose tokens are accepted, and how Apple is asked.
#[derive(Clone, Debug)]
pub(crate) struct AppleEntry {
    /// The apps whose tokens are accepted.
    pub(crate) client_ids: ClientIds,
    /// Whose tokens are accepted.
    pub(crate) issuer: Issuer,
    /// How far clocks may differ.
    pub(crate) leeway: Duration,
    /// How long ago a token may have been issued.
    pub(crate) max_token_age: Option<Duration>,
    /// By which key Apple knows us, if it is to be asked anything.
    pub(crate) api: Option<AppleApiSettings>,
}

/// Where the keys come from, and how they are kept.
#[derive(Clone, Debug)]
pub(crate) struct JwksEntry {
    /// Where the keys come from.
    pub(crate) from: JwksFrom,
    /// Whose keys are used besides.
    pub(crate) additional: Vec<AdditionalKeys>,
    /// How the keys are kept fresh.
    pub(crate) settings: JwksSettings,
    /// Where the last good set is kept.
    pub(crate) cache_file: Option<PathBuf>,
    /// How the key endpoint is reached.
    pub(crate) https: HttpsOptions,
    /// Whether what Apple publishes is compared with what is pinned.
    pub(crate) canary: bool,
}

/// Where other gateways ask.
#[derive(Clone, Debug)]
pub(crate) struct DoorsEntry {
    /// At which paths.
    pub(crate) paths: DoorPaths,
    /// What the application of another gateway calls itself.
    pub(crate) audience: Option<String>,
}

/// Where Envoy asks.
#[derive(Clone, Debug)]
pub(crate) struct ExtAuthzEntry {
    /// In which form, and for how long.
    pub(crate) settings: ExtAuthzSettings,
    /// What becomes of a credential that another gateway forwards.
    pub(crate) credential: CredentialForwarding,
}

/// How the list of revocations is kept, and who may see it.
#[derive(Clone, Debug)]
pub(crate) struct RevocationsEntry {
    /// How it is kept.
    pub(crate) settings: RevocationsSettings,
    /// What opens it on the admin listener.
    pub(crate) admin_token: Option<AdminToken>,
    /// Where that is written.
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// How applications are told who it is.
#[derive(Clone, Debug)]
pub(crate) struct IdentityEntry {
    /// The identity headers that are set.
    pub(crate) headers: Vec<IdentityHeader>,
    /// The names of the application's own that are set besides.
    pub(crate) own_headers: OwnHeaders,
    /// What becomes of an unverified email address.
    pub(crate) unverified_email: UnverifiedEmail,
    /// What challenges name.
    pub(crate) realm: Realm,
}

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

    /// Where that is, in words for an operator: the host, as the rest of an address may be a secret; or the file.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Url(url) => url.as_url().host_str().unwrap_or_default().to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Whether they are fetched from Apple itself.
    pub(crate) fn is_apple(&self) -> bool {
        *self == Self::Url(TrustedUrl::apple_keys())
    }
}
