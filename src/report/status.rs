//! The results of `status`.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::{desired_state::DesiredState, event::Decision};
use crate::{disk::DiskUse, engine::About, sandbox::network_rules::Destination};

/// What an instance does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The container runs and the page answers.
    Running,
    /// The container runs and may still need time.
    Starting,
    /// The container runs and the page does not answer.
    Unhealthy,
    /// The container does not run, as wanted.
    Stopped,
    /// The container does not run although it should.
    Failed,
    /// There are no settings and no container.
    NotSetUp,
    /// The engine cannot be asked.
    EngineUnreachable,
}

/// `docklet status`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// Whose.
    pub instance: String,
    /// The appliance's name.
    pub appliance: String,
    /// What it does.
    pub state: State,
    /// What the user asked for.
    pub desired: DesiredState,
    /// Address of the page; `None` when not set up.
    pub url: Option<String>,
    /// The container.
    pub container: Option<ContainerStatus>,
    /// The image.
    pub image: Option<ImageStatus>,
    /// The volumes.
    pub volumes: Vec<VolumeStatus>,
    /// Who restarts it.
    pub supervisor: SupervisorStatus,
    /// Room on the engine's disk, and the size of the volumes, as the supervisor measured them last.
    pub disk: DiskStatus,
    /// The scheduled backups; `None` when none are wanted.
    pub backup: Option<BackupStatus>,
    /// The scheduled looks for a newer release; `None` when none are wanted.
    pub update: Option<UpdateStatus>,
    /// How `backup.copy` goes; `None` where it is not set.
    pub copy: Option<CopyStatus>,
    /// The scheduled tests of backups; `None` when none are wanted.
    pub backup_test: Option<BackupTestStatus>,
    /// The folders of this machine that are mounted.
    pub folders: Vec<FolderStatus>,
    /// Whether ssh inside can use the host's ssh agent.
    pub ssh_agent: bool,
    /// What the container may use; `None` when not set up.
    pub limits: Option<LimitsStatus>,
    /// Where the agent may connect to; `None` when not set up.
    pub egress: Option<EgressStatus>,
    /// Names of the secrets, without the page's password.
    pub secrets: Vec<String>,
    /// Names of the variables that the settings give the container.
    pub environment: Vec<String>,
    /// The container engine.
    pub engine: EngineStatus,
    /// The tunnel to the page; `None` where the engine is not behind ssh.
    pub tunnel: Option<TunnelStatus>,
    /// The docklet command that changes the instance right now, such as `docklet setup (pid 4711), for 12 s`.
    pub command: Option<String>,
}

/// The tunnel in `docklet status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TunnelStatus {
    /// Whether it is open.
    pub open: bool,
    /// Whether the user closed it. Then the page is asked from inside its container.
    pub closed_by_user: bool,
}

/// The network rules in `docklet status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EgressStatus {
    /// `internet`, `listed` or `all`.
    pub mode: String,
    /// What is allowed in addition.
    pub allow: Vec<String>,
    /// How many connections were refused since the start; `None` where that is not known.
    pub refused: Option<u64>,
    /// Where they went, most first.
    pub destinations: Vec<Destination>,
    /// Names in `allow` that have no address.
    pub unresolved: Vec<String>,
    /// When that was read, RFC 3339 in UTC.
    pub at: Option<String>,
}

/// The disk in `docklet status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// What was measured.
    #[serde(flatten)]
    pub used: DiskUse,
    /// What of it the user should see to.
    pub warning: Option<String>,
    /// The command that helps.
    pub fix: Option<String>,
}

/// The scheduled backups in `docklet status`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackupStatus {
    /// Time between two, as in the settings.
    pub every: String,
    /// When one was made last.
    pub last: Option<String>,
    /// That backup.
    pub file: Option<String>,
    /// When the next one is due; `None` when that is at once.
    pub next: Option<String>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

/// The scheduled looks for a newer release in `docklet status`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UpdateStatus {
    /// Time between two, as in the settings.
    pub every: String,
    /// When one succeeded last.
    pub last: Option<String>,
    /// What there is to update to; `None`: nothing that is known.
    pub available: Option<String>,
    /// Why the last look failed; `None` when it did not.
    pub error: Option<String>,
}

