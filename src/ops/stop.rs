//! Stop and restart, and how a container ended.

use std::time::{Duration, Instant};

use super::{
    Instance,
    converge::Planned,
    mounts, other_home, recovery, start,
    supervisor::{
        process,
        state::{self, SupervisorState},
    },
    volume_users,
};
use crate::{
    desired_state::{self, DesiredState},
    engine::{Engine, connect, container::Detail},
    error::{Error, ObjectKind, Result},
    event::begin_step,
    host::tunnel,
    plan,
    report::{ContainerReport, StopReport},
    settings::Settings,
};

/// Time between SIGTERM and SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopTimeout(pub Duration);

impl Default for StopTimeout {
    fn default() -> Self {
        StopTimeout(Duration::from_secs(10))
    }
}

impl Instance {
    /// Stops the container, and remembers that it shall stay stopped.
    ///
    /// # Errors
    /// NOT_FOUND, STOP_FAILED when it still runs afterwards, and what the engine says.
    pub async fn stop(&self, timeout: StopTimeout) -> Result<StopReport> {
        let settings = self.settings().await?;
        let _lock = self.lock("stop")?;
        let engine = match self.engine().await {
            Ok(engine) => engine,
            Err(error) if !is_its_engine(self) => return Err(error),
            Err(error) => {
                // The supervisor must not start it when the engine is back.
                desired_state::write(&self.files.desired(), DesiredState::Stopped)?;
                // An engine may go away without its containers (live-restore).
                self.note(match process::running(&self.files) {
                    Some(_) => {
                        "it will not be restarted; if it still runs when the engine is back, the supervisor stops it"
                            .to_owned()
                    }
                    None => format!(
                        "it will not be restarted; if it still runs when the engine is back: docklet{} stop",
                        self.name.flag()
                    ),
                });
                return Err(error);
            }
        };
        recover(self, &engine, &settings).await?;
        let container = find(self, &engine).await?;
        // Written before it is stopped, so that nothing starts it again in between.
        let written = desired_state::write(&self.files.desired(), DesiredState::Stopped);
        if written.is_err() {
            // It would start it again.
            process::end(&self.files).await?;
        }
        let report = stop(self, &engine, container, timeout.0).await?;
        if engine.is_behind_ssh() {
            tunnel::leave_closed(&self.files.state).await?;
        }
        if let Err(error) = written {
            self.warn(format!("{error}: it is stopped, but that it shall stay so could not be written down"));
        }
        Ok(report)
    }

    /// Stops the container and starts it again, with the settings as they are now. How it ended, and the page's address.
    ///
    /// # Errors
    /// As [`Instance::stop`] and [`Instance::start`].
    pub async fn restart(&self, timeout: StopTimeout) -> Result<(StopReport, String)> {
        self.settings().await?;
        let _lock = self.lock("restart")?;
        let engine = self.engine().await?;
        let settings = self.settings().await?;
        mounts::admit(self, &settings.mounts)?;
        recover(self, &engine, &settings).await?;
        let container = find(self, &engine).await?;
        // What keeps it from being started keeps it from being stopped.
        volume_users::refuse(self, &engine, true).await?;
        desired_state::write(&self.files.desired(), DesiredState::Running)?;
        let report = stop(self, &engine, container, timeout.0).await?;
        let started = start::start(self, &engine, &settings, self.appliance.health.ready_timeout()).await?;
        let report = StopReport { container: ContainerReport { changed: true, ..started.container }, ..report };
        Ok((report, started.url))
    }
}

/// What a restart would do: stop, and then what a start does.
///
/// # Errors
/// As [`start::preview`].
pub async fn preview(instance: &Instance) -> Result<Planned> {
    let mut planned = start::preview(instance).await?;
    planned.plan = plan::restart(&planned.desired, planned.plan, planned.runs && planned.recovery.is_empty());
    Ok(planned)
}

/// Whether the engine that cannot be reached is the one that has the container, as far as that is
/// known here: a mistyped address is not a request to stop it.
fn is_its_engine(instance: &Instance) -> bool {
    let asked = connect::chosen(&instance.selection()).map(|(endpoint, _)| endpoint);
    match SupervisorState::load(&instance.files.supervisor_state()).endpoint {
        Some(watched) => asked.is_none_or(|asked| asked == watched),
        None => instance.options.host.is_none() && instance.options.context.is_none(),
    }
}

/// Completes or reverts what a killed command left; nothing is started for it.
async fn recover(instance: &Instance, engine: &Engine, settings: &Settings) -> Result<()> {
    let (name, appliance) = (&instance.name, &instance.appliance.name);
    let left = [name.previous_container(appliance), name.task_container(appliance), name.helper_container(appliance)];
    if engine.containers_named(&left).await?.is_empty() {
        return Ok(());
    }
    other_home::refuse(instance, &instance.snapshot(engine).await?.containers)?;
    recovery::recover_without_start(instance, engine, Some(settings)).await
}

