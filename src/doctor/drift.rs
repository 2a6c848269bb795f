//! What the next start would change. Pure.

use super::facts::{Drift, Unseen};
use crate::{
    desired::Desired,
    engine::container::Detail,
    observed::{Observed, Ownership, PortState},
    plan::{self, Action, guarded},
};

/// Compares the settings with what is there; `detail` is the container, as the engine describes it.
pub(super) fn drift(desired: &Desired, observed: &Observed, detail: Option<&Detail>) -> Result<Drift, Unseen> {
    // The port has a check of its own.
    let observed = Observed { port: PortState::Available, ..observed.clone() };
    if let Ok((recovery, _)) = guarded::recover(desired, &observed)
        && !recovery.is_empty()
    {
        let left: Vec<String> = recovery.steps.iter().map(|step| step.action.to_string()).collect();
        return Ok(Drift::BrokenOff(left.join("; ")));
    }
    if observed.volumes.iter().any(|v| v.ownership == Ownership::Foreign) {
        return Err("a volume is not ours".to_owned());
    }
    let plan = match plan::converge(desired, &observed) {
        Ok(plan) => plan,
        Err(error) => return Ok(Drift::Refused(error)),
    };
    if observed.main.is_none() && observed.previous.is_none() {
        return Err("there is no container".to_owned());
    }
    let creation = plan.steps.iter().find(|step| matches!(step.action, Action::CreateContainer { .. }));
    if let Some(step) = creation.filter(|step| !step.reason.is_empty()) {
        return Ok(Drift::Settings(plan.changed_settings().unwrap_or(&step.reason).to_owned()));
    }
    if observed.previous.is_some() {
        return Ok(Drift::Settings("the container that was replaced is still there".to_owned()));
    }
    let differences = detail.map(|detail| from_outside(detail, desired)).unwrap_or_default();
    Ok(if differences.is_empty() { Drift::None } else { Drift::Outside(differences.join("; ")) })
}

/// What `docker update` can change and our label does not show.
fn from_outside(detail: &Detail, desired: &Desired) -> Vec<String> {
    let updatable = |text: &String| ["memory ", "processors ", "pids "].iter().any(|word| text.starts_with(word));
    detail.live.differences(&desired.container).into_iter().filter(updatable).collect()
}
