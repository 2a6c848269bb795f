//! `docklet start`

use std::time::Duration;

use super::{
    args, change,
    context::Context,
    converge::{self, How, Planned},
    mount,
};
use crate::{
    engine::Engine,
    error::{Error, ObjectKind, Result},
    event::Event,
    plan::Action,
    present::result,
    report::{ContainerReport, Schema, StartReport},
    settings::Settings,
    supervise,
    wish::{self, Wish},
};

/// Brings it in line with the settings, starts it and waits until the page answers.
pub async fn run(context: &Context, args: &args::Start) -> Result<()> {
    let settings = context.settings()?;
    let _lock = context.lock(if args.recover { supervise::run::RECOVERY } else { "start" })?;
    if args.recover && wish::read(&context.files.desired())? == Wish::Stopped {
        return Ok(()); // a `docklet stop` was quicker
    }
    let engine = context.engine().await?;
    let timeout = if args.no_wait { Duration::ZERO } else { Duration::from_secs(args.timeout) };
    let report = start(context, &engine, &settings, timeout).await?;
    context.output.result(&report, |style| result::start(&report, style));
    Ok(())
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
pub async fn start(context: &Context, engine: &Engine, settings: &Settings, timeout: Duration) -> Result<StartReport> {
    start_with(context, engine, settings, timeout, Exposure::Ask).await
}

/// The same, where the user may have been asked already.
///
/// A container that is just ending, as after a `stop` that was killed, still runs when it is looked
/// at; it is started again.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
    exposure: Exposure,
) -> Result<StartReport> {
    match attempt(context, engine, settings, timeout, exposure).await {
        Err((Error::Exited { .. }, Begun::Elsewhere)) => {
            attempt(context, engine, settings, timeout, exposure).await.map_err(|(error, _)| error)
        }
        done => done.map_err(|(error, _)| error),
    }
}

/// The page is about to be opened to other machines by settings that were changed past docklet: not
/// without a yes.
fn confirm_exposure(context: &Context, settings: &Settings, planned: &Planned) -> Result<()> {
    match change::exposure(settings) {
        Some(text) if planned.opens_up => context.confirm(&format!("{text}; continue?")),
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
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    timeout: Duration,
    exposure: Exposure,
) -> Result<StartReport, (Error, Begun)> {
    let how = How { running: true, ..How::default() };
    let planned = converge::plan(context, engine, settings, &how).await.map_err(|error| (error, Begun::Here))?;
    if planned.plan.starts() {
        mount::admit(context, &settings.mounts).map_err(|error| (error, Begun::Here))?;
    }
    let begun = if planned.plan.starts() { Begun::Here } else { Begun::Elsewhere };
    if exposure == Exposure::Ask {
        confirm_exposure(context, settings, &planned).map_err(|error| (error, Begun::Here))?;
    }
    carry_out(context, engine, settings, planned, timeout).await.map_err(|error| (error, begun))
}

async fn carry_out(
    context: &Context,
    engine: &Engine,
    settings: &Settings,
    mut planned: Planned,
    timeout: Duration,
) -> Result<StartReport> {
    let how = How { running: true, ..How::default() };
    if timeout.is_zero() && planned.plan.put_back.is_empty() {
        // A replacement is waited for all the same: the old container goes only when the new one works.
        planned.plan.steps.retain(|s| !matches!(s.action, Action::WaitUntilReady { .. }));
    }
    // What is waited for all the same gets its usual time: with none it would be put back at once.
    let timeout = if planned.plan.put_back.is_empty() || !timeout.is_zero() {
        timeout
    } else {
        context.appliance.health.ready_timeout()
    };
    let changed = !planned.is_empty();
    let applied = converge::apply(context, engine, settings, &planned, &how, timeout).await;
    if let (Err(_), Some(changed)) = (&applied, planned.plan.changed_settings())
        && !context.interrupt.is_raised()
    {
        let flag = context.instance.flag();
        let text = format!("the settings still contain the change that failed ({changed}): docklet{flag} config edit");
        context.reporter.report(&Event::Note { text });
    }
    applied?;
    let name = context.container_name();
    let missing = || Error::NoSuchObject { kind: ObjectKind::Container, name: name.clone() };
    let detail = if changed {
        engine.container(&name).await?.ok_or_else(missing)?
    } else {
        return Ok(unchanged(context, &planned));
    };
    Ok(StartReport { container: ContainerReport::of(&context.instance, &detail, changed), url: planned.desired.url() })
}

/// The report where there was nothing to do; the look that found that out said all that is in it.
fn unchanged(context: &Context, planned: &converge::Planned) -> StartReport {
    StartReport {
        container: ContainerReport {
            schema: Schema,
            instance: context.instance.to_string(),
            container_id: planned.container_id.clone().unwrap_or_default(),
            name: context.container_name(),
            state: "running".to_owned(),
            running: true,
            changed: false,
        },
        url: planned.desired.url(),
    }
}
