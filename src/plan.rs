//! Compares what is wanted with what is there, and says in order what to do. Pure: the same two
//! inputs give the same plan. A second plan after an applied one is empty.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    desired::{BindMount, ContainerSpec, Desired, ImagePlan, VolumeSpec, label},
    error::{Error, ObjectKind, Result},
    observed::{Container, Observed, Ownership, PortState},
    settings::Egress,
};

/// What to do, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What puts the old container back when a step at or after `guarded_from` fails.
    pub put_back: Vec<Step>,
    /// Index of the first step whose failure runs `put_back`.
    pub guarded_from: usize,
}

/// One thing to do, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// Everything that a plan can do to the engine. Each carries all that it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Build the image.
    BuildImage {
        /// Its name.
        reference: String,
        /// What it is built on.
        base: String,
        /// Packages to build in.
        extra_packages: Vec<String>,
        /// The image's labels.
        labels: std::collections::BTreeMap<String, String>,
    },
    /// Pull the image.
    PullImage {
        /// Its name.
        reference: String,
    },
    /// Load the image.
    LoadImage {
        /// Its name after loading.
        reference: String,
        /// The archive.
        file: PathBuf,
    },
    /// Create a volume.
    CreateVolume {
        /// The volume.
        volume: VolumeSpec,
    },
    /// Empty the volumes that a backup holds and fill them from it.
    UnpackBackup {
        /// The backup.
        file: PathBuf,
        /// The instance's volumes.
        volumes: Vec<VolumeSpec>,
        /// An image that has the programs for it.
        image: String,
        /// Name of the container that does it.
        task: String,
    },
    /// Give an image a name, taking it from another.
    TagImage {
        /// Its id.
        image: String,
        /// The name.
        reference: String,
    },
    /// Create the container's own network.
    CreateNetwork {
        /// Its name.
        name: String,
        /// Its labels.
        labels: std::collections::BTreeMap<String, String>,
    },
    /// Create the container, and with it the volumes that are not there yet.
    CreateContainer {
        /// The container.
        spec: Box<ContainerSpec>,
        /// The volumes that come into being with it.
        new_volumes: Vec<VolumeSpec>,
    },
    /// Write the secrets into their volume.
    FillSecrets {
        /// The volume.
        volume: VolumeSpec,
        /// An image that has the programs for it.
        image: String,
    },
    /// Give all that is in the volumes to the user that the container runs as.
    GiveVolumes {
        /// The volumes.
        volumes: Vec<VolumeSpec>,
        /// An image that has the programs for it.
        image: String,
    },
    /// Make the places in volumes where something of the host is mounted, and remove those that are not needed.
    PreparePlaces {
        /// The volumes.
        volumes: Vec<VolumeSpec>,
        /// What is mounted in them.
        binds: Vec<BindMount>,
        /// What was, and no longer is.
        gone: Vec<BindMount>,
        /// An image that has the programs for it.
        image: String,
    },
    /// Start a container, and load its network rules.
    StartContainer {
        /// Its name.
        name: String,
        /// What it was made from; `None` where that has to be looked up.
        made: Option<Made>,
    },
    /// Load the network rules of a running container again.
    LoadRules {
        /// Its name.
        name: String,
        /// What it was made from.
        made: Made,
    },
    /// Wait until the page answers.
    WaitUntilReady {
        /// The container's name.
        name: String,
        /// The page's address.
        url: String,
    },
    /// Let a paused container go on.
    UnpauseContainer {
        /// Its name.
        name: String,
    },
    /// Stop a container gracefully.
    StopContainer {
        /// Its name.
        name: String,
    },
    /// Give a container another name.
    RenameContainer {
        /// Now.
        from: String,
        /// Then.
        to: String,
    },
    /// Remove a container, running or not. Its volumes stay.
    RemoveContainer {
        /// Its name.
        name: String,
    },
}

/// What loading its network rules has to know of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its image.
    pub image: String,
    /// Where it may connect to.
    pub egress: Egress,
}

