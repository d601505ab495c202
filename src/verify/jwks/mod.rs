//! The keys: source → fetch → parse → cache → refresh.
//!
//! | state | readers | refresher |
//! |---|---|---|
//! | empty (start) | wait for the fetch that runs, else [`NoSet`](super::KeysFault::NoSet) | fetches now, backs off with jitter; the last good set on disk bridges |
//! | fresh | use it | sleeps until shortly before [`JwksSettings::refresh_every`] is over |
//! | stale, still kept | use it | backs off; warns once per change of state |
//! | beyond [`JwksSettings::keep_while_failing`] | [`NoSet`](super::KeysFault::NoSet) | drops the keys, which ended by themselves; backs off |
//! | `kid` not in the set | share one fetch if the cooldown allows | the fetch *is* the refresh, but moves no schedule |
//! | key not listed any more | use it for [`JwksSettings::removed_key_grace`] | gives it its end |
//!
//! Nobody waits while the key is in memory, and nobody's hang-up cancels a fetch: fetching is the refreshers' alone. Every
//! key carries the moment of its end, so that no key outlives it because a task was busy.
//!
//! Several sources may stand side by side, each with an issuer, a cooldown and a refresher of its own. The `kid` finds the
//! key; that the `iss` of the token is the key's issuer is checked where the claims are judged.

mod absent;
mod addresses;
mod cache;
mod canary;
mod disk;
mod fetched;
mod https;
mod kept;
mod key;
mod pace;
mod progress;
mod refresher;
mod set;
mod settings;
mod source;
mod writer;

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::watch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::Instrument;

use self::{
    cache::SourceCache,
    progress::{Board, BoardPlace},
    refresher::Refresher,
};
pub use self::{
    canary::CanarySettings,
    https::HttpsJwks,
    key::{Issuer, KeyId},
    settings::{InvalidDuration, JwksSettings},
    source::{Fetch, FileJwks, FixedJwks, JwksSource},
};
pub(super) use self::{
    key::{SignedBy, VerifyingKey},
    set::{JwkSet, wire_keys},
};
use super::error::{FetchFault, TokenFault, VerifyError};
use crate::{
    clock::Clock,
    https::HttpsError,
    telemetry::{Metrics, traces::spans},
};

/// One place to get keys from, with the issuer for whom they speak.
#[derive(Clone, Debug)]
pub struct KeySource {
    issuer: Issuer,
    source: Arc<dyn JwksSource>,
    cache_file: Option<PathBuf>,
}

impl KeySource {
    /// The keys of `issuer`, from `source`.
    #[must_use]
    pub fn new(issuer: Issuer, source: impl JwksSource + 'static) -> Self {
        Self::of(issuer, Arc::new(source), None)
    }

    pub(super) fn of(
        issuer: Issuer,
        source: Arc<dyn JwksSource>,
        cache_file: Option<PathBuf>,
    ) -> Self {
        Self { issuer, source, cache_file }
    }

    /// With the last good set kept in the file `path`, so that a restart during an outage serves. The file must be this
    /// source's alone, and only this process may be able to write it: whoever can write it can add a key.
    #[must_use]
    pub fn cache_file(self, path: impl Into<PathBuf>) -> Self {
        Self { cache_file: Some(path.into()), ..self }
    }
}

/// How many keys of the JWK Set `text` can verify the tokens of `issuer`.
///
/// # Errors
///
/// [`FetchFault`]: it is no JWK Set, or none of its keys can.
pub fn usable_keys(text: &[u8], issuer: &Issuer) -> Result<usize, FetchFault> {
    JwkSet::parse(text, issuer).map(|set| set.len())
}

/// The current keys of all sources, each kept fresh by a task of its own. Clones share them; the tasks end with the last.
#[derive(Clone)]
pub(super) struct JwksCache {
    sources: Arc<[SourceCache]>,
    issuers: Arc<[Issuer]>,
    board: watch::Receiver<Board>,
    stop: CancellationToken,
    _stop_with_the_last: Arc<DropGuard>,
}

/// The keys that one `kid` finds, in the order of their sources: one, but for a name that two sources use.
pub(super) type Candidates = Vec<Arc<VerifyingKey>>;

/// What the tasks of the key cache need besides their sources.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
}

impl JwksCache {
    /// Starts fetching from `sources`. Must be called on a tokio runtime.
    pub(super) fn start(
        sources: Vec<KeySource>,
        settings: &JwksSettings,
        surroundings: &Surroundings,
    ) -> Self {
        let Surroundings { clock, metrics, tasks } = surroundings;
        let new_cache = |_| SourceCache::new(settings.clone(), metrics.clone());
        let caches: Arc<[SourceCache]> = sources.iter().map(new_cache).collect();
        let issuers = sources.iter().map(|source| source.issuer.clone()).collect();
        let (places, board) = BoardPlace::of(sources.len(), metrics);
        let stop = CancellationToken::new();
        for (index, (source, place)) in sources.into_iter().zip(places).enumerate() {
            let refresher = Refresher::new(
                source,
                settings.clone(),
                refresher::Seat { caches: Arc::clone(&caches), index, place },
                Arc::clone(clock),
                metrics.clone(),
            );
            refresher.spawn(tasks, &stop);
        }
        let guard = Arc::new(stop.clone().drop_guard());
        Self { sources: caches, issuers, board, stop, _stop_with_the_last: guard }
    }

