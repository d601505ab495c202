//! `[jwks]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::{AdditionalKeys, JwksEntry, JwksFrom, problems::Problems},
    LONGEST, check_at_most,
};
use crate::verify::{HttpsOptions, Issuer, JwksSettings, TrustedUrl};

/// `[jwks]`: where Apple's public keys come from, and how long they are trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct JwksSection {
    /// The JWK Set to fetch; default Apple's, `https://appleid.apple.com/auth/keys`. Whoever serves it can be anybody to
    /// the application, so that plain `http` is accepted for a loopback host only, which is what the simulator is.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url>,

    /// A file to read the JWK Set from instead, again at each refresh; none by default. For machines that cannot reach
    /// Apple: whoever keeps the file must follow Apple's key rotation, or tokens are refused after the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,

    /// Time between fetches, ± 10 % so that a fleet spreads out; default 15 min. Shorter notices a withdrawn key sooner;
    /// longer asks Apple less often.
    #[serde(with = "humantime_serde")]
    refresh_every: Duration,

    /// How long the last good set is used while fetching fails; default 24 h. Longer rides out an outage of Apple's;
    /// shorter drops a withdrawn key sooner. Beyond it requests are answered 503. Not shorter than `refresh_every`.
    #[serde(with = "humantime_serde")]
    keep_while_failing: Duration,

    /// The least time between two fetches that unknown keys cause; default 30 s. Longer keeps made-up tokens from making
    /// us hammer Apple; shorter accepts a key that Apple has just added sooner.
    #[serde(with = "humantime_serde")]
    unknown_key_cooldown: Duration,

    /// How long a key stays usable that Apple does not list any more; default 0s, at most 24 h, the life of a token. Longer
    /// spares tokens that outlive their key; zero ends a key at once that Apple has taken back for cause.
    #[serde(with = "humantime_serde")]
    removed_key_grace: Duration,

    /// A file to keep the last good set in, so that a restart during an outage of Apple's serves; none by default. Whoever
    /// can write it can be anybody to the application: its directory must be writable for this process alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_file: Option<PathBuf>,

    /// A PEM file of the only certificate authorities to believe when fetching keys; default the system's. For a proxy
    /// that opens TLS: whoever holds such an authority's key can be anybody to the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,

    /// The forward proxy to fetch keys through, http:// or https://; default none. The environment (`HTTPS_PROXY`) is never
    /// asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Url>,

    /// Whether Apple's discovery document and keys are compared once an hour with what is pinned here; default no. It warns
    /// by log and by the metric `siwa_apple_drift`, and changes nothing.
    canary: bool,

    /// Further issuers whose tokens are accepted, such as a simulator beside Apple, each with a `url` or a `file` of
    /// its own, reached as the first is; default none. Written `[[jwks.additional]]`, too. Its keys prove nobody of
    /// Apple's, but it can name any subject: `policy.issuers` must say who may pass, and `X-Apple-Issuer` tells the
    /// application whose subject it is.
    additional: Vec<AdditionalSource>,
}

/// A further source of keys, and the issuer to whom they belong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdditionalSource {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl Default for JwksSection {
    fn default() -> Self {
        let JwksSettings {
            refresh_every,
            keep_while_failing,
            unknown_key_cooldown,
            removed_key_grace,
        } = JwksSettings::default();
        Self {
            url: None,
            file: None,
            refresh_every,
            keep_while_failing,
            unknown_key_cooldown,
            removed_key_grace,
            cache_file: None,
            ca_file: None,
            proxy: None,
            canary: false,
            additional: Vec::new(),
        }
    }
}

impl JwksSection {
    /// Zero would fetch without a pause; this is short enough for any test.
    const SHORTEST: Duration = Duration::from_millis(10);
    /// No token lives longer, so that nobody is spared by more.
    const LONGEST_GRACE: Duration = Duration::from_hours(24);

