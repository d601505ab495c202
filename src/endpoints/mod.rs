//! The doors; each renders the same decision in its own way.

mod proxy;

pub(crate) use proxy::{Proxy, ProxyBody};
