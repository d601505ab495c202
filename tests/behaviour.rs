//! The specification in sentences: every file is a behaviour, every test name a statement about it.

mod support;

mod genuine_tokens;
mod verification;

mod header_spoofing;
mod proxying;
mod shutdown;

mod demo;
mod library_use;

mod floors;
mod readme;
