//! The auth proxy for Sign in with Apple.

pub mod clock;
pub mod telemetry;

#[doc(hidden)]
pub mod sim;

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "app.rs, which runs the servers, is not built yet")
)]
#[expect(unused_imports, reason = "likewise")]
mod server;
