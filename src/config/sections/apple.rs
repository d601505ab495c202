//! `[apple]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{super::problems::Problems, check_at_most, check_positive};
use crate::verify::{ClientIds, Issuer, VerifierBuilder};

/// `[apple]`: whose tokens are accepted, and for which apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AppleSection {
    /// The apps whose tokens are accepted, by bundle id (`com.example.app`) or Services ID. Required: an empty list does not
    /// start, as it would mean anybody's app. Each id more admits the users of one app more; one that is missing gets its
    /// users 401 with the code `token_audience`.
    client_ids: Vec<String>,

    /// Who signs tokens, compared exactly with `iss`; default `https://appleid.apple.com`. Never taken from Apple's
    /// discovery document. Another one is for a simulator, and refuses every token of Apple's.
    issuer: String,

    /// How far our clock and Apple's may differ; default 30 s, at most 5 minutes. Longer forgives a wrong clock; it also
    /// accepts tokens for that much longer after they expired.
    #[serde(with = "humantime_serde")]
    leeway: Duration,

    /// How long ago a token may have been issued; until it expires by default, which is a day for Apple's. Shorter ends a
    /// stolen token sooner; it also sends users back to sign in as often, as Apple hands out no newer token silently.
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde::option")]
    max_token_age: Option<Duration>,
}

impl Default for AppleSection {
    fn default() -> Self {
        Self {
            client_ids: Vec::new(),
            issuer: Issuer::APPLE.to_owned(),
            leeway: VerifierBuilder::LEEWAY,
            max_token_age: None,
        }
    }
}

/// What `[apple]` settles.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) client_ids: ClientIds,
    pub(super) issuer: Issuer,
    pub(super) leeway: Duration,
    pub(super) max_token_age: Option<Duration>,
}

impl AppleSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<Checked> {
        let Self { client_ids, issuer, leeway, max_token_age } = self;

        if issuer.is_empty() {
            problems.note("apple.issuer", "must not be empty: leave it out for Apple's own");
        }
        check_at_most(problems, "apple.leeway", VerifierBuilder::LONGEST_LEEWAY, leeway);
        if let Some(age) = max_token_age {
            check_positive(problems, "apple.max_token_age", age);
        }
        let client_ids = check_client_ids(problems, &client_ids)?;
        Some(Checked { client_ids, issuer: Issuer::new(&issuer), leeway, max_token_age })
    }
}

/// Each illegal one is noted, not only the first.
fn check_client_ids(problems: &mut Problems, ids: &[String]) -> Option<ClientIds> {
    let all = ClientIds::new(ids);
    if all.is_err() && !ids.is_empty() {
        for error in ids.iter().filter_map(|id| ClientIds::new([id]).err()) {
            problems.note("apple.client_ids", error.to_string());
        }
        return None;
    }
    all.map_err(|error| problems.note("apple.client_ids", error.to_string())).ok()
}
