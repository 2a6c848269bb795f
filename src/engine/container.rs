//! A container in our words: one of a list, and one that was looked at closely.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use crate::desired::ContainerSpec;

/// A container of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Image reference that it was made from.
    pub image: String,
    /// Image id.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `running`, `exited`, `created`, `paused`, …
    pub state: String,
    /// For people: "Up 2 hours".
    pub status: String,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// Folders of the host that are mounted: where inside, and the folder. Not every engine lists them.
    pub binds: BTreeMap<String, PathBuf>,
    /// Names of the volumes that are mounted.
    pub volumes: Vec<String>,
    /// The networks that it is in, and their ids, which are empty before it ever ran; `None` where the engine does not say.
    pub networks: Option<BTreeMap<String, String>>,
}

impl Listed {
    /// Whether its process is there (paused counts, and Podman's word for one that was asked to end).
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting" | "stopping")
    }

    /// Whether it publishes this port, where the engine lists ports at all.
    pub fn publishes(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|published| published.port == port)
    }
}

/// A port that a container publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// Address on the host; `None` where the engine does not say.
    pub address: Option<IpAddr>,
    /// Port on the host.
    pub port: u16,
}

/// A container, looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Image reference that it was made from.
    pub image: String,
    /// Image id.
    pub image_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `running`, `exited`, `created`, …, in the engine's word.
    pub status: String,
    /// Whether its process is there.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// How it ended last; `None` while it runs or when it never ran.
    pub exit_code: Option<i64>,
    /// RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// The same to the nanosecond, since 1970 by the engine's clock: tells one run from another.
    pub run: Option<i128>,
    /// RFC 3339 in UTC; `None` while it runs.
    pub finished_at: Option<String>,
    /// The engine's own flag.
    pub oom_killed: bool,
    /// The engine's own words about why it could not start.
    pub error: Option<String>,
    /// `starting`, `healthy` or `unhealthy`, where it has a health check.
    pub health: Option<String>,
    /// Names of the networks that it is in.
    pub networks: Vec<String>,
    /// The engine's restart policy, in its word.
    pub restart_policy: String,
    /// What it really is, in the planner's terms.
    pub live: ContainerSpec,
}

/// Whether a verb changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did.
    Changed,
    /// It was so already.
    Unchanged,
}
