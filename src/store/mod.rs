//! What must outlive a request, or be shared by replicas: small records with an expiry, in memory, in a file or in Redis.
//!
//! A [`Store`] knows nothing of what its records mean. It promises three things: a batch of [`Write`]s is done whole or not
//! at all; it is as durable as the store can make it before [`Store::apply`] resolves; and a [`Follower`] of a space hears
//! of everything that is written there, by whichever replica.

mod file;
mod health;
mod look;
mod memory;
mod redis;

use std::{error::Error, fmt, future::Future, path::PathBuf, pin::Pin};

pub(crate) use self::{
    file::FileStore,
    health::Health,
    look::{can_be_made, look_at},
    memory::MemoryStore,
    redis::{RedisSettings, RedisStore},
};
use crate::clock::UnixTime;

/// What a store promises to answer.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A task that goes on until it is dropped.
pub(crate) type Forever<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Somewhere to keep records.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Does all of `writes`, or none if one of them [inserts](Write::Insert) what is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; whether it was done is then unknown, and doing it again does no harm to records that are
    /// [raised](Write::Raise).
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied>;

    /// The records of `space` that have not expired, in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn list(&self, space: Space) -> Answer<'_, Vec<Record>>;

    /// The record of `key` in `space`, if there is one that has not expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>>;

    /// Tells `follower` what `space` holds and what is [raised](Write::Raise) in it from then on, until it is dropped.
    fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a>;

    /// Frees what expired records take.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn sweep(&self) -> Answer<'_, ()>;
}

/// Somebody who is told what a space holds.
pub(crate) trait Follower: fmt::Debug + Send + Sync {
    /// The store holds `records`, and no others. What it should hold besides is returned, and written there: whoever
    /// emptied the store did not empty our memory.
    fn load(&self, records: Vec<Record>) -> Vec<Write>;

    /// `record` was raised.
    fn raised(&self, record: Record);

    /// What is known is what the store holds, at this moment; for good if nobody else can write there.
    fn confirm(&self, until: Confirmed);

    /// The store cannot be followed for now.
    fn lost(&self, error: &StoreError);
}

/// For how long what is known is what the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// At this moment.
    Now,
    /// For as long as we live: the store is ours alone.
    ForGood,
}

/// What is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Space {
    /// Whose tokens are revoked, and since when.
    Revocations,
    /// The ids of notifications that were received.
    Notifications,
    /// Events that wait to be delivered.
    Deliveries,
    /// Who is about to deliver them.
    Leases,
    /// Which sessions were ended.
    EndedSessions,
    /// How often sessions were renewed, and when last.
    SpentRefreshes,
    /// The nonces that were used.
    SpentNonces,
    /// The identity tokens that were used, where each is good for one sign-in.
    SpentTokens,
}

impl Space {
    pub(crate) const ALL: [Self; 8] = [
        Self::Revocations,
        Self::Notifications,
        Self::Deliveries,
        Self::Leases,
        Self::EndedSessions,
        Self::SpentRefreshes,
        Self::SpentNonces,
        Self::SpentTokens,
    ];

    /// The name in files and keys. It must never change.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
            Self::Notifications => "notifications",
            Self::Deliveries => "deliveries",
            Self::Leases => "leases",
            Self::EndedSessions => "ended-sessions",
            Self::SpentRefreshes => "spent-refreshes",
            Self::SpentNonces => "spent-nonces",
            Self::SpentTokens => "spent-tokens",
        }
    }

    /// Whether callers fill it, as fast as they like: what holds it in memory must say when it is full.
    const fn is_filled_by_callers(self) -> bool {
        match self {
            Self::Revocations | Self::Notifications | Self::Deliveries | Self::Leases => false,
            Self::EndedSessions | Self::SpentRefreshes | Self::SpentNonces | Self::SpentTokens => {
                true
            }
        }
    }
}

/// One record. It does not print what it holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Unique in its space.
    pub(crate) key: String,
    /// What it says.
    pub(crate) value: String,
    /// From when on it is not there any more.
    pub(crate) expires_at: UnixTime,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// One thing to do to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Adds a record that must not be there yet.
    Insert(Space, Record),
    /// Adds a record, or takes the place of the one that is there.
    Put(Space, Record),
    /// Adds a record whose value is a [`Pair`]; of each number and of the expiry the greater stays. The order of such
    /// writes does not matter, and neither does doing one twice.
    Raise(Space, Record),
    /// Removes the record of that key, if there is one.
    Delete(Space, String),
}

