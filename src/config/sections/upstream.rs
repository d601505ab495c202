//! `[upstream]` and `[upstreams.NAME]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::{UpstreamEntry, problems::Problems},
    check_positive,
};
use crate::upstream::{CredentialForwarding, HostForwarding, UpstreamSettings, UpstreamUrl};

/// `[upstream]`: the application behind the proxy, and how long it may take. `[upstreams.NAME]`, with the same keys, is
/// another one, for the routes that name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UpstreamSection {
    /// Where the application is: `http://`, host and port, no path. Required. The application must not be reachable but
    /// through the proxy, else anybody can send it the identity headers that it believes.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url>,

    /// The longest that connecting may take; default 5 s. Then the caller gets 504. Shorter fails sooner when the host is
    /// gone; longer tolerates a busy one.
    #[serde(with = "humantime_serde")]
    connect_timeout: Duration,

    /// The longest from the last byte of the request to the head of the response; default 60 s. Then the caller gets 504.
    /// Shorter frees callers from a hanging application sooner; longer suits slow reports and long polling.
    #[serde(with = "humantime_serde")]
    response_timeout: Duration,

    /// The longest silence inside a response's body; default 60 s. Then the response is broken off. Shorter notices a
    /// stalled application sooner; longer suits event streams with rare events.
    #[serde(with = "humantime_serde")]
    idle_timeout: Duration,

    /// How long an unused connection to the application is kept; default 4 s, below the 5 s of Node.js. Longer saves
    /// connecting; longer than the application's own keep-alive, it closes connections just as we use them.
    #[serde(with = "humantime_serde")]
    pool_idle_timeout: Duration,

    /// Whether `Authorization` goes on to the application; default `false`: it has no use for the token, and cannot leak
    /// what it does not have. `true` for an application that verifies the token itself.
    forward_credential: bool,

    /// Which `Host` the application is told. `keep`, the default: the one that the caller asked for, so that it can make
    /// links that work. `upstream`: its own, from `url`, for an application that answers to no other name.
    /// `X-Forwarded-Host` tells the caller's in any case.
    host: HostKey,

    /// What the application calls itself, and compares with `aud` of `X-Siwa-Assertion`; default its `url`. Two
    /// applications must not share it, or one of them can pass on to the other what it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
}

/// How [`HostForwarding`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HostKey {
    #[default]
    Keep,
    Upstream,
}

impl Default for UpstreamSection {
    fn default() -> Self {
        Self {
            url: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(1),
            pool_idle_timeout: Duration::from_secs(4),
            forward_credential: CredentialForwarding::default() == CredentialForwarding::Keep,
            host: HostKey::default(),
            audience: None,
        }
    }
}

impl UpstreamSection {
    pub(super) const EXAMPLE_URL: &str = "http://127.0.0.1:3000";

    /// `at` is the name of the section: `upstream`, or `upstreams.NAME`.
    pub(super) fn check(self, problems: &mut Problems, at: &str) -> Option<UpstreamEntry> {
        let Self {
            url,
            connect_timeout,
            response_timeout,
            idle_timeout,
            pool_idle_timeout,
            forward_credential,
            host,
            audience,
        } = self;

        let key = |key: &str| format!("{at}.{key}");
        check_positive(problems, &key("connect_timeout"), connect_timeout);
        check_positive(problems, &key("response_timeout"), response_timeout);
        check_positive(problems, &key("idle_timeout"), idle_timeout);
        check_positive(problems, &key("pool_idle_timeout"), pool_idle_timeout);
        let url = check_url(problems, &key("url"), url.as_ref())?;

        Some(UpstreamEntry {
            credential: if forward_credential {
                CredentialForwarding::Keep
            } else {
                CredentialForwarding::Remove
            },
            host: match host {
                HostKey::Keep => HostForwarding::Keep,
                HostKey::Upstream => HostForwarding::Upstream(url.host()),
            },
            audience: audience.unwrap_or_else(|| url.origin()),
            settings: UpstreamSettings {
                url,
                connect_timeout,
                response_timeout,
                idle_timeout,
                pool_idle_timeout,
            },
        })
    }
}

fn check_url(problems: &mut Problems, key: &str, url: Option<&Url>) -> Option<UpstreamUrl> {
    let Some(url) = url else {
        let example = UpstreamSection::EXAMPLE_URL;
        problems
            .note(key, format!("is missing: say where the application is, such as `{example}`"));
        return None;
    };
    UpstreamUrl::new(url).map_err(|what| problems.note(key, what)).ok()
}
