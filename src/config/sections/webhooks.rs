//! `[webhooks]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{super::problems::Problems, check_positive, store::read};
use crate::{
    endpoints::{BrowserSettings, SignInSettings},
    webhooks::{Target, WebhookSecret, WebhookSettings},
};

/// `[webhooks]`: who else is told of Apple's notifications, of accounts that people delete, and of sign-ins if
/// `sign_in.webhook` says so: a signed JSON
/// POST for each event, at least once, with the headers of Standard Webhooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebhooksSection {
    /// Where events are posted to, http:// or https://; none by default. What is posted holds the subject, which is personal
    /// data.
    urls: Vec<Url>,

    /// Files with the secrets that sign: one for all, or one for each of `urls`, in their order. With one for all, each
    /// receiver can pretend to the others to be this proxy. `echo whsec_$(openssl rand -base64 32)` makes one.
    secret_files: Vec<PathBuf>,

    /// How long an event is tried again while its receiver does not take it; default 3 days. Then it is given up, with an
    /// error in the log. It survives a restart if there is a store.
    #[serde(with = "humantime_serde")]
    keep: Duration,

    /// How long one delivery may take; default 10 s. A receiver should take an event first and act on it then.
    #[serde(with = "humantime_serde")]
    timeout: Duration,
}

impl Default for WebhooksSection {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            secret_files: Vec::new(),
            keep: Duration::from_hours(72),
            timeout: Duration::from_secs(10),
        }
    }
}

/// What the section must know of others: who has something to tell.
pub(super) struct Known<'a> {
    /// Whether Apple's notifications are taken.
    pub(super) has_notifications: bool,
    /// Whether there are keys to seal sessions with.
    pub(super) has_sessions: bool,
    /// Where apps sign in, if they do.
    pub(super) sign_in: Option<&'a SignInSettings>,
    /// How browsers sign in, if they do.
    pub(super) browser: Option<&'a BrowserSettings>,
}

impl WebhooksSection {
    pub(super) fn check(self, problems: &mut Problems, known: &Known<'_>) -> WebhookSettings {
        let Known { has_notifications, has_sessions, sign_in, browser } = *known;
        let Self { urls, secret_files, keep, timeout } = self;

        check_positive(problems, "webhooks.keep", keep);
        check_positive(problems, "webhooks.timeout", timeout);
        for url in urls.iter().filter(|url| !matches!(url.scheme(), "http" | "https")) {
            let what = format!("`{url}` must begin with http:// or https://");
            problems.note("webhooks.urls", what);
        }
        if secret_files.len() != 1 && secret_files.len() != urls.len() {
            let (secrets, urls) = (secret_files.len(), urls.len());
            let what =
                format!("there are {secrets} for {urls} urls: name one for all, or one each");
            problems.note_clash("webhooks.secret_files", "webhooks.urls", what);
        }
        let tellers = [
            ("sign_in.webhook", sign_in.is_some_and(|sign_in| sign_in.webhook)),
            ("browser.webhook", browser.is_some_and(|browser| browser.webhook)),
        ];
        let mut tellers = tellers.into_iter().filter(|(_, tells)| *tells).map(|(key, _)| key);
        let teller = tellers.next();
        if let Some(key) = teller.filter(|_| urls.is_empty()) {
            let what = format!("is missing, so that {key} tells nobody");
            problems.note_clash("webhooks.urls", key, what);
        }
        // With both, people can delete their accounts.
        let tells_deletions = sign_in.is_some() && has_sessions;
        let is_told = has_notifications || teller.is_some() || tells_deletions;
        if !is_told && !urls.is_empty() {
            let what = "are told nothing without notifications.path, sign_in.webhook or sessions.key_files: set one, or remove them";
            problems.note("webhooks.urls", what);
        }
        let secrets: Vec<_> =
            secret_files.iter().filter_map(|file| check_secret(problems, file)).collect();
        let secrets = secrets.iter().cycle();
        let targets = urls.into_iter().zip(secrets);
        let targets = targets.map(|(url, secret)| Target { url, secret: secret.clone() }).collect();
        WebhookSettings { targets, keep, timeout }
    }
}

fn check_secret(problems: &mut Problems, file: &PathBuf) -> Option<WebhookSecret> {
    let key = "webhooks.secret_files";
    let text = read(problems, key, Some(file))?;
    let secret = WebhookSecret::parse(&text);
    secret.map_err(|error| problems.note(key, format!("`{}` {error}", file.display()))).ok()
}
