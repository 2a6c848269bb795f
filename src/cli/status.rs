//! `docklet status`, and `docklet` alone. One look: at most three engine calls.

use std::process::ExitCode;

use super::{autostart, context::Context, stop::ownership};
use crate::{
    data::schedule::Last,
    desired::page_url,
    disk,
    engine::{Engine, connect, docker::Detail, image::Image},
    error::{Error, Result},
    event::Event,
    observed::Ownership,
    present::status,
    probe::Seen,
    report::{
        BackupStatus, ContainerStatus, DiskStatus, EgressStatus, EngineStatus, ImageStatus, Schema, State,
        StatusReport, SupervisorStatus, VolumeStatus, Wanted,
    },
    sandbox::network_rules::Loaded,
    settings::{RestartPolicy, Settings},
    supervise::state,
    wish::{self, Wish},
};

/// Exit code for «set up and not running».
const NOT_RUNNING: u8 = 3;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line or two.
    Short,
    /// All of it.
    Long,
}

/// Shows how it is.
pub async fn run(context: &Context, form: Form) -> Result<ExitCode> {
    let settings = Settings::load(&context.files.settings())?;
    let engine = match context.engine().await {
        Ok(engine) => engine,
        Err(error) => return unreachable(context, settings.as_ref(), &error, form),
    };
    let report = look(context, settings.as_ref(), &engine).await?;
    show(context, &report, form);
    if form == Form::Long && report.supervisor.gave_up && !context.global.json && !context.global.quiet {
        let (_, gave_up) = state::look(&context.files, &wish::said(&context.files.desired())?);
        if let Some(gave_up) = gave_up {
            context.output.error(&gave_up.error(&context.container_name()), Some(context.instance.as_str()));
        }
    }
    Ok(ExitCode::from(match report.state {
        State::Running => 0,
        State::NotSetUp => crate::error::Code::NotFound.exit_status(),
        State::EngineUnreachable => crate::error::Code::NetworkError.exit_status(),
        State::Starting | State::Unhealthy | State::Stopped | State::Failed => NOT_RUNNING,
    }))
}

fn show(context: &Context, report: &StatusReport, form: Form) {
    if context.global.quiet && !context.global.json {
        return; // the exit code is the result
    }
    context.output.result(report, |style| match form {
        Form::Short => status::short(report, style),
        Form::Long => status::long(report, style, time::OffsetDateTime::now_utc()),
    });
}

/// `docklet` alone: the status in short when it is set up, else how to begin.
pub async fn short(context: &Context) -> Result<ExitCode> {
    if Settings::load(&context.files.settings())?.is_none() {
        let flag = context.instance.flag();
        let text = format!(
            "docklet runs {}, an AI coding agent with a web page, in a container on this machine\nto get started: docklet{flag} setup",
            context.appliance.title
        );
        context
            .output
            .result(&serde_json::json!({"schema": 1, "instance": context.instance, "state": "not_set_up"}), |_| text);
        return Ok(ExitCode::SUCCESS);
    }
    run(context, Form::Short).await
}

/// The engine cannot be asked: what can be said without it is said, and then why.
fn unreachable(context: &Context, settings: Option<&Settings>, error: &Error, form: Form) -> Result<ExitCode> {
    show(context, &without_engine(context, settings)?, form);
    if context.global.json {
        // Standard output holds the report already; why goes where progress goes.
        context.reporter.report(&Event::Warning { text: error.to_string() });
    } else {
        context.output.error(error, Some(context.instance.as_str()));
    }
    Ok(ExitCode::from(error.code().exit_status()))
}

fn empty(context: &Context, settings: Option<&Settings>) -> Result<StatusReport> {
    let said = wish::said(&context.files.desired())?;
    Ok(StatusReport {
        schema: Schema,
        instance: context.instance.to_string(),
        appliance: context.appliance.name.clone(),
        state: if settings.is_some() { State::Stopped } else { State::NotSetUp },
        desired: wanted(settings.is_some(), said.desired),
        url: settings.map(|s| page_url(s.network.bind.0, s.network.port.0)),
        container: None,
        image: None,
        volumes: vec![],
        supervisor: SupervisorStatus {
            survives_reboot: settings.is_some_and(|settings| autostart::is_entered(context, settings)),
            ..state::look(&context.files, &said).0
        },
        disk: disk(context, settings),
        backup: settings.filter(|s| s.backup.every.duration().is_some()).map(|settings| {
            let last = Last::load(&context.files.backup_state());
            BackupStatus {
                every: settings.backup.every.to_string(),
                last: last.success,
                file: last.file,
                error: last.error,
            }
        }),
        egress: settings.map(|settings| egress(context, settings)),
        engine: EngineStatus::default(),
    })
}

/// The network rules, and what they refused when the supervisor last looked.
fn egress(context: &Context, settings: &Settings) -> EgressStatus {
    let refusals = Loaded::load(&context.files).refusals.unwrap_or_default();
    let known = !refusals.at.is_empty();
    EgressStatus {
        mode: settings.network.egress.to_string(),
        allow: settings.network.allow.iter().map(ToString::to_string).collect(),
        refused: known.then_some(refusals.count),
        destinations: refusals.destinations,
        unresolved: refusals.unresolved,
        at: known.then_some(refusals.at),
    }
}

/// What the supervisor measured last. Asks nobody.
fn disk(context: &Context, settings: Option<&Settings>) -> DiskStatus {
    let used = state::State::load(&context.files.supervisor_state()).disk;
    let warning = disk::warning(&used, settings.and_then(|settings| settings.resources.disk.bytes()));
    let fix = warning.map(|warning| warning.fix(&context.instance.flag()));
    DiskStatus { used, warning: warning.map(|warning| warning.to_string()), fix }
}

