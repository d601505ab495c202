//! A toy Apple on loopback, for the `demo` and `sim` subcommands, for our tests and for our users' tests.

pub mod event;
pub mod presets;
pub mod token;

pub mod keys;

/// The issuer of Apple's tokens.
pub const ISSUER: &str = "https://appleid.apple.com";
