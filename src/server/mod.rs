//! Sockets: what the process says on its second listener, and what ends it.

mod admin;
mod readiness;
mod signals;

pub(crate) use self::{
    admin::Admin,
    readiness::{Latch, Readiness},
    signals::Signals,
};
