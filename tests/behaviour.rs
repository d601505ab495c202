//! The specification in sentences: every file is a behaviour, every test name a statement about it.
mod configuration;
mod floors;
