//! What a check-up saw: plain data, no connection. A fact that could not be had says why.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    disk::DiskUse,
    engine::{About, checkup::Machine, docker::Detail, image::Image},
    error::Error,
    host::{
        checkup::{FileFact, Services, Space},
        connectivity::Unreached,
    },
    mounts::Advice,
    observed::{Ownership, PortState},
    probe::Seen,
    report::Wanted,
    settings::{Egress, Settings},
    units::Bytes,
};

/// Why something was not looked at, in a few words: «it does not run».
pub type Unseen = String;

/// Everything.
#[derive(Debug)]
pub struct Facts {
    /// Who asks, and for what.
    pub about: Subject,
    /// The settings file.
    pub settings: SettingsFact,
    /// The mounted folders and files.
    pub mounts: MountFacts,
    /// Whether the user wants it running.
    pub wanted: Wanted,
    /// Our files.
    pub files: Vec<FileFact>,
    /// Room for our files.
    pub host_space: Option<Space>,
    /// The engine and what is on it.
    pub engine: Result<EngineFacts, Error>,
    /// The wanted port, as far as this machine alone can tell.
    pub port: PortState,
    /// What `localhost` means, in the order in which programs try it.
    pub localhost: Vec<IpAddr>,
    /// Whether somebody listens on the wanted port of `::1`.
    pub taken_on_ipv6: bool,
    /// Whether this machine reaches the registry.
    pub host_network: Result<(), Unreached>,
    /// Certificates and proxies.
    pub trust: TrustFacts,
    /// Whether it is set up and has no password.
    pub password_missing: bool,
    /// Who restarts it; `None` where this docklet has nobody for it.
    pub supervisor: Option<SupervisorFacts>,
    /// Who starts programs after a reboot.
    pub services: Services,
}

/// The mounted folders and files.
#[derive(Debug, Default)]
pub struct MountFacts {
    /// How many there are.
    pub number: usize,
    /// The first that is gone, or is not what was accepted.
    pub refused: Option<Error>,
    /// What keeps the agent from using them.
    pub advice: Vec<Advice>,
}

/// Who asks, and for what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// ` --instance NAME` for commands that are shown; empty for the default instance.
    pub flag: String,
    /// The container's name.
    pub container: String,
    /// Paths in the container where nothing has to be kept, or where something else is mounted.
    pub scratch: Vec<String>,
    /// The projects folder inside.
    pub keep_in: String,
    /// The appliance's version in this docklet.
    pub appliance_version: String,
    /// The limit that is only a wish: it gives way to a small engine.
    pub default_memory: Bytes,
    /// How long it may take until the page answers after a start.
    pub ready_timeout: Duration,
    /// The folder of secrets.
    pub secrets: PathBuf,
    /// The registry of the base image.
    pub registry: String,
    /// The number of the user who asks.
    pub uid: u32,
    /// And the name.
    pub user: String,
    /// This machine's processor, in Go's words.
    pub architecture: String,
}

/// The settings file.
#[derive(Debug)]
pub enum SettingsFact {
    /// There is none.
    NotSetUp,
    /// It is read.
    Valid(Box<Settings>),
    /// It cannot be.
    Broken(Error),
}

impl SettingsFact {
    /// The settings, where there are any that can be read.
    pub fn valid(&self) -> Option<&Settings> {
        match self {
            SettingsFact::Valid(settings) => Some(settings),
            SettingsFact::NotSetUp | SettingsFact::Broken(_) => None,
        }
    }
}

/// An engine that answered, and what is on it.
#[derive(Debug)]
pub struct EngineFacts {
    /// What it said of itself.
    pub about: About,
    /// How long it took to say that.
    pub answer_time: Duration,
    /// How long its machine's description took; the slowest counts.
    pub slowest: Duration,
    /// Its machine.
    pub machine: Result<Machine, Unseen>,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_ahead: Option<i64>,
    /// Room in its data folder.
    pub space: Result<Space, Unseen>,
    /// The container.
    pub container: Result<Option<ContainerFacts>, Unseen>,
    /// The wanted port, with what the engine publishes.
    pub port: Option<PortState>,
    /// What the next start would change, and why.
    pub drift: Drift,
    /// The three volumes: name, and whose; `None` for missing.
    pub volumes: Result<Vec<(String, Option<Ownership>)>, Unseen>,
    /// Whether the engine reaches the registry.
    pub registry: Result<(), RegistryFault>,
}

/// Why the engine did not reach the registry, or was not asked to.
#[derive(Debug)]
pub enum RegistryFault {
    /// It was not asked.
    Unseen(Unseen),
    /// It tried.
    Failed(Box<Error>),
}

/// This instance's container.
#[derive(Debug)]
pub struct ContainerFacts {
    /// The engine's words.
    pub detail: Box<Detail>,
    /// Whose.
    pub ownership: Ownership,
    /// How long it has been running.
    pub age: Option<Duration>,
    /// Its image.
    pub image: Option<Image>,
    /// What the page says.
    pub page: Result<Seen, Unseen>,
    /// Paths that it changed in its own file system.
    pub changed: Result<Vec<String>, Unseen>,
    /// Whether it reaches the registry.
    pub network: Result<(), Inside>,
    /// Where it may connect to, proved from inside.
    pub egress: Result<EgressFacts, Unseen>,
}

/// The network rules, seen from inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EgressFacts {
    /// What the container was made with.
    pub mode: Egress,
    /// Whether its rules are loaded.
    pub loaded: bool,
    /// Whether it reaches a service of this machine that is not allowed; `None` where that could not be tried.
    pub reaches_host: Option<bool>,
}

/// Why the container did not reach the registry, or was not asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// It was not asked.
    Unseen(Unseen),
    /// It tried.
    Failed(String),
}

/// What the next start would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Nothing.
    None,
    /// There is no container to compare.
    Unseen(Unseen),
    /// A command was killed in the middle of its work: what is left to do.
    BrokenOff(Vec<String>),
    /// The settings were changed: the first reasons of the plan.
    Settings(Vec<String>),
    /// The container was changed from outside, and the settings were not.
    Outside(Vec<String>),
    /// No plan can be made: message and hint.
    Refused(String, Option<String>),
}

/// Certificates and proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustFacts {
    /// Why the file of `trust.ca_file` cannot be used; `None` when it can or there is none.
    pub unusable: Option<String>,
    /// Whether the container's copy is another one.
    pub copy_differs: bool,
    /// A CA bundle that this machine uses and the appliance does not know.
    pub unknown_bundle: Option<String>,
    /// Names of proxy variables that are not the same here as in the appliance.
    pub proxies_differ: Vec<String>,
}

/// Who restarts the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupervisorFacts {
    /// Its process id, when it runs.
    pub pid: Option<u32>,
    /// Why it gave up.
    pub gave_up: Option<String>,
    /// What it measured of the disk.
    pub disk: DiskUse,
    /// Whether the entry that starts it after a reboot is there.
    pub autostart_entry: bool,
}
