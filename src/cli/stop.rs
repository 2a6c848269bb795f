//! `docklet stop` and `docklet restart`

use std::time::Duration;

use super::{args, context::Context, mount, start};
use crate::{
    engine::{Engine, connect, docker::Detail},
    error::{Error, ObjectKind, Result},
    event::Event,
    observed::Ownership,
    present::result,
    report::{ContainerReport, StopReport},
    supervise::state::State,
    wish::{self, Wish},
};

/// Stops it, and remembers that the user wants it stopped.
pub async fn run(context: &Context, args: &args::Stop) -> Result<()> {
    context.settings()?;
    let _lock = context.lock("stop")?;
    let engine = match context.engine().await {
        Ok(engine) => engine,
        Err(error) if !is_its_engine(context) => return Err(error),
        Err(error) => {
            // The supervisor must not start it when the engine is back.
            wish::write(&context.files.desired(), Wish::Stopped)?;
            let text = "it will not be restarted when the engine is back".to_owned();
            context.reporter.report(&Event::Note { text });
            return Err(error);
        }
    };
    let container = find(context, &engine).await?;
    // First the wish, then the deed: nobody may bring it back in between.
    wish::write(&context.files.desired(), Wish::Stopped)?;
    let report = stop(context, &engine, container, Duration::from_secs(args.timeout)).await?;
    context.output.result(&report, |style| result::stop(&report, style));
    Ok(())
}

/// Whether the engine that cannot be reached is the one that has the container, as far as that is
/// known here: a mistyped address is no wish to stop it.
fn is_its_engine(context: &Context) -> bool {
    let asked = connect::chosen(&context.selection()).map(|(endpoint, _)| endpoint);
    match State::load(&context.files.supervisor_state()).endpoint {
        Some(watched) => asked.is_none_or(|asked| asked == watched),
        None => context.global.host.is_none() && context.global.context.is_none(),
    }
}

/// Stops it and starts it again, with the settings as they are now.
pub async fn restart(context: &Context, args: &args::Restart) -> Result<()> {
    let settings = context.settings()?;
    let _lock = context.lock("restart")?;
    mount::admit(context, &settings.mounts)?;
    let engine = context.engine().await?;
    let container = find(context, &engine).await?;
    let report = stop(context, &engine, container, Duration::from_secs(args.timeout)).await?;
    let started = start::start(context, &engine, &settings, context.appliance.health.ready_timeout()).await?;
    let report = StopReport { container: ContainerReport { changed: true, ..started.container }, ..report };
    context.output.result(&report, |style| result::restart(&report, &started.url, style));
    Ok(())
}

/// This instance's container.
///
/// # Errors
/// [`Error::NotSetUp`], [`Error::NoSuchObject`], and [`Error::Foreign`] when it does not carry our labels.
pub async fn find(context: &Context, engine: &Engine) -> Result<Detail> {
    let name = context.container_name();
    let found = engine.container(&name).await?;
    if found.is_none() {
        context.settings()?;
    }
    let container = found.ok_or_else(|| Error::NoSuchObject { kind: ObjectKind::Container, name: name.clone() })?;
    match ownership(context, &container) {
        Ownership::Ours => Ok(container),
        Ownership::Foreign => Err(Error::Foreign { kind: ObjectKind::Container, name }),
    }
}

/// Whether a container carries this instance's labels.
pub fn ownership(context: &Context, container: &Detail) -> Ownership {
    Ownership::of(&container.labels, &crate::desired::labels(&context.appliance, &context.instance))
}

/// Stops a container and says how it ended.
///
/// # Errors
/// [`Error::StopFailed`] when it still runs afterwards.
pub async fn stop(context: &Context, engine: &Engine, before: Detail, grace: Duration) -> Result<StopReport> {
    let report = |detail: Detail, changed: bool, graceful: bool, killed: bool| StopReport {
        container: ContainerReport::of(&context.instance, &detail, changed),
        exit_code: detail.exit_code,
        graceful_shutdown: graceful,
        killed,
        oom_killed: detail.oom_killed,
    };
    if !before.running {
        return Ok(report(before, false, false, false));
    }
    let name = before.name.clone();
    let step = format!("stop container {name}");
    let began = std::time::Instant::now();
    context.reporter.report(&Event::StepStarted { number: 1, total: 1, step: step.clone() });
    if before.paused {
        // A paused process cannot take the signal.
        engine.unpause_container(&name).await?;
    }
    engine.stop_container(&name, grace).await?;
    let missing = || Error::NoSuchObject { kind: ObjectKind::Container, name: name.clone() };
    let after = engine.container(&name).await?.ok_or_else(missing)?;
    if after.running {
        return Err(Error::StopFailed {
            name,
            reason: "the engine reported a stop, but the container is still running".to_owned(),
        });
    }
    context.reporter.report(&Event::StepDone { number: 1, total: 1, step, elapsed: began.elapsed() });
    let code = after.exit_code.unwrap_or(0);
    // Docker sends SIGKILL itself when the grace is over; 137 that is not the kernel's doing was that.
    let killed = code == 137 && !after.oom_killed;
    let graceful = matches!(code, 0 | 143) && !after.oom_killed;
    Ok(report(after, true, graceful, killed))
}