    /// Starts comparing what Apple publishes with what is pinned.
    pub(super) fn watch(
        &self,
        canary: CanarySettings,
        issuer: Issuer,
        surroundings: &Surroundings,
    ) -> Result<(), HttpsError> {
        let canary = canary::Canary::new(
            canary,
            issuer,
            Arc::clone(&self.sources),
            surroundings.metrics.clone(),
        )?;
        let stop = self.stop.clone();
        surroundings.tasks.spawn(stop.run_until_cancelled_owned(canary.run()));
        Ok(())
    }

    /// Whether one of the sources has the keys of `issuer`.
    pub(super) fn speak_for(&self, issuer: &Issuer) -> bool {
        self.issuers.contains(issuer)
    }

    /// The keys of that name; or [`TokenFault::UnknownKey`] when sets fetched within the cooldown do not hold it, [`VerifyError::KeysUnavailable`]
    /// when that cannot be said.
    pub(super) async fn find(&self, key_id: &KeyId) -> Result<Candidates, VerifyError> {
        let at_hand = self.at_hand(key_id, &[]);
        if !at_hand.is_empty() {
            return Ok(at_hand);
        }
        if self.is_known_to_be_absent(key_id) {
            return Err(TokenFault::UnknownKey { key_id: key_id.clone() }.into());
        }
        self.fetch(key_id, &[]).instrument(spans::key_fetch()).await
    }

    /// Whether every source was asked for that name since it was last heard, and lately: then nobody has to be asked again.
    fn is_known_to_be_absent(&self, key_id: &KeyId) -> bool {
        let board = self.board.borrow();
        let mut sources = self.sources.iter().zip(board.iter());
        sources.all(|(source, progress)| source.is_known_to_be_absent(key_id, progress))
    }

    /// The keys of that name in the sources that `tried` does not come from: for a name that is known here and means
    /// another key there. Empty if there is none.
    ///
    /// # Errors
    ///
    /// [`VerifyError::KeysUnavailable`] when that cannot be said.
    pub(super) async fn find_elsewhere(
        &self,
        key_id: &KeyId,
        tried: &[Arc<VerifyingKey>],
    ) -> Result<Candidates, VerifyError> {
        if tried.len() >= self.sources.len() {
            return Ok(Candidates::new());
        }
        match self.fetch(key_id, tried).await {
            Err(VerifyError::Rejected(_)) => Ok(Candidates::new()),
            found => found,
        }
    }

    /// Waits until every source has had a usable set, be it from disk: then nobody's valid token is unjudged for want of
    /// keys.
    pub(super) async fn ready(&self) {
        let mut board = self.board.clone();
        let every = |board: &Board| board.iter().all(|progress| progress.fetched_at.is_some());
        // An error means that the refreshers were stopped: then nothing will ever be ready.
        if board.wait_for(every).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Has every source asked that may be, and waits until one has the key or all have answered. The first to have it ends
    /// the wait: a source that hangs keeps nobody from another's key.
    async fn fetch(
        &self,
        key_id: &KeyId,
        tried: &[Arc<VerifyingKey>],
    ) -> Result<Candidates, VerifyError> {
        let mut board = self.board.clone();
        let awaited: Vec<Option<u64>> = {
            let progress = board.borrow_and_update();
            let ask = |(source, progress): (&SourceCache, _)| match source.get(key_id) {
                Some(_) => None,
                None => source.ask_for(key_id, progress),
            };
            self.sources.iter().zip(progress.iter()).map(ask).collect()
        };
        let settled = |board: &Board| {
            let mut waits = board.iter().zip(&awaited);
            !self.at_hand(key_id, tried).is_empty()
                || waits.all(|(progress, awaited)| awaited.is_none_or(|n| progress.attempts >= n))
        };
        // An error means that the refreshers were stopped: what is in memory is all there is.
        drop(board.wait_for(settled).await);

        self.conclude(key_id, tried, &awaited)
    }

    /// The keys of that name that are in memory and were not `tried`.
    fn at_hand(&self, key_id: &KeyId, tried: &[Arc<VerifyingKey>]) -> Candidates {
        let is_new = |key: &Arc<VerifyingKey>| !tried.iter().any(|other| Arc::ptr_eq(other, key));
        self.sources.iter().filter_map(|source| source.get(key_id)).filter(is_new).collect()
    }

    /// What can be said once nothing is `awaited` any more. The board is read first, and then the sets: a set is in its
    /// place before the board tells of it, so that no key is called unknown by word of the very fetch that brought it.
    fn conclude(
        &self,
        key_id: &KeyId,
        tried: &[Arc<VerifyingKey>],
        awaited: &[Option<u64>],
    ) -> Result<Candidates, VerifyError> {
        let absence = self.absence_of(key_id, awaited);
        let found = self.at_hand(key_id, tried);
        if found.is_empty() { Err(absence) } else { Ok(found) }
    }

    /// The name is unknown if no source holds it; if one of them cannot say so, nobody can.
    fn absence_of(&self, key_id: &KeyId, awaited: &[Option<u64>]) -> VerifyError {
        let mut unknown = TokenFault::UnknownKey { key_id: key_id.clone() }.into();
        let board = self.board.borrow();
        for ((source, progress), awaited) in self.sources.iter().zip(board.iter()).zip(awaited) {
            if source.get(key_id).is_some() {
                continue;
            }
            match source.absence_of(key_id, *awaited, progress) {
                VerifyError::Rejected(fault) => unknown = fault.into(),
                unavailable @ (VerifyError::KeysUnavailable(_)
                | VerifyError::RevocationsUnavailable(_)) => return unavailable,
            }
        }
        unknown
    }
}

impl fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksCache").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
