//! The auth proxy for Sign in with Apple.

pub mod authn;
pub mod clock;
pub mod telemetry;
pub mod verify;

#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod sim;

mod endpoints;
mod server;
mod upstream;
