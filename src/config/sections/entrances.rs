//! The sections that open paths of ours to callers: no two may open the same.

use std::sync::Arc;

use super::{
    super::{
        AssertionSettings, DoorsEntry, ExtAuthzEntry, own_paths::OwnPaths, problems::Problems,
    },
    browser::{self, BrowserSection},
    doors::{self, DoorsSection},
    ext_authz::ExtAuthzSection,
    notifications::NotificationsSection,
    sign_in::SignInSection,
};
use crate::{
    endpoints::{BrowserSettings, NotificationSettings, SignInSettings},
    verify::ClientIds,
};

/// As they are written.
pub(super) struct EntranceSections {
    pub(super) doors: DoorsSection,
    pub(super) ext_authz: ExtAuthzSection,
    pub(super) notifications: NotificationsSection,
    pub(super) sign_in: SignInSection,
    pub(super) browser: BrowserSection,
}

/// What they settle.
pub(super) struct Entrances {
    pub(super) doors: DoorsEntry,
    pub(super) ext_authz: ExtAuthzEntry,
    pub(super) notifications: Option<NotificationSettings>,
    pub(super) sign_in: Option<SignInSettings>,
    pub(super) browser: Option<Arc<BrowserSettings>>,
}

/// What they must know of other sections.
pub(super) struct Known<'a> {
    /// Whether requests are forwarded.
    pub(super) has_application: bool,
    /// Whether there are keys to seal sessions with.
    pub(super) has_sessions: bool,
    /// How identities are asserted, if they are.
    pub(super) assertion: Option<&'a AssertionSettings>,
    /// `apple.client_ids`, if they are legal.
    pub(super) client_ids: Option<&'a ClientIds>,
}

impl EntranceSections {
    pub(super) fn check(self, problems: &mut Problems, known: &Known<'_>) -> Entrances {
        let Self { doors, ext_authz, notifications, sign_in, browser } = self;
        let Known { has_application, has_sessions, assertion, client_ids } = *known;

        let ext_authz = ext_authz.check(problems, has_application);
        let mut own = OwnPaths::beside(&ext_authz.settings);
        let known = doors::Known { has_application, assertion };
        let mut doors = doors.check(problems, &mut own, &known);
        let notifications = notifications.check(problems, &mut own);
        let sign_in = sign_in.check(problems, &mut own, has_sessions);
        let sign_in_path = sign_in.as_ref().map(|sign_in| &*sign_in.path);
        let known = browser::Known { client_ids, has_sessions, sign_in: sign_in_path };
        let browser = browser.check(problems, &mut own, &mut doors.paths, &known);
        Entrances { doors, ext_authz, notifications, sign_in, browser }
    }
}
