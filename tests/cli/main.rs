//! The real binary without an engine, in a home of its own: usage, errors, exit codes, JSON, help, settings,
//! secrets, and what `packaging/` ships.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod autostart;
mod config;
mod fuzz;
mod help;
mod lock;
mod packaging;
mod secrets;
mod support;
mod usage;