    pub(super) fn check(self, problems: &mut Problems) -> Option<JwksEntry> {
        check_pause(problems, "jwks.refresh_every", self.refresh_every);
        check_pause(problems, "jwks.keep_while_failing", self.keep_while_failing);
        check_pause(problems, "jwks.unknown_key_cooldown", self.unknown_key_cooldown);
        if self.keep_while_failing < self.refresh_every {
            let what = "must not be shorter than jwks.refresh_every, or the keys would be gone between two fetches";
            problems.note_clash("jwks.keep_while_failing", "jwks.refresh_every", what);
        }
        let grace = self.removed_key_grace;
        check_at_most(problems, "jwks.removed_key_grace", Self::LONGEST_GRACE, grace);
        check_proxy(problems, self.proxy.as_ref());
        let https =
            HttpsOptions::new(check_path(problems, "jwks.ca_file", self.ca_file), self.proxy);
        let cache_file = check_path(problems, "jwks.cache_file", self.cache_file);
        let additional = check_additional(problems, self.additional);
        let from = check_source(problems, self.url, self.file)?;
        let settings = JwksSettings {
            refresh_every: self.refresh_every,
            keep_while_failing: self.keep_while_failing,
            unknown_key_cooldown: self.unknown_key_cooldown,
            removed_key_grace: self.removed_key_grace,
        };
        let (canary, additional) = (self.canary, additional?);
        Some(JwksEntry { from, additional, settings, cache_file, https, canary })
    }
}

fn check_additional(
    problems: &mut Problems,
    sources: Vec<AdditionalSource>,
) -> Option<Vec<AdditionalKeys>> {
    let check = |(place, source): (usize, AdditionalSource)| source.check(problems, place);
    let checked: Vec<_> = (1..).zip(sources).map(check).collect();
    checked.into_iter().collect()
}

impl AdditionalSource {
    /// `place` is where it stands in the list, counted from 1.
    fn check(self, problems: &mut Problems, place: usize) -> Option<AdditionalKeys> {
        let Self { issuer, url, file } = self;
        let mut refuse =
            |what| problems.note("jwks.additional", format!("entry {place} needs {what}"));
        if issuer.is_empty() || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
            refuse("an issuer of visible ASCII characters");
            return None;
        }
        let from = match (url, file) {
            (Some(url), None) => TrustedUrl::new(url).map(JwksFrom::Url),
            (None, Some(file)) => file.file_name().is_some().then(|| JwksFrom::File(file.clone())),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if from.is_none() {
            refuse("either a url, https or http to a loopback host, or a file");
        }
        Some(AdditionalKeys { issuer: Issuer::new(&issuer), from: from? })
    }
}

fn check_proxy(problems: &mut Problems, proxy: Option<&Url>) {
    if proxy.is_some_and(|proxy| !matches!(proxy.scheme(), "http" | "https")) {
        problems.note("jwks.proxy", "must begin with http:// or https://");
    }
}

fn check_path(problems: &mut Problems, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    if path.as_ref().is_some_and(|path| path.file_name().is_none()) {
        problems.note(key, "must name a file");
    }
    path
}

fn check_pause(problems: &mut Problems, key: &str, value: Duration) {
    if value < JwksSection::SHORTEST {
        problems.note(key, "must be at least 10ms");
    }
    check_at_most(problems, key, LONGEST, value);
}

fn check_source(
    problems: &mut Problems,
    url: Option<Url>,
    file: Option<PathBuf>,
) -> Option<JwksFrom> {
    match (url, file) {
        (None, None) => Some(JwksFrom::Url(TrustedUrl::apple_keys())),
        (Some(url), None) => check_url(problems, url).map(JwksFrom::Url),
        (None, Some(file)) => check_file(problems, file).map(JwksFrom::File),
        (Some(url), Some(file)) => {
            let what =
                "is set beside jwks.file: keys come from one place, so remove one of the two";
            problems.note_clash("jwks.url", "jwks.file", what);
            // What else is wrong with either is worth knowing now, too.
            check_url(problems, url);
            check_file(problems, file);
            None
        }
    }
}

fn check_url(problems: &mut Problems, url: Url) -> Option<TrustedUrl> {
    let trusted = TrustedUrl::new(url);
    if trusted.is_none() {
        problems.note("jwks.url", "must be https, or http to a loopback host such as 127.0.0.1");
    }
    trusted
}

fn check_file(problems: &mut Problems, file: PathBuf) -> Option<PathBuf> {
    if file.as_os_str().is_empty() {
        problems.note("jwks.file", "must not be empty: leave it out to fetch the keys");
        return None;
    }
    Some(file)
}
