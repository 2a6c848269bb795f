//! What a plan consists of: steps, each an action and its reason; and how a plan is shown.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    desired::{BindMount, ContainerSpec, Desired, VolumeSpec},
    paths::shown,
    settings::Egress,
};

/// What the reason begins with when a container is replaced because settings changed.
pub(super) const SETTINGS_CHANGED: &str = "settings changed: ";

#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What puts the old container back when a step at or after `guarded_from` fails.
    pub put_back: Vec<Step>,
    /// Index of the first step whose failure runs `put_back`.
    pub guarded_from: usize,
}

/// One action, and its reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    pub reason: String,
}

/// Everything that a plan can do to the engine. Each action has all that it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    BuildImage {
        reference: String,
        /// What it is built on.
        base: String,
        extra_packages: Vec<String>,
        labels: BTreeMap<String, String>,
    },
    PullImage {
        reference: String,
    },
    LoadImage {
        /// Its name after loading.
        reference: String,
        file: PathBuf,
    },
    CreateVolume {
        volume: VolumeSpec,
    },
    /// Empty the volumes that a backup holds and fill them from it.
    UnpackBackup {
        file: PathBuf,
        volumes: Vec<VolumeSpec>,
        /// Roles of the volumes that are filled; empty: of all that it holds.
        only: Vec<String>,
        /// An image that has the programs for it.
        image: String,
        /// Name of the container that does it.
        task: String,
    },
    /// Give an image a name, taking it from another.
    TagImage {
        /// Its id.
        image: String,
        reference: String,
    },
    CreateNetwork {
        name: String,
        labels: BTreeMap<String, String>,
    },
    /// Create the container, and with it the volumes that are not there yet.
    CreateContainer {
        spec: Box<ContainerSpec>,
        new_volumes: Vec<VolumeSpec>,
    },
    FillSecrets {
        volume: VolumeSpec,
        /// An image that has the programs for it.
        image: String,
    },
    /// Give all that is in the volumes to the user that the container runs as.
    GiveVolumes {
        volumes: Vec<VolumeSpec>,
        /// An image that has the programs for it.
        image: String,
    },
    /// Create the mount points in volumes, and remove those that are no longer needed.
    PreparePlaces {
        volumes: Vec<VolumeSpec>,
        binds: Vec<BindMount>,
        /// No longer mounted.
        gone: Vec<BindMount>,
        /// An image that has the programs for it.
        image: String,
    },
    /// Start a container, and load its network rules.
    StartContainer {
        name: String,
        /// What it was made from; `None` for one that was made before.
        made: Option<Made>,
    },
    /// Load the network rules of a running container again.
    LoadRules {
        name: String,
        made: Made,
    },
    WaitUntilReady {
        name: String,
        url: String,
    },
    UnpauseContainer {
        name: String,
    },
    StopContainer {
        name: String,
    },
    RenameContainer {
        from: String,
        to: String,
    },
    /// Remove a container, running or not. Its volumes stay.
    RemoveContainer {
        name: String,
    },
}

/// What is needed to load the network rules of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    pub image: String,
    pub egress: Egress,
}

impl Made {
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
            Action::UnpackBackup { file, only, .. } if only.is_empty() => {
                write!(f, "unpack {} into the volumes", shown(file))
            }
            Action::UnpackBackup { file, only, .. } => {
                write!(f, "unpack {} into only these volumes: {}", shown(file), only.join(", "))
            }
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
                        // All begin with the container's name; without repeating it, they fit on a line.
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
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many steps at the beginning get an image: they take longest, fail most often, and change nothing else.
    pub fn image_steps(&self) -> usize {
        let gets_image =
            |a: &Action| matches!(a, Action::BuildImage { .. } | Action::PullImage { .. } | Action::LoadImage { .. });
        self.steps.iter().take_while(|step| gets_image(&step.action)).count()
    }

    pub fn starts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::StartContainer { .. }))
    }

    pub fn creates(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::CreateContainer { .. }))
    }

    /// The changed settings, where they are the reason to replace the container.
    pub fn changed_settings(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| step.reason.strip_prefix(SETTINGS_CHANGED))
    }

    /// Adds that the rules are loaded again, unless the plan starts the container anyway.
    pub fn load_rules(&mut self, desired: &Desired) {
        if !self.starts() {
            let (name, made) = (desired.container.name.clone(), Made::of(&desired.container));
            let step = Step { action: Action::LoadRules { name, made }, reason: "they are not in force".to_owned() };
            // The entrypoint waits for the rules.
            let waits = self.steps.iter().position(|step| matches!(step.action, Action::WaitUntilReady { .. }));
            self.steps.insert(waits.unwrap_or(self.steps.len()), step);
        }
    }

    pub(super) fn push(&mut self, action: Action, reason: impl Into<String>) {
        self.steps.push(Step { action, reason: reason.into() });
    }
}
