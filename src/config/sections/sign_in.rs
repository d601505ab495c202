//! `[sign_in]`.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        own_paths::{OwnPaths, is_plain, not_plain},
        problems::Problems,
    },
    check_positive,
};
use crate::{
    apple::RedirectUri,
    endpoints::{NonceRule, SignInPlace, SignInSettings},
};

/// `[sign_in]`: where apps sign in with Apple's token, on the public listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SignInSection {
    /// The path to which apps post the token that Apple gave them, such as `/auth/apple`; none by default, and then nobody
    /// signs in here. It is ours from then on, with `/nonce`, `/refresh`, `/logout` and `/account` below it, and not the
    /// application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,

    /// How long ago Apple may have issued a token that signs in; default 10 min. Shorter leaves less time to whoever finds
    /// one; longer lets apps sign in late that could not reach us.
    #[serde(with = "humantime_serde")]
    max_token_age: Duration,

    /// Which nonces are asked for. `optional`, the default: none; one that is sent must be the token's, verbatim or as its
    /// SHA-256, and one of ours is good for one sign-in. `required`: one that `POST {path}/nonce` issued in the last ten
    /// minutes, so that no token signs in twice.
    nonce: Nonce,

    /// Whether a token is good for one sign-in; default `false`, as clients try again when an answer is lost.
    single_use: bool,

    /// The addresses to which Apple's page sends browsers that sign in by a script of yours, to the letter as they are
    /// registered; none by default. A code from the web is redeemed only with one of them beside it, in `redirectURI`: to
    /// Apple any other looks like a wrong key.
    redirect_uris: Vec<String>,

    /// Whether `webhooks.urls` are told of each sign-in, with the name at the first one; default `false`.
    webhook: bool,

    /// Requests that one client may send here in a second, in the long run; default 10. To this limit everybody behind a
    /// balancer that `server.trusted_peers` does not list is one client.
    rate_per_second: NonZeroU32,

    /// Requests that one client may send here at once after a silence; default 50.
    rate_burst: NonZeroU32,
}

/// The values of `sign_in.nonce`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Nonce {
    #[default]
    Optional,
    Required,
}

impl Default for SignInSection {
    fn default() -> Self {
        Self {
            path: None,
            max_token_age: Self::MAX_TOKEN_AGE,
            nonce: Nonce::default(),
            single_use: false,
            redirect_uris: Vec::new(),
            webhook: false,
            rate_per_second: const { NonZeroU32::MIN.saturating_add(9) },
            rate_burst: const { NonZeroU32::MIN.saturating_add(49) },
        }
    }
}

impl SignInSection {
    const MAX_TOKEN_AGE: Duration = Duration::from_mins(10);

    pub(super) fn check(
        self,
        problems: &mut Problems,
        own: &mut OwnPaths<'_>,
        has_sessions: bool,
    ) -> Option<SignInSettings> {
        let Self {
            path,
            max_token_age,
            nonce,
            single_use,
            redirect_uris,
            webhook,
            rate_per_second,
            rate_burst,
        } = self;

        let Some(path) = path else {
            let alone = [
                ("sign_in.max_token_age", max_token_age != Self::MAX_TOKEN_AGE),
                ("sign_in.nonce", nonce != Nonce::default()),
                ("sign_in.single_use", single_use),
                ("sign_in.redirect_uris", !redirect_uris.is_empty()),
                ("sign_in.webhook", webhook),
            ];
            for (key, _) in alone.iter().filter(|(_, is_set)| *is_set) {
                problems.note(key, "says nothing without sign_in.path: set it, or remove this");
            }
            return None;
        };
        check_positive(problems, "sign_in.max_token_age", max_token_age);
        if nonce == Nonce::Required && !has_sessions {
            let what = "needs sessions.key_files: nonces are sealed with them";
            problems.note_clash("sign_in.nonce", "sessions.key_files", what);
        }
        if is_plain(&path) {
            for path in SignInPlace::paths(&path) {
                own.take(problems, "sign_in.path", &path);
            }
        } else {
            problems.note("sign_in.path", not_plain("/auth/apple"));
        }
        Some(SignInSettings {
            path: path.into_boxed_str(),
            per_second: rate_per_second,
            burst: rate_burst,
            max_token_age,
            nonce: match nonce {
                Nonce::Optional => NonceRule::Optional,
                Nonce::Required => NonceRule::Required,
            },
            single_use,
            redirect_uris: check_redirect_uris(problems, &redirect_uris),
            webhook,
        })
    }
}

fn check_redirect_uris(problems: &mut Problems, uris: &[String]) -> Box<[RedirectUri]> {
    let check = |uri: &String| {
        let checked = RedirectUri::new(uri);
        checked.map_err(|invalid| problems.note("sign_in.redirect_uris", invalid.to_string())).ok()
    };
    uris.iter().filter_map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Settings;

    #[test]
    fn ages_and_redirect_uris_are_checked_and_say_nothing_without_a_path() {
        let path = "sign_in.path = '/auth'";
        for (path, setting, said) in [
            (path, "max_token_age = '0s'", "must be more than zero"),
            (path, "redirect_uris = ['app.example']", "must be an https:// address"),
            ("", "max_token_age = '1h'", "says nothing without sign_in.path"),
            ("", "redirect_uris = ['https://app.example/']", "says nothing without sign_in.path"),
        ] {
            let text = format!(
                "upstream.url = 'http://app'\napple.client_ids = ['a.b']\n{path}\nsign_in.{setting}"
            );
            let problem = Settings::from_toml(&text).unwrap_err().to_string();
            let (key, _) = setting.split_once(' ').unwrap();
            let expected = format!("sign_in.{key}: {said}");
            assert!(problem.contains(&expected), "{setting}: {problem}");
            assert!(problem.contains("config.toml:4"), "{setting}: {problem}");
        }
    }
}
