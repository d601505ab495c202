//! The verifier, and what a next one keeps of it.

use std::sync::Arc;

use super::surroundings::Surroundings;
use crate::{
    config::{AdditionalKeys, JwksFrom, Settings},
    verify::{
        BuildError, CanarySettings, FileJwks, HttpsJwks, HttpsOptions, KeySource, Verifier,
        VerifierBuilder,
    },
};

/// Which verifier judges after one that judged by other settings.
#[derive(Clone, Copy)]
pub(super) enum Earlier<'a> {
    /// There was none, or its keys come from elsewhere.
    None,
    /// This one, by other rules: its keys are as good as before, and its verdicts are not.
    Keys(&'a Verifier),
    /// This very one.
    Same(&'a Verifier),
}

pub(super) fn build_verifier(
    settings: &Settings,
    earlier: Earlier<'_>,
    surroundings: &Surroundings,
) -> Result<Verifier, BuildError> {
    let Surroundings { clock, metrics, tasks, recorder, sessions, .. } = surroundings;
    let mut builder = Verifier::builder(settings.apple.client_ids.clone())
        .issuer(settings.apple.issuer.clone())
        .jwks_settings(settings.jwks.settings.clone())
        .leeway(settings.apple.leeway)
        .verdict_capacity(settings.verdict_capacity)
        .clock(Arc::clone(clock))
        .metrics(metrics.clone())
        .tasks(tasks.clone());
    if let Some(age) = settings.apple.max_token_age {
        builder = builder.max_token_age(age);
    }
    if let Some(recorder) = recorder {
        builder = builder.revocations(recorder.revocations.clone());
    }
    if let Some(sessions) = sessions {
        builder = builder.sessions(sessions.clone());
    }
    match earlier {
        Earlier::None => with_canary(with_sources(builder, settings)?, settings).build(),
        Earlier::Keys(verifier) => builder.keys_of(verifier).build(),
        Earlier::Same(verifier) => Ok(verifier.clone()),
    }
}

fn with_sources(
    mut builder: VerifierBuilder,
    settings: &Settings,
) -> Result<VerifierBuilder, BuildError> {
    for keys in &settings.jwks.additional {
        builder = builder.add_source(additional_source(keys, &settings.jwks.https)?);
    }
    with_source(builder, settings)
}

fn with_source(
    builder: VerifierBuilder,
    settings: &Settings,
) -> Result<VerifierBuilder, BuildError> {
    let builder = match &settings.jwks.cache_file {
        Some(path) => builder.cache_file(path),
        None => builder,
    };
    Ok(match &settings.jwks.from {
        JwksFrom::Url(url) => {
            builder.jwks_source(HttpsJwks::with_options(url.clone(), &settings.jwks.https)?)
        }
        JwksFrom::File(path) => builder.jwks_source(FileJwks::new(path.clone())),
    })
}

fn additional_source(keys: &AdditionalKeys, https: &HttpsOptions) -> Result<KeySource, BuildError> {
    let issuer = keys.issuer.clone();
    Ok(match &keys.from {
        JwksFrom::Url(url) => KeySource::new(issuer, HttpsJwks::with_options(url.clone(), https)?),
        JwksFrom::File(path) => KeySource::new(issuer, FileJwks::new(path.clone())),
    })
}

fn with_canary(builder: VerifierBuilder, settings: &Settings) -> VerifierBuilder {
    if settings.jwks.canary {
        builder.canary(CanarySettings::default().https(settings.jwks.https.clone()))
    } else {
        builder
    }
}
