//! Connections of HTTP/1.1 that nobody uses now: a list for each core, so that none waits for another's.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::line::Line;
use crate::per_core::PerCore;

/// Idle connections. There are never more than there were requests at once within one idle timeout.
pub(super) struct IdleLines {
    lists: PerCore<Mutex<Vec<Idle>>>,
    timeout: Duration,
}

struct Idle {
    line: Line,
    since: Instant,
}

impl IdleLines {
    /// Connections that are over when nobody has used them for `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { lists: PerCore::default(), timeout }
    }

    /// Keeps `line` for the next request.
    pub(super) fn keep(&self, line: Line) {
        lock(self.lists.mine()).push(Idle { line, since: Instant::now() });
    }

    /// One that is open, as far as can be told from here at `now`. What other cores left is taken before another connection
    /// is made.
    pub(super) fn take(&self, now: Instant) -> Option<Line> {
        self.lists.mine_first().find_map(|list| self.take_of(list, now))
    }

    fn take_of(&self, list: &Mutex<Vec<Idle>>, now: Instant) -> Option<Line> {
        loop {
            let line = self.take_ready(&mut lock(list), now)?;
            // The lock is free again: nobody else has to wait for the kernel's word.
            if line.is_open_and_silent() {
                return Some(line);
            }
        }
    }

    /// One whose last exchange is over. Those that are over themselves are left out.
    fn take_ready(&self, list: &mut Vec<Idle>, now: Instant) -> Option<Line> {
        // The one used last is the one most likely still open.
        let mut at = list.len();
        while let Some(last) = at.checked_sub(1) {
            at = last;
            let Idle { line, since } = &list[at];
            let is_over = line.is_closed() || now.saturating_duration_since(*since) >= self.timeout;
            // Until the end of the response (or of an upload that was answered early) has been seen, it is not ready.
            if !is_over && !line.is_ready() {
                continue;
            }
            let Idle { line, .. } = list.remove(at);
            if !is_over {
                return Some(line);
            }
        }
        None
    }

    /// Closes what nobody has used for too long, and says whether anything is left.
    pub(super) fn reap(&self) -> bool {
        self.lists.all().fold(false, |left, list| self.reap_one(&mut lock(list)) | left)
    }

    fn reap_one(&self, list: &mut Vec<Idle>) -> bool {
        // A connection that nobody uses is polled by nobody, so that only the kernel knows of its end.
        list.retain(|Idle { line, since }| {
            since.elapsed() < self.timeout
                && !line.is_closed()
                && (!line.is_ready() || line.is_open_and_silent())
        });
        !list.is_empty()
    }
}

fn lock(list: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    // Nothing panics while it holds the lock, and a list of connections is whole at every moment.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
