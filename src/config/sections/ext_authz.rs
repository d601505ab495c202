//! `[ext_authz]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    super::{ExtAuthzEntry, own_paths::is_at_or_behind, problems::Problems},
    check_positive,
};
use crate::{endpoints::ExtAuthzSettings, upstream::CredentialForwarding};

/// `[ext_authz]`: where Envoy asks (and Istio, and Envoy Gateway), whose filter of that name this is for. Without an
/// application (no `[upstream]`) both forms are served; with one, a form is served only where it is written, and its paths are
/// then ours and not the application's. Routes apply to the request that Envoy asks about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExtAuthzSection {
    /// Whether `envoy.service.auth.v3.Authorization/Check` is served (`grpc_service` in Envoy), and `grpc.health.v1.Health`
    /// beside it. On HTTP/2, on the same listeners as everything else. To `limits.rate_per_second` Envoy is one client here.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<bool>,

    /// What Envoy puts before the path of the request that it asks about (`http_service` with `path_prefix`). `[]` closes
    /// this form.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_prefixes: Option<Vec<String>>,

    /// Time within which Envoy is answered; what is not decided by then, as Apple's keys are awaited, is denied. Less, if
    /// Envoy says that it waits less. Keep it below the `timeout` of Envoy's filter, whose default is 200 ms: Envoy takes a
    /// later answer for our failure. Longer denies fewer requests while a new key is fetched.
    #[serde(with = "humantime_serde")]
    timeout: Duration,

    /// Whether the application behind Envoy is sent the caller's credential too. `false` has Envoy remove it: the application
    /// has no use for it, and cannot leak it. With `[upstream]`, that section's key says so.
    forward_credential: bool,
}

/// What is before the path of the request that is asked about unless it is said.
pub(super) const PATH_PREFIXES: [&str; 1] = ["/auth/apple/ext-authz"];

impl Default for ExtAuthzSection {
    fn default() -> Self {
        let timeout = ExtAuthzSettings::default().timeout;
        Self { grpc: None, path_prefixes: None, timeout, forward_credential: false }
    }
}

impl ExtAuthzSection {
    pub(super) fn check(self, problems: &mut Problems, has_application: bool) -> ExtAuthzEntry {
        let Self { grpc, path_prefixes, timeout, forward_credential } = self;

        check_positive(problems, "ext_authz.timeout", timeout);
        if grpc == Some(true) && cfg!(not(feature = "ext-authz")) {
            let what = "this program was built without the cargo feature `ext-authz`";
            problems.note("ext_authz.grpc", what);
        }
        let unsaid = if has_application { &[][..] } else { &PATH_PREFIXES };
        let prefixes: Vec<_> = path_prefixes
            .unwrap_or_else(|| unsaid.iter().copied().map(str::to_owned).collect())
            .into_iter()
            .filter_map(|prefix| check_prefix(problems, prefix))
            .collect();
        check_nesting(problems, &prefixes);
        let grpc = grpc.unwrap_or(!has_application && cfg!(feature = "ext-authz"));
        let credential = if forward_credential {
            CredentialForwarding::Keep
        } else {
            CredentialForwarding::Remove
        };
        ExtAuthzEntry { settings: ExtAuthzSettings { prefixes, grpc, timeout }, credential }
    }
}

fn check_prefix(problems: &mut Problems, prefix: String) -> Option<Box<str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if prefix.starts_with('/') && !prefix.ends_with('/') && prefix.bytes().all(is_plain) {
        return Some(prefix.into_boxed_str());
    }
    let what = format!(
        "`{prefix}` is no path such as `{}`, of letters, digits and `/-._~` and without a `/` at its end",
        PATH_PREFIXES[0]
    );
    problems.note("ext_authz.path_prefixes", what);
    None
}

/// Notes prefixes that are behind others: which request is asked about there could be read in two ways.
fn check_nesting(problems: &mut Problems, prefixes: &[Box<str>]) {
    for (at, prefix) in prefixes.iter().enumerate() {
        let outer = prefixes.iter().enumerate().find(|&(other_at, other)| {
            is_at_or_behind(other, prefix) && (other != prefix || other_at < at)
        });
        let what = match outer {
            None => continue,
            Some((_, outer)) if outer == prefix => {
                format!("`{prefix}` is there twice: remove one of the two")
            }
            Some((_, outer)) => {
                format!("`{prefix}` is behind `{outer}`: choose prefixes beside each other")
            }
        };
        problems.note("ext_authz.path_prefixes", what);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::Settings, *};

    const APP: &str = "apple.client_ids = ['com.example.app']\n";

    fn settled(text: &str) -> ExtAuthzSettings {
        let settings = Settings::from_toml(&format!("{APP}{text}"));
        settings.unwrap_or_else(|problems| panic!("{problems}")).ext_authz.settings
    }

    fn problem(text: &str) -> String {
        Settings::from_toml(&format!("{APP}{text}")).unwrap_err().to_string()
    }

    #[test]
    fn without_an_application_both_forms_are_served_unless_they_are_closed() {
        let settings = settled("");
        assert_eq!(settings.prefixes, [Box::from(PATH_PREFIXES[0])]);
        assert_eq!(settings.grpc, cfg!(feature = "ext-authz"));
        let settings = settled("ext_authz.grpc = false\next_authz.path_prefixes = []");
        assert!(!settings.is_open());
    }

    #[test]
    fn with_an_application_a_form_is_served_where_it_is_written() {
        assert!(!settled("upstream.url = 'http://app'").is_open());
        let settings = settled("upstream.url = 'http://app'\next_authz.path_prefixes = ['/ask']");
        assert_eq!((settings.prefixes, settings.grpc), (vec!["/ask".into()], false));
    }

    #[test]
    fn a_prefix_is_plain_and_ends_where_a_path_begins() {
        for prefix in ["ask", "", "/", "/ask/", "/a?b", "/a b", "/%61", "https://a/b"] {
            let problem = problem(&format!("ext_authz.path_prefixes = ['{prefix}']"));
            assert!(problem.starts_with("ext_authz.path_prefixes: `"), "{prefix}: {problem}");
        }
    }

    #[test]
    fn no_prefix_is_behind_another() {
        for (prefixes, expected) in [
            ("'/a', '/b', '/a'", "`/a` is there twice: "),
            ("'/a', '/a/b'", "`/a/b` is behind `/a`: "),
            ("'/a/b', '/a'", "`/a/b` is behind `/a`: "),
        ] {
            let problem = problem(&format!("ext_authz.path_prefixes = [{prefixes}]"));
            let expected = format!("ext_authz.path_prefixes: {expected}");
            assert!(problem.starts_with(&expected), "{problem}");
            assert!(problem.ends_with(" (from config.toml:2)"), "{problem}");
            assert_eq!(problem.lines().count(), 1, "{problem}");
        }
        let beside = settled("ext_authz.path_prefixes = ['/a', '/ab']").prefixes;
        assert_eq!(beside, [Box::from("/a"), Box::from("/ab")]);
    }

    #[test]
    fn nobody_is_answered_in_no_time() {
        assert!(problem("ext_authz.timeout = '0s'").starts_with("ext_authz.timeout: "));
    }

    #[test]
    fn a_program_without_the_grpc_form_says_so() {
        let written = Settings::from_toml(&format!("{APP}ext_authz.grpc = true"));
        assert_eq!(written.is_ok(), cfg!(feature = "ext-authz"));
    }
}
