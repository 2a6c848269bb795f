//! A wanted container: its properties, their hash, and what is different in another one. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{EGRESS_VARIABLE, GIT_VARIABLES, RESTART_VARIABLE};
use crate::{
    appliance::{Appliance, SECCOMP_PROFILE, hex},
    settings::{Egress, Settings},
    units::Bytes,
};

/// A wanted container, in our own words; `engine::translate` turns it into the engine's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerSpec {
    /// Name and hostname.
    pub name: String,
    /// Image reference.
    pub image: String,
    /// Environment; no secrets.
    pub environment: BTreeMap<String, String>,
    /// Its own network: the agent inside reaches the Internet, and no other container.
    pub network: String,
    /// Host address and port, and the port inside.
    pub publish: Publish,
    /// Named volumes: name → path inside.
    pub volumes: BTreeMap<String, String>,
    /// Host folders and files inside.
    pub binds: Vec<BindMount>,
    /// The volume that the secrets are read from.
    pub secrets: SecretsMount,
    /// Where it may connect to.
    pub egress: Egress,
    /// User and group that everything in it runs as.
    pub user: String,
    /// Names inside beyond the network's own: `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Memory limit in bytes.
    pub memory: u64,
    /// Processors in billionths; 0 for all.
    pub nano_cpus: i64,
    /// Most processes and threads.
    pub pids: i64,
    /// Its part of busy processors, where a group of processes that asks for nothing has 1024.
    pub cpu_shares: i64,
    /// How much sooner the kernel ends it than others when memory runs out, from -1000 to 1000.
    pub oom_score_adj: i64,
    /// Working directory.
    pub working_dir: String,
    /// Signal that asks it to end.
    pub stop_signal: String,
    /// The engine's health check.
    pub health: HealthCheck,
    /// Labels, without the spec's own hash.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

/// The volume of the secrets, mounted read-only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecretsMount {
    /// Name of the volume.
    pub volume: String,
    /// Where it is mounted.
    pub mount: String,
    /// Keyed hash of what is in it.
    pub hash: String,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// Address on the host.
    pub address: IpAddr,
    /// Port on the host.
    pub port: u16,
    /// Port inside.
    pub container_port: u16,
}

impl Publish {
    /// The page's port with these settings.
    pub fn of(appliance: &Appliance, settings: &Settings) -> Self {
        let (bind, port) = (settings.network.bind, settings.network.port);
        Publish { address: bind.0, port: port.0, container_port: appliance.container.port }
    }
}

/// A host folder or file inside the container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BindMount {
    /// Absolute path on the host.
    pub host: PathBuf,
    /// Path inside.
    pub container: String,
    /// Whether it may only be read.
    pub read_only: bool,
}

impl fmt::Display for BindMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}{}", self.host.display(), self.container, if self.read_only { " (read-only)" } else { "" })
    }
}

/// The engine's health check; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// Command inside.
    pub command: Vec<String>,
    /// Time between two checks.
    pub interval: u32,
    /// Time that one may take.
    pub timeout: u32,
    /// Time after a start in which failures do not count.
    pub start_period: u32,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

impl ContainerSpec {
    /// Whether what this mounts lies in one of the named volumes.
    pub fn is_in_volume(&self, bind: &BindMount) -> bool {
        self.volumes.values().any(|mount| Path::new(&bind.container).starts_with(mount))
    }

    /// A hash over all that makes the container what it is; the value of the label
    /// `docklet.spec`. The version of docklet is no part of it: a new docklet alone is no reason
    /// to replace a running container, but a new seccomp profile is.
    pub fn hash(&self) -> String {
        // Field order is fixed by the type and maps are sorted, so the text is canonical.
        static PROFILE: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| hex(&Sha256::digest(SECCOMP_PROFILE.as_bytes())));
        let text = serde_json::to_string(&(self, PROFILE.as_str())).unwrap_or_default();
        hex(&Sha256::digest(text.as_bytes()))[..16].to_owned()
    }

    /// Whether the engine holds the container to limits, of an existing one. An engine without control groups (rootless,
    /// on cgroup v1) reports none at all, and another container would have none, either: docklet always sets one for memory.
    pub fn holds_limits(&self) -> bool {
        self.memory > 0
    }

    /// What is different in `wanted`, in words: "memory 4 GiB → 2 GiB".
    pub fn differences(&self, wanted: &ContainerSpec) -> Vec<String> {
        let mut found = vec![];
        let mut compare = |what: &str, old: String, new: String| {
            if old != new {
                found.push(format!("{what} {old} → {new}"));
            }
        };
        // Podman puts in front where an image is from.
        let short = |image: &str| {
            let origins = ["localhost/", "docker.io/library/", "docker.io/"];
            origins.iter().find_map(|origin| image.strip_prefix(origin)).unwrap_or(image).to_owned()
        };
        compare("image", short(&self.image), short(&wanted.image));
        compare("port", self.publish.port.to_string(), wanted.publish.port.to_string());
        compare("address", self.publish.address.to_string(), wanted.publish.address.to_string());
        if self.holds_limits() {
            compare("memory", Bytes(self.memory).to_string(), Bytes(wanted.memory).to_string());
            compare("processors", processors(self.nano_cpus), processors(wanted.nano_cpus));
        }
        compare("network", self.network.clone(), wanted.network.clone());
        compare("egress", self.egress.to_string(), wanted.egress.to_string());
        compare("user", self.user.clone(), wanted.user.clone());
        for (what, name) in ["git name", "git e-mail"].into_iter().zip(GIT_VARIABLES) {
            let value = |spec: &ContainerSpec| spec.environment.get(name).map_or("none", String::as_str).to_owned();
            compare(what, value(self), value(wanted));
        }
        if self.pids > 0 {
            compare("pids", self.pids.to_string(), wanted.pids.to_string());
        }
        found.extend(self.different_variables(wanted));
        for new in wanted.binds.iter().filter(|b| !self.binds.contains(b)) {
            found.push(format!("mount {new} added"));
        }
        for old in self.binds.iter().filter(|b| !wanted.binds.contains(b)) {
            found.push(format!("mount {old} removed"));
        }
        if self.volumes != wanted.volumes {
            found.push("volumes".to_owned());
        }
        if self.health != wanted.health {
            found.push("health check".to_owned());
        }
        if self.secrets.volume != wanted.secrets.volume {
            found.push("secrets in a volume".to_owned());
        } else if self.secrets.hash != wanted.secrets.hash {
            found.push("secrets".to_owned());
        }
        found
    }

    /// The user's own variables that are different in `wanted`, by their names.
    fn different_variables(&self, wanted: &ContainerSpec) -> Vec<String> {
        let docklets = [EGRESS_VARIABLE, RESTART_VARIABLE];
        let own = |name: &&String| !docklets.contains(&name.as_str()) && !GIT_VARIABLES.contains(&name.as_str());
        let names: BTreeSet<&String> = self.environment.keys().chain(wanted.environment.keys()).filter(own).collect();
        let change = |name: &String| match (self.environment.get(name), wanted.environment.get(name)) {
            (None, _) => Some("added"),
            (_, None) => Some("removed"),
            (old, new) => (old != new).then_some("changed"),
        };
        names.into_iter().filter_map(|name| Some(format!("variable {name} {}", change(name)?))).collect()
    }
}

fn processors(nano: i64) -> String {
    if nano == 0 { "all".to_owned() } else { format!("{}", nano as f64 / 1e9) }
}
