//! Compares what is wanted with what is there, and says in order what to do. Pure: the same two
//! inputs give the same plan. A second plan after an applied one is empty.

use std::fmt;

use serde::Serialize;

use crate::{
    desired::{ContainerSpec, Desired, ImagePlan, VolumeSpec},
    error::{Error, ObjectKind, Result},
    observed::{Container, Observed, Ownership, PortState},
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
        file: std::path::PathBuf,
    },
    /// Create a volume.
    CreateVolume {
        /// The volume.
        volume: VolumeSpec,
    },
    /// Create the container.
    CreateContainer {
        /// The container.
        spec: Box<ContainerSpec>,
    },
    /// Start a container.
    StartContainer {
        /// Its name.
        name: String,
    },
    /// Wait until the page answers.
    WaitUntilReady {
        /// The container's name.
        name: String,
        /// The page's address.
        url: String,
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

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::BuildImage { reference, .. } => write!(f, "build image {reference}"),
            Action::PullImage { reference } => write!(f, "pull image {reference}"),
            Action::LoadImage { reference, file } => write!(f, "load image {reference} from {}", file.display()),
            Action::CreateVolume { volume } => write!(f, "create volume {} for {}", volume.name, volume.mount),
            Action::CreateContainer { spec } => write!(f, "create container {}", spec.name),
            Action::StartContainer { name } => write!(f, "start container {name}"),
            Action::WaitUntilReady { url, .. } => write!(f, "wait until {url} answers"),
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
            write!(f, "\n     should it not answer, the container from before is put back")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn push(&mut self, action: Action, reason: impl Into<String>) {
        self.steps.push(Step { action, reason: reason.into() });
    }
}

/// Plans how to get from what is there to what is wanted.
///
/// # Errors
/// [`Error::Foreign`] when one of our names is taken by something that is not ours,
/// [`Error::PortInUse`], and [`Error::NoSuchObject`] when an image that can only be loaded is gone.
pub fn converge(desired: &Desired, observed: &Observed) -> Result<Plan> {
    refuse_foreign(observed)?;
    let mut plan = Plan::default();
    let name = &desired.container.name;
    let as_wanted = |c: &Container| c.spec_hash.as_deref() == Some(desired.container.hash().as_str());

    // A replaced container that is itself as wanted again, and whose successor is not there, is
    // simply the container.
    let returns = match (&observed.main, &observed.previous) {
        (None, Some(previous)) => as_wanted(previous),
        _ => false,
    };
    let kept = observed.main.as_ref().is_some_and(as_wanted) || returns;
    // With `--no-start`, a container whose settings changed is replaced by the next start.
    let waits_for_start = !desired.running && (observed.main.is_some() || observed.previous.is_some());

    for volume in &desired.volumes {
        if !observed.volumes.iter().any(|v| v.name == volume.name) {
            plan.push(Action::CreateVolume { volume: volume.clone() }, "");
        }
    }
    if !kept && !waits_for_start && !observed.image_present {
        let action = get_image(&desired.image)?;
        // The image comes first: it takes longest and fails most often, so nothing else is
        // touched until it is there.
        plan.steps.insert(0, Step { action, reason: String::new() });
    }
    if !desired.running && (kept || waits_for_start) {
        return Ok(plan);
    }

    let main = observed.main.as_ref();
    let starts = if kept {
        if returns {
            plan.push(
                Action::RenameContainer { from: desired.previous_name.clone(), to: name.clone() },
                "its replacement was broken off",
            );
        }
        !main.or(observed.previous.as_ref()).is_some_and(|c| c.running)
    } else {
        let reason = replace_reason(desired, main.or(observed.previous.as_ref()));
        if let Some(main) = main {
            if observed.previous.is_some() {
                // It never proved itself; the one before it is the one to go back to.
                plan.push(Action::RemoveContainer { name: name.clone() }, "its replacement was broken off");
                plan.guarded_from = plan.steps.len();
            } else {
                if main.running {
                    plan.push(Action::StopContainer { name: name.clone() }, reason.clone());
                }
                plan.guarded_from = plan.steps.len();
                plan.push(
                    Action::RenameContainer { from: name.clone(), to: desired.previous_name.clone() },
                    "kept until the new one answers",
                );
            }
        }
        plan.push(Action::CreateContainer { spec: Box::new(desired.container.clone()) }, reason);
        true
    };
    if !desired.running {
        return Ok(plan);
    }
    if starts {
        if let PortState::Taken { holder, free_port } = &observed.port {
            return Err(Error::PortInUse {
                address: desired.container.publish.address.to_string(),
                port: desired.container.publish.port,
                holder: holder.clone(),
                free_port: *free_port,
            });
        }
        plan.push(Action::StartContainer { name: name.clone() }, "");
    }
    let replaces = !returns && (observed.previous.is_some() || (!kept && main.is_some()));
    if starts || replaces {
        plan.push(Action::WaitUntilReady { name: name.clone(), url: desired.url() }, "");
    }
    if replaces {
        plan.push(
            Action::RemoveContainer { name: desired.previous_name.clone() },
            "the new one answers; the data is in the volumes",
        );
        plan.put_back = put_back(desired);
    }
    Ok(plan)
}

/// The steps that put a replaced container back in its place.
fn put_back(desired: &Desired) -> Vec<Step> {
    let name = desired.container.name.clone();
    [
        Action::RemoveContainer { name: name.clone() },
        Action::RenameContainer { from: desired.previous_name.clone(), to: name.clone() },
        Action::StartContainer { name },
    ]
    .map(|action| Step { action, reason: "the new one did not answer".to_owned() })
    .into()
}

fn get_image(image: &ImagePlan) -> Result<Action> {
    Ok(match image.clone() {
        ImagePlan::Build { reference, inputs } => {
            Action::BuildImage { reference, base: inputs.base, extra_packages: inputs.extra_packages }
        }
        ImagePlan::Pull { reference } => Action::PullImage { reference },
        ImagePlan::Load { reference, file: Some(file) } => Action::LoadImage { reference, file },
        ImagePlan::Load { reference, file: None } => {
            return Err(Error::NoSuchObject { kind: ObjectKind::Image, name: reference });
        }
    })
}

fn replace_reason(desired: &Desired, old: Option<&Container>) -> String {
    let Some(old) = old else { return String::new() };
    let differences = old.live.as_ref().map(|live| live.differences(&desired.container)).unwrap_or_default();
    if differences.is_empty() {
        "it was made by another version of docklet".to_owned()
    } else {
        format!("settings changed: {}", differences.join(", "))
    }
}

fn refuse_foreign(observed: &Observed) -> Result<()> {
    for container in observed.main.iter().chain(&observed.previous) {
        if container.ownership == Ownership::Foreign {
            return Err(Error::Foreign { kind: ObjectKind::Container, name: container.name.clone() });
        }
    }
    for volume in &observed.volumes {
        if volume.ownership == Ownership::Foreign {
            return Err(Error::Foreign { kind: ObjectKind::Volume, name: volume.name.clone() });
        }
    }
    Ok(())
}
