//! Keeping a replica's memory what Redis holds: subscribe, read everything, then listen; and all of it again whenever the
//! connection was lost or Redis was emptied.

use std::time::Duration;

use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, sleep, sleep_until},
};

use super::{
    super::{Confirmed, Follower, Record, Space, Store, StoreError, Write},
    RedisStore, parse,
};

/// One follower of one space.
pub(super) struct Following<'a> {
    pub(super) store: &'a RedisStore,
    pub(super) space: Space,
    pub(super) follower: &'a dyn Follower,
}

/// A connection on which is heard what is raised.
struct Heard {
    connection: MultiplexedConnection,
    pushed: UnboundedReceiver<PushInfo>,
    /// What was in Redis when everything was read. If that is gone, so is everything.
    mark: Option<String>,
}

/// Why a listener stopped listening.
enum Ended {
    /// The connection is no good any more.
    Lost(StoreError),
    /// Redis was emptied.
    Emptied,
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Lost(error)
    }
}

impl From<redis::RedisError> for Ended {
    fn from(error: redis::RedisError) -> Self {
        Self::Lost(error.into())
    }
}

impl Following<'_> {
    /// Time between two questions whether the connection lives and Redis holds what it held.
    const ASK_EVERY: Duration = Duration::from_millis(500);
    /// Time between two readings of everything: a Redis that is short of memory may have given up some of it.
    const READ_EVERY: Duration = Duration::from_mins(2);
    /// The longest pause between two attempts to connect.
    const LONGEST_PAUSE: Duration = Duration::from_secs(2);
    /// Records that are written back at once.
    const PAGE: usize = 200;

    /// Follows for ever.
    pub(super) async fn run(self) {
        let mut pause = Duration::ZERO;
        loop {
            let since = Instant::now();
            if let Ended::Lost(error) = self.follow_once().await {
                self.store.health.has_failed(&error);
                self.follower.lost(&error);
            }
            // A connection that held for a while was a good one: the next is tried at once.
            let was_good = since.elapsed() > Self::LONGEST_PAUSE;
            pause = if was_good { Duration::ZERO } else { longer(pause) };
            sleep(pause).await;
        }
    }

    async fn follow_once(&self) -> Ended {
        match self.synchronise().await {
            Ok(heard) => self.listen(heard).await,
            Err(ended) => ended,
        }
    }

    /// Listens first and reads then, so that nothing falls in between: what is heard twice is raised twice.
    async fn synchronise(&self) -> Result<Heard, Ended> {
        let store = self.store;
        let (push, pushed) = unbounded_channel();
        let connections = &store.connections;
        let config = connections.config().set_push_sender(push);
        let mut connection = connections.connect(&config).await?;
        connection.subscribe(store.channel(self.space)).await?;
        // Before the reading: if Redis is emptied while we read, the mark goes too. It is another one each time, so that
        // whoever comes first after that does not make it look as if nothing had happened.
        let (mark, any) = (store.mark(), fastrand::u64(..));
        let () = redis::cmd("SETNX").arg(&mark).arg(any).query_async(&mut connection).await?;
        let mark = redis::cmd("GET").arg(&mark).query_async(&mut connection).await?;
        self.catch_up(&mut connection).await?;
        Ok(Heard { connection, pushed, mark })
    }

    /// Takes in all that Redis holds, and writes back what it has forgotten.
    async fn catch_up(&self, connection: &mut MultiplexedConnection) -> Result<(), Ended> {
        let asked_at = Instant::now();
        let records = self.store.read(connection, self.space).await?;
        tracing::debug!(records = records.len(), elapsed = ?asked_at.elapsed(), "read from Redis");
        let missing = self.follower.load(records);
        self.confirm();
        self.write_back(missing).await?;
        Ok(())
    }

    fn confirm(&self) {
        self.store.health.is_well();
        self.follower.confirm(Confirmed::Now);
    }

    async fn write_back(&self, missing: Vec<Write>) -> Result<(), StoreError> {
        for page in missing.chunks(Self::PAGE) {
            // What is raised is never there already.
            let _done = self.store.apply(page.to_vec()).await?;
        }
        Ok(())
    }

    async fn listen(&self, Heard { mut connection, mut pushed, mark }: Heard) -> Ended {
        let mut ask_at = Instant::now() + Self::ASK_EVERY;
        let mut read_at = Instant::now() + Self::READ_EVERY;
        loop {
            tokio::select! {
                biased;
                push = pushed.recv() => match push.map(|push| self.hear(&push)) {
                    Some(true) => {}
                    Some(false) | None => return Ended::Lost(closed()),
                },
                () = sleep_until(ask_at) => {
                    match self.ask(&mut connection, mark.as_deref()).await {
                        Ok(()) => self.confirm(),
                        Err(ended) => return ended,
                    }
                    ask_at = Instant::now() + Self::ASK_EVERY;
                }
                () = sleep_until(read_at) => {
                    if let Err(ended) = self.catch_up(&mut connection).await {
                        return ended;
                    }
                    read_at = Instant::now() + Self::READ_EVERY;
                }
            }
        }
    }

    /// Whether the connection answers, on which the subscription is, and the mark is the one that was there.
    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        mark: Option<&str>,
    ) -> Result<(), Ended> {
        let found: Option<String> =
            redis::cmd("GET").arg(self.store.mark()).query_async(connection).await?;
        if found.is_some() && found.as_deref() == mark { Ok(()) } else { Err(Ended::Emptied) }
    }

    /// Takes in what was pushed; false at the end of the connection.
    fn hear(&self, push: &PushInfo) -> bool {
        if matches!(push.kind, PushKind::Disconnection) {
            return false;
        }
        if matches!(push.kind, PushKind::Message)
            && let Some(record) = self.record_in(&push.data)
        {
            self.follower.raised(record);
        }
        true
    }

    /// The record in a message: the channel, then the record's key, expiry and value.
    fn record_in(&self, message: &[Value]) -> Option<Record> {
        let [_channel, Value::BulkString(text)] = message else { return None };
        let (key, record) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        parse(self.store.strip(self.space, key)?, record)
    }
}

fn longer(pause: Duration) -> Duration {
    // Some replicas lose their connection at one moment; they must not come back at one moment.
    let jitter = Duration::from_millis(fastrand::u64(10..50));
    (pause * 2 + jitter).min(Following::LONGEST_PAUSE)
}

fn closed() -> StoreError {
    StoreError::Redis("the connection was closed".into())
}
