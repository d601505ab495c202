//! `[notifications]`.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::super::{
    own_paths::{OwnPaths, is_plain, not_plain},
    problems::Problems,
};
use crate::endpoints::NotificationSettings;

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
        own: &mut OwnPaths<'_>,
    ) -> Option<NotificationSettings> {
        let Self { path, rate_per_second: per_second, rate_burst: burst } = self;

        let path = path?;
        if is_plain(&path) {
            own.take(problems, "notifications.path", &path);
        } else {
            problems.note("notifications.path", not_plain("/auth/apple/notifications"));
        }
        Some(NotificationSettings { path, per_second, burst })
    }
}
