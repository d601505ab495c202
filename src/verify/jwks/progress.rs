//! What the tasks that fetch tell those who wait: one board for all sources, so that one wait can look at all of them.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::super::error::FetchFault;
use crate::{
    clock::UnixTime,
    telemetry::{KeyState, Metrics},
};

/// How far one source is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Whether a fetch is on its way.
    pub(super) fetching: bool,
    /// How many fetches have ended.
    pub(super) attempts: u64,
    /// How many of them succeeded.
    pub(super) successes: u64,
    /// When the last one that succeeded ended.
    pub(super) succeeded_at: Option<Instant>,
    /// How the last one failed; none if it did not.
    pub(super) fault: Option<FetchFault>,
    /// When the set in memory was fetched, perhaps by an earlier process.
    pub(super) fetched_at: Option<UnixTime>,
    /// Keys that the issuer lists.
    pub(super) keys: usize,
}

impl Progress {
    /// The first fetch is as good as on its way: whoever comes before it starts waits for it.
    const START: Self = Self {
        fetching: true,
        attempts: 0,
        successes: 0,
        succeeded_at: None,
        fault: None,
        fetched_at: None,
        keys: 0,
    };

    fn state(&self) -> KeyState {
        match (self.keys, self.succeeded_at, &self.fault) {
            (0, ..) => KeyState::Empty,
            (_, Some(_), None) => KeyState::Fresh,
            _ => KeyState::Stale,
        }
    }
}

/// The progress of every source, in the order in which they were configured.
pub(super) type Board = Vec<Progress>;

/// One source's place on the board.
#[derive(Clone, Debug)]
pub(super) struct BoardPlace {
    board: Arc<watch::Sender<Board>>,
    index: usize,
    metrics: Metrics,
}

impl BoardPlace {
    /// A board of `sources` places.
    pub(super) fn of(
        sources: usize,
        metrics: &Metrics,
    ) -> (impl Iterator<Item = Self>, watch::Receiver<Board>) {
        metrics.jwks_state(KeyState::Empty);
        let (board, watched) = watch::channel(vec![Progress::START; sources]);
        let (board, metrics) = (Arc::new(board), metrics.clone());
        let place =
            move |index| Self { board: Arc::clone(&board), index, metrics: metrics.clone() };
        ((0..sources).map(place), watched)
    }

    /// Writes down what changed, for those who wait and for the metrics.
    pub(super) fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.board.send_modify(|board| {
            if let Some(progress) = board.get_mut(self.index) {
                change(progress);
            }
            self.measure(board);
        });
    }

    /// The keys of all sources, the worst of their states and the age of the oldest set: with several sources the worst is
    /// what matters.
    fn measure(&self, board: &[Progress]) {
        let keys: usize = board.iter().map(|progress| progress.keys).sum();
        self.metrics.jwks_keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        let fetched_at: Option<Vec<_>> = board.iter().map(|progress| progress.fetched_at).collect();
        self.metrics.jwks_state(board.iter().map(Progress::state).max().unwrap_or(KeyState::Empty));
        if let Some(oldest) = fetched_at.and_then(|times| times.into_iter().min()) {
            self.metrics.jwks_fetched(oldest);
        }
    }
}
