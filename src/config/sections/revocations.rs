//! `[revocations]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{RevocationsEntry, StoreSettings, problems::Problems},
    LONGEST, check_at_most, check_positive,
    store::read,
};
use crate::{
    endpoints::AdminToken,
    verify::{ClientGroups, ClientId, ClientIds, RevocationsSettings},
};

/// `[revocations]`: whose tokens are refused although they have not expired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RevocationsSection {
    /// Which client ids belong together, as Apple groups them below a primary App ID; none by default. A person withdraws
    /// consent from one group at a time; without groups it ends their tokens in all apps. The first id of a group names it
    /// in the store and must not change.
    groups: Vec<Vec<String>>,

    /// How long a revocation is remembered, which is how old a token may be at most; default 48 h. Not shorter than the 24 h
    /// for which Apple's tokens live. With `[sessions]` it is 366 days, the longest `absolute_lifetime` that there can be: a
    /// session that began by a longer one than today's must not outlive its revocation when that is back.
    #[serde(with = "humantime_serde")]
    keep: Duration,

    /// How old the list may be while Redis cannot be reached; any age unless set. Beyond it requests are answered 503, and
    /// upgraded streams and long answers end: shorter misses no revocation for long, and makes Redis as important as the proxy
    /// itself.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    max_staleness: Option<Duration>,

    /// A file with a token of at least 16 characters that opens `/revocations` on the admin listener, and the command
    /// `siwa-proxy revocations`; none by default, and then neither works. Who has it can lift revocations.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_token_file: Option<PathBuf>,
}

impl Default for RevocationsSection {
    fn default() -> Self {
        let RevocationsSettings { keep, max_staleness, groups: _ } = RevocationsSettings::default();
        Self { groups: Vec::new(), keep, max_staleness, admin_token_file: None }
    }
}

/// What the section must know of others.
pub(super) struct Known<'a> {
    /// `apple.client_ids`, if they are legal.
    pub(super) client_ids: Option<&'a ClientIds>,
    /// Where the list is kept, if that is legal.
    pub(super) store: Option<&'a StoreSettings>,
    /// Whether there are sessions that a revocation ends.
    pub(super) has_sessions: bool,
}

impl RevocationsSection {
    /// No token of Apple's lives longer, and none that does must outlive its revocation.
    const SHORTEST: Duration = Duration::from_hours(24);

    /// The same, as it holds beside sessions: what ends a sign-in ends the sessions that began with it, by whatever settings
    /// of then.
    pub(super) fn beside_sessions(self) -> Self {
        Self { keep: LONGEST, ..self }
    }

    fn keep_with_sessions(problems: &mut Problems, written: Duration) -> Duration {
        let key = "revocations.keep";
        if problems.place_of(key).is_some() && written < LONGEST {
            problems.warn(
                key,
                "is not used: with [sessions] it is 366 days, which the longest session may live",
            );
        }
        LONGEST
    }

    pub(super) fn check(self, problems: &mut Problems, known: &Known<'_>) -> RevocationsEntry {
        let Known { client_ids, store, has_sessions } = *known;
        let Self { groups, keep, max_staleness, admin_token_file } = self;

        if keep < Self::SHORTEST {
            problems.note("revocations.keep", "must be at least 24h, the life of a token");
        }
        check_at_most(problems, "revocations.keep", LONGEST, keep);
        if let Some(limit) = max_staleness {
            check_positive(problems, "revocations.max_staleness", limit);
            if matches!(store, Some(StoreSettings::Memory | StoreSettings::File(_))) {
                let what = "says nothing without store.redis_url: a list of our own is never old";
                problems.note("revocations.max_staleness", what);
            }
        }
        let groups = ClientGroups::new(check_groups(problems, groups, client_ids));
        let admin_token = check_token(problems, admin_token_file.as_ref());
        let keep = if has_sessions { Self::keep_with_sessions(problems, keep) } else { keep };
        let settings = RevocationsSettings { groups, keep, max_staleness };
        RevocationsEntry { settings, admin_token, admin_token_file }
    }
}

/// The groups of those ids that are accepted; each in one group at most.
fn check_groups(
    problems: &mut Problems,
    groups: Vec<Vec<String>>,
    known: Option<&ClientIds>,
) -> Vec<Vec<ClientId>> {
    let mut seen = Vec::new();
    let mut check = |text: String| {
        let id =
            ClientId::new(&text).ok().filter(|id| known.is_none_or(|known| known.contains(id)));
        let mut note = |what: &str| {
            problems.note("revocations.groups", format!("`{text}` {what}"));
            None
        };
        match id {
            None => note("is not one of apple.client_ids"),
            Some(id) if seen.contains(&id) => note("is in two groups"),
            Some(id) => {
                seen.push(id.clone());
                Some(id)
            }
        }
    };
    let check_all = |group: Vec<String>| group.into_iter().filter_map(&mut check).collect();
    groups.into_iter().map(check_all).collect()
}

fn check_token(problems: &mut Problems, path: Option<&PathBuf>) -> Option<AdminToken> {
    let key = "revocations.admin_token_file";
    let text = read(problems, key, path)?;
    let token = AdminToken::new(&text);
    if token.is_none() {
        let shortest = AdminToken::SHORTEST;
        let what = format!("must hold at least {shortest} visible ASCII characters, and no others");
        problems.note(key, what);
    }
    token
}
