//! The list in memory, in pieces with a lock each, so that readers seldom meet a writer.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    super::identity::{ClientId, Identity, Subject},
    ClientGroups, Revocation,
};
use crate::clock::UnixTime;

/// All subjects of all groups.
pub(super) struct Shards {
    groups: ClientGroups,
    /// Those of all apps, and then those of each group.
    tables: Vec<Table>,
    subjects: AtomicUsize,
    hasher: RandomState,
}

type Table = [RwLock<HashMap<Subject, Moments, RandomState>>; Shards::PIECES];

/// What is kept of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moments {
    revoked: UnixTime,
    lifted: UnixTime,
    expiry: UnixTime,
}

impl Moments {
    const fn in_force(self) -> Option<UnixTime> {
        if self.lifted.as_secs() < self.revoked.as_secs() { Some(self.revoked) } else { None }
    }

    fn raised_by(self, other: Self) -> Self {
        Self {
            revoked: self.revoked.max(other.revoked),
            lifted: self.lifted.max(other.lifted),
            expiry: self.expiry.max(other.expiry),
        }
    }
}

impl Shards {
    const PIECES: usize = 32;

    pub(super) fn new(groups: &ClientGroups) -> Self {
        let table = |_| std::array::from_fn(|_| RwLock::default());
        let tables = (0..=groups.len()).map(table).collect();
        let (subjects, hasher) = (AtomicUsize::new(0), RandomState::new());
        Self { groups: groups.clone(), tables, subjects, hasher }
    }

    /// How many entries there are: no lock is taken for this.
    pub(super) fn len(&self) -> usize {
        self.subjects.load(Ordering::Acquire)
    }

    /// Since when the identity's subject is revoked, for all apps or for one that the token was issued to.
    pub(super) fn revoked_at(&self, identity: &Identity) -> Option<UnixTime> {
        let groups = identity.audience().filter_map(|client_id| self.groups.place_of(client_id));
        let tables = groups.filter_map(|place| self.table(Some(place))).chain(self.table(None));
        let at = |table| self.moments(table, identity.subject())?.in_force();
        tables.filter_map(at).max()
    }

    /// Takes in a revocation, until `expires_at`; whether it said anything new.
    pub(super) fn raise(&self, revocation: Revocation, expires_at: UnixTime) -> bool {
        let Revocation { subject, client_id, revoked_at, lifted_at } = revocation;
        let place = client_id.and_then(|client_id| self.groups.place_of(&client_id));
        let moments = Moments { revoked: revoked_at, lifted: lifted_at, expiry: expires_at };
        let Some(piece) = self.table(place).and_then(|table| self.piece(table, &subject)) else {
            return false;
        };
        let mut piece = write(piece);
        let known = piece.get(&subject).copied();
        let raised = known.map_or(moments, |known| known.raised_by(moments));
        if known.is_none() {
            self.subjects.fetch_add(1, Ordering::Release);
        }
        piece.insert(subject, raised);
        known != Some(raised)
    }

    /// What is known of `subject` for that app and its group.
    pub(super) fn find(
        &self,
        subject: &Subject,
        client_id: Option<&ClientId>,
    ) -> Option<Revocation> {
        let place = client_id.and_then(|client_id| self.groups.place_of(client_id));
        let moments = self.moments(self.table(place)?, subject)?;
        Some(self.told(subject.clone(), place, moments).0)
    }

    /// Everything, with its expiry.
    pub(super) fn all(&self) -> Vec<(Revocation, UnixTime)> {
        let mut all = Vec::with_capacity(self.len());
        for (place, table) in self.places().zip(&self.tables) {
            for piece in table {
                let piece = read(piece);
                let told = |(subject, moments): (&Subject, &Moments)| {
                    self.told(subject.clone(), place, *moments)
                };
                all.extend(piece.iter().map(told));
            }
        }
        all
    }

    /// Drops what expires at `now` or before.
    pub(super) fn retain_from(&self, now: UnixTime) {
        for piece in self.tables.iter().flatten() {
            let mut piece = write(piece);
            let before = piece.len();
            piece.retain(|_, moments| moments.expiry > now);
            self.subjects.fetch_sub(before.saturating_sub(piece.len()), Ordering::Release);
        }
    }

    fn told(
        &self,
        subject: Subject,
        place: Option<usize>,
        moments: Moments,
    ) -> (Revocation, UnixTime) {
        let client_id = place.and_then(|place| self.groups.first_of(place)).cloned();
        let Moments { revoked: revoked_at, lifted: lifted_at, expiry } = moments;
        (Revocation { subject, client_id, revoked_at, lifted_at }, expiry)
    }

    /// The group of each table.
    fn places(&self) -> impl Iterator<Item = Option<usize>> {
        std::iter::once(None).chain((0..self.groups.len()).map(Some))
    }

    /// The table of the group in that place, or of all apps.
    fn table(&self, place: Option<usize>) -> Option<&Table> {
        self.tables.get(place.map_or(0, |place| place.saturating_add(1)))
    }

    fn moments(&self, table: &Table, subject: &Subject) -> Option<Moments> {
        read(self.piece(table, subject)?).get(subject).copied()
    }

    fn piece<'a>(
        &self,
        table: &'a Table,
        subject: &Subject,
    ) -> Option<&'a RwLock<HashMap<Subject, Moments, RandomState>>> {
        let hash = self.hasher.hash_one(subject);
        let pieces = u64::try_from(Self::PIECES).unwrap_or(1);
        table.get(usize::try_from(hash.checked_rem(pieces)?).ok()?)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
