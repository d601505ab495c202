//! `[headers]`.

use serde::{Deserialize, Serialize};

use super::super::problems::Problems;
use crate::upstream::Pseudonym;

/// `[headers]`: what the application is told besides the identity. `Forwarded`, `X-Forwarded-For`, `-Proto`, `-Host` and
/// `-Port`, and `X-Request-Id` are always set: as `server.trusted_peers` say, or else anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeadersSection {
    /// What the proxy calls itself in `Via`; default `siwa-proxy`. Empty for no `Via`, which hides from the application
    /// that there is a proxy, and from people who look for one in a chain of them.
    via: String,
}

impl Default for HeadersSection {
    fn default() -> Self {
        Self { via: "siwa-proxy".to_owned() }
    }
}

impl HeadersSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<Pseudonym> {
        let Self { via } = self;

        let pseudonym = Pseudonym::new(&via);
        if pseudonym.is_none() && !via.is_empty() {
            problems.note("headers.via", "must be one word of letters, digits and `-._`");
        }
        pseudonym
    }
}
