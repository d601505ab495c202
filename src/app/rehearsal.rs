//! What can be found out about settings without serving anybody: whether the files that they name can be used, and, if
//! asked for, whether what they name answers.

use std::{error::Error, iter, sync::Arc};

use tokio_util::task::TaskTracker;

use super::exposed;
use crate::{
    apple::{AppleApiSettings, TokenEndpoint},
    clock::SystemClock,
    config::{AdditionalKeys, JwksFrom, Settings, StoreSettings},
    server::Tls,
    store::{Health, RedisSettings, RedisStore, StoreError, can_be_made, look_at},
    telemetry::{Metrics, causes},
    upstream::{Streams, TlsError, Upstream, UpstreamSettings},
    verify::{FetchFault, HttpsJwks, Issuer, TrustedUrl, usable_keys},
};

/// What was found out about one of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What works, and how.
    Works(String),
    /// What a proxy would serve with, and is probably not meant, said in the same manner.
    Doubtful(String),
    /// What does not, as [`Problems`](crate::config::Problems) say it.
    Fails(String),
}

/// Reads the files that `settings` name, as a proxy would that starts, and looks at the store without opening it. What works
/// is not told.
pub async fn rehearse(settings: &Settings) -> Vec<Finding> {
    let fails = |key: &str, error: &(dyn Error + 'static)| {
        Finding::Fails(settings.problem(key, format!("cannot be used: {}", causes(error))))
    };
    let mut findings = Vec::new();
    if let Some(tls) = settings.tls.clone()
        && let Err(error) = Tls::load(tls, Metrics::new()).await
    {
        findings.push(fails("tls.certificate", &error));
    }
    if let Err(error) = HttpsJwks::with_options(TrustedUrl::apple_keys(), &settings.jwks.https) {
        findings.push(fails("jwks.ca_file", &error));
    }
    for source in NamedKeys::all(settings) {
        if let JwksFrom::File(_) = source.from
            && let Err(fault) = source.count_keys(settings).await
        {
            findings.push(fails(source.key(), &fault));
        }
    }
    for entry in &settings.upstreams {
        if let Err(error) = upstream(&entry.settings) {
            findings.push(fails(&format!("{}.url", entry.section), &error));
        }
    }
    findings.extend(exposed::warnings(settings).into_iter().map(Finding::Doubtful));
    findings.extend(look_at_cache(settings));
    let (key, store) = match &settings.store {
        StoreSettings::Memory => return findings,
        StoreSettings::File(path) => ("store.file", look_at(path)),
        StoreSettings::Redis(redis) => (REDIS, redis_store(redis).map(drop)),
    };
    findings.extend(store.err().map(|error| fails(key, &error)));
    findings
}

/// The keys are fetched without it, too; after a restart while Apple cannot be reached they are missed.
fn look_at_cache(settings: &Settings) -> Option<Finding> {
    const KEY: &str = "jwks.cache_file";
    let path = settings.jwks.cache_file.as_deref()?;
    let error = can_be_made(path).err()?;
    let what = format!("`{}` cannot be written: {error}", path.display());
    Some(Finding::Doubtful(settings.problem(KEY, what)))
}

/// The key that names Redis.
const REDIS: &str = "store.redis_url";

/// Fetches the keys that `settings` name from each source, asks Apple whether it knows the team key if there is one, connects
/// to each application, and asks Redis for an answer.
pub async fn probe(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in NamedKeys::all(settings) {
        findings.push(source.probe(settings).await);
    }
    if let Some(api) = &settings.apple.api {
        findings.extend(probe_team_key(settings, api).await);
    }
    for entry in &settings.upstreams {
        let (key, place) = (format!("{}.url", entry.section), entry.settings.url.origin());
        let outcome = match upstream(&entry.settings) {
            Ok(upstream) => upstream.probe().await.map_err(|error| causes(&error)),
            Err(error) => Err(causes(&error)),
        };
        findings.push(match outcome {
            Ok(()) => Finding::Works(format!("{key}: {place} can be connected to")),
            Err(why) => {
                Finding::Fails(settings.problem(&key, format!("{place} cannot be used: {why}")))
            }
        });
    }
    if let StoreSettings::Redis(redis) = &settings.store {
        findings.push(match ping(redis).await {
            Ok(()) => Finding::Works(format!("{REDIS}: Redis answers")),
            Err(error) => {
                let why = format!("cannot be used: {}", causes(&error));
                Finding::Fails(settings.problem(REDIS, why))
            }
        });
    }
    findings
}

fn redis_store(settings: &RedisSettings) -> Result<RedisStore, StoreError> {
    RedisStore::new(settings.clone(), Health::new(Metrics::new()))
}

async fn ping(settings: &RedisSettings) -> Result<(), StoreError> {
    redis_store(settings)?.ping().await
}

/// One finding for each app: the key may be of the group of some and not of others.
async fn probe_team_key(settings: &Settings, api: &AppleApiSettings) -> Vec<Finding> {
    const KEY: &str = "apple.private_key_file";
    let fails = |what: String| Finding::Fails(settings.problem(KEY, what));
    let endpoint = TokenEndpoint::new(api.clone(), Arc::new(SystemClock), Metrics::new());
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![fails(format!("Apple cannot be asked: {}", causes(&error)))],
    };
    let mut findings = Vec::new();
    for client_id in settings.apple.client_ids.iter() {
        let name = client_id.as_str();
        findings.push(match endpoint.probe(client_id).await {
            Ok(()) => Finding::Works(format!("{KEY}: Apple knows {name} by the key")),
            Err(fault) => fails(format!("of no use for {name}: {}", causes(&fault))),
        });
    }
    findings
}

/// Where the keys of one issuer come from.
struct NamedKeys<'a> {
    issuer: &'a Issuer,
    from: &'a JwksFrom,
    is_additional: bool,
}

impl<'a> NamedKeys<'a> {
    fn all(settings: &'a Settings) -> impl Iterator<Item = Self> {
        let (issuer, from) = (settings.issuer(), &settings.jwks.from);
        let additional = settings
            .jwks
            .additional
            .iter()
            .map(|AdditionalKeys { issuer, from }| Self { issuer, from, is_additional: true });
        iter::once(Self { issuer, from, is_additional: false }).chain(additional)
    }

    /// The key of the settings that names it.
    const fn key(&self) -> &'static str {
        match self.from {
            _ if self.is_additional => "jwks.additional",
            JwksFrom::Url(_) => "jwks.url",
            JwksFrom::File(_) => "jwks.file",
        }
    }

    async fn count_keys(&self, settings: &Settings) -> Result<usize, FetchFault> {
        usable_keys(&self.from.fetch(&settings.jwks.https).await?, self.issuer)
    }

    async fn probe(&self, settings: &Settings) -> Finding {
        let whose = if self.is_additional {
            format!(" of {}", self.issuer.as_str())
        } else {
            String::new()
        };
        match self.count_keys(settings).await {
            Ok(keys) => Finding::Works(format!("{}: usable keys{whose}: {keys}", self.key())),
            Err(fault) => {
                let why = format!("the keys{whose} cannot be had: {}", causes(&fault));
                Finding::Fails(settings.problem(self.key(), why))
            }
        }
    }
}

fn upstream(settings: &UpstreamSettings) -> Result<Upstream, TlsError> {
    Upstream::new(settings.clone(), TaskTracker::new(), Streams::default(), Metrics::new())
}
