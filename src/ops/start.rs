//! Start: creates what is missing, replaces a container whose settings changed, starts it and waits for the page.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    Instance,
    converge::{self, ConvergeOptions, Planned},
    mounts,
    restore::pending,
    run_plan::PlanRun,
    supervisor,
};
use crate::{
    desired_state::{self, DesiredState},
    engine::{Engine, connect},
    error::{Error, ObjectKind, Result},
    event::Event,
    plan::Action,
    probe::Seen,
    report::{ContainerReport, StartReport},
    settings::Settings,
};

/// How to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
    /// Whether to return without waiting for the page.
    pub no_wait: bool,
}

impl Instance {
    /// Starts the container, after it was created or replaced where the settings ask for that, and waits until the page
    /// answers.
    ///
    /// # Errors
    /// NOT_FOUND when it is not set up, START_FAILED, UNHEALTHY, TIMEOUT, PORT_IN_USE, FOREIGN_OBJECT, and what the
    /// engine says.
    pub async fn start(&self, options: &Start) -> Result<StartReport> {
        let settings = self.settings().await?;
        let _lock = self.lock("start")?;
        let page = ask_early(self, &settings);
        let engine = self.engine().await?;
        let settings = self.settings().await?;
        let usual = self.appliance.health.ready_timeout();
        let timeout = if options.no_wait { Duration::ZERO } else { options.timeout.unwrap_or(usual) };
        start_asked(self, &engine, &settings, timeout, Exposure::Ask, page).await
    }
}

/// What `start` would do. Changes nothing.
///
/// # Errors
/// As [`Instance::start`].
pub async fn preview(instance: &Instance) -> Result<Planned> {
    let settings = instance.settings().await?;
    let engine = instance.engine().await?;
    converge::plan(instance, &engine, &settings, &ConvergeOptions { running: true, ..ConvergeOptions::default() }).await
}

/// Completes or reverts what a killed command left, for the supervisor. `None`: the user wants it stopped.
///
/// # Errors
/// As [`Instance::start`].
pub async fn recover(instance: &Instance) -> Result<Option<StartReport>> {
    let _lock = instance.lock(supervisor::RECOVERY)?;
    if desired_state::read(&instance.files.desired())? == DesiredState::Stopped {
        return Ok(None); // a `docklet stop` was quicker
    }
    let engine = instance.engine().await?;
    pending::finish(instance, &engine).await?;
    let settings = instance.settings().await?;
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let planned = converge::plan(instance, &engine, &settings, &how).await?;
    if planned.applies_changed_settings() {
        PlanRun::with(&settings, &instance.appliance).run(instance, &engine, &planned.recovery).await?;
        return Ok(Some(unchanged(instance, &planned)));
    }
    start(instance, &engine, &settings, instance.appliance.health.ready_timeout()).await.map(Some)
}

/// What the user has said to a page that other machines reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Nothing yet.
    Ask,
    /// Yes, to these settings.
    Confirmed,
}

/// The work of it; a time-out of zero does not wait. Also what `restart` ends with.
///
/// # Errors
/// What looking, planning and applying find.
pub async fn start(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
) -> Result<StartReport> {
    start_with(instance, engine, settings, timeout, Exposure::Ask).await
}

/// The same, where the user may have been asked already.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
    exposure: Exposure,
) -> Result<StartReport> {
    start_asked(instance, engine, settings, timeout, exposure, JoinSet::new()).await
}

/// The same, where the page was asked already.
///
/// A container that is just ending, as after a `stop` that was killed, still runs when it is looked
/// at; it is started again.
///
/// # Errors
/// As [`start`].
async fn start_asked(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
    exposure: Exposure,
    page: JoinSet<Seen>,
) -> Result<StartReport> {
    let brought = pending::finish(instance, engine).await?;
    let settings = brought.as_ref().unwrap_or(settings);
    match Box::pin(attempt(instance, engine, settings, timeout, exposure, page)).await {
        Err((Error::Exited { .. }, Begun::Elsewhere)) => {
            let again = attempt(instance, engine, settings, timeout, exposure, JoinSet::new());
            Box::pin(again).await.map_err(|(error, _)| error)
        }
        done => done.map_err(|(error, _)| error),
    }
}

/// The page is about to be opened to other machines by settings that were changed past docklet: not
/// without a yes.
fn confirm_exposure(instance: &Instance, settings: &Settings, planned: &Planned) -> Result<()> {
    match super::exposure(settings) {
        Some(text) if planned.opens_up => instance.confirm(&format!("{text}; continue?")),
        _ => Ok(()),
    }
}

