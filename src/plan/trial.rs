//! Plans for what must not lose data: restore, update and rollback. The data that shall count is
//! put into volumes of its own, the staged ones, and a container proves itself on them, while the
//! old container waits under another name and the old volumes are not touched. Names and labels
//! alone tell where a run stood that was killed:
//!
//! | what is there | it means | the next command |
//! |---|---|---|
//! | staged volumes, no container on them | they were being filled, or are not needed any more | removes them |
//! | the container on staged volumes, and the previous one | it has not proved itself | puts the previous one back |
//! | a previous container that is itself on staged volumes | there was none before, and it has not proved itself | removes it |
//! | the container on staged volumes, no previous one | committed: the data counts | copies it into the volumes' own names |
//!
//! Removing the previous container is the commit; where there was none, the new one proves itself
//! under that name, and getting its own is the commit. Volumes cannot be renamed, so the data is copied
//! afterwards; until that is done, the staged volumes are what counts. Pure.

use super::{Action, Made, Plan, Step, before_creation, get_image, refuse_foreign};
use crate::{
    appliance::Release,
    desired::{Desired, ImagePlan, VolumeSpec},
    error::Result,
    observed::{Container, Observed, Ownership, Volume},
};

const BROKEN_OFF: &str = "the command that was at work was broken off";
const UNPROVED: &str = "it has not proved itself";

/// What leads out of a state that a killed command left behind, and what will be there then. An
/// empty plan when nothing was left behind.
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
        // Whoever reads volumes pauses the container for it; nobody else's pause is taken back.
        if let Some(main) = then.main.as_mut().filter(|c| c.paused) {
            plan.push(Action::UnpauseContainer { name: name.clone() }, BROKEN_OFF);
            main.paused = false;
        }
    }
    if let Some(unproved) = then.previous.take_if(|c| c.staged) {
        plan.push(Action::RemoveContainer { name: unproved.name }, UNPROVED);
    }
    if let Some(main) = then.main.clone().filter(|c| c.staged) {
        match then.previous.take() {
            Some(previous) => put_back(&mut plan, &mut then, desired, previous),
            None => settle(&mut plan, &mut then, desired, &main),
        }
    }
    for volume in std::mem::take(&mut then.staged) {
        plan.push(Action::RemoveVolume { name: volume.name }, "");
    }
    Ok((plan, then))
}

/// What takes a command back that is still there to do it: as [`recover`], and a container that was
/// only renamed yet gets its name again. After a kill, the next plan sees to that.
///
/// # Errors
/// As [`recover`].
pub fn undo(desired: &Desired, observed: &Observed) -> Result<(Plan, Observed)> {
    let (mut plan, mut then) = recover(desired, observed)?;
    if then.main.is_none()
        && let Some(previous) = then.previous.take()
    {
        let name = &desired.container.name;
        plan.push(Action::RenameContainer { from: previous.name.clone(), to: name.clone() }, BROKEN_OFF);
        then.main = Some(Container { name: name.clone(), ..previous });
    }
    Ok((plan, then))
}

/// The trial never proved itself: what was before comes back.
fn put_back(plan: &mut Plan, then: &mut Observed, desired: &Desired, previous: Container) {
    let name = &desired.container.name;
    plan.push(Action::RemoveContainer { name: name.clone() }, UNPROVED);
    plan.push(Action::RenameContainer { from: previous.name.clone(), to: name.clone() }, BROKEN_OFF);
    retag(plan, desired, &previous);
    then.main = Some(Container { name: name.clone(), ..previous });
}