/// `backup.copy` in `docklet status`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CopyStatus {
    /// When a backup was copied last.
    pub last: Option<String>,
    /// That backup.
    pub file: Option<String>,
    /// When the last attempt was made.
    pub attempt: Option<String>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
}

/// `backup.test_every` in `docklet status`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackupTestStatus {
    /// The time between two, as the settings have it.
    pub every: String,
    /// When a backup was tested last and worked.
    pub last: Option<String>,
    /// The backup that was tested last.
    pub file: Option<String>,
    /// When that was.
    pub attempt: Option<String>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
}

/// A mounted folder or file in `docklet status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderStatus {
    /// Path on this machine.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// Whether the agent may only read it.
    pub read_only: bool,
}

/// Limits of the container in `docklet status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitsStatus {
    /// Memory in bytes.
    pub memory: u64,
    /// Processors; 0 for all.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: i64,
}

/// A container in `docklet status`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerStatus {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image that it was made from.
    pub image: String,
    /// Its state in the engine's word.
    pub state: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it ended the last time; `None` while it runs or when it never ran.
    pub exit_code: Option<i64>,
    /// When it started.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// The engine's own out-of-memory flag.
    pub oom_killed: bool,
    /// The engine's health check: `healthy`, `unhealthy`, `starting`.
    pub health: Option<String>,
    /// Networks that it is attached to.
    pub networks: Vec<String>,
    /// The engine's restart policy; ours is `no`.
    pub restart_policy: String,
}

/// An image in `docklet status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageStatus {
    /// Its name.
    pub reference: String,
    /// The engine's id; `None` when it is not there.
    pub id: Option<String>,
    /// Version of the program in it.
    pub appliance_version: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Whether that is the size of its layers as they are kept packed, which an engine with the containerd image store says.
    pub compressed: bool,
}

/// A volume in `docklet status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VolumeStatus {
    /// Its name.
    pub name: String,
    /// Path inside the container.
    pub mount: String,
    /// Whether it is on the engine.
    pub exists: bool,
}

/// The supervisor in `docklet status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SupervisorStatus {
    /// Whether it runs.
    pub running: bool,
    /// Its process id.
    pub pid: Option<u32>,
    /// How often it restarted the container since `docklet start`.
    pub restarts: u32,
    /// The last time that it did.
    pub last_restart: Option<LastRestart>,
    /// Whether it starts by itself after a reboot.
    pub survives_reboot: bool,
    /// Who has the port, while that keeps it from restarting the container.
    pub port_taken: Option<PortTaken>,
    /// Whether it gave up.
    pub gave_up: bool,
    /// Why it gave up.
    pub cause: Option<String>,
    /// Its last decisions, oldest first.
    pub decisions: Vec<Decision>,
}

/// A port that another program took while the container did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTaken {
    /// Address on the host.
    pub address: String,
    /// The port.
    pub port: u16,
    /// Who has it, where that can be seen: `node (pid 4711)`.
    pub holder: Option<String>,
    /// A port that is free.
    pub free_port: Option<u16>,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} on {} is taken by {}", self.port, self.address, self.who())
    }
}

impl PortTaken {
    /// Who has it, in words.
    pub fn who(&self) -> &str {
        self.holder.as_deref().unwrap_or("another program")
    }
}

/// The last restart by the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRestart {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Why.
    pub reason: String,
}

/// The engine in `docklet status`; what it says of itself is `None` when it cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EngineStatus {
    /// Where it listens.
    pub endpoint: Option<String>,
    /// Why this one.
    pub origin: Option<String>,
    /// What it is.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The newest API version that it speaks.
    pub api_version: Option<String>,
}

impl From<&About> for EngineStatus {
    fn from(about: &About) -> Self {
        EngineStatus {
            endpoint: Some(about.endpoint.clone()),
            origin: Some(about.origin.clone()),
            name: Some(about.name.clone()),
            version: Some(about.version.clone()),
            api_version: Some(about.api_version.clone()),
        }
    }
}
