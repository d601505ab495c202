//! Signatures are checked in turns when there are many: a flood of forged tokens must not hold up those whose verdicts are
//! remembered.
//!
//! One check takes about as long as all else that a request needs. A task that does one does nothing wrong; but if a
//! thousand of them are ready to run, everybody else waits for a thousand checks. So beyond a share of each millisecond a
//! check waits for its turn, and there are two for each core in each round of the scheduler: between two looks at its socket,
//! a connection waits for two checks or three. (One alone would have a flood pay for a look at all sockets with each check.)

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::Semaphore, task::yield_now, time::Instant};

/// Lets few checks at a time pass on each core, once they are many. Clones share the turns.
#[derive(Clone, Debug)]
pub(super) struct Turnstile(Arc<Turns>);

#[derive(Debug)]
struct Turns {
    since: Instant,
    /// The millisecond that is counted, and above it how many checks it has seen.
    counted: AtomicU64,
    at_once: Semaphore,
    free: u64,
}

impl Turnstile {
    /// Checks that each core may do in a millisecond without waiting: about a third of it. A forged token takes as long again
    /// to read and to answer, so that on a slower core not many more would fit.
    const FREE: u64 = 16;
    /// Turns for each core.
    const TURNS: usize = 2;
    const COUNT: u32 = 40;

    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let free = Self::FREE.saturating_mul(u64::try_from(cores).unwrap_or(1));
        let (since, counted) = (Instant::now(), AtomicU64::new(0));
        Self(Arc::new(Turns {
            since,
            counted,
            at_once: Semaphore::new(Self::TURNS.saturating_mul(cores)),
            free,
        }))
    }

    /// Does `check`, when it is its turn.
    pub(super) async fn pass<T>(&self, check: impl FnOnce() -> T) -> T {
        if self.0.is_quiet() {
            return check();
        }
        // The semaphore is never closed; were it, checking without turns would be no harm.
        let turn = self.0.at_once.acquire().await;
        // Everybody else that is ready comes first. Those that wait for a turn are not.
        yield_now().await;
        let checked = check();
        drop(turn);
        checked
    }
}

impl Turns {
    /// Counts a check, and says whether this millisecond has seen few. Two threads that come at the turn of a millisecond may
    /// count one too few.
    fn is_quiet(&self) -> bool {
        let mask = u64::MAX.unbounded_shr(u64::BITS.saturating_sub(Turnstile::COUNT));
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(0) & mask;
        let counted = self.counted.load(Ordering::Relaxed);
        let before =
            if counted & mask == now { counted.unbounded_shr(Turnstile::COUNT) } else { 0 };
        let count = before.saturating_add(1);
        self.counted.store(count.unbounded_shl(Turnstile::COUNT) | now, Ordering::Relaxed);
        before < self.free
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Mutex, task::Poll, time::Duration};

    use tokio::{
        task::{JoinSet, yield_now},
        time::advance,
    };

    use super::*;

    fn turnstile() -> Turnstile {
        let (since, counted) = (Instant::now(), AtomicU64::new(0));
        Turnstile(Arc::new(Turns { since, counted, at_once: Semaphore::new(1), free: 2 }))
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_checks_of_a_flood_everybody_else_has_a_turn() {
        let (turnstile, seen) = (turnstile(), Arc::new(Mutex::new(String::new())));
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let (turnstile, seen) = (turnstile.clone(), Arc::clone(&seen));
            tasks.spawn(async move { turnstile.pass(|| seen.lock().unwrap().push('c')).await });
        }
        let noted = Arc::clone(&seen);
        tasks.spawn(async move {
            for _ in 0..12 {
                noted.lock().unwrap().push('.');
                yield_now().await;
            }
        });
        tasks.join_all().await;
        let seen = seen.lock().unwrap();
        let behind_the_free_ones = seen.strip_prefix("cc").unwrap();
        assert_eq!(behind_the_free_ones.matches('c').count(), 4);
        // One in each round; the first of a round may follow the last of the one before.
        assert!(!behind_the_free_ones.contains("ccc"), "{seen}");
    }

    #[tokio::test(start_paused = true)]
    async fn few_checks_wait_for_nobody() {
        let turnstile = turnstile();
        for _ in 0..10 {
            for _ in 0..2 {
                let mut passing = pin!(turnstile.pass(|| ()));
                let passed = std::future::poll_fn(|cx| Poll::Ready(passing.as_mut().poll(cx)));
                assert!(passed.await.is_ready());
            }
            advance(Duration::from_millis(1)).await;
        }
    }
}