/// The trial was committed: its data gets the volumes' own names. The container is made anew on
/// them by what is planned next; it holds nothing itself.
fn settle(plan: &mut Plan, then: &mut Observed, desired: &Desired, main: &Container) {
    let name = &desired.container.name;
    plan.guarded_from = plan.steps.len();
    if main.running {
        plan.push(Action::StopContainer { name: name.clone() }, "");
        let again = Action::StartContainer { name: name.clone(), made: None };
        plan.put_back = vec![Step { action: again, reason: "the data is complete where it is".to_owned() }];
    }
    retag(plan, desired, main);
    let pairs = desired.staged_volumes().into_iter().zip(&desired.volumes);
    plan.push(
        Action::CopyVolumes {
            pairs: pairs.map(|(from, to)| (from.name, to.clone())).collect(),
            image: main.image_id.clone(),
            task: desired.task_name.clone(),
        },
        "it has proved itself",
    );
    plan.push(Action::RemoveContainer { name: name.clone() }, "its data is where it belongs");
    then.main = None;
    let ours = |v: &VolumeSpec| Volume { name: v.name.clone(), ownership: Ownership::Ours };
    then.volumes = desired.volumes.iter().map(ours).collect();
}

/// A name that was pulled or loaded means the image of the container that counts.
fn retag(plan: &mut Plan, desired: &Desired, container: &Container) {
    if !matches!(desired.image, ImagePlan::Build { .. }) && !container.image_id.is_empty() {
        let reference = desired.image.reference().to_owned();
        plan.push(Action::TagImage { image: container.image_id.clone(), reference }, "");
    }
}

/// Brings the image here and whatever else a trial needs, while the container still runs.
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

/// Where the data of a trial comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// From the volumes as they are: they are copied. Those that are not there yet are created.
    Copy,
    /// The staged volumes are there and filled already.
    Done,
}

/// Starts the wanted container, made from `image`, on staged volumes and waits until it answers. The
/// one before is kept. Should a step fail, [`undo`] leads back, as [`recover`] does after a kill. `release`
/// is what the instance has when this is committed.
pub fn trial(desired: &Desired, observed: &Observed, fill: Fill, image: &str, release: Option<&Release>) -> Plan {
    let mut plan = Plan::default();
    let name = desired.container.name.clone();
    let staged = desired.staged_volumes();
    if let Some(main) = &observed.main {
        if main.paused {
            plan.push(Action::UnpauseContainer { name: name.clone() }, "");
        }
        if main.running {
            plan.push(Action::StopContainer { name: name.clone() }, "");
        }
        let to = desired.previous_name.clone();
        plan.push(Action::RenameContainer { from: name.clone(), to }, "kept until the new one has proved itself");
    }
    if fill == Fill::Copy {
        let pairs = desired.volumes.iter().zip(staged).map(|(from, to)| (from.name.clone(), to)).collect();
        let task = desired.task_name.clone();
        let reason = "what is there stays untouched";
        plan.push(Action::CopyVolumes { pairs, image: image.to_owned(), task }, reason);
    }
    let mut spec = desired.staged_container(release);
    image.clone_into(&mut spec.image);
    // Under its own name and with none before it, it would count already.
    let alone = observed.main.is_none() && observed.previous.is_none();
    let name = if alone { desired.previous_name.clone() } else { name };
    spec.name.clone_from(&name);
    before_creation(&mut plan, desired, observed, &desired.staged_volumes(), image);
    let made = Some(Made::of(&spec));
    plan.push(Action::CreateContainer { spec: Box::new(spec), new_volumes: vec![] }, "");
    plan.push(Action::StartContainer { name: name.clone(), made }, "");
    plan.push(Action::WaitUntilReady { name, url: desired.url() }, "");
    plan
}

/// Makes what runs on staged volumes count. What comes then is [`recover`]'s.
pub fn commit(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let previous = desired.previous_name.clone();
    match &observed.previous {
        Some(proved) if proved.staged => {
            let to = desired.container.name.clone();
            plan.push(Action::RenameContainer { from: previous, to }, "it has proved itself");
        }
        Some(_) => plan.push(Action::RemoveContainer { name: previous }, "the new one has proved itself"),
        None => {}
    }
    plan
}

#[cfg(test)]
mod tests;
