//! docklet puts one self-hosted appliance (opencode, an AI coding agent with a web page) into one container on your own
//! machine, and keeps it running, backed up and up to date. This is the library below the `docklet` command: one handle,
//! [`Instance`], with an operation for each command and a typed report from each.
//!
//! ```no_run
//! use docklet::{ImageFrom, Instance, InstanceName, Options, Setup, StopTimeout};
//!
//! # async fn example() -> docklet::Result<()> {
//! let instance = Instance::open(InstanceName::default(), Options::default())?;
//! let setup = Setup { port: Some(3000), image: Some(ImageFrom::Build), ..Setup::default() };
//! let report = instance.setup(&setup).await?;
//! println!("{} answers at {}", report.name, report.url);
//! if let Some(status) = instance.status().await? {
//!     println!("{:?}", status.state);
//! }
//! instance.stop(StopTimeout::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An [`Error`] has a [`Code`] that programs can rely on, causes, and a hint for people.
//!
//! Layers, from top to bottom; calls go down only:
//!
//! ```text
//! cli (arguments, text), wizard, present, watch (the live view)
//!   supervise (policy, and the loop that feeds it)
//!     ops (operations) ─ plan, apply (desired + observed → plan → done) ─ data (backups) ─ doctor
//!       sandbox, engine, host, probe, follow (the outside world)
//!         export (a wanted container in other engines' words)
//!         settings, secrets, mounts, paths, lock, report, event, error, units
//! ```

mod age_key;
mod apply;
mod clean;
mod clock;
mod data;
mod desired;
mod desired_state;
mod disk;
mod doctor;
mod engine;
mod env_file;
mod error;
mod error_codes;
mod event;
mod export;
mod follow;
mod host;
mod http;
mod instance_name;
mod interrupt;
mod lock;
mod mounts;
mod observe;
mod observed;
mod ops;
mod own_images;
mod paths;
mod plan;
mod present;
mod probe;
mod ready;
mod sandbox;
mod secrets;
mod settings;
mod state_file;
mod supervise;
mod units;
mod variables;
mod watch;
mod wizard;

// The binary, its tests and the packages need these.
#[doc(hidden)]
pub mod appliance;
#[doc(hidden)]
pub mod cli;
pub mod report;

pub use error::{Code, Error, Result};
pub use event::{Event, Reporter};
pub use export::kubernetes::BackupFrom;
pub use instance_name::InstanceName;
pub use interrupt::{Interrupt, Raise};
pub use ops::{
    Instance, Options, Questions, Unattended,
    backup::Backup,
    backup_test::BackupTest,
    export::{Export, ExportTarget},
    restore::Restore,
    setup::{ImageFrom, Setup},
    start::Start,
    stop::StopTimeout,
    uninstall::Uninstall,
    update::{Rollback, Update},
};
pub use secrets::Secret;

/// The appliance's name: that of the container, the network and the built image, and what the volumes' names begin with.
pub const APPLIANCE: &str = "opencode-cloud";

/// The port inside the container, and the default on the host.
pub const PORT: u16 = 3000;

/// Where the session volume is mounted: sessions, accounts, and what the agent installed.
pub const SESSION_MOUNT: &str = "/home/opencode/.opencode";

/// Where the projects volume is mounted.
pub const PROJECTS_MOUNT: &str = "/workspace";

/// Where the config volume is mounted.
pub const CONFIG_MOUNT: &str = "/home/opencode/.config";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// The constants are those of the appliance that the binary carries.
    #[test]
    fn constants_are_the_appliances() {
        let appliance = crate::appliance::Appliance::embedded().unwrap();
        assert_eq!(appliance.name, crate::APPLIANCE);
        assert_eq!(appliance.container.port, crate::PORT);
        let mounts: Vec<&str> = appliance.volumes.iter().map(|v| v.mount.as_str()).collect();
        assert_eq!(mounts, [crate::SESSION_MOUNT, crate::PROJECTS_MOUNT, crate::CONFIG_MOUNT]);
        assert_eq!(crate::InstanceName::default().as_str(), crate::instance_name::DEFAULT);
    }
}
