//! The real binary without an engine, in a home of its own: usage, errors, exit codes, JSON, help, settings,
//! secrets, what `packaging/` ships, and what it is all built from.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(target_os = "linux")]
mod autostart;
mod backup_key;
mod backup_parts;
mod config;
mod dependencies;
mod engines_table;
mod entrypoint;
mod export;
mod fuzz;
mod git_credential;
mod help;
mod layers;
mod lock;
mod packaging;
mod podman_behind_ssh;
mod prune;
mod secrets;
mod self_update;
mod support;
mod usage;
