//! Connections to Redis: the one that everybody shares, and those that followers have for themselves.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};
use url::Url;
use zeroize::Zeroizing;

use super::{RedisSettings, StoreError};

pub(super) struct Connections {
    client: Client,
    timeout: Duration,
    shared: Mutex<Option<MultiplexedConnection>>,
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
        Ok(Self { client, timeout, shared: Mutex::default() })
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
    pub(super) async fn is_none(&self) -> Result<bool, StoreError> {
        Ok(self.lock().await?.is_none())
    }

    /// The shared connection, made if there is none.
    pub(super) async fn shared(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut shared = self.lock().await?;
        if let Some(connection) = &*shared {
            return Ok(connection.clone());
        }
        let connection = self.connect(&self.config()).await?;
        *shared = Some(connection.clone());
        Ok(connection)
    }

    /// Has the next command make another, unless one is being made already.
    pub(super) fn hang_up(&self) {
        if let Ok(mut shared) = self.shared.try_lock() {
            *shared = None;
        }
    }

    /// Whoever makes the connection holds the lock. Nobody waits for longer than that may take: the last of many would wait for
    /// as many attempts.
    async fn lock(&self) -> Result<MutexGuard<'_, Option<MultiplexedConnection>>, StoreError> {
        timeout(self.timeout, self.shared.lock()).await.map_err(|_elapsed| StoreError::TimedOut)
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
