//! Apple's side of notifications.

use std::net::SocketAddr;

use siwa_proxy::sim::{event::Event, token::TokenTemplate};

use super::{House, Reply, exchange};

/// Where the tests' proxies take notifications.
pub(crate) const PATH: &str = "/auth/apple/notifications";

/// The setting that turns them on.
pub(crate) const ON: &str = "notifications.path = '/auth/apple/notifications'";

impl House {
    /// Notifies of `event` as Apple does.
    pub(crate) async fn notify(&self, event: Event) -> Reply {
        self.notify_by(&TokenTemplate::notification(event)).await
    }

    /// Posts a notification made from `template`.
    pub(crate) async fn notify_by(&self, template: &TokenTemplate) -> Reply {
        post_notification(self.address, &self.apple.mint(template)).await
    }
}

/// Posts `payload` as a notification.
pub(crate) async fn post_notification(address: SocketAddr, payload: &str) -> Reply {
    let body = format!("{{\"payload\":\"{payload}\"}}");
    post(address, PATH, "", &body).await
}

/// Posts `body` with further header lines.
pub(crate) async fn post(address: SocketAddr, path: &str, lines: &str, body: &str) -> Reply {
    send(address, "POST", path, lines, body).await
}

/// Sends `body` by `method`.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> Reply {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n{lines}"
    );
    exchange(address, format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
}