impl Made {
    /// Of a container made to this specification.
    pub fn of(spec: &ContainerSpec) -> Self {
        Made { image: spec.image.clone(), egress: spec.egress }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::BuildImage { reference, .. } => write!(f, "build image {reference}"),
            Action::PullImage { reference } => write!(f, "pull image {reference}"),
            Action::LoadImage { reference, file } => write!(f, "load image {reference} from {}", file.display()),
            Action::CreateVolume { volume } => write!(f, "create volume {} for {}", volume.name, volume.mount),
            Action::UnpackBackup { file, .. } => write!(f, "unpack {} into the volumes", file.display()),
            Action::TagImage { image, reference } => {
                write!(f, "name image {:.12} {reference}", image.trim_start_matches("sha256:"))
            }
            Action::CreateNetwork { name, .. } => write!(f, "create network {name}"),
            Action::CreateContainer { spec, new_volumes } => {
                write!(f, "create container {}", spec.name)?;
                match new_volumes.as_slice() {
                    [] => Ok(()),
                    [one] => write!(f, " with volume {}", one.name),
                    several => {
                        // All begin with the container's name; said once, they fit on a line.
                        let prefix = format!("{}-", spec.name);
                        let roles: Vec<&str> =
                            several.iter().map(|v| v.name.strip_prefix(&prefix).unwrap_or(&v.name)).collect();
                        write!(f, " with volumes {prefix}{{{}}}", roles.join(","))
                    }
                }
            }
            Action::FillSecrets { volume, .. } => write!(f, "write the secrets into volume {}", volume.name),
            Action::GiveVolumes { .. } => write!(f, "give the files in the volumes to the agent's user"),
            Action::PreparePlaces { .. } => write!(f, "prepare the places of mounted folders"),
            Action::StartContainer { name, .. } => write!(f, "start container {name}"),
            Action::LoadRules { name, made } => write!(f, "load the network rules of {name} ({})", made.egress),
            Action::WaitUntilReady { url, .. } => write!(f, "wait until {url} answers"),
            Action::UnpauseContainer { name } => write!(f, "unpause container {name}"),
            Action::StopContainer { name } => write!(f, "stop container {name}"),
            Action::RenameContainer { from, to } => write!(f, "rename container {from} to {to}"),
            Action::RemoveContainer { name } => write!(f, "remove container {name}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "{}", self.action)
        } else {
            write!(f, "{} ({})", self.action, self.reason)
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return write!(f, "nothing to do");
        }
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{:>3}. {step}", index + 1)?;
        }
        if !self.put_back.is_empty() {
            write!(f, "\n     if the page does not answer, the previous container is put back")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a step that needs no reason.
    pub fn add(&mut self, action: Action) {
        self.push(action, "");
    }

    /// Whether it starts a container.
    pub fn starts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::StartContainer { .. }))
    }

    /// Whether it creates a container.
    pub fn creates(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::CreateContainer { .. }))
    }

    /// The settings for which it replaces the container; `None` where it does not, or for another reason.
    pub fn changed_settings(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| step.reason.strip_prefix(SETTINGS_CHANGED))
    }

    /// Adds that the rules are loaded again, unless the plan starts the container anyway.
    pub fn load_rules(&mut self, desired: &Desired) {
        if !self.starts() {
            let (name, made) = (desired.container.name.clone(), Made::of(&desired.container));
            let step = Step { action: Action::LoadRules { name, made }, reason: "they are not in force".to_owned() };
            // Its entrypoint waits for them.
            let waits = self.steps.iter().position(|step| matches!(step.action, Action::WaitUntilReady { .. }));
            self.steps.insert(waits.unwrap_or(self.steps.len()), step);
        }
    }

    fn push(&mut self, action: Action, reason: impl Into<String>) {
        self.steps.push(Step { action, reason: reason.into() });
    }
}

