//! `[sessions]`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    super::{SessionsEntry, StoreSettings, problems::Problems},
    check_at_most, check_positive,
    store::read,
};
use crate::verify::{InvalidSealKey, SealKeys, SessionSettings};

/// `[sessions]`: tokens of our own, which live as long as you decide, end when somebody signs out, and are taken wherever
/// Apple's are. There are none without a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SessionsSection {
    /// Files with a key each, as `siwa-proxy session-key` prints one; none by default. The first seals, and all open. All
    /// replicas need the same: whoever has one can be anybody to the application. To change keys: add the new one behind
    /// everywhere, put it first, wait `refresh_lifetime`, take out the old one, which ends the sessions that it sealed.
    /// It must not come back after a time without keys, in which revocations are forgotten sooner.
    key_files: Vec<PathBuf>,

    /// How long an access token lives; default 15 min. It is good for so long without a question to anybody. Shorter has
    /// apps refresh more often; longer has a stolen one be of use for longer.
    #[serde(with = "humantime_serde")]
    access_lifetime: Duration,

    /// How long a refresh token lives, which is how long an app may lie idle before its user has to sign in again; default
    /// 30 days.
    #[serde(with = "humantime_serde")]
    refresh_lifetime: Duration,

    /// How long a session lives at most, however often it is refreshed; default 180 days from when Apple issued the token
    /// that it began with. A shorter one than before holds for all sessions at once, a longer one for those that begin from then
    /// on.
    #[serde(with = "humantime_serde")]
    absolute_lifetime: Duration,

    /// For how long a refresh token that was used may be used once more, by an app that lost the answer; default 10 s. Any
    /// other second use ends the session. `0s` forgives nothing.
    #[serde(with = "humantime_serde")]
    refresh_reuse_grace: Duration,

    /// How many replicas there are; default 1. With more than one, what must be remembered has to be shared: it does not
    /// start without `store.redis_url`.
    replicas: NonZeroU32,

    /// How often Apple is asked, when a session is refreshed, whether the sign-in still holds; default once a day, which is
    /// as often as Apple allows. It is asked only about sign-ins that came with an authorization code.
    #[serde(with = "humantime_serde")]
    apple_check_every: Duration,

    /// For how long beyond that a session is refreshed while Apple cannot be asked; default 7 days. Shorter has a user who
    /// left leave sooner; longer rides out a longer outage.
    #[serde(with = "humantime_serde")]
    apple_grace: Duration,
}

impl Default for SessionsSection {
    fn default() -> Self {
        let SessionSettings {
            access_lifetime,
            refresh_lifetime,
            absolute_lifetime,
            refresh_reuse_grace,
            apple_check_every,
            apple_grace,
        } = SessionSettings::default();
        Self {
            key_files: Vec::new(),
            access_lifetime,
            refresh_lifetime,
            absolute_lifetime,
            refresh_reuse_grace,
            replicas: NonZeroU32::MIN,
            apple_check_every,
            apple_grace,
        }
    }
}

impl SessionsSection {
    /// Whether there is a key, or is meant to be.
    pub(super) const fn names_keys(&self) -> bool {
        !self.key_files.is_empty()
    }

    /// Whoever has stolen a token must not have long for a second use.
    const LONGEST_GRACE: Duration = Duration::from_mins(1);

    pub(super) fn check(
        self,
        problems: &mut Problems,
        given: Option<SealKeys>,
        store: Option<&StoreSettings>,
    ) -> Option<SessionsEntry> {
        let Self {
            key_files,
            access_lifetime,
            refresh_lifetime,
            absolute_lifetime,
            refresh_reuse_grace,
            replicas,
            apple_check_every,
            apple_grace,
        } = self;

        let settings = SessionSettings {
            access_lifetime,
            refresh_lifetime,
            absolute_lifetime,
            refresh_reuse_grace,
            apple_check_every,
            apple_grace,
        };
        check_lifetimes(problems, &settings);
        if given.is_none() && key_files.is_empty() {
            check_alone(problems, &settings);
            return None;
        }
        check_replicas(problems, replicas, store);
        let keys = match given {
            Some(keys) => keys,
            None => check_keys(problems, &key_files)?,
        };
        Some(SessionsEntry { keys, settings })
    }
}

/// What says nothing without a key.
fn check_alone(problems: &mut Problems, settings: &SessionSettings) {
    let defaults = SessionSettings::default();
    let pair = |of: fn(&SessionSettings) -> Duration| (of(settings), of(&defaults));
    for (key, (set, default)) in [
        ("sessions.access_lifetime", pair(|it| it.access_lifetime)),
        ("sessions.refresh_lifetime", pair(|it| it.refresh_lifetime)),
        ("sessions.absolute_lifetime", pair(|it| it.absolute_lifetime)),
        ("sessions.refresh_reuse_grace", pair(|it| it.refresh_reuse_grace)),
        ("sessions.apple_check_every", pair(|it| it.apple_check_every)),
        ("sessions.apple_grace", pair(|it| it.apple_grace)),
    ] {
        if set != default {
            let what = "says nothing without sessions.key_files: remove it, or name a key";
            problems.note(key, what);
        }
    }
}

