//! The paths on the public listener that are ours and not the application's. Each belongs to one key.

use std::collections::BTreeMap;

use super::problems::Problems;
use crate::endpoints::ExtAuthzSettings;

/// Who has which path. Keys are written as `doors.userinfo`.
#[derive(Debug)]
pub(super) struct OwnPaths<'a> {
    ext_authz: &'a ExtAuthzSettings,
    taken: BTreeMap<String, String>,
}

impl<'a> OwnPaths<'a> {
    /// None but where Envoy asks: who is told there what another question was about is misled.
    pub(super) const fn beside(ext_authz: &'a ExtAuthzSettings) -> Self {
        Self { ext_authz, taken: BTreeMap::new() }
    }

    /// Whether there is where Envoy asks.
    pub(super) const fn envoy_asks(&self) -> bool {
        self.ext_authz.is_open()
    }

    /// Gives `path` to `key`, or notes who has it.
    pub(super) fn take(&mut self, problems: &mut Problems, key: &str, path: &str) {
        if let Some(prefix) = self.prefix_before(path) {
            let what =
                format!("`{path}` is behind `{prefix}`, where Envoy asks: choose a path outside");
            problems.note_clash(key, "ext_authz.path_prefixes", what);
        } else if self.ext_authz.find(path).is_some() {
            let what = format!("`{path}` is where Envoy asks: choose another path");
            problems.note_clash(key, "ext_authz.grpc", what);
        } else if let Some(owner) = self.taken.get(path) {
            let what = format!("`{path}` is taken already by {owner}: choose another path");
            problems.note_clash(key, owner, what);
        } else {
            self.taken.insert(path.to_owned(), key.to_owned());
        }
    }

    fn prefix_before(&self, path: &str) -> Option<&str> {
        let prefixes = self.ext_authz.prefixes.iter().map(|prefix| &**prefix);
        prefixes.into_iter().find(|prefix| is_at_or_behind(prefix, path))
    }
}

/// Whether `path` is `prefix`, or a path that begins with it.
pub(super) fn is_at_or_behind(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether everybody reads `path` as the same one: a slash, and segments of letters, digits and `-._~` between slashes, none of
/// them empty or made of dots.
pub(super) fn is_plain(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(is_plain);
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// What to say of a path that is not.
pub(super) fn not_plain(example: &str) -> String {
    format!(
        "must be a path such as `{example}`: a slash, and segments of letters, digits, `-`, `.`, `_` and `~`"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Settings, *};

    #[test]
    fn each_path_belongs_to_one_key_and_both_places_are_named() {
        let text = "apple.client_ids = ['com.example.app']\n\
                    notifications.path = '/auth/apple'\n\
                    sign_in.path = '/auth/apple'\n";
        let problem = Settings::from_toml(text).unwrap_err().to_string();
        let expected = "sign_in.path: `/auth/apple` is taken already by notifications.path: choose another path \
                        (from config.toml:3 and config.toml:2)";
        assert_eq!(problem, expected);
    }

    #[test]
    fn a_path_is_plain_if_nobody_can_read_it_as_another() {
        for path in ["/a", "/auth/apple", "/.well-known/x", "/~a/b-c_d"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/", "a", "/a/", "//a", "/a/../b", "/a/.", "/%61", "/a?b", "/a b", "/é"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
