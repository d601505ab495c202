//! The end of one session, in two steps, so that it can be stored together with what it comes of.

use super::{SessionId, Sessions};
use crate::{
    clock::UnixTime,
    store::{Space, Write},
};

/// A session that is about to end.
#[derive(Debug)]
#[must_use = "the session goes on"]
pub(crate) struct Ending {
    pub(super) sessions: Sessions,
    pub(super) id: SessionId,
    /// When all of its tokens will have expired.
    pub(super) expires_at: UnixTime,
}

impl Ending {
    /// What has to be stored, for every replica to hear of it and none to forget it.
    pub(crate) fn write(&self) -> Write {
        let record = self.sessions.0.ended.record_of(&self.id, self.expires_at);
        Write::Raise(Space::EndedSessions, record)
    }

    /// Ends it here, at once.
    pub(crate) fn come_into_force(&self) {
        let ended = &self.sessions.0.ended;
        let is_news = !ended.contains(&self.id);
        ended.add(self.id, self.expires_at);
        if is_news {
            self.sessions.count("ended");
        }
    }
}