/// Plans how to get from what is there to what is wanted.
///
/// A container whose settings changed is replaced like this: it gets another name, is stopped, the
/// new one is created, started and waited for, and only then is the old one removed. Killed in
/// between, both names tell the next plan where it stands.
///
/// # Errors
/// [`Error::Foreign`] when one of our names is taken by something that is not ours,
/// [`Error::PortInUse`], and [`Error::NoSuchObject`] when an image that can only be loaded is gone.
pub fn converge(desired: &Desired, observed: &Observed) -> Result<Plan> {
    refuse_foreign(desired, observed)?;
    let mut plan = Plan::default();
    let name = desired.container.name.clone();
    let previous_name = desired.previous_name.clone();
    let hash = desired.container.hash();
    let as_wanted = |c: &Container| c.spec_hash.as_ref() == Some(&hash);
    let main = observed.main.as_ref();
    let previous = observed.previous.as_ref();
    let kept = main.is_some_and(as_wanted);
    let exists = main.is_some();

    if !kept && (desired.running || !exists) && !observed.image_present {
        // The image comes first: it takes longest and fails most often, so nothing else is touched
        // until it is there.
        let action = get_image(desired)?;
        let reason = match &action {
            Action::BuildImage { extra_packages, .. } if !extra_packages.is_empty() => {
                format!("with {}", extra_packages.join(", "))
            }
            _ => String::new(),
        };
        plan.push(action, reason);
    }
    let is_missing = |v: &&VolumeSpec| !observed.volumes.iter().any(|there| there.name == v.name);
    let new_volumes: Vec<VolumeSpec> = desired.volumes.iter().filter(is_missing).cloned().collect();
    if exists && (kept || !desired.running) {
        for volume in new_volumes.clone() {
            plan.push(Action::CreateVolume { volume }, "");
        }
    } else if observed.network.is_none() {
        plan.push(
            Action::CreateNetwork { name: desired.container.network.clone(), labels: desired.container.labels.clone() },
            "",
        );
    }
    if !desired.running {
        // A container whose settings changed is left for the next start to replace.
        if !exists {
            before_creation(&mut plan, desired, observed);
            plan.push(Action::CreateContainer { spec: Box::new(desired.container.clone()), new_volumes }, "");
        }
        return Ok(plan);
    }

    let starts = !kept || !main.is_some_and(|c| c.running);
    if starts {
        port_is_available(desired, observed)?;
    }
    plan.guarded_from = plan.steps.len();
    if !kept {
        replace(&mut plan, desired, observed, new_volumes);
    }
    if kept && main.is_some_and(|c| c.paused) {
        plan.push(Action::UnpauseContainer { name: name.clone() }, "");
    }
    if starts {
        if kept && previous.is_some_and(|c| c.running) {
            // Somebody started it by hand; it would hold the port.
            plan.push(Action::StopContainer { name: previous_name.clone() }, "kept until the new one answers");
        }
        plan.push(Action::StartContainer { name: name.clone(), made: Some(Made::of(&desired.container)) }, "");
    }
    let replaces = previous.is_some() || (!kept && main.is_some());
    if replaces || plan.steps.len() > plan.guarded_from {
        plan.push(Action::WaitUntilReady { name, url: desired.url() }, "");
    }
    if replaces {
        plan.push(Action::RemoveContainer { name: previous_name }, "the new one answers; the data is in the volumes");
        plan.put_back = put_back(desired);
    }
    Ok(plan)
}

/// Gets whatever is there out of the way, without losing it, and creates the wanted container.
fn replace(plan: &mut Plan, desired: &Desired, observed: &Observed, new_volumes: Vec<VolumeSpec>) {
    let (main, previous) = (observed.main.as_ref(), observed.previous.as_ref());
    let name = desired.container.name.clone();
    let previous_name = desired.previous_name.clone();
    let reason = replace_reason(desired, main);
    let mut holds_port = previous.is_some_and(|c| c.running);
    if let Some(main) = main {
        if previous.is_some() {
            // It never proved itself; the one before it is the one to go back to.
            plan.push(Action::RemoveContainer { name }, "its replacement was interrupted");
        } else {
            plan.push(Action::RenameContainer { from: name, to: previous_name.clone() }, reason.clone());
            // Until it has its other name, putting back would mean removing it.
            plan.guarded_from = plan.steps.len();
            holds_port = main.running;
        }
    }
    if holds_port {
        plan.push(Action::StopContainer { name: previous_name }, "kept until the new one answers");
    }
    before_creation(plan, desired, observed);
    plan.push(Action::CreateContainer { spec: Box::new(desired.container.clone()), new_volumes }, reason);
}

/// What a new container needs in its volumes, while no other one runs on them.
fn before_creation(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let image = &desired.container.image;
    give_volumes(plan, desired, observed, image, false);
    prepare_places(plan, desired, observed, image);
    write_secrets(plan, desired, image);
}

/// Data that another user's container wrote, or that was just unpacked, becomes the user's.
fn give_volumes(plan: &mut Plan, desired: &Desired, observed: &Observed, image: &str, unpacked: bool) {
    let wanted = &desired.container;
    // A new volume takes over the owner that its place has in the image.
    let has_data = !observed.volumes.is_empty();
    let same_user = |c: &Container| {
        c.spec_hash.as_ref() == Some(&wanted.hash()) || c.live.as_ref().is_some_and(|live| live.user == wanted.user)
    };
    if unpacked || has_data && !old(observed).is_some_and(same_user) {
        let reason = format!("everything in the container runs as {}", wanted.user);
        plan.push(Action::GiveVolumes { volumes: desired.volumes.clone(), image: image.to_owned() }, reason);
    }
}

fn old(observed: &Observed) -> Option<&Container> {
    observed.main.as_ref().or(observed.previous.as_ref())
}

