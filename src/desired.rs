//! What is wanted: appliance, settings and instance turned into plain data that a container
//! engine understands. Pure: no I/O, no clock, no environment.

mod container;
pub mod ssh_agent;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use self::container::{BindMount, ContainerSpec, HealthCheck, Publish, SecretsMount};
use crate::{
    appliance::{Appliance, BuildInputs, Ids, Release},
    instance_name::InstanceName,
    paths::{self, InstancePaths},
    settings::{ImageSource, RestartPolicy, Settings},
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
    /// The names of the variables that the container was made with; others in it are the image's.
    pub const ENVIRONMENT: &str = "docklet.environment";
    /// The folder of the instance's settings, which tells one home of docklet from another.
    pub const FOLDER: &str = "docklet.folder";
    /// On a container that an update, a rollback or a restore made: the backup that undoes that.
    pub const UNDO: &str = "docklet.undo";
    /// What a short-lived container is for: `backup`, `restore`.
    pub const TASK: &str = "docklet.task";
    /// On such a container that the engine itself removes once it has ended.
    pub const AUTO_REMOVE: &str = "docklet.auto-remove";
    /// The release in such a container, as JSON: what the instance has from the commit on.
    pub const RELEASE: &str = "docklet.release";
    /// What `image.reference` is in the settings from the commit on.
    pub const REFERENCE: &str = "docklet.reference";
    /// Version of the program in an image (OCI image specification).
    pub const IMAGE_VERSION: &str = "org.opencontainers.image.version";
}

/// What tells the container's entrypoint whether to wait for network rules.
pub const EGRESS_VARIABLE: &str = "DOCKLET_EGRESS";

/// The variables that tell the entrypoint who the agent commits as.
pub const GIT_VARIABLES: [&str; 2] = ["DOCKLET_GIT_NAME", "DOCKLET_GIT_EMAIL"];

/// The variable that makes the image's entrypoint run the server again when it has ended.
pub const RESTART_VARIABLE: &str = "DOCKLET_RESTART";

/// What helps where the engine sets no limits.
pub const LIMITS_FIX: &str =
    "use an engine that runs as root, or boot with cgroup v2 (kernel option systemd.unified_cgroup_hierarchy=1)";

/// The name inside for the machine that docklet runs on; the engine gives it an address.
pub const HOST_NAME: &str = "host.docker.internal";

/// The engine's word for a container without a network. Nothing is published then.
pub const NO_NETWORK: &str = "none";

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

/// Facts about the engine and the host that the wanted state depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The engine's memory in bytes; 0 where it does not say.
    pub memory: u64,
    /// Whom everything inside runs as.
    pub ids: Ids,
    /// Keyed hash of the secrets.
    pub secrets: String,
    /// Whether the supervisor is on another machine than the engine.
    pub remote: bool,
}

#[cfg(test)]
impl Given {
    /// For tests: an engine with so much memory.
    pub fn of(memory: u64) -> Self {
        Given { memory, ids: Ids { uid: 1000, gid: 1000 }, secrets: "hash".to_owned(), remote: false }
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
        let labels = labels(appliance, instance);
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
        environment.extend(settings.environment.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        environment.insert(EGRESS_VARIABLE.to_owned(), settings.network.egress.to_string());
        for (name, value) in GIT_VARIABLES.into_iter().zip([&settings.git.name, &settings.git.email]) {
            let value = value.to_string();
            if !value.is_empty() {
                environment.insert(name.to_owned(), value);
            }
        }
        let restart = match settings.restart.policy {
            _ if !given.remote => None,
            RestartPolicy::Always => Some("always"),
            RestartPolicy::OnFailure => Some("on-failure"),
            RestartPolicy::Never => None,
        };
        environment.extend(restart.map(|policy| (RESTART_VARIABLE.to_owned(), policy.to_owned())));
        let mut binds = binds(settings);
        if settings.git.ssh_agent {
            let (folder, socket) = ssh_agent::offer(&paths.ssh_agent());
            binds.push(folder);
            environment.insert(ssh_agent::VARIABLE.to_owned(), socket);
        }
        let labels = labels_in_home(appliance, instance, paths);
        let container = ContainerSpec {
            name: instance.container(&appliance.name),
            image: image.reference().to_owned(),
            environment,
            network: instance.container(&appliance.name),
            publish: Publish::of(appliance, settings),
            volumes: volumes.iter().map(|v| (v.name.clone(), v.mount.clone())).collect(),
            binds,
            secrets: SecretsMount {
                volume: instance.secrets_volume(&appliance.name),
                mount: fixed.secrets_dir.clone(),
                hash: given.secrets.clone(),
            },
            egress: settings.network.egress,
            user: given.ids.to_string(),
            extra_hosts: vec![format!("{}:host-gateway", HOST_NAME)],
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

/// The same with the home that the settings are in, for its containers: another home leaves them alone.
pub fn labels_in_home(
    appliance: &Appliance,
    instance: &InstanceName,
    files: &InstancePaths,
) -> BTreeMap<String, String> {
    let mut labels = labels(appliance, instance);
    labels.insert(label::FOLDER.to_owned(), files.config.display().to_string());
    labels
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

/// The folders and files to mount, by their real paths: an engine that got a link would follow it anew at each start.
pub fn binds(settings: &Settings) -> Vec<BindMount> {
    let bind = |m: &crate::settings::Mount| BindMount {
        host: paths::real(&m.host),
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
