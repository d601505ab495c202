//! A session in whose place another one begins. The cookie of the one takes that of the other, and nobody could sign out of that
//! one any more: so it ends. With Apple's answer no cookie of a session comes, which is `SameSite=Lax`; the sign-in under way
//! remembers which one the browser is in, and is told when another tab was faster.

use std::time::Duration;

use http::HeaderMap;

use super::{
    super::finished::ending_stored,
    BrowserParts, cookies,
    keeper::SESSION_COOKIE,
    pending::{BrowserMark, PendingSignIn, PendingSignIns},
    set_cookie,
};
use crate::verify::{OpenedSession, SessionSpan};

impl BrowserParts {
    /// The sessions that one sign-in can replace: a browser has one, and what else is sent as one takes room in a cookie.
    const MOST_REPLACED: usize = 2;
    /// The longest that what one sign-in tells the others makes an answer, in bytes: gateways have a few KiB for its head.
    const MOST_TOLD: usize = 2048;

    /// The sessions whose cookies are in `headers` and that are not over: one, or as many as there are cookies of that name.
    /// They can be ended, whether or not it can be said now that they are good.
    pub(super) fn sessions_of(&self, headers: &HeaderMap) -> impl Iterator<Item = OpenedSession> {
        let sealed = cookies::all(headers).filter(|(name, _)| *name == SESSION_COOKIE);
        sealed.filter_map(|(_, text)| self.sessions.find_unended(text))
    }

    /// Those that end when the browser with these `headers` has signed in.
    pub(super) fn replaced_by_a_sign_in(&self, headers: &HeaderMap) -> Vec<SessionSpan> {
        let sessions = self.sessions_of(headers).take(Self::MOST_REPLACED);
        sessions.map(|session| session.span()).collect()
    }

    /// Ends the sessions in whose place another one has begun. It is in force here in any case, and stored when the store is
    /// back.
    pub(super) async fn end_replaced(&self, sign_in: &PendingSignIn) {
        for span in &sign_in.replaces {
            let _told = ending_stored(self.sessions.end_span(*span).await);
        }
    }

    /// Has the other sign-ins that are under way in the browser with the headers `asked_with` know that `ended` has begun the
    /// session of `span`, by cookies among the headers `told`: the newest first, and those are over for which there is no
    /// room, as they would leave that session behind.
    pub(super) fn tell_others(
        &self,
        asked_with: &HeaderMap,
        ended: &PendingSignIn,
        span: SessionSpan,
        told: &mut HeaderMap,
    ) {
        let (mark, keys, now) =
            (BrowserMark::find(asked_with), self.sessions.keys(), self.clock.now());
        let pending = PendingSignIns::find(asked_with, mark.as_ref(), keys);
        let mut room = Self::MOST_TOLD;
        for other in pending.others_than(ended).rev() {
            let other = other.replacing(span);
            // One that cannot be sealed goes on as it was.
            let Ok(sealed) = other.seal(keys) else { continue };
            let (name, left) = (other.cookie_name(), other.ends_at().saturating_since(now));
            let cookie = self.state_cookie(&name, sealed.as_str(), left);
            match room.checked_sub(cookie.to_string().len()) {
                None => set_cookie(told, &self.state_cookie(&name, "", Duration::ZERO)),
                Some(rest) => {
                    room = rest;
                    set_cookie(told, &cookie);
                }
            }
        }
    }
}
