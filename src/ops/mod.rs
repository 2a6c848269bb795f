//! The operations on an instance: the public library. The command line, the supervisor and the live view call these same
//! functions. Nothing here prints, prompts, exits, or reads arguments or the environment.
//!
//! - `instance`: the handle, with all that an operation needs; `questions`: what it may ask its caller
//! - `objects`: what of it is on the engine; `run_plan`, `build_surroundings`: what the steps of a plan need of it
//! - `converge`: settings and engine → plan → done; `guarded`: the one way in which data or release change; `recovery`: the
//!   way out of what a killed command left
//! - one file for each operation; `copy`: backups elsewhere; `release`, `releases`, `other_home`, `mounts`, `supervisor`: what several of them need

pub(crate) mod autostart;
pub(crate) mod backup;
mod backup_contents;
pub(crate) mod backup_test;
pub(crate) mod build_surroundings;
pub(crate) mod converge;
pub(crate) mod copy;
pub(crate) mod export;
pub(crate) mod guarded;
mod instance;
pub(crate) mod list;
mod lost_undo;
pub(crate) mod mounts;
mod objects;
mod other_home;
pub(crate) mod part;
pub(crate) mod questions;
mod recovery;
pub(crate) mod release;
mod releases;
pub(crate) mod relocate;
pub(crate) mod restore;
pub(crate) mod rules;
mod run_plan;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        backup::Backup,
        relocate::Move,
        restore::Restore,
        setup::Setup,
        start::Start,
        stop::StopTimeout,
        uninstall::Uninstall,
        update::{Rollback, Update},
        *,
    };

    /// A program that uses the library may have small stacks.
    #[test]
    fn the_futures_of_operations_are_small() {
        let home = tempfile::tempdir().unwrap();
        let options = Options { folder: Some(home.path().to_owned()), ..Options::default() };
        let instance = Instance::open("x".parse().unwrap(), options).unwrap();
        let (backup, restore, setup, uninstall) =
            (Backup::default(), Restore::default(), Setup::default(), Uninstall::default());
        let (update, rollback, start) = (Update::default(), Rollback::default(), Start::default());
        for (name, size) in [
            ("move", size_of_val(&instance.move_to(&instance, Move::default()))),
            ("backup", size_of_val(&instance.backup(&backup))),
            ("restore", size_of_val(&instance.restore(&restore))),
            ("restart", size_of_val(&instance.restart(StopTimeout::default()))),
            ("rollback", size_of_val(&instance.rollback(&rollback))),
            ("setup", size_of_val(&instance.setup(&setup))),
            ("start", size_of_val(&instance.start(&start))),
            ("status", size_of_val(&instance.status())),
            ("stop", size_of_val(&instance.stop(StopTimeout::default()))),
            ("uninstall", size_of_val(&instance.uninstall(&uninstall))),
            ("update", size_of_val(&instance.update(&update))),
        ] {
            assert!(size < 40 * 1024, "{name}: {size} bytes");
        }
    }
}
