//! Records in Redis, for fleets: each a string with an expiry, written by a script that is atomic, and told to the other
//! replicas in the same breath.
//!
//! | key | value |
//! |---|---|
//! | `PREFIX:SPACE:KEY` | expiry in seconds since 1970, a space, the text |
//! | `PREFIX:raised:SPACE` | a channel, on which a raised record's key and value are published |
//! | `PREFIX:synchronised` | a mark: if it is gone, Redis was emptied |

mod connections;
mod follow;

use std::{fmt, sync::Arc, time::Duration};

use redis::{RedisError, Script, aio::MultiplexedConnection};
use url::Url;
use zeroize::Zeroizing;

use self::{connections::Connections, follow::Following};
use super::{Answer, Applied, Follower, Forever, Health, Record, Space, Store, StoreError, Write};
use crate::clock::UnixTime;

/// How Redis is reached.
#[derive(Clone)]
pub(crate) struct RedisSettings {
    /// `redis://host:port/database`, or `rediss://` for TLS; without credentials.
    pub(crate) url: Url,
    /// The name of an ACL user; Redis's default user unless set.
    pub(crate) username: Option<String>,
    /// Their password.
    pub(crate) password: Option<Zeroizing<String>>,
    /// The only certificate authorities to believe, in PEM; the system's unless set.
    pub(crate) authorities: Option<Vec<u8>>,
    /// What all keys begin with.
    pub(crate) prefix: String,
    /// How long connecting, and each answer, may take.
    pub(crate) timeout: Duration,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Keeps records in Redis. Clones share one connection for writing; each follower has its own.
#[derive(Clone)]
pub(crate) struct RedisStore {
    prefix: Arc<str>,
    connections: Arc<Connections>,
    script: Arc<Script>,
    health: Health,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Redis(error.into()) }
    }
}

impl RedisStore {
    /// Keys that one command asks for, so that a large set does not hold up everybody else's.
    const PAGE: usize = 1_000;

    /// Describes the store. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// [`StoreError::Client`].
    pub(crate) fn new(settings: RedisSettings, health: Health) -> Result<Self, StoreError> {
        Ok(Self {
            prefix: settings.prefix.as_str().into(),
            connections: Arc::new(Connections::new(settings)?),
            script: Arc::new(Script::new(include_str!("apply.lua"))),
            health,
        })
    }

    /// Connects, and says hello.
    ///
    /// # Errors
    ///
    /// [`StoreError::Redis`], [`StoreError::TimedOut`].
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let connections = &self.connections;
        let mut connection = connections.connect(&connections.config()).await?;
        Ok(redis::cmd("PING").query_async(&mut connection).await?)
    }

    /// Runs the script, once more on a new connection if the one that was kept has died meanwhile.
    async fn write(&self, writes: Vec<Write>) -> Result<Applied, StoreError> {
        let is_fresh = self.connections.is_none();
        match self.run(&writes).await {
            Err(error) if !is_fresh && !matches!(error, StoreError::TimedOut) => {
                self.run(&writes).await
            }
            done => done,
        }
    }

    async fn run(&self, writes: &[Write]) -> Result<Applied, StoreError> {
        let mut shared = self.connections.shared().await?;
        let mut call = self.script.prepare_invoke();
        for write in writes {
            let (what, record) = spelled(write);
            call.key(self.key(write.space(), write.key()));
            let (expires, value) = record
                .map_or((0, ""), |record| (record.expires_at.as_secs(), record.value.as_str()));
            call.arg(what).arg(expires).arg(value).arg(self.channel(write.space()));
        }
        let done: Result<u8, RedisError> = call.invoke_async(&mut shared.connection).await;
        match done {
            Ok(0) => Ok(Applied::AlreadyThere),
            Ok(_) => Ok(Applied::Done),
            Err(error) => {
                // Whatever is wrong with it.
                self.connections.hang_up(&shared);
                Err(error.into())
            }
        }
    }

    /// Looks, once more on a new connection if the one that was kept has died meanwhile.
    async fn read_one(&self, space: Space, key: &str) -> Result<Option<Record>, StoreError> {
        let is_fresh = self.connections.is_none();
        match self.find(space, key).await {
            Err(error) if !is_fresh && !matches!(error, StoreError::TimedOut) => {
                self.find(space, key).await
            }
            found => found,
        }
    }

    async fn find(&self, space: Space, key: &str) -> Result<Option<Record>, StoreError> {
        let mut shared = self.connections.shared().await?;
        let mut get = redis::cmd("GET");
        get.arg(self.key(space, key));
        let text: Result<Option<String>, RedisError> =
            get.query_async(&mut shared.connection).await;
        if text.is_err() {
            self.connections.hang_up(&shared);
        }
        Ok(text?.and_then(|text| parse(key, &text)))
    }

    async fn read_all(&self, space: Space) -> Result<Vec<Record>, StoreError> {
        let mut shared = self.connections.shared().await?;
        let listed = self.read(&mut shared.connection, space).await;
        if listed.is_err() {
            self.connections.hang_up(&shared);
        }
        listed
    }

    /// All records of `space`, page by page: each command is short.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        space: Space,
    ) -> Result<Vec<Record>, StoreError> {
        let pattern = format!("{}*", escaped(&self.key(space, "")));
        let (mut cursor, mut records) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(Self::PAGE);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
            if !keys.is_empty() {
                let values = redis::cmd("MGET").arg(&keys).query_async(connection).await?;
                records.extend(self.parse_all(space, &keys, values));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        records.sort_by(|one, other| one.key.cmp(&other.key));
        // A key may be met twice while Redis grows or shrinks its table.
        records.dedup_by(|one, other| one.key == other.key);
        Ok(records)
    }

    /// The records among what was found. Whatever somebody else has put there must not keep us from reading the others.
    fn parse_all(
        &self,
        space: Space,
        keys: &[Vec<u8>],
        values: Vec<Option<Vec<u8>>>,
    ) -> Vec<Record> {
        let mut skipped = 0_u64;
        let mut records = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            // What has no value expired meanwhile, or is no string.
            let Some(value) = value else { continue };
            match self.parse_bytes(space, key, &value) {
                Some(record) => records.push(record),
                None => skipped += 1,
            }
        }
        if skipped > 0 {
            self.health.skipped(skipped);
        }
        records
    }

    fn parse_bytes(&self, space: Space, key: &[u8], value: &[u8]) -> Option<Record> {
        parse(self.strip(space, str::from_utf8(key).ok()?)?, str::from_utf8(value).ok()?)
    }

    fn key(&self, space: Space, key: &str) -> String {
        format!("{}:{}:{key}", self.prefix, space.name())
    }

    fn strip<'a>(&self, space: Space, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&*self.prefix)?
            .strip_prefix(':')?
            .strip_prefix(space.name())?
            .strip_prefix(':')
    }

    fn channel(&self, space: Space) -> String {
        format!("{}:raised:{}", self.prefix, space.name())
    }

    fn mark(&self) -> String {
        format!("{}:synchronised", self.prefix)
    }
}

