//! The end of one session, in two steps, so that it can be stored together with what it comes of.

use super::{SessionSpan, Sessions};
use crate::store::{Space, Write};

/// A session that is about to end.
#[derive(Debug)]
#[must_use = "the session goes on"]
pub(crate) struct Ending {
    pub(super) sessions: Sessions,
    pub(super) span: SessionSpan,
}

impl Ending {
    /// What has to be stored, for every replica to hear of it and none to forget it.
    pub(crate) fn write(&self) -> Write {
        let record = self.sessions.0.ended.record_of(&self.span.id, self.span.forgotten_at());
        Write::Raise(Space::EndedSessions, record)
    }

    /// Ends it here, at once.
    pub(crate) fn come_into_force(&self) {
        let ended = &self.sessions.0.ended;
        let is_news = !ended.contains(&self.span.id);
        ended.add(self.span.id, self.span.forgotten_at());
        if is_news {
            self.sessions.count("ended");
        }
    }
}
