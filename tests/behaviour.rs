//! The specification in sentences: every file is a behaviour, every test name a statement about it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has found something"
)]

mod support;

mod apple_history;
mod apple_rules;
mod differential;
mod explain;
mod forgery;
mod genuine_tokens;
mod key_rotation;
mod key_sources;
mod policy;
mod properties;
mod token_endpoint;
mod verification;

mod account;
mod allocations;
mod auth_request;
mod browser;
mod ext_authz;
mod faults;
mod forward_auth;
mod header_names;
mod header_spoofing;
mod http2;
mod limits;
mod listening;
mod logs;
mod metrics;
mod notifications;
mod prometheus;
mod proxying;
mod reached;
mod real_programs;
mod redaction;
mod revocation;
mod routing;
mod sessions;
mod shutdown;
mod sign_in;
mod smuggling;
mod stalling;
mod stores;
mod streaming;
mod tls;
mod traces;
mod upgrades;
mod upstream;
mod userinfo;
mod webhooks;

mod check;
mod command_line;
mod configuration;
mod demo;
mod drill;
mod library_use;
mod migrate;
mod reload;
mod schema;

mod floors;
mod readme;