/// What the script calls a write, and what is written.
const fn spelled(write: &Write) -> (&'static str, Option<&Record>) {
    match write {
        Write::Insert(_, record) => ("insert", Some(record)),
        Write::Put(_, record) => ("put", Some(record)),
        Write::Raise(_, record) => ("raise", Some(record)),
        Write::Delete(..) => ("delete", None),
    }
}

fn parse(key: &str, text: &str) -> Option<Record> {
    let (expires_at, value) = text.split_once(' ')?;
    let expires_at = UnixTime::from_secs(expires_at.parse().ok()?);
    Some(Record { key: key.to_owned(), value: value.to_owned(), expires_at })
}

/// `text` as a pattern that matches itself alone.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

impl Store for RedisStore {
    fn apply(&self, writes: Vec<Write>) -> Answer<'_, Applied> {
        Box::pin(async { self.health.noted(self.write(writes).await) })
    }

    fn list(&self, space: Space) -> Answer<'_, Vec<Record>> {
        Box::pin(async move { self.health.noted(self.read_all(space).await) })
    }

    fn get(&self, space: Space, key: String) -> Answer<'_, Option<Record>> {
        Box::pin(async move { self.health.noted(self.read_one(space, &key).await) })
    }

    fn follow<'a>(&'a self, space: Space, follower: &'a dyn Follower) -> Forever<'a> {
        Box::pin(Following { store: self, space, follower }.run())
    }

    /// Redis forgets by itself.
    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn store(url: &str) -> RedisStore {
        RedisStore::new(settings(url), Health::new(Metrics::new())).unwrap()
    }

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: url.parse().unwrap(),
            username: Some("proxy".to_owned()),
            password: Some(Zeroizing::new("secret".to_owned())),
            authorities: None,
            prefix: "a[b]".to_owned(),
            timeout: Duration::from_millis(50),
        }
    }

    #[test]
    fn keys_are_told_apart_by_prefix_and_space() {
        let store = store("redis://127.0.0.1:1");
        let key = store.key(Space::Revocations, "all,001.a:b");
        assert_eq!(key, "a[b]:revocations:all,001.a:b");
        assert_eq!(store.strip(Space::Revocations, &key), Some("all,001.a:b"));
        assert_eq!(store.strip(Space::Leases, &key), None);
        assert_eq!(escaped(&store.prefix), "a\\[b\\]");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let url = "rediss://127.0.0.1:1/2";
        assert!(!format!("{:?} {:?}", settings(url), store(url)).contains("secret"));
    }

    #[tokio::test]
    async fn a_redis_that_does_not_answer_is_given_up_in_time() {
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", deaf.local_addr().unwrap());
        let store = store(&url);
        let error = store.list(Space::Revocations).await.unwrap_err();
        assert!(matches!(error, StoreError::TimedOut), "{error:?}");
    }

    /// By a clock that stands still but for waiting.
    #[tokio::test(start_paused = true)]
    async fn the_last_of_many_who_ask_a_redis_that_does_not_answer_waits_for_no_longer_than_the_first()
     {
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let store = store(&format!("redis://{}", deaf.local_addr().unwrap()));
        let began = tokio::time::Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let store = store.clone();
            asking.spawn(async move { store.get(Space::Revocations, "001".to_owned()).await });
        }
        for found in asking.join_all().await {
            assert!(matches!(found, Err(StoreError::TimedOut)), "{found:?}");
        }
        // One's own attempt, and that of whoever was before.
        assert!(began.elapsed() <= 4 * settings("redis://a").timeout, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_redis_that_is_not_there_is_an_error_in_time() {
        let store = store("redis://127.0.0.1:1");
        let error = store.list(Space::Revocations).await.unwrap_err();
        assert!(matches!(error, StoreError::Redis(_) | StoreError::TimedOut), "{error:?}");
        let error = store.apply(Vec::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::Redis(_) | StoreError::TimedOut), "{error:?}");
    }
}
