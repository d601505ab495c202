//! The auth proxy for Sign in with Apple.

pub mod clock;
pub mod telemetry;

#[doc(hidden)]
pub mod sim;

mod server;