/// Who began the container that was waited for.
enum Begun {
    /// This command.
    Here,
    /// It ran already.
    Elsewhere,
}

async fn attempt(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
    exposure: Exposure,
    page: JoinSet<Seen>,
) -> Result<StartReport, (Error, Begun)> {
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let planned = converge::plan(instance, engine, settings, &how).await.map_err(|error| (error, Begun::Here))?;
    if planned.plan.starts() {
        mounts::admit(instance, &settings.mounts).map_err(|error| (error, Begun::Here))?;
    }
    if let Some(lost) = &planned.lost {
        let text = format!("the container is replaced; lost with the old one: {lost}");
        instance.reporter.report(&Event::Warning { text });
    }
    let begun = if planned.plan.starts() { Begun::Here } else { Begun::Elsewhere };
    if exposure == Exposure::Ask {
        confirm_exposure(instance, settings, &planned).map_err(|error| (error, Begun::Here))?;
    }
    carry_out(instance, engine, settings, planned, timeout, page).await.map_err(|error| (error, begun))
}

/// Asks the page while the engine is asked: most often it runs, and there is nothing else to do. Not through a tunnel, which
/// may have to be closed.
fn ask_early(instance: &Instance, settings: &Settings) -> JoinSet<Seen> {
    let mut page = JoinSet::new();
    if connect::chosen_behind_ssh(&instance.selection()).is_none()
        && let Ok(probe) = instance.probe(settings)
    {
        page.spawn(async move { probe.health().await });
    }
    page
}

async fn carry_out(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    mut planned: Planned,
    timeout: Duration,
    page: JoinSet<Seen>,
) -> Result<StartReport> {
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    if timeout.is_zero() && planned.plan.put_back.is_empty() {
        // A replacement is waited for all the same: the old container goes only when the new one works.
        planned.plan.steps.retain(|s| !matches!(s.action, Action::WaitUntilReady { .. }));
    }
    // What is waited for all the same gets its usual time: with none it would be put back at once.
    let timeout = if planned.plan.put_back.is_empty() || !timeout.is_zero() {
        timeout
    } else {
        instance.appliance.health.ready_timeout()
    };
    let changed = !planned.is_empty();
    let applied = converge::apply_asked(instance, engine, settings, &planned, &how, timeout, page).await;
    if let (Err(_), Some(changed)) = (&applied, planned.plan.changed_settings())
        && !instance.interrupt.is_raised()
    {
        let flag = instance.name.flag();
        let text = format!("the settings still contain the change that failed ({changed}): docklet{flag} config edit");
        instance.reporter.report(&Event::Note { text });
    }
    applied?;
    let name = instance.container_name();
    let missing = || Error::NoSuchObject { kind: ObjectKind::Container, name: name.clone() };
    let detail = if changed {
        engine.container(&name).await?.ok_or_else(missing)?
    } else {
        return Ok(unchanged(instance, &planned));
    };
    Ok(StartReport { container: ContainerReport::of(&instance.name, &detail, changed), url: planned.desired.url() })
}

/// The report where there was nothing to do; the look that found that out said all that is in it.
fn unchanged(instance: &Instance, planned: &converge::Planned) -> StartReport {
    StartReport {
        container: ContainerReport {
            instance: instance.name.to_string(),
            container_id: planned.container_id.clone().unwrap_or_default(),
            name: instance.container_name(),
            state: "running".to_owned(),
            running: true,
            changed: false,
        },
        url: planned.desired.url(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Options, instance_name::InstanceName, paths};

    #[tokio::test]
    async fn a_recovery_does_not_start_what_was_stopped_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let host = Some("unix:///nonexistent".to_owned());
        let options = Options { folder: Some(home.path().to_owned()), host, ..Options::default() };
        let instance = Instance::open(InstanceName::default(), options).unwrap();
        paths::create_folder(&instance.files.config, 0o700).unwrap();
        std::fs::write(instance.files.settings(), "version = 1\n").unwrap();
        paths::create_folder(&instance.files.state, 0o700).unwrap();
        desired_state::write(&instance.files.desired(), DesiredState::Stopped).unwrap();
        assert!(recover(&instance).await.unwrap().is_none(), "the engine is not asked");
        desired_state::write(&instance.files.desired(), DesiredState::Running).unwrap();
        assert!(recover(&instance).await.is_err(), "the engine is asked, and is not there");
    }
}