fn prepare_places(plan: &mut Plan, desired: &Desired, observed: &Observed, image: &str) {
    let wanted = &desired.container;
    let in_volume = |bind: &&BindMount| {
        let below = |v: &VolumeSpec| std::path::Path::new(&bind.container).starts_with(&v.mount);
        desired.volumes.iter().any(below)
    };
    let old_binds = old(observed).and_then(|c| c.live.as_ref()).map(|old| old.binds.as_slice()).unwrap_or_default();
    let still = |old: &&BindMount| wanted.binds.iter().any(|bind| bind.container == old.container);
    let gone: Vec<BindMount> = old_binds.iter().filter(in_volume).filter(|old| !still(old)).cloned().collect();
    let binds: Vec<BindMount> = wanted.binds.iter().filter(in_volume).cloned().collect();
    if !binds.is_empty() || !gone.is_empty() {
        let volumes = desired.volumes.clone();
        plan.push(Action::PreparePlaces { volumes, binds, gone, image: image.to_owned() }, "");
    }
}

fn write_secrets(plan: &mut Plan, desired: &Desired, image: &str) {
    let wanted = &desired.container;
    let volume = VolumeSpec {
        name: wanted.secrets.volume.clone(),
        mount: wanted.secrets.mount.clone(),
        labels: wanted.labels.clone(),
    };
    plan.push(Action::FillSecrets { volume, image: image.to_owned() }, "");
}

fn port_is_available(desired: &Desired, observed: &Observed) -> Result<()> {
    match &observed.port {
        PortState::Available => Ok(()),
        PortState::Taken { holder, free_port } => Err(Error::PortInUse {
            address: desired.container.publish.address.to_string(),
            port: desired.container.publish.port,
            holder: holder.clone(),
            free_port: *free_port,
        }),
    }
}

/// The steps that put a replaced container back in its place.
fn put_back(desired: &Desired) -> Vec<Step> {
    let name = desired.container.name.clone();
    [
        Action::RemoveContainer { name: name.clone() },
        Action::RenameContainer { from: desired.previous_name.clone(), to: name.clone() },
        Action::StartContainer { name: name.clone(), made: None },
        Action::WaitUntilReady { name, url: desired.url() },
    ]
    .map(|action| Step { action, reason: "the new one does not work".to_owned() })
    .into()
}

fn get_image(desired: &Desired) -> Result<Action> {
    Ok(match desired.image.clone() {
        ImagePlan::Build { reference, inputs } => Action::BuildImage {
            reference,
            base: inputs.base,
            extra_packages: inputs.extra_packages,
            // The image is shared: no home of docklet's owns it.
            labels: desired.container.labels.clone().into_iter().filter(|(key, _)| key != label::FOLDER).collect(),
        },
        ImagePlan::Pull { reference } => Action::PullImage { reference },
        ImagePlan::Load { reference, file: Some(file) } => Action::LoadImage { reference, file },
        ImagePlan::Load { reference, file: None } => {
            return Err(Error::NoSuchObject { kind: ObjectKind::Image, name: reference });
        }
    })
}

/// What the reason begins with when settings are why a container is replaced.
const SETTINGS_CHANGED: &str = "settings changed: ";

fn replace_reason(desired: &Desired, old: Option<&Container>) -> String {
    let Some(old) = old else { return String::new() };
    let differences = old.live.as_ref().map(|live| live.differences(&desired.container)).unwrap_or_default();
    if differences.is_empty() {
        "created by another version of docklet".to_owned()
    } else {
        format!("{SETTINGS_CHANGED}{}", differences.join(", "))
    }
}

fn refuse_foreign(desired: &Desired, observed: &Observed) -> Result<()> {
    for container in observed.main.iter().chain(&observed.previous).chain(&observed.task) {
        if container.ownership == Ownership::Foreign {
            return Err(Error::Foreign { kind: ObjectKind::Container, name: container.name.clone() });
        }
    }
    if observed.image_is_foreign {
        return Err(Error::Foreign { kind: ObjectKind::Image, name: desired.image.reference().to_owned() });
    }
    if let (Some(Ownership::Foreign), name) = (observed.network, &desired.container.network) {
        return Err(Error::Foreign { kind: ObjectKind::Network, name: name.clone() });
    }
    if observed.secrets == Some(Ownership::Foreign) {
        let name = desired.container.secrets.volume.clone();
        return Err(Error::Foreign { kind: ObjectKind::Volume, name });
    }
    for volume in &observed.volumes {
        if volume.ownership == Ownership::Foreign {
            return Err(Error::Foreign { kind: ObjectKind::Volume, name: volume.name.clone() });
        }
    }
    Ok(())
}

pub mod guarded;

#[cfg(test)]
mod tests;
