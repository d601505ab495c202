//! What can be found out about settings without serving anybody: whether the files that they name can be used, and, if
//! asked for, whether what they name answers.

use std::error::Error;

use tokio_util::task::TaskTracker;

use crate::{
    config::Settings,
    server::Tls,
    telemetry::{Metrics, causes},
    upstream::{Streams, TlsError, Upstream, UpstreamSettings},
    verify::{HttpsJwks, TrustedUrl, usable_keys},
};

/// What was found out about one of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What works, and how.
    Works(String),
    /// What does not, as [`Problems`](crate::config::Problems) say it.
    Fails(String),
}

/// Reads the files that `settings` name, as a proxy would that starts. What works is not told.
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
    if let Err(error) = HttpsJwks::with_options(TrustedUrl::apple_keys(), &settings.jwks_https) {
        findings.push(fails("jwks.ca_file", &error));
    }
    for entry in &settings.upstreams {
        if let Err(error) = upstream(&entry.settings) {
            findings.push(fails(&format!("{}.url", entry.section), &error));
        }
    }
    findings
}

/// Fetches the keys that `settings` name, and connects to each application.
pub async fn probe(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![probe_keys(settings).await];
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
    findings
}

async fn probe_keys(settings: &Settings) -> Finding {
    let fetched = settings.fetch_jwks().await;
    match fetched.and_then(|text| usable_keys(&text, settings.issuer())) {
        Ok(keys) => Finding::Works(format!("jwks: {keys} usable keys")),
        Err(fault) => {
            let why = format!("the keys cannot be had: {}", causes(&fault));
            Finding::Fails(settings.problem("jwks.url", why))
        }
    }
}

fn upstream(settings: &UpstreamSettings) -> Result<Upstream, TlsError> {
    Upstream::new(settings.clone(), TaskTracker::new(), Streams::default(), Metrics::new())
}
