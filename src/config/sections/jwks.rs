//! `[jwks]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::{JwksFrom, problems::Problems},
    LONGEST, check_at_most,
};
use crate::verify::{JwksSettings, TrustedUrl};

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
}

impl Default for JwksSection {
    fn default() -> Self {
        let JwksSettings { refresh_every, keep_while_failing, unknown_key_cooldown } =
            JwksSettings::default();
        Self { url: None, file: None, refresh_every, keep_while_failing, unknown_key_cooldown }
    }
}

/// What `[jwks]` settles.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) from: JwksFrom,
    pub(super) settings: JwksSettings,
}

impl JwksSection {
    /// Zero would fetch without a pause; this is short enough for any test.
    const SHORTEST: Duration = Duration::from_millis(10);

    pub(super) fn check(self, problems: &mut Problems) -> Option<Checked> {
        let Self { url, file, refresh_every, keep_while_failing, unknown_key_cooldown } = self;

        check_pause(problems, "jwks.refresh_every", refresh_every);
        check_pause(problems, "jwks.keep_while_failing", keep_while_failing);
        check_pause(problems, "jwks.unknown_key_cooldown", unknown_key_cooldown);
        if keep_while_failing < refresh_every {
            let what = "must not be shorter than jwks.refresh_every, or the keys would be gone between two fetches";
            problems.note_clash("jwks.keep_while_failing", "jwks.refresh_every", what);
        }
        let from = check_source(problems, url, file)?;
        let settings = JwksSettings { refresh_every, keep_while_failing, unknown_key_cooldown };
        Some(Checked { from, settings })
    }
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
