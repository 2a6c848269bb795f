//! The operations on an instance: the public library. The command line, the supervisor and the live view call these same
//! functions. Nothing here prints, prompts, exits, or reads arguments or the environment.
//!
//! - `instance`: the handle, with all that an operation needs; `questions`: what it may ask its caller
//! - `converge`: settings and engine → plan → done; `guarded`: the one way in which data or release change
//! - one file for each operation; `copy`: backups elsewhere; `release`, `releases`, `other_home`, `mounts`, `supervisor`: what several of them need

pub(crate) mod autostart;
pub(crate) mod backup;
pub(crate) mod backup_test;
pub(crate) mod converge;
pub(crate) mod copy;
pub(crate) mod export;
pub(crate) mod guarded;
mod instance;
pub(crate) mod list;
pub(crate) mod mounts;
mod other_home;
pub(crate) mod part;
pub(crate) mod questions;
pub(crate) mod release;
mod releases;
pub(crate) mod relocate;
pub(crate) mod restore;
pub(crate) mod rules;
pub(crate) mod self_update;
mod settings;
pub(crate) mod setup;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod supervisor;
mod tunnel;
pub(crate) mod uninstall;
pub(crate) mod update;
pub(crate) mod volume_users;

pub use instance::{Instance, Options};
pub use questions::{Questions, Unattended};
pub use settings::{check_settings, exposure};
