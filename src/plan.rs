//! The planner: compares the desired state with the observed one and lists the steps in between. Pure: the same two
//! inputs give the same plan. A second plan after an applied one is empty. `action`: what a plan consists of; `guarded`:
//! plans for changes that can lose data.

mod action;
pub mod guarded;
pub mod lost;

use self::action::SETTINGS_CHANGED;
pub use self::action::{Action, Made, Plan, Step};
use crate::{
    desired::{BindMount, Desired, ImagePlan, VolumeSpec, label},
    error::{Error, ObjectKind, Result},
    observed::{Container, Observed, Ownership, PortState, VolumeUser},
};

/// A restart as it is shown: a stop, and then `start`, what a start of the container that is there does. `runs`: whether it
/// runs.
pub fn restart(desired: &Desired, start: Plan, runs: bool) -> Plan {
    let name = desired.container.name.clone();
    let stop = Action::StopContainer { name: name.clone() };
    let mut plan = Plan::default();
    if runs && start.steps.iter().all(|step| step.action != stop) {
        plan.push(stop, "");
    }
    if start.is_empty() {
        plan.push(Action::StartContainer { name: name.clone(), made: None }, "");
        plan.push(Action::WaitUntilReady { name, url: desired.url() }, "");
    }
    plan.steps.extend(start.steps);
    plan
}

/// Plans the way from the observed to the desired state.
///
/// A container whose settings changed is replaced: it is renamed and stopped, the new one is created and started, and
/// only after that one answers is the old one removed. If a command is killed in between, the two names show the next
/// plan how far it came.
///
/// # Errors
/// [`Error::Foreign`] when an object that is not ours has one of our names,
/// [`Error::PortInUse`], and [`Error::NoSuchObject`] when an image that can only be loaded is gone.
pub fn converge(desired: &Desired, observed: &Observed) -> Result<Plan> {
    refuse_foreign(desired, observed)?;
    let mut plan = Plan::default();
    let name = desired.container.name.clone();
    let previous_name = desired.previous_name.clone();
    let main = observed.main.as_ref();
    let previous = observed.previous.as_ref();
    // An engine starts no container whose network was removed, and takes none of the same name for it.
    let without_network = main.is_some_and(|c| !c.connected || !c.running && observed.network.is_none());
    let kept = main.is_some_and(|c| c.is_as(desired)) && !without_network;
    let exists = main.is_some();

    if !kept && (desired.running || !exists) && !observed.image_present {
        // First, because it takes longest and fails most often: nothing else has changed then.
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
            // It was started by hand, and would hold the port.
            plan.push(Action::StopContainer { name: previous_name.clone() }, "kept until the new one answers");
        }
        // One that was made before is looked up, and its places are prepared again.
        let made = (!kept).then(|| Made::of(&desired.container));
        plan.push(Action::StartContainer { name: name.clone(), made }, "");
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

/// Renames what is there, so that it can be restored, and creates the desired container.
fn replace(plan: &mut Plan, desired: &Desired, observed: &Observed, new_volumes: Vec<VolumeSpec>) {
    let (main, previous) = (observed.main.as_ref(), observed.previous.as_ref());
    let name = desired.container.name.clone();
    let previous_name = desired.previous_name.clone();
    let reason = if main.is_some_and(|c| c.is_as(desired)) {
        "it was disconnected from its network, or that was removed".to_owned()
    } else {
        replace_reason(desired, main)
    };
    let mut holds_port = previous.is_some_and(|c| c.running);
    if let Some(main) = main {
        if previous.is_some() {
            // It never answered; the previous one is the one to go back to.
            plan.push(Action::RemoveContainer { name }, "its replacement was interrupted");
        } else {
            plan.push(Action::RenameContainer { from: name, to: previous_name.clone() }, reason.clone());
            // Before the renaming, `put_back` would remove it.
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

/// Gives the user data that a container of another user wrote, or that was just unpacked.
fn give_volumes(plan: &mut Plan, desired: &Desired, observed: &Observed, image: &str, unpacked: bool) {
    let wanted = &desired.container;
    // A new volume gets the owner that its mount point has in the image.
    let has_data = !observed.volumes.is_empty();
    let same_user = |c: &Container| c.is_as(desired) || c.live.as_ref().is_some_and(|live| live.user == wanted.user);
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
    let in_volume = |bind: &&BindMount| wanted.is_in_volume(bind);
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
            // Instances of several home folders share the image.
            labels: desired.container.labels.clone().into_iter().filter(|(key, _)| key != label::FOLDER).collect(),
        },
        ImagePlan::Pull { reference } => Action::PullImage { reference },
        ImagePlan::Load { reference, file: Some(file) } => Action::LoadImage { reference, file },
        ImagePlan::Load { reference, file: None } => {
            return Err(Error::Missing {
                what: format!("image {reference}"),
                reason: Some("it was loaded from a file, so it can't be pulled or built".to_owned()),
                hint: "docklet setup --image-file TAR loads it again".to_owned(),
            });
        }
    })
}

fn replace_reason(desired: &Desired, old: Option<&Container>) -> String {
    let Some(old) = old else { return String::new() };
    let differences = old.live.as_ref().map(|live| live.differences(&desired.container)).unwrap_or_default();
    if differences.is_empty() {
        // Nobody can tell what limits it was made with.
        let limits = old.live.as_ref().is_some_and(|live| !live.holds_limits());
        if limits { "its settings changed" } else { "created by another version of docklet" }.to_owned()
    } else {
        format!("{SETTINGS_CHANGED}{}", differences.join(", "))
    }
}

/// No second container runs on the same volumes, whatever its name.
///
/// # Errors
/// [`Error::Renamed`] and [`Error::VolumeInUse`].
pub fn refuse_others(name: &str, main_exists: bool, others: &[VolumeUser]) -> Result<()> {
    for other in others {
        if other.ownership == Ownership::Ours {
            return Err(Error::Renamed { container: other.name.clone(), name: name.to_owned(), twice: main_exists });
        }
        if other.running {
            return Err(Error::VolumeInUse { container: other.name.clone(), volume: other.volume.clone() });
        }
    }
    Ok(())
}

fn refuse_foreign(desired: &Desired, observed: &Observed) -> Result<()> {
    refuse_others(&desired.container.name, observed.main.is_some(), &observed.others)?;
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

#[cfg(test)]
mod tests;