/// Looks at the engine and at the page.
pub async fn look(context: &Context, settings: Option<&Settings>, engine: &Engine) -> Result<StatusReport> {
    let container = engine.container(&context.container_name()).await?;
    look_at(context, settings, engine, container).await
}

/// The same with a container that was looked at already.
pub async fn look_at(
    context: &Context,
    settings: Option<&Settings>,
    engine: &Engine,
    container: Option<Detail>,
) -> Result<StatusReport> {
    let mut report = empty(context, settings)?;
    report.engine = EngineStatus::from(&engine.about);
    let volume_name = |role: &str| context.instance.volume(&context.appliance.name, role);
    let volume =
        |role: &str, mount: &str, exists| VolumeStatus { name: volume_name(role), mount: mount.to_owned(), exists };
    let definitions = &context.appliance.volumes;
    let Some(container) = container else {
        let there = engine.volumes(&context.appliance.name).await?;
        let exists = |role: &str| there.iter().any(|v| v.name == volume_name(role));
        report.volumes = definitions.iter().map(|v| volume(&v.role, &v.mount, exists(&v.role))).collect();
        return Ok(report);
    };
    if ownership(context, &container) == Ownership::Foreign {
        return Err(Error::Foreign { kind: crate::error::ObjectKind::Container, name: container.name });
    }
    // A volume that a container has cannot be removed: those that it names are there.
    let mounted = &container.live.volumes;
    let has = |role: &str| mounted.contains_key(&volume_name(role));
    report.volumes = definitions.iter().map(|v| volume(&v.role, &v.mount, has(&v.role))).collect();
    if container.live.publish.port > 0 {
        report.url = Some(page_url(container.live.publish.address, container.live.publish.port));
    }
    let (image, answers) = tokio::join!(engine.image(&container.image_id), answers(context, &container));
    report.image = Some(image_status(&container, image?));
    if let Some(egress) = &mut report.egress {
        egress.mode = container.live.egress.to_string();
    }
    report.container = Some(container_status(container));
    if settings.is_some() {
        report.state = state(context, &report, answers?);
    }
    Ok(report)
}

/// What can be said while the engine cannot be asked.
pub fn without_engine(context: &Context, settings: Option<&Settings>) -> Result<StatusReport> {
    let mut report = StatusReport { state: State::EngineUnreachable, ..empty(context, settings)? };
    (report.engine.endpoint, report.engine.origin) = connect::chosen(&context.selection()).unzip();
    Ok(report)
}

/// The same container with what the supervisor and the user have said since.
pub fn look_again(context: &Context, report: &mut StatusReport, answers: bool) -> Result<()> {
    let said = wish::said(&context.files.desired())?;
    report.desired = wanted(context.files.settings().exists(), said.desired);
    let survives_reboot = report.supervisor.survives_reboot;
    report.supervisor = SupervisorStatus { survives_reboot, ..state::look(&context.files, &said).0 };
    if report.container.is_some() {
        report.state = state(context, report, answers);
    }
    Ok(())
}

/// Whether the page answers, where there can be one.
pub async fn answers(context: &Context, container: &Detail) -> Result<bool> {
    if !container.running || container.paused {
        return Ok(false);
    }
    let Ok(probe) = context.probe_of(&container.live.publish) else { return Ok(false) };
    Ok(probe.look().await == Seen::Works)
}

fn wanted(is_set_up: bool, wish: Wish) -> Wanted {
    if is_set_up && wish == Wish::Running { Wanted::Running } else { Wanted::Stopped }
}

/// What the container, the page, the supervisor and the user's wish are together.
fn state(context: &Context, report: &StatusReport, answers: bool) -> State {
    let (desired, supervisor) = (report.desired, &report.supervisor);
    let Some(container) = &report.container else { return report.state };
    if !container.running {
        if desired == Wanted::Running && (supervisor.gave_up || supervisor.port_taken.is_some()) {
            return State::Failed;
        }
        if desired == Wanted::Running && supervisor.running && restart_policy(context) == RestartPolicy::Always {
            return State::Starting; // it is about to be restarted
        }
        // Ended by itself or by a polite request is «stopped»; anything else is a failure, unless
        // the user wants it so.
        let failed = desired == Wanted::Running && !matches!(container.exit_code, None | Some(0 | 143));
        return if failed { State::Failed } else { State::Stopped };
    }
    if container.paused {
        return State::Unhealthy;
    }
    if answers {
        return State::Running;
    }
    if supervisor.gave_up {
        return State::Failed;
    }
    let age =
        container.started_at.as_deref().and_then(crate::clock::parse).map(|at| time::OffsetDateTime::now_utc() - at);
    let still_starting = age.is_some_and(|age| age < context.appliance.health.ready_timeout());
    if still_starting { State::Starting } else { State::Unhealthy }
}

fn restart_policy(context: &Context) -> RestartPolicy {
    Settings::load(&context.files.settings()).ok().flatten().unwrap_or_default().restart.policy
}

fn image_status(container: &Detail, image: Option<Image>) -> ImageStatus {
    ImageStatus {
        reference: container.image.clone(),
        id: Some(container.image_id.clone()),
        appliance_version: image.as_ref().and_then(|i| i.appliance_version.clone()),
        size: image.map(|i| i.size),
    }
}

fn container_status(detail: Detail) -> ContainerStatus {
    ContainerStatus {
        id: detail.id,
        name: detail.name,
        image: detail.image,
        state: detail.status,
        running: detail.running,
        paused: detail.paused,
        exit_code: detail.exit_code,
        started_at: detail.started_at,
        finished_at: detail.finished_at,
        oom_killed: detail.oom_killed,
        health: detail.health,
        networks: detail.networks,
        restart_policy: detail.restart_policy,
    }
}