fn check_lifetimes(problems: &mut Problems, settings: &SessionSettings) {
    for (key, lifetime) in [
        ("sessions.access_lifetime", settings.access_lifetime),
        ("sessions.refresh_lifetime", settings.refresh_lifetime),
        ("sessions.absolute_lifetime", settings.absolute_lifetime),
        ("sessions.apple_check_every", settings.apple_check_every),
    ] {
        check_positive(problems, key, lifetime);
    }
    if settings.access_lifetime > settings.refresh_lifetime {
        let what = "must not be longer than sessions.refresh_lifetime";
        problems.note("sessions.access_lifetime", what);
    }
    if settings.refresh_lifetime > settings.absolute_lifetime {
        let what = "must not be longer than sessions.absolute_lifetime";
        problems.note("sessions.refresh_lifetime", what);
    }
    let (key, grace) = ("sessions.refresh_reuse_grace", settings.refresh_reuse_grace);
    check_at_most(problems, key, SessionsSection::LONGEST_GRACE, grace);
    check_at_most(problems, "sessions.apple_grace", super::LONGEST, settings.apple_grace);
}

/// What one replica remembers alone is as good as forgotten: a request may come to another.
fn check_replicas(problems: &mut Problems, replicas: NonZeroU32, store: Option<&StoreSettings>) {
    let is_shared = matches!(store, None | Some(StoreSettings::Redis(_)));
    if replicas.get() > 1 && !is_shared {
        let what = "several replicas need store.redis_url: a logout, a used refresh token, a used \
                    nonce and a token that is good for one sign-in must be known to all of them";
        problems.note("sessions.replicas", what);
    }
}

/// The keys in `files`; each bad one is noted, not only the first.
fn check_keys(problems: &mut Problems, files: &[PathBuf]) -> Option<SealKeys> {
    let key = "sessions.key_files";
    let texts: Vec<Option<Zeroizing<String>>> = files
        .iter()
        .map(|file| {
            let text = read(problems, key, Some(file))?;
            let found = SealKeys::parse([&*text]);
            let note = |error: InvalidSealKey| {
                problems.note(key, format!("`{}` {error}", file.display()));
            };
            found.map_err(note).ok().map(|_| text)
        })
        .collect();
    let texts = texts.into_iter().collect::<Option<Vec<_>>>()?;
    let keys = SealKeys::parse(texts.iter().map(|text| &**text));
    keys.map_err(|error| problems.note(key, format!("one key {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::{NEEDED, Settings};

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    /// What is wrong with what every file needs and `more`, where there is a key, and another twice.
    fn problems_of(more: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("key"), KEY).unwrap();
        fs::write(path("short"), "AQEB").unwrap();
        let [key, short] = ["key", "short"].map(path);
        let more = more.replace("KEY", &key).replace("SHORT", &short);
        let settled = Settings::from_toml(&format!("{NEEDED}\n[sessions]\n{more}"));
        let problems = settled.err().map(|problems| problems.to_string());
        let problems =
            problems.unwrap_or_default().replace(&folder.path().display().to_string(), "");
        problems.lines().map(str::to_owned).collect()
    }

    #[test]
    fn several_replicas_need_a_store_that_they_share() {
        assert_eq!(problems_of("key_files = ['KEY']\nreplicas = 1"), [""; 0]);
        let problems = problems_of("key_files = ['KEY']\nreplicas = 2");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let what = "sessions.replicas: several replicas need store.redis_url: a logout, ";
        assert!(problems[0].starts_with(what), "{problems:?}");
        let file = problems_of("key_files = ['KEY']\nreplicas = 2\n[store]\nfile = '/a'");
        assert_eq!(file.len(), 1, "{file:?}");
        let redis = "key_files = ['KEY']\nreplicas = 2\n[store]\nredis_url = 'redis://a'";
        assert_eq!(problems_of(redis), [""; 0]);
    }

    #[test]
    fn each_key_that_cannot_be_used_is_named() {
        let problems = problems_of("key_files = ['SHORT', '/none', 'KEY']");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("`/none` cannot be read"), "{problems:?}");
        assert!(problems[1].contains("`/short` is not 32 random bytes in base64"), "{problems:?}");
        let problems = problems_of("key_files = ['KEY', 'KEY']");
        assert!(problems[0].starts_with("sessions.key_files: one key is there twice"));
    }

    #[test]
    fn what_needs_sessions_has_no_problem_of_its_own_where_a_key_cannot_be_read() {
        let browser = "[browser]\npath = '/auth/apple'\norigins = ['https://app.example']";
        let sign_in = "[sign_in]\npath = '/auth/apps'\nnonce = 'required'";
        let problems = problems_of(&format!("key_files = ['/none']\n{browser}\n{sign_in}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("sessions.key_files: `/none` cannot be read"));
        let problems = problems_of(browser);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("browser.path: needs sessions"), "{problems:?}");
    }

    #[test]
    fn what_is_said_of_sessions_says_nothing_without_a_key() {
        for key in ["access_lifetime", "refresh_lifetime", "apple_grace"] {
            let problems = problems_of(&format!("{key} = '1h'"));
            assert_eq!(problems.len(), 1, "{problems:?}");
            let what = format!("sessions.{key}: says nothing without sessions.key_files");
            assert!(problems[0].starts_with(&what), "{problems:?}");
        }
    }

    #[test]
    fn no_lifetime_is_longer_than_what_it_is_a_part_of() {
        for (more, key) in [
            ("access_lifetime = '31days'", "access_lifetime"),
            ("refresh_lifetime = '181days'", "refresh_lifetime"),
            ("absolute_lifetime = '2years'", "absolute_lifetime"),
            ("access_lifetime = '0s'", "access_lifetime"),
            ("refresh_reuse_grace = '2m'", "refresh_reuse_grace"),
            ("apple_check_every = '0s'", "apple_check_every"),
            ("apple_grace = '2years'", "apple_grace"),
        ] {
            let problems = problems_of(&format!("key_files = ['KEY']\n{more}"));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(&format!("sessions.{key}: ")), "{problems:?}");
        }
    }
}
