//! Which session, and until when at most.

use serde::{Deserialize, Serialize};

use super::{super::builder::VerifierBuilder, SessionId};
use crate::clock::UnixTime;

/// One session, and when it is over at the latest: sealed when it began, so that neither a renewal nor a setting of later
/// lets a token of it live any longer. For so long it has to be remembered that it was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub(crate) struct SessionSpan {
    pub(in super::super) id: SessionId,
    pub(in super::super) ends_at: UnixTime,
}

/// The name as text, and seconds since 1970.
type Wire = (String, u64);

impl SessionSpan {
    pub(in super::super) const fn new(id: SessionId, ends_at: UnixTime) -> Self {
        Self { id, ends_at }
    }

    /// From when on nobody takes a token of it any more, whatever clocks differ by.
    pub(super) fn forgotten_at(&self) -> UnixTime {
        self.ends_at.saturating_add(VerifierBuilder::LONGEST_LEEWAY)
    }
}

impl From<SessionSpan> for Wire {
    fn from(span: SessionSpan) -> Self {
        (span.id.to_text(), span.ends_at.as_secs())
    }
}

impl TryFrom<Wire> for SessionSpan {
    type Error = &'static str;

    fn try_from((id, ends_at): Wire) -> Result<Self, Self::Error> {
        let id = SessionId::parse(&id).ok_or("no name of a session")?;
        Ok(Self::new(id, UnixTime::from_secs(ends_at)))
    }
}
