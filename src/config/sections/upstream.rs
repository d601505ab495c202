//! `[upstream]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{super::problems::Problems, check_positive};
use crate::upstream::{CredentialForwarding, UpstreamSettings, UpstreamUrl};

/// `[upstream]`: the application behind the proxy, and how long it may take.
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
        }
    }
}

impl UpstreamSection {
    pub(super) const EXAMPLE_URL: &str = "http://127.0.0.1:3000";

    pub(super) fn check(
        self,
        problems: &mut Problems,
    ) -> Option<(UpstreamSettings, CredentialForwarding)> {
        let Self {
            url,
            connect_timeout,
            response_timeout,
            idle_timeout,
            pool_idle_timeout,
            forward_credential,
        } = self;

        check_positive(problems, "upstream.connect_timeout", connect_timeout);
        check_positive(problems, "upstream.response_timeout", response_timeout);
        check_positive(problems, "upstream.idle_timeout", idle_timeout);
        check_positive(problems, "upstream.pool_idle_timeout", pool_idle_timeout);
        let url = check_url(problems, url.as_ref())?;

        let credential = if forward_credential {
            CredentialForwarding::Keep
        } else {
            CredentialForwarding::Remove
        };
        let settings = UpstreamSettings {
            url,
            connect_timeout,
            response_timeout,
            idle_timeout,
            pool_idle_timeout,
        };
        Some((settings, credential))
    }
}

fn check_url(problems: &mut Problems, url: Option<&Url>) -> Option<UpstreamUrl> {
    let Some(url) = url else {
        let example = UpstreamSection::EXAMPLE_URL;
        problems.note(
            "upstream.url",
            format!("is missing: say where the application is, such as `{example}`"),
        );
        return None;
    };
    UpstreamUrl::new(url).map_err(|what| problems.note("upstream.url", what)).ok()
}