impl Write {
    fn space(&self) -> Space {
        match self {
            Self::Insert(space, _)
            | Self::Put(space, _)
            | Self::Raise(space, _)
            | Self::Delete(space, _) => *space,
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Insert(_, record) | Self::Put(_, record) | Self::Raise(_, record) => &record.key,
            Self::Delete(_, key) => key,
        }
    }

    /// The record that is there afterwards, if `current` is there before.
    fn result(self, current: Option<Record>) -> Option<Record> {
        match (self, current) {
            (Self::Delete(..), _) => None,
            (Self::Raise(_, record), Some(current)) => Some(record.raised_over(&current)),
            (Self::Insert(_, record) | Self::Put(_, record) | Self::Raise(_, record), _) => {
                Some(record)
            }
        }
    }
}

impl Record {
    fn raised_over(self, current: &Self) -> Self {
        let (Some(new), Some(old)) = (Pair::parse(&self.value), Pair::parse(&current.value)) else {
            return self;
        };
        let value = Pair(new.0.max(old.0), new.1.max(old.1)).to_string();
        Self { key: self.key, value, expires_at: self.expires_at.max(current.expires_at) }
    }
}

/// Two numbers that only ever grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair(pub(crate) u64, pub(crate) u64);

impl Pair {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, second) = text.split_once(' ')?;
        Some(Self(first.parse().ok()?, second.parse().ok()?))
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a batch may have found that its work was done before"]
pub(crate) enum Applied {
    /// It was done.
    Done,
    /// Nothing was done: what it would have inserted is there.
    AlreadyThere,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be made or read.
    #[error("the store {path} cannot be opened")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process has it.
    #[error(
        "the store {path} is in use by another process: a file is for one proxy alone, and Redis for several"
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The file is empty, which a store never is: what it held is gone.
    #[error(
        "the store {path} is empty, which a store never is: put back what it held, or remove it to begin with an empty list"
    )]
    Emptied {
        /// Which.
        path: PathBuf,
    },
    /// It failed for no fault of whatever is behind it.
    #[error("the store failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// The file cannot be read or written; it is opened anew after a while.
    #[error("the store cannot be read or written")]
    File(#[source] Box<dyn Error + Send + Sync>),
    /// The address or the certificate of Redis cannot be used.
    #[error("the Redis client cannot be set up")]
    Client(#[source] Box<dyn Error + Send + Sync>),
    /// Redis cannot be reached, or refuses.
    #[error("Redis cannot be asked")]
    Redis(#[source] Box<dyn Error + Send + Sync>),
    /// There is no room in memory for another record.
    #[error("the store is full: it holds as much as memory is meant for")]
    Full,
    /// Redis did not answer in time.
    #[error("Redis did not answer in time")]
    TimedOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str, expires: u64) -> Record {
        let expires_at = UnixTime::from_secs(expires);
        Record { key: "k".to_owned(), value: value.to_owned(), expires_at }
    }

    #[test]
    fn raising_keeps_the_greater_of_each_whatever_the_order() {
        let (one, other) = (record("5 0", 100), record("3 7", 200));
        for (first, second) in [(&one, &other), (&other, &one), (&one, &one)] {
            let raise = Write::Raise(Space::Revocations, first.clone());
            let after = raise.result(Some(second.clone())).unwrap();
            let again = Write::Raise(Space::Revocations, second.clone());
            assert_eq!(again.result(Some(after.clone())).unwrap(), after, "doing it twice");
        }
        let raise = Write::Raise(Space::Revocations, one);
        assert_eq!(raise.result(Some(other)), Some(record("5 7", 200)));
    }

    #[test]
    fn a_record_does_not_print_what_it_holds() {
        let printed = format!("{:?}", Write::Delete(Space::Leases, "k".to_owned()).space());
        assert_eq!(printed, "Leases");
        assert!(!format!("{:?}", record("secret", 1)).contains("secret"));
    }
}
