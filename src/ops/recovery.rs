//! Completes or reverts what a killed command left behind, and takes back a change that failed.

use super::{
    Instance,
    converge::{self, ConvergeOptions},
    lost_undo, other_home, release,
    restore::pending,
    run_plan::{self, PlanRun},
};
use crate::{
    desired_state::{self, DesiredState},
    engine::Engine,
    error::{Error, Result},
    event::Event,
    interrupt,
    observe::{self, Snapshot},
    plan,
    settings::Settings,
};

/// Completes or reverts what a killed command left behind; what is there then. Call it with the lock held. `settings` are
/// `None` where the instance is not set up.
///
/// # Errors
/// What looking, planning and the steps find.
pub async fn recover(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<Snapshot> {
    let snapshot = instance.snapshot(engine).await?;
    other_home::refuse(instance, &snapshot.containers)?;
    pending::finish(instance, engine).await?;
    let committed = release::committed(instance, &snapshot);
    release::write_down(instance, &committed)?;
    // What was committed may have brought other settings.
    let written = if committed.container.is_some() { Settings::load(&instance.files.settings())? } else { None };
    let settings = written.as_ref().or(settings);
    let default = Settings::default();
    let desired = instance.desired(engine, &instance.appliance, settings.unwrap_or(&default), &snapshot);
    let observed = observe::observe(engine, &snapshot, &desired).await?;
    lost_undo::check(&observed)?;
    let (plan, _) = plan::guarded::recover(&desired, &observed)?;
    let wants_it = settings.is_some() && desired_state::read(&instance.files.desired())? == DesiredState::Running;
    // A start that was killed before the rules were there: the entrypoint waits for them.
    let without_rules = match settings {
        Some(settings) if wants_it && observed.main.as_ref().is_some_and(|c| c.running) => {
            !run_plan::rules(instance, settings, &Default::default())?.are_loaded(&instance.files)
        }
        _ => false,
    };
    if plan.is_empty() && !without_rules {
        return Ok(snapshot);
    }
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let planned = match settings.filter(|_| wants_it) {
        Some(settings) => Some(converge::plan_with(instance, engine, &snapshot, settings, &how).await?),
        None => None,
    };
    let planned = planned.filter(|planned| !planned.applies_changed_settings());
    if plan.is_empty() && planned.is_none() {
        return Ok(snapshot);
    }
    instance.reporter.report(&completing());
    match (settings, planned) {
        (Some(settings), Some(planned)) => {
            let timeout = instance.appliance.health.ready_timeout();
            converge::apply(instance, engine, settings, &planned, &how, timeout).await?;
        }
        _ => PlanRun::with(settings.unwrap_or(&default), &instance.appliance).run(instance, engine, &plan).await?,
    }
    instance.snapshot(engine).await
}

/// The same, but starts nothing: for who stops or removes it anyway.
///
/// # Errors
/// As [`recover`].
pub async fn recover_without_start(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<()> {
    let snapshot = instance.snapshot(engine).await?;
    let default = Settings::default();
    let held = settings.unwrap_or(&default);
    let desired = instance.desired(engine, &instance.appliance, held, &snapshot);
    let observed = observe::observe(engine, &snapshot, &desired).await?;
    let (plan, _) = match plan::guarded::recover(&desired, &observed) {
        // What is not ours stays as it is, and is no reason to keep what is.
        Err(Error::Foreign { .. } | Error::VolumeInUse { .. } | Error::Renamed { .. }) => return Ok(()),
        found => found?,
    };
    lost_undo::check(&observed)?;
    if !plan.is_empty() {
        instance.reporter.report(&completing());
    }
    PlanRun::with(held, &instance.appliance).run(instance, engine, &plan).await
}

fn completing() -> Event {
    Event::Note { text: "completing or reverting the work of an interrupted command first".to_owned() }
}

/// Takes everything back that has not been committed. `again`: what was there shall run; however short a time the user gave
/// the new one, that has the usual time to answer. A Ctrl-C waits.
///
/// # Errors
/// What the steps find; then the next command goes on with it.
pub async fn undo(instance: &Instance, engine: &Engine, held: &Settings, again: bool) -> Result<()> {
    instance.note("rolling back");
    let (_raise, patient) = interrupt::pair();
    let snapshot = instance.snapshot(engine).await?;
    if release::committed(instance, &snapshot).container.is_some() {
        let call = format!("remove container {}", instance.previous_name());
        return Err(Error::EngineGone { call, reason: "the engine has done it, and the change counts".to_owned() });
    }
    let desired = instance.desired(engine, &instance.appliance, held, &snapshot);
    let observed = observe::observe(engine, &snapshot, &desired).await?;
    let (recovery, then) = plan::guarded::recover(&desired, &observed)?;
    PlanRun::with(held, &instance.appliance).interrupted_by(&patient).run(instance, engine, &recovery).await?;
    if again {
        let plan = plan::guarded::start_again(&desired, &then);
        PlanRun::with(held, &instance.appliance).interrupted_by(&patient).run(instance, engine, &plan).await?;
    }
    Ok(())
}
