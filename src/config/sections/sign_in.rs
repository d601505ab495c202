//! `[sign_in]`.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::super::{
    own_paths::{OwnPaths, is_plain, not_plain},
    problems::Problems,
};
use crate::endpoints::{Place, SignInSettings};

/// `[sign_in]`: where apps sign in with Apple's token, on the public listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SignInSection {
    /// The path to which apps post the token that Apple gave them, such as `/auth/apple`; none by default, and then nobody
    /// signs in here. It is ours from then on, and not the application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,

    /// Requests that one client may send here in a second, in the long run; default 10. To this limit everybody behind a
    /// balancer that `server.trusted_peers` does not list is one client.
    rate_per_second: NonZeroU32,

    /// Requests that one client may send here at once after a silence; default 50.
    rate_burst: NonZeroU32,
}

impl Default for SignInSection {
    fn default() -> Self {
        Self {
            path: None,
            rate_per_second: const { NonZeroU32::MIN.saturating_add(9) },
            rate_burst: const { NonZeroU32::MIN.saturating_add(49) },
        }
    }
}

impl SignInSection {
    pub(super) fn check(
        self,
        problems: &mut Problems,
        own: &mut OwnPaths<'_>,
    ) -> Option<SignInSettings> {
        let Self { path, rate_per_second: per_second, rate_burst: burst } = self;

        let path = path?;
        if is_plain(&path) {
            for path in Place::paths(&path) {
                own.take(problems, "sign_in.path", &path);
            }
        } else {
            problems.note("sign_in.path", not_plain("/auth/apple"));
        }
        Some(SignInSettings { path: path.into_boxed_str(), per_second, burst })
    }
}
