//! What Apple says to us: server-to-server notifications about accounts.

mod notification;

pub use self::notification::{AccountEvent, EventKind, Notification, RelayAddress};
