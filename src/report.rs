//! The results of operations as plain data: what `--json` prints and what `present` turns into text. The field names are
//! part of the interface. Nothing is looked up or rendered here. `export`, `relocate` (move), `status`, `tunnel`, `uninstall`, `contents` (what is in a
//! backup) and `data` (backup, restore, update) have their own.

pub mod contents;
pub mod data;
mod export;
mod relocate;
mod self_update;
mod status;
mod tunnel;
mod uninstall;

use serde::Serialize;

pub use self::{export::*, relocate::*, self_update::*, status::*, tunnel::*, uninstall::*};
use crate::{engine::container::Detail, instance_name::InstanceName};

/// `docklet list`
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ListReport {
    /// All instances on this engine.
    pub instances: Vec<ListEntry>,
}

/// An instance in `docklet list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListEntry {
    /// Its name.
    pub instance: String,
    /// The container's name.
    pub name: String,
    /// The engine's id.
    pub id: String,
    /// Its state in the engine's word.
    pub state: String,
    /// The engine's sentence, such as `Up 2 hours`.
    pub status: String,
    /// Published port; `None` while it does not run.
    pub port: Option<u16>,
}

/// What `docklet start`, `stop` and `restart` say first: which container, and how it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerReport {
    /// Whose.
    pub instance: String,
    /// The engine's id.
    pub container_id: String,
    /// The container's name.
    pub name: String,
    /// Its state in the engine's word.
    pub state: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether there was anything to do.
    pub changed: bool,
}

impl ContainerReport {
    /// Of a container as the engine describes it.
    pub fn of(instance: &InstanceName, detail: &Detail, changed: bool) -> Self {
        ContainerReport {
            instance: instance.to_string(),
            container_id: detail.id.clone(),
            name: detail.name.clone(),
            state: detail.status.clone(),
            running: detail.running,
            changed,
        }
    }
}

/// `docklet start`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StartReport {
    /// The container.
    #[serde(flatten)]
    pub container: ContainerReport,
    /// Address of the page.
    pub url: String,
}

/// `docklet stop` and `docklet restart`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StopReport {
    /// The container.
    #[serde(flatten)]
    pub container: ContainerReport,
    /// How the process ended; `None` when it did not run before.
    pub exit_code: Option<i64>,
    /// Whether it ended by itself after SIGTERM; `None` when it did not run before.
    pub graceful_shutdown: Option<bool>,
    /// Whether it had to be killed; `None` when it did not run before.
    pub killed: Option<bool>,
    /// Whether the kernel killed it for its memory; `None` when it did not run before.
    pub oom_killed: Option<bool>,
}

/// `docklet logs`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogsReport {
    /// Whose.
    pub instance: String,
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// How many there are in `lines`.
    pub line_count: usize,
    /// How many were asked for at most.
    pub tail_limit: usize,
    /// Whether there are older lines that were left out.
    pub truncated: bool,
}

/// `docklet setup`. The password is no part of it: it is shown once, as text, and never in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetupReport {
    /// Whose.
    pub instance: String,
    /// Whether there was anything to do.
    pub changed: bool,
    /// The engine's id of the container; `None` after a dry run.
    pub container_id: Option<String>,
    /// The container's name.
    pub name: String,
    /// Whether its process runs.
    pub running: bool,
    /// Address of the page.
    pub url: String,
    /// The user name to sign in with.
    pub user: String,
    /// Names of the secrets that it is given besides the password.
    pub secrets: Vec<String>,
    /// The settings file.
    pub settings_file: String,
    /// The volumes that hold the data.
    pub volumes: Vec<VolumeStatus>,
}

/// `docklet autostart`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AutostartReport {
    /// Whose.
    pub instance: String,
    /// Whether this command changed something.
    pub changed: bool,
    /// Whether it starts by itself.
    pub enabled: bool,
    /// The service manager; `None` where there is none.
    pub manager: Option<crate::host::service::ServiceManager>,
    /// The service's file, when it is there.
    pub file: Option<String>,
    /// Whether the service manager runs the supervisor now.
    pub active: bool,
    /// Whether it starts without a login and goes on after the logout (systemd).
    pub linger: Option<bool>,
    /// Whether it comes back after a reboot, without anybody doing anything.
    pub survives_reboot: bool,
    /// Why it does not.
    pub reason: Option<String>,
}
