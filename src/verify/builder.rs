//! The decisions that a [`Verifier`] needs, in the order of their weight: for which apps (no default), whose keys, and how.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{
    Verifier,
    claims::ClaimRules,
    identity::ClientIds,
    jwks::{
        CanarySettings, HttpsJwks, InvalidDuration, Issuer, JwksCache, JwksSettings, JwksSource,
        KeySource, Surroundings,
    },
    revocations::Revocations,
    session::Sessions,
    turnstile::Turnstile,
    verdicts::{AtTokenExpiry, VerdictCache},
};
use crate::{
    clock::{Clock, SystemClock},
    https::{HttpsError, TrustedUrl},
    telemetry::Metrics,
};

/// Describes a [`Verifier`]. Everything but the client ids has a default that suits production.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct VerifierBuilder {
    client_ids: ClientIds,
    issuer: Issuer,
    source: Option<Arc<dyn JwksSource>>,
    cache_file: Option<PathBuf>,
    further_sources: Vec<KeySource>,
    keys: Option<JwksCache>,
    canary: Option<CanarySettings>,
    jwks: JwksSettings,
    leeway: Duration,
    max_token_age: Option<Duration>,
    revocations: Option<Revocations>,
    sessions: Option<Sessions>,
    verdict_capacity: u64,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    tasks: TaskTracker,
}

impl VerifierBuilder {
    /// Verdicts remembered at most, by default.
    pub const VERDICT_CAPACITY: u64 = 100_000;
    /// How far clocks may differ, by default: fresh tokens have been seen to look issued some seconds in the future.
    pub const LEEWAY: Duration = ClaimRules::LEEWAY;
    /// The most leeway that can be asked for.
    pub const LONGEST_LEEWAY: Duration = ClaimRules::LONGEST_LEEWAY;

    pub(super) fn new(client_ids: ClientIds) -> Self {
        Self {
            client_ids,
            issuer: Issuer::apple(),
            source: None,
            cache_file: None,
            further_sources: Vec::new(),
            keys: None,
            canary: None,
            jwks: JwksSettings::default(),
            leeway: Self::LEEWAY,
            max_token_age: None,
            revocations: None,
            sessions: None,
            verdict_capacity: Self::VERDICT_CAPACITY,
            clock: Arc::new(SystemClock),
            metrics: Metrics::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Where the keys come from, instead of Apple's endpoint.
    pub fn jwks_source(mut self, source: impl JwksSource + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Whom the keys speak for, instead of Apple: a simulator.
    pub fn issuer(mut self, issuer: Issuer) -> Self {
        self.issuer = issuer;
        self
    }

    /// Where the last good set is kept, so that a restart during an outage serves: see [`KeySource::cache_file`].
    pub fn cache_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_file = Some(path.into());
        self
    }

    /// Accepts the tokens of a further issuer besides, by keys of its own: `source` cannot speak for anybody else. But
    /// it can name anybody's subject, so that whoever takes the identities must look at [`Identity::issuer`] as well,
    /// or have a policy do so ([`PolicyRules::issuers`]).
    ///
    /// [`Identity::issuer`]: super::Identity::issuer
    /// [`PolicyRules::issuers`]: crate::PolicyRules::issuers
    pub fn add_source(mut self, source: KeySource) -> Self {
        self.further_sources.push(source);
        self
    }

    /// Judges by the keys of `other`, which stay as fresh as they are: for new rules without a new fetch. Whatever else says
    /// where keys come from, how they are kept fresh and what they are compared with is not looked at then.
    pub fn keys_of(mut self, other: &Verifier) -> Self {
        self.keys = Some(other.keys.clone());
        self
    }

    /// Has what Apple publishes compared with what is pinned, which changes nothing: a log line and a metric tell of a
    /// difference. Off by default.
    pub fn canary(mut self, settings: CanarySettings) -> Self {
        self.canary = Some(settings);
        self
    }

    /// How the keys are kept fresh.
    pub const fn jwks_settings(mut self, settings: JwksSettings) -> Self {
        self.jwks = settings;
        self
    }

    /// How far clocks may differ: [`LEEWAY`](Self::LEEWAY) by default, [`LONGEST_LEEWAY`](Self::LONGEST_LEEWAY) at most.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How long ago a token may have been issued; until it expires by default, which is a day for Apple's.
    pub const fn max_token_age(mut self, age: Duration) -> Self {
        self.max_token_age = Some(age);
        self
    }

    /// Whose tokens are refused although they have not expired; nobody's unless this is called. A token that is older than a
    /// revocation is remembered is refused then, too, as nobody could say whether it was revoked.
    pub fn revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Whose sessions are opened, too; nobody's unless this is called. Their clock should be the verifier's.
    pub fn sessions(mut self, sessions: Sessions) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// How many verdicts are remembered at most; 0 remembers none. Once that many are, a token must come twice before its
    /// verdict is.
    pub const fn verdict_capacity(mut self, entries: u64) -> Self {
        self.verdict_capacity = entries;
        self
    }

    /// Who says what time it is.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where to count.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Which tracker the refresher of the keys runs on; one of its own by default.
    pub fn tasks(mut self, tasks: TaskTracker) -> Self {
        self.tasks = tasks;
        self
    }

    /// Starts fetching keys and returns the verifier. Must be called on a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BuildError`] outside a runtime, when a duration makes no sense, or when TLS cannot be set up.
    pub fn build(mut self) -> Result<Verifier, BuildError> {
        Handle::try_current()?;
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => self.start_fetching()?,
        };
        let mut rules = ClaimRules::new(self.client_ids, self.leeway);
        let remembered = self.revocations.as_ref().map(Revocations::kept_for);
        if let Some(age) = self.max_token_age.into_iter().chain(remembered).min() {
            rules = rules.with_max_token_age(age);
        }
        let rules = Arc::new(rules);
        let ends = AtTokenExpiry { rules: Arc::clone(&rules), clock: Arc::clone(&self.clock) };
        Ok(Verifier {
            keys,
            rules,
            verdicts: VerdictCache::new(self.verdict_capacity, ends, &self.metrics)
                .map_err(|error| BuildError::Randomness(error.into()))?,
            turnstile: Turnstile::new(),
            revocations: self.revocations,
            sessions: self.sessions,
            issuer: self.issuer,
            clock: self.clock,
            metrics: self.metrics,
        })
    }

    fn start_fetching(&mut self) -> Result<JwksCache, BuildError> {
        self.jwks.check()?;
        if let Some(canary) = &self.canary {
            canary.check()?;
        }
        let source = match self.source.take() {
            Some(source) => source,
            None => Arc::new(HttpsJwks::new(TrustedUrl::apple_keys())?),
        };
        let first = KeySource::of(self.issuer.clone(), source, self.cache_file.take());
        let sources = [first].into_iter().chain(self.further_sources.drain(..)).collect();
        let surroundings = Surroundings {
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            tasks: self.tasks.clone(),
        };
        let keys = JwksCache::start(sources, &self.jwks, &surroundings);
        if let Some(canary) = self.canary.take() {
            keys.watch(canary, self.issuer.clone(), &surroundings)?;
        }
        Ok(keys)
    }
}

/// Why a verifier cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no tokio runtime to keep the keys fresh on.
    #[error("a verifier needs a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Randomness(#[source] Box<dyn Error + Send + Sync>),
    /// A duration is zero, or centuries.
    #[error("the settings of the keys cannot be used")]
    Duration(#[from] InvalidDuration),
    /// The HTTPS client cannot be set up.
    #[error("the client for the key endpoint cannot be set up")]
    Client(#[from] HttpsError),
}
