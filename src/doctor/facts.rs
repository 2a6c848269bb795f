//! What the checks are about: plain data, no connection. A fact that is not available says why.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    desired_state::DesiredState,
    disk::DiskUse,
    engine::{About, checkup::Machine, container::Detail, image::Image},
    error::Error,
    host::{
        checkup::{FileFact, ServiceSupport, Space, Unwritable},
        connectivity::Unreached,
    },
    mounts::Advice,
    observed::{Ownership, PortState},
    plan::lost::Scratch,
    probe::Seen,
    settings::{Egress, Settings},
    units::Bytes,
};

/// Why a fact is not available, in a few words, such as `it does not run`.
pub type Unseen = String;

#[derive(Debug)]
pub struct DoctorFacts {
    pub about: Subject,
    pub settings: SettingsFact,
    pub mounts: MountFacts,
    pub desired: DesiredState,
    pub files: Vec<FileFact>,
    /// The first of our folders that cannot be written into.
    pub unwritable: Option<Unwritable>,
    /// On the disk of our files.
    pub host_space: Option<Space>,
    pub engine: Result<EngineFacts, Error>,
    /// State of the desired port, as far as this machine alone can tell.
    pub port: PortState,
    /// What `localhost` means, in the order in which programs try it.
    pub localhost: Vec<IpAddr>,
    /// Whether a program listens on the desired port of `::1`.
    pub taken_on_ipv6: bool,
    /// Whether this machine reaches the registry.
    pub host_network: Result<(), Unreached>,
    pub trust: TrustFacts,
    /// Whether it is set up and has no password.
    pub password_missing: bool,
    /// `None` with `--no-supervisor`.
    pub supervisor: Option<SupervisorFacts>,
    pub services: ServiceSupport,
}

/// The mounted folders and files.
#[derive(Debug, Default)]
pub struct MountFacts {
    pub number: usize,
    /// The first that is gone, or is not the one that was accepted.
    pub refused: Option<Error>,
    /// What keeps the agent from using them.
    pub advice: Vec<Advice>,
}

/// What the checks are for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// ` --instance NAME` for commands that are shown; empty for the default instance.
    pub flag: String,
    pub container: String,
    /// What need not be kept of the container's own files.
    pub scratch: Scratch,
    /// The projects folder inside.
    pub keep_in: String,
    /// The appliance's version in this docklet.
    pub appliance_version: String,
    /// The default limit; a small engine gets less.
    pub default_memory: Bytes,
    /// How long it may take until the page answers after a start.
    pub ready_timeout: Duration,
    /// The folder of secrets.
    pub secrets: PathBuf,
    /// The registry of the base image.
    pub registry: String,
    /// Of the calling user.
    pub uid: u32,
    pub user: String,
    /// This machine's processor, in Go's words.
    pub architecture: String,
}

/// The settings file.
#[derive(Debug)]
pub enum SettingsFact {
    NotSetUp,
    Valid(Box<Settings>),
    Broken(Error),
}

impl SettingsFact {
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
    pub about: About,
    /// How long connecting took.
    pub answer_time: Duration,
    /// How long its machine's description took.
    pub slowest: Duration,
    pub machine: Result<Machine, Unseen>,
    /// How far its clock is ahead of ours, in seconds.
    pub clock_ahead: Option<i64>,
    /// Room in its data folder.
    pub space: Result<Space, Unseen>,
    pub container: Result<Option<ContainerFacts>, Unseen>,
    /// State of the desired port, with what the engine publishes.
    pub port: Option<PortState>,
    pub drift: Result<Drift, Unseen>,
    /// The three volumes: name and owner; `None` for missing.
    pub volumes: Result<Vec<(String, Option<Ownership>)>, Unseen>,
    /// Whether the engine reaches the registry.
    pub registry: Result<Result<(), Error>, Unseen>,
}

/// This instance's container.
#[derive(Debug)]
pub struct ContainerFacts {
    pub detail: Box<Detail>,
    pub ownership: Ownership,
    /// How long it has been running.
    pub age: Option<Duration>,
    pub image: Option<Image>,
    pub page: Result<Seen, Unseen>,
    /// Paths that it changed in its own file system.
    pub changed: Result<Vec<String>, Unseen>,
    /// Whether it reaches the registry.
    pub network: Result<Result<(), String>, Unseen>,
    pub egress: Result<EgressFacts, Unseen>,
}

/// The network rules, seen from inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EgressFacts {
    /// What the container was created with.
    pub mode: Egress,
    /// Whether its rules are loaded.
    pub loaded: bool,
    /// The address at which it reaches a service of this machine that is not allowed, if there is one; `None` where that
    /// could not be tried.
    pub reaches_host: Option<Option<IpAddr>>,
}

/// What the next start would change.
#[derive(Debug)]
pub enum Drift {
    None,
    /// A command was killed: the remaining steps.
    BrokenOff(String),
    /// The settings were changed: the plan's reason.
    Settings(String),
    /// The container was changed from outside, and the settings were not: the differences.
    Outside(String),
    /// There is no plan.
    Refused(Error),
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
    /// That nothing in the container reaches a proxy, in words.
    pub proxy_unreached: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupervisorFacts {
    /// `None` when it does not run.
    pub pid: Option<u32>,
    pub gave_up: Option<String>,
    pub disk: DiskUse,
    /// Why the last notice was not handed over.
    pub notice_failed: Option<String>,
    /// Why the last scheduled backup failed.
    pub backup_failed: Option<String>,
    /// Why the last copy of a backup failed.
    pub copy_failed: Option<String>,
    /// Why the last test of a backup failed.
    pub test_failed: Option<String>,
    pub autostart_entry: bool,
}
