//! Plans for changes that must not lose data: update, rollback and restore are one guarded change. After a backup of the
//! volumes, the old container is renamed and kept until a new one on the same volumes is ready. Names and labels alone show
//! where a command was killed:
//!
//! | what is there | it means | the next command |
//! |---|---|---|
//! | the container with `docklet.undo`, and the previous one | the new one is not known to work | unpacks the backup, puts the previous one back |
//! | only the previous one | it was renamed, or was being put back | gives it its name again |
//! | the container with `docklet.undo`, no previous one | committed | nothing |
//!
//! Removing the previous container is the commit. The new container goes only after the backup is unpacked, so undoing can
//! be killed and repeated. Pure.

use std::path::PathBuf;

use super::{Action, Made, Plan, get_image, give_volumes, prepare_places, refuse_foreign, write_secrets};
use crate::{
    appliance::Release,
    desired::{Desired, ImagePlan},
    error::Result,
    observed::{Container, Observed, Ownership},
};

const BROKEN_OFF: &str = "the previous command was interrupted";
const UNPROVED: &str = "it has not proved itself";

/// Completes or reverts what a killed command left: the plan, and what will be there after it. Empty when nothing was
/// left.
///
/// # Errors
/// [`crate::error::Error::Foreign`] when one of our names is taken by something that is not ours.
pub fn recover(desired: &Desired, observed: &Observed) -> Result<(Plan, Observed)> {
    refuse_foreign(desired, observed)?;
    let mut plan = Plan::default();
    let mut then = observed.clone();
    let name = &desired.container.name;
    if let Some(helper) = then.helper.take().filter(|c| c.ownership == Ownership::Ours) {
        plan.push(Action::RemoveContainer { name: helper.name }, BROKEN_OFF);
    }
    if let Some(task) = then.task.take() {
        plan.push(Action::RemoveContainer { name: task.name }, BROKEN_OFF);
        // A task that reads volumes pauses the container; a pause by the user stays.
        if let Some(main) = then.main.as_mut().filter(|c| c.paused) {
            plan.push(Action::UnpauseContainer { name: name.clone() }, BROKEN_OFF);
            main.paused = false;
        }
    }
    let unproved = then.main.as_ref().is_some_and(|main| main.undo.is_some());
    if then.main.is_some() && !unproved {
        // `start` replaces containers without a backup and continues by itself.
        return Ok((plan, then));
    }
    if let Some(previous) = then.previous.take() {
        if let Some(main) = then.main.take() {
            undo_data(&mut plan, desired, &main, &previous);
        }
        if !matches!(desired.image, ImagePlan::Build { .. }) && !previous.image_id.is_empty() {
            let reference = desired.image.reference().to_owned();
            plan.push(Action::TagImage { image: previous.image_id.clone(), reference }, "");
        }
        plan.push(Action::RenameContainer { from: previous.name.clone(), to: name.clone() }, BROKEN_OFF);
        then.main = Some(Container { name: name.clone(), ..previous });
    }
    Ok((plan, then))
}

/// Removes a new container that never became ready, and what it did to the data.
fn undo_data(plan: &mut Plan, desired: &Desired, main: &Container, previous: &Container) {
    let name = desired.container.name.clone();
    if main.paused {
        plan.push(Action::UnpauseContainer { name: name.clone() }, "");
    }
    if main.running {
        plan.push(Action::StopContainer { name: name.clone() }, UNPROVED);
    }
    // Empty where there was no data before.
    if let Some(file) = main.undo.clone().filter(|file| !file.as_os_str().is_empty()) {
        plan.push(unpack(desired, file, &[], previous.image_id.clone()), UNPROVED);
    }
    plan.push(Action::RemoveContainer { name }, UNPROVED);
}

/// Starts what was put back, as it was: no new settings now. Its secrets may have been replaced for the change.
pub fn start_again(desired: &Desired, then: &Observed) -> Plan {
    let mut plan = Plan::default();
    if let Some(main) = then.main.as_ref().filter(|c| !c.running || c.paused) {
        let name = desired.container.name.clone();
        if !main.running && !main.image_id.is_empty() {
            write_secrets(&mut plan, desired, &main.image_id);
        }
        plan.push(Action::StartContainer { name: name.clone(), made: None }, "");
        plan.push(Action::WaitUntilReady { name, url: desired.url() }, "");
    }
    plan
}

fn unpack(desired: &Desired, file: PathBuf, only: &[String], image: String) -> Action {
    let (volumes, task) = (desired.volumes.clone(), desired.task_name.clone());
    Action::UnpackBackup { file, volumes, only: only.to_vec(), image, task }
}

/// Gets the image and whatever else a change needs, while the container still runs.
///
/// # Errors
/// As [`super::converge`].
pub fn prepare(desired: &Desired, observed: &Observed) -> Result<Plan> {
    refuse_foreign(desired, observed)?;
    let mut plan = Plan::default();
    if !observed.image_present {
        plan.push(get_image(desired)?, "");
    }
    if observed.network.is_none() {
        let (name, labels) = (desired.container.network.clone(), desired.container.labels.clone());
        plan.push(Action::CreateNetwork { name, labels }, "");
    }
    Ok(plan)
}

/// What changes.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The new container's image: its name, or its id.
    pub image: &'a str,
    /// The release that the instance has then; `None` where docklet does not build the image.
    pub release: Option<&'a Release>,
    /// The backup that undoes it; empty: there was no data before.
    pub undo: PathBuf,
    /// The backup to unpack, if the data changes too.
    pub archive: Option<PathBuf>,
    /// Roles of the volumes that are taken from it; empty: all that it holds.
    pub only: &'a [String],
}

/// Starts the desired container on the volumes and waits until it answers; the previous one, which has been stopped, is
/// kept. If a step fails, [`recover`] reverts it, as after a kill.
pub fn change(desired: &Desired, observed: &Observed, change: &Change<'_>) -> Plan {
    let mut plan = Plan::default();
    let name = desired.container.name.clone();
    let to = desired.previous_name.clone();
    plan.push(Action::RenameContainer { from: name.clone(), to }, "kept until the new one has proved itself");
    let reference = desired.image.reference().to_owned();
    if change.image != reference {
        plan.push(Action::TagImage { image: change.image.to_owned(), reference: reference.clone() }, "");
    }
    write_secrets(&mut plan, desired, &reference);
    let spec = desired.guarded_container(&change.undo, change.release);
    let made = Some(Made::of(&spec));
    plan.push(Action::CreateContainer { spec: Box::new(spec), new_volumes: vec![] }, "");
    if let Some(archive) = &change.archive {
        plan.push(unpack(desired, archive.clone(), change.only, reference.clone()), "");
    }
    give_volumes(&mut plan, desired, observed, &reference, change.archive.is_some());
    prepare_places(&mut plan, desired, observed, &reference);
    plan.push(Action::StartContainer { name: name.clone(), made }, "");
    plan.push(Action::WaitUntilReady { name, url: desired.url() }, "");
    plan
}

/// Commits the change. `stop`: the instance was stopped before.
pub fn commit(desired: &Desired, stop: bool) -> Plan {
    let mut plan = Plan::default();
    if stop {
        plan.push(Action::StopContainer { name: desired.container.name.clone() }, "it was stopped before");
    }
    plan.push(Action::RemoveContainer { name: desired.previous_name.clone() }, "the new one has proved itself");
    plan
}

#[cfg(test)]
mod tests;
