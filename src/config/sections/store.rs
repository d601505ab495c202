//! `[store]`.

use std::{fs, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::{
    super::{StoreSettings, problems::Problems},
    check_positive,
};
use crate::store::RedisSettings;

/// `[store]`: what must outlive a request: revocations, the ids of notifications, events to deliver. In memory, unless one
/// of `file` and `redis_url` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreSection {
    /// A file of this proxy's own; none by default. It survives a crash at any moment; a second process cannot have it, so
    /// that a fleet needs Redis. It holds subjects, which are personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,

    /// A Redis 6.2 or later that all replicas share, `redis://host:port/database` or `rediss://` for TLS; none by default.
    /// What it forgets, because it is not persistent or evicts keys, replicas write again within minutes, as long as they live.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_url: Option<Url>,

    /// The ACL user; Redis's default user unless set. They need `@read`, `@write`, `@scripting` and `@pubsub` on the keys and
    /// channels below the prefix, and `@connection`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_username: Option<String>,

    /// A file with their password; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_password_file: Option<PathBuf>,

    /// A PEM file of the only certificate authorities to believe; default the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_ca_file: Option<PathBuf>,

    /// What all keys begin with; default `siwa-proxy`. Proxies for different apps that share a Redis need different ones.
    redis_prefix: String,

    /// How long connecting to Redis, and each answer, may take; default 1 s. No caller waits for it, but Apple does.
    #[serde(with = "humantime_serde")]
    redis_timeout: Duration,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            file: None,
            redis_url: None,
            redis_username: None,
            redis_password_file: None,
            redis_ca_file: None,
            redis_prefix: "siwa-proxy".to_owned(),
            redis_timeout: Duration::from_secs(1),
        }
    }
}

impl StoreSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<StoreSettings> {
        self.check_alone(problems);
        let Self {
            file,
            redis_url,
            redis_username,
            redis_password_file,
            redis_ca_file,
            redis_prefix,
            redis_timeout,
        } = self;

        check_positive(problems, "store.redis_timeout", redis_timeout);
        if redis_prefix.is_empty() || !redis_prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.note("store.redis_prefix", "must be visible ASCII characters, at least one");
        }
        if file.as_ref().is_some_and(|file| file.file_name().is_none()) {
            problems.note("store.file", "must name a file");
        }
        let password = read(problems, "store.redis_password_file", redis_password_file.as_ref());
        let authorities = read(problems, "store.redis_ca_file", redis_ca_file.as_ref());
        match (file, redis_url) {
            (None, None) => Some(StoreSettings::Memory),
            (Some(file), None) => Some(StoreSettings::File(file)),
            (None, Some(url)) => Some(StoreSettings::Redis(RedisSettings {
                url: check_url(problems, url)?,
                username: redis_username,
                password: password.map(|text| Zeroizing::new(text.trim_end().to_owned())),
                authorities: authorities.map(|text| text.as_bytes().to_vec()),
                prefix: redis_prefix,
                timeout: redis_timeout,
            })),
            (Some(_), Some(url)) => {
                let what = "is set beside store.file: there is one store, so remove one of the two";
                problems.note_clash("store.redis_url", "store.file", what);
                check_url(problems, url);
                None
            }
        }
    }

    /// What says nothing without a Redis.
    fn check_alone(&self, problems: &mut Problems) {
        if self.redis_url.is_some() {
            return;
        }
        for (key, is_set) in [
            ("store.redis_username", self.redis_username.is_some()),
            ("store.redis_password_file", self.redis_password_file.is_some()),
            ("store.redis_ca_file", self.redis_ca_file.is_some()),
        ] {
            if is_set {
                let what = "says nothing without store.redis_url: remove it, or name a Redis";
                problems.note(key, what);
            }
        }
    }
}

fn check_url(problems: &mut Problems, url: Url) -> Option<Url> {
    let key = "store.redis_url";
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        problems.note(key, "must begin with redis:// or rediss:// and name a host");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        let what = "must not hold credentials: use store.redis_username and \
                    store.redis_password_file";
        problems.note(key, what);
        return None;
    }
    Some(url)
}

/// The text of the file at `path`, if there is to be one.
pub(super) fn read(
    problems: &mut Problems,
    key: &str,
    path: Option<&PathBuf>,
) -> Option<Zeroizing<String>> {
    let path = path?;
    match fs::read_to_string(path) {
        Ok(text) => Some(Zeroizing::new(text)),
        Err(error) => {
            problems.note(key, format!("`{}` cannot be read: {error}", path.display()));
            None
        }
    }
}
