//! `[notifications]`.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::super::problems::Problems;
use crate::endpoints::{DoorPaths, ExtAuthzSettings, NotificationSettings};

/// `[notifications]`: Apple's server-to-server notifications, posted to the public listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotificationsSection {
    /// The path to which Apple posts, such as `/auth/apple/notifications`; none by default, and then none are taken. It is
    /// ours from then on, and not the application's. Register the URL at Apple, for the primary App ID of each group.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,

    /// Notifications that one sender may post in a second, in the long run; default 20. Each one costs a verification.
    rate_per_second: NonZeroU32,

    /// Notifications that one sender may post at once after a silence; default 100.
    rate_burst: NonZeroU32,
}

impl Default for NotificationsSection {
    fn default() -> Self {
        Self {
            path: None,
            rate_per_second: const { NonZeroU32::MIN.saturating_add(19) },
            rate_burst: const { NonZeroU32::MIN.saturating_add(99) },
        }
    }
}

impl NotificationsSection {
    pub(super) fn check(
        self,
        problems: &mut Problems,
        doors: &DoorPaths,
        ext_authz: &ExtAuthzSettings,
    ) -> Option<NotificationSettings> {
        let Self { path, rate_per_second: per_second, rate_burst: burst } = self;

        let path = path?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let mut segments = path.strip_prefix('/').unwrap_or_default().split('/');
        let is_segment =
            |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(is_plain);
        if !path.starts_with('/') || !segments.all(is_segment) {
            let what = "must be a path such as `/auth/apple/notifications`: a slash, and segments \
                        of letters, digits, `-`, `.`, `_` and `~`";
            problems.note("notifications.path", what);
        }
        let DoorPaths { auth_request, forward_auth, userinfo } = doors;
        let taken = [auth_request, forward_auth, userinfo].into_iter().flatten();
        if taken.into_iter().any(|taken| **taken == *path) {
            problems.note("notifications.path", "is that of one of [doors]: it needs its own");
        }
        if ext_authz.find(&path).is_some() {
            let what =
                "is behind one of ext_authz.path_prefixes: it needs one that no gateway asks about";
            problems.note("notifications.path", what);
        }
        Some(NotificationSettings { path, per_second, burst })
    }
}
