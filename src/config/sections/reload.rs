//! `[reload]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{super::problems::Problems, LONGEST, check_at_most};

/// `[reload]`: when settings are read again while the proxy runs, and with them the files that they name (`…_file`). They are
/// read whole and take effect whole, from the next request on and without failing any; settings that cannot be used change
/// nothing. `[server]`, but for its limits on bodies and its `trusted_peers`, `[tls]`, `[log]`, `[store]`,
/// `[sessions]`, `[sign_in]`, `[notifications]`, `[revocations]` and `[webhooks]`, and the team key and `api_url` in `[apple]`
/// need a restart, which the log says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReloadSection {
    /// Time between two looks at the files that settings come from; default 5 s. What counts is what is in them, so that a
    /// `ConfigMap` of Kubernetes is noticed, too. Shorter notices sooner. `0s` does not look: then they are read again on SIGHUP only, as
    /// they are in any case.
    #[serde(with = "humantime_serde")]
    watch_every: Duration,
}

impl Default for ReloadSection {
    fn default() -> Self {
        Self { watch_every: Duration::from_secs(5) }
    }
}

impl ReloadSection {
    /// The time between two looks, if there are any.
    pub(super) fn check(self, problems: &mut Problems) -> Option<Duration> {
        let Self { watch_every } = self;

        check_at_most(problems, "reload.watch_every", LONGEST, watch_every);
        (!watch_every.is_zero()).then_some(watch_every)
    }
}
