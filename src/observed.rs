//! What is there: the plain data that the planner compares with what is wanted. Filled by
//! `observe` from the engine and the host; holds no connection.

use std::{collections::BTreeMap, path::PathBuf};

use crate::desired::{ContainerSpec, Desired, label};

/// What was seen of one instance.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The container with the instance's name.
    pub main: Option<Container>,
    /// A replaced container that waits for its successor to answer.
    pub previous: Option<Container>,
    /// A short-lived container that a command left behind when it was killed.
    pub task: Option<Container>,
    /// A helper container that a command left behind when it was killed.
    pub helper: Option<Container>,
    /// Volumes with the instance's names.
    pub volumes: Vec<Volume>,
    /// The volume of the secrets.
    pub secrets: Option<Ownership>,
    /// The network with the container's name; looked up only when a container is to be created.
    pub network: Option<Ownership>,
    /// Whether the wanted image is on the engine. Looked up only where it matters: a container
    /// that is as wanted has its image.
    pub image_present: bool,
    /// Whether an image has the name of one that docklet builds, and docklet did not build it. Looked up
    /// with the image.
    pub image_is_foreign: bool,
    /// The wanted port.
    pub port: PortState,
    /// Other containers with the instance's volumes. Looked up only when a container may be started.
    pub others: Vec<VolumeUser>,
}

impl Observed {
    /// Whether our own container may be the one that holds the port: an engine's forwarder does, for
    /// a container that the engine does not list with it yet.
    pub fn may_be_starting(&self) -> bool {
        let ours = [&self.main, &self.previous].into_iter().flatten().any(|c| c.ownership == Ownership::Ours);
        let forwarder = |holder: &Option<String>| holder.as_ref().is_none_or(|h| h.starts_with(FORWARDER));
        ours && matches!(&self.port, PortState::Taken { holder, .. } if forwarder(holder))
    }
}

/// Whose an object on the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It carries this instance's labels.
    Ours,
    /// It does not: never adopt, change or remove it.
    Foreign,
}

impl Ownership {
    /// Tells from an object's labels whether it belongs to this instance.
    pub fn of(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Self {
        let same = |key| labels.get(key).is_some() && labels.get(key) == wanted.get(key);
        if [label::MANAGED, label::APPLIANCE, label::INSTANCE].into_iter().all(same) {
            Ownership::Ours
        } else {
            Ownership::Foreign
        }
    }
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose.
    pub ownership: Ownership,
    /// The value of its label `docklet.spec`.
    pub spec_hash: Option<String>,
    /// Whether its process runs (paused counts).
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it is in its network: somebody may have disconnected it.
    pub connected: bool,
    /// The backup that undoes the change which made it; the change is committed when there is no previous container.
    pub undo: Option<PathBuf>,
    /// Id of its image.
    pub image_id: String,
    /// What it really is, looked up only when its hash is not the wanted one.
    pub live: Option<Box<ContainerSpec>>,
}

impl Container {
    /// Whether it was made as it is wanted now.
    pub fn is_as(&self, desired: &Desired) -> bool {
        self.spec_hash.as_ref() == Some(&desired.container.hash())
    }
}

/// A container under another name than the instance's, which has a volume of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUser {
    /// Its name.
    pub name: String,
    /// Whose.
    pub ownership: Ownership,
    /// Whether its process runs (paused counts).
    pub running: bool,
    /// The volume.
    pub volume: String,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Whose.
    pub ownership: Ownership,
}

/// How the holder of a port is called that listens for some container.
pub const FORWARDER: &str = "another container (";

/// Whether the wanted port can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PortState {
    /// Nobody listens there, or our own container does.
    #[default]
    Available,
    /// Somebody else does.
    Taken {
        /// Who, where that can be seen.
        holder: Option<String>,
        /// A port that is free.
        free_port: Option<u16>,
    },
}