/// This instance's container, where there is one.
///
/// # Errors
/// [`Error::NotSetUp`], [`Error::Foreign`] when one of its name does not carry our labels, and [`Error::Renamed`] when
/// it was given another name.
pub async fn find_if_there(instance: &Instance, engine: &Engine) -> Result<Option<Detail>> {
    let name = instance.container_name();
    let Some(container) = engine.container(&name).await? else {
        instance.settings().await?;
        volume_users::refuse(instance, engine, false).await?;
        return Ok(None);
    };
    check_ours(instance, &container)?;
    Ok(Some(container))
}

/// This instance's container.
///
/// # Errors
/// As [`find_if_there`], and [`Error::NoSuchObject`].
pub async fn find(instance: &Instance, engine: &Engine) -> Result<Detail> {
    let missing = || Error::NoSuchObject { kind: ObjectKind::Container, name: instance.container_name() };
    find_if_there(instance, engine).await?.ok_or_else(missing)
}

/// Refuses when somebody else's container has the name of this instance's. What the engine does not tell is no reason.
///
/// # Errors
/// [`Error::Foreign`].
pub async fn refuse_foreign(instance: &Instance, engine: &Engine) -> Result<()> {
    match engine.container(&instance.container_name()).await {
        Ok(Some(container)) => check_ours(instance, &container),
        _ => Ok(()),
    }
}

/// Refuses a container that does not carry this instance's labels.
///
/// # Errors
/// [`Error::Foreign`].
pub fn check_ours(instance: &Instance, container: &Detail) -> Result<()> {
    match instance.owns(&container.labels) {
        true => Ok(()),
        false => Err(Error::Foreign { kind: ObjectKind::Container, name: instance.container_name() }),
    }
}

/// This instance's container, which has to run.
///
/// # Errors
/// As [`find_if_there`], [`Error::NotRunning`], and [`Error::GaveUp`].
pub async fn find_running(instance: &Instance, engine: &Engine) -> Result<Detail> {
    match find_if_there(instance, engine).await? {
        Some(container) if container.running && !container.paused => Ok(container),
        Some(container) => Err(not_running(instance, &container.status)),
        None => Err(not_running(instance, "missing")),
    }
}

/// The error for a container that has to run and does not: the supervisor gave up on it, or it is just not running.
fn not_running(instance: &Instance, state: &str) -> Error {
    let name = instance.container_name();
    let recorded = desired_state::recorded(&instance.files.desired()).ok();
    let wanted = recorded.filter(|recorded| recorded.desired == DesiredState::Running);
    match wanted.and_then(|recorded| state::for_status(&instance.files, &recorded).1) {
        Some(gave_up) => gave_up.error(&name),
        None => Error::NotRunning { name, state: state.to_owned() },
    }
}

/// Stops a container and says how it ended.
///
/// # Errors
/// [`Error::StopFailed`] when it still runs afterwards.
pub async fn stop(instance: &Instance, engine: &Engine, before: Detail, grace: Duration) -> Result<StopReport> {
    let report = |detail: &Detail, changed: bool| StopReport {
        container: ContainerReport::of(&instance.name, detail, changed),
        exit_code: detail.exit_code,
        graceful_shutdown: None,
        killed: None,
        oom_killed: None,
    };
    if !before.running {
        // How it ended some other time is no news of this stop.
        return Ok(StopReport { exit_code: None, ..report(&before, false) });
    }
    let name = before.name.clone();
    let step = format!("stop container {name}");
    let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
    if before.paused {
        // A paused process cannot take the signal.
        engine.unpause_container(&name).await?;
    }
    let began = Instant::now();
    engine.stop_container(&name, grace).await?;
    // An engine sends SIGKILL itself when the grace is over, and no earlier.
    let in_time = began.elapsed() < grace;
    let missing = || Error::NoSuchObject { kind: ObjectKind::Container, name: name.clone() };
    let after = engine.container(&name).await?.ok_or_else(missing)?;
    if after.running {
        return Err(Error::StopFailed {
            name,
            reason: "the engine reported a stop, but the container is still running".to_owned(),
        });
    }
    done();
    let code = after.exit_code.unwrap_or(0);
    // The flag may also tell of a process inside that ran out of memory earlier.
    let out_of_memory = after.oom_killed && in_time;
    Ok(StopReport {
        graceful_shutdown: Some(matches!(code, 0 | 143)),
        killed: Some(code == 137 && !out_of_memory),
        oom_killed: Some(out_of_memory),
        ..report(&after, true)
    })
}
