//! Connections to Redis: the one that everybody shares, and those that followers have for themselves.

use std::{
    sync::{self, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout};
use url::Url;
use zeroize::Zeroizing;

use super::{RedisSettings, StoreError};

pub(super) struct Connections {
    client: Client,
    timeout: Duration,
    kept: sync::Mutex<Kept>,
    /// Held by whoever makes the connection to be kept.
    making: Mutex<()>,
}

/// The connection that everybody shares.
#[derive(Default)]
struct Kept {
    connection: Option<MultiplexedConnection>,
    /// How many there were.
    generation: u64,
}

/// It, and which of all that there were it is.
pub(super) struct Shared {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
}

impl Connections {
    /// Describes them. None is made before it is asked for.
    pub(super) fn new(settings: RedisSettings) -> Result<Self, StoreError> {
        let RedisSettings { url, username, password, authorities, timeout, .. } = settings;
        let info = connection_info(&url, username, password)
            .map_err(|error| StoreError::Client(error.into()))?;
        let client = match authorities {
            Some(pem) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(info, certificates)
            }
            None => Client::open(info),
        };
        let client = client.map_err(|error| StoreError::Client(error.into()))?;
        Ok(Self { client, timeout, kept: sync::Mutex::default(), making: Mutex::default() })
    }

    pub(super) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
    }

    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, StoreError> {
        Ok(self.client.get_multiplexed_async_connection_with_config(config).await?)
    }

    /// Whether the next command makes the shared connection.
    pub(super) fn is_none(&self) -> bool {
        self.kept().connection.is_none()
    }

    /// The shared connection, made if there is none. Nobody waits for somebody else's attempt for longer than that may take: the
    /// last of many would wait for as many attempts.
    pub(super) async fn shared(&self) -> Result<Shared, StoreError> {
        if let Some(shared) = self.kept().shared() {
            return Ok(shared);
        }
        let making = timeout(self.timeout, self.making.lock()).await;
        let _making = making.map_err(|_elapsed| StoreError::TimedOut)?;
        if let Some(shared) = self.kept().shared() {
            return Ok(shared);
        }
        let connection = self.connect(&self.config()).await?;
        Ok(self.kept().replace(connection))
    }

    /// Has the next command make another in place of `failed`, if nobody has yet.
    pub(super) fn hang_up(&self, failed: &Shared) {
        let mut kept = self.kept();
        if kept.generation == failed.generation {
            kept.connection = None;
        }
    }

    fn kept(&self) -> sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn shared(&self) -> Option<Shared> {
        let connection = self.connection.clone()?;
        Some(Shared { connection, generation: self.generation })
    }

    fn replace(&mut self, connection: MultiplexedConnection) -> Shared {
        self.generation = self.generation.wrapping_add(1);
        self.connection = Some(connection.clone());
        Shared { connection, generation: self.generation }
    }
}

fn connection_info(
    url: &Url,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
) -> Result<ConnectionInfo, RedisError> {
    let info = url.as_str().into_connection_info()?;
    // The third version pushes what is published to the connection that asks, too.
    let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = username {
        redis = redis.set_username(username);
    }
    if let Some(password) = password {
        redis = redis.set_password(password.as_str());
    }
    Ok(info.set_redis_settings(redis))
}
