//! What is wanted: appliance, settings and instance turned into plain data that a container
//! engine understands. Pure: no I/O, no clock, no environment.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    appliance::{Appliance, BuildInputs, Ids, Release, SECCOMP_PROFILE, hex},
    instance_name::InstanceName,
    paths::InstancePaths,
    sandbox::network_rules,
    settings::{Egress, ImageSource, Settings},
    units::Bytes,
};

/// The label keys (contract, section 1).
pub mod label {
    /// `true` on everything that docklet made.
    pub const MANAGED: &str = "docklet.managed";
    /// The appliance's name.
    pub const APPLIANCE: &str = "docklet.appliance";
    /// The instance's name.
    pub const INSTANCE: &str = "docklet.instance";
    /// Version of the docklet that made it.
    pub const VERSION: &str = "docklet.version";
    /// Hash of the wanted container.
    pub const SPEC: &str = "docklet.spec";
    /// Keyed hash of the secrets that the container gets.
    pub const SECRETS: &str = "docklet.secrets";
    /// `network.egress` as the container was made with.
    pub const EGRESS: &str = "docklet.egress";
    /// The folder of the instance's settings, which tells one home of docklet from another.
    pub const FOLDER: &str = "docklet.folder";
    /// On a container that an update, a rollback or a restore made: the backup that undoes that.
    pub const UNDO: &str = "docklet.undo";
    /// What a short-lived container is for: `backup`, `restore`.
    pub const TASK: &str = "docklet.task";
    /// The release in such a container, as JSON: what the instance has from the commit on.
    pub const RELEASE: &str = "docklet.release";
    /// What `image.reference` is in the settings from the commit on.
    pub const REFERENCE: &str = "docklet.reference";
    /// Version of the program in an image (OCI image specification).
    pub const IMAGE_VERSION: &str = "org.opencontainers.image.version";
}

/// What tells the container's entrypoint whether to wait for network rules.
const EGRESS_VARIABLE: &str = "DOCKLET_EGRESS";

/// The variables that tell the entrypoint who the agent commits as.
pub const GIT_VARIABLES: [&str; 2] = ["DOCKLET_GIT_NAME", "DOCKLET_GIT_EMAIL"];

/// Version of this docklet.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything wanted of one instance.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The container.
    pub container: ContainerSpec,
    /// Name that a replaced container has until its successor answers.
    pub previous_name: String,
    /// Name of the short-lived container that reads or writes the volumes.
    pub task_name: String,
    /// Name of the short-lived container that prepares the container or its network.
    pub helper_name: String,
    /// The image and how to get it.
    pub image: ImagePlan,
    /// The named volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Whether it shall run.
    pub running: bool,
}

/// The image and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePlan {
    /// Build it here.
    Build {
        /// Its name.
        reference: String,
        /// What it is built from.
        inputs: BuildInputs,
    },
    /// Pull it.
    Pull {
        /// Its name.
        reference: String,
    },
    /// Load it.
    Load {
        /// Its name.
        reference: String,
        /// The archive; `None` when it must be there already.
        file: Option<PathBuf>,
    },
}

impl ImagePlan {
    /// The image's name.
    pub fn reference(&self) -> &str {
        match self {
            ImagePlan::Build { reference, .. } | ImagePlan::Pull { reference } | ImagePlan::Load { reference, .. } => {
                reference
            }
        }
    }
}

/// A wanted volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub mount: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

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
        // None, where an engine without control groups applied no limit: another container would have none, either.
        if self.memory > 0 {
            compare("memory", Bytes(self.memory).to_string(), Bytes(wanted.memory).to_string());
        }
        compare("network", self.network.clone(), wanted.network.clone());
        compare("egress", self.egress.to_string(), wanted.egress.to_string());
        compare("user", self.user.clone(), wanted.user.clone());
        for (what, name) in ["git name", "git e-mail"].into_iter().zip(GIT_VARIABLES) {
            let value = |spec: &ContainerSpec| spec.environment.get(name).map_or("none", String::as_str).to_owned();
            compare(what, value(self), value(wanted));
        }
        compare("processors", processors(self.nano_cpus), processors(wanted.nano_cpus));
        if self.pids > 0 {
            compare("pids", self.pids.to_string(), wanted.pids.to_string());
        }
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
}

fn processors(nano: i64) -> String {
    if nano == 0 { "all".to_owned() } else { format!("{}", nano as f64 / 1e9) }
}

/// Facts about the engine and the host that the wanted state depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The engine's memory in bytes; 0 where it does not say.
    pub memory: u64,
    /// Whom everything inside runs as.
    pub ids: Ids,
    /// Keyed hash of the secrets.
    pub secrets: String,
}

#[cfg(test)]
impl Given {
    /// For tests: an engine with so much memory.
    pub fn of(memory: u64) -> Self {
        Given { memory, ids: Ids { uid: 1000, gid: 1000 }, secrets: "hash".to_owned() }
    }
}

