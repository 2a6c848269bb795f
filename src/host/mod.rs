//! The host: the only room that touches it.
//!
//! - `system`: what kind of system it is; `command`: runs a program, line by line; `shell`: a command
//!   of the user's;
//!   `packages`: the package manager
//! - `networks`: which it is in; `terminal`: its size, raw mode
//! - `git`: who the user commits as
//! - `ports`: is a port free, and who has it
//! - `engine_install`: installs and starts an engine; `base_image`: makes a base image without a registry
//! - `service`: starts the supervisor at login or boot; `browser`: opens a page
//! - `checkup`: disks, owners and modes, what `localhost` means; `connectivity`: is another machine reached
//! - `ssh`: how it is called; `tunnel`: a port here that leads to one of another machine
//! - `fetch`: reads a file from there; `pem`: the certificates in a file; `installed`: which package manager installed a program

pub mod base_image;
pub mod browser;
pub mod checkup;
pub mod command;
pub mod connectivity;
pub mod engine_install;
pub mod fetch;
pub mod git;
pub mod installed;
pub mod networks;
pub mod packages;
pub mod pem;
pub mod ports;
pub mod service;
pub mod shell;
#[cfg(target_os = "linux")]
mod socket_owner;
pub mod ssh;
pub mod system;
pub mod terminal;
pub mod tunnel;