impl Desired {
    /// Puts together what is wanted. `image_file` is an archive to load.
    pub fn new(
        appliance: &Appliance,
        settings: &Settings,
        instance: &InstanceName,
        paths: &InstancePaths,
        given: &Given,
        image_file: Option<&Path>,
    ) -> Self {
        let mut labels = labels(appliance, instance);
        let volumes: Vec<VolumeSpec> = appliance
            .volumes
            .iter()
            .map(|v| VolumeSpec {
                name: instance.volume(&appliance.name, &v.role),
                mount: v.mount.clone(),
                labels: labels.clone(),
            })
            .collect();
        let image = image_plan(appliance, settings, image_file, given.ids);
        let fixed = &appliance.container;
        let mut environment = appliance.environment.clone();
        environment.insert(EGRESS_VARIABLE.to_owned(), settings.network.egress.to_string());
        for (name, value) in GIT_VARIABLES.into_iter().zip([&settings.git.name, &settings.git.email]) {
            let value = value.to_string();
            if !value.is_empty() {
                environment.insert(name.to_owned(), value);
            }
        }
        labels.insert(label::FOLDER.to_owned(), paths.config.display().to_string());
        let container = ContainerSpec {
            name: instance.container(&appliance.name),
            image: image.reference().to_owned(),
            environment,
            network: instance.container(&appliance.name),
            publish: Publish {
                address: settings.network.bind.0,
                port: settings.network.port.0,
                container_port: fixed.port,
            },
            volumes: volumes.iter().map(|v| (v.name.clone(), v.mount.clone())).collect(),
            binds: binds(settings),
            secrets: SecretsMount {
                volume: instance.secrets_volume(&appliance.name),
                mount: fixed.secrets_dir.clone(),
                hash: given.secrets.clone(),
            },
            egress: settings.network.egress,
            user: given.ids.to_string(),
            extra_hosts: vec![format!("{}:host-gateway", network_rules::HOST_NAME)],
            memory: memory_limit(settings.resources.memory.0, appliance.container.memory, given.memory).0,
            nano_cpus: (settings.resources.cpus.0 * 1e9).round() as i64,
            pids: settings.resources.pids,
            cpu_shares: fixed.cpu_shares,
            oom_score_adj: fixed.oom_score_adj,
            working_dir: fixed.working_dir.clone(),
            stop_signal: fixed.stop_signal.clone(),
            health: HealthCheck {
                command: appliance.health.command.clone(),
                interval: appliance.health.interval_seconds,
                timeout: appliance.health.timeout_seconds,
                start_period: appliance.health.start_period_seconds,
                retries: appliance.health.retries,
            },
            labels,
        };
        Desired {
            previous_name: instance.previous_container(&appliance.name),
            task_name: instance.task_container(&appliance.name),
            helper_name: instance.helper_container(&appliance.name),
            container,
            image,
            volumes,
            running: true,
        }
    }

    /// The same container, made by a guarded change: it remembers the backup that undoes it, and what holds from its commit
    /// on.
    pub fn guarded_container(&self, undo: &Path, release: Option<&Release>) -> ContainerSpec {
        let mut spec = self.container.clone();
        spec.labels.insert(label::UNDO.to_owned(), undo.display().to_string());
        if !matches!(self.image, ImagePlan::Build { .. }) {
            spec.labels.insert(label::REFERENCE.to_owned(), self.image.reference().to_owned());
        }
        if let Some(release) = release.and_then(|r| serde_json::to_string(r).ok()) {
            spec.labels.insert(label::RELEASE.to_owned(), release);
        }
        spec
    }

    /// The address of the page on this machine.
    pub fn url(&self) -> String {
        page_url(self.container.publish.address, self.container.publish.port)
    }
}

/// The labels of everything that belongs to an instance.
pub fn labels(appliance: &Appliance, instance: &InstanceName) -> BTreeMap<String, String> {
    [
        (label::MANAGED, "true"),
        (label::APPLIANCE, appliance.name.as_str()),
        (label::INSTANCE, instance.as_str()),
        (label::VERSION, VERSION),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The address of a page that is published on `address`.
pub fn page_url(address: IpAddr, port: u16) -> String {
    format!("http://{}/", std::net::SocketAddr::new(crate::settings::Bind(address).reachable(), port))
}

fn image_plan(appliance: &Appliance, settings: &Settings, image_file: Option<&Path>, ids: Ids) -> ImagePlan {
    let reference = settings.image.reference.clone();
    match settings.image.source {
        ImageSource::Pull => ImagePlan::Pull { reference },
        ImageSource::Load => ImagePlan::Load { reference, file: image_file.map(Path::to_owned) },
        ImageSource::Build => {
            let mut extra_packages: Vec<String> =
                settings.image.extra_packages.iter().map(ToString::to_string).collect();
            extra_packages.sort();
            extra_packages.dedup();
            let inputs = BuildInputs { base: settings.image.base.clone(), extra_packages, ids };
            ImagePlan::Build { reference: appliance.built_reference(&inputs), inputs }
        }
    }
}

/// The folders and files to mount.
pub fn binds(settings: &Settings) -> Vec<BindMount> {
    let bind = |m: &crate::settings::Mount| BindMount {
        host: m.host.clone(),
        container: m.container.clone(),
        read_only: m.read_only,
    };
    settings.mounts.iter().map(bind).collect()
}

/// The limit that is set: as wanted, but the default gives way to three quarters of a small
/// engine's memory.
fn memory_limit(wanted: Bytes, default: Bytes, engine: u64) -> Bytes {
    if wanted == default && engine > 0 { wanted.min(Bytes(engine / 4 * 3)) } else { wanted }
}
