//! Status: one look, with at most three engine calls and one request to the page.

use super::{
    Instance, autostart, stop::check_ours, supervisor::state, update::scheduled::LastUpdateCheck, volume_users,
};
use crate::{
    clock,
    data::{copies::Copies, schedule::LastRun},
    desired::{BindMount, binds, page_url, ssh_agent},
    desired_state::{self, DesiredState},
    disk,
    engine::{Engine, connect, container::Detail, image::Image},
    error::Result,
    lock::{self, Lock},
    probe::{Probe, Seen},
    report::{
        BackupStatus, BackupTestStatus, ContainerStatus, CopyStatus, DiskStatus, EgressStatus, EngineStatus,
        FolderStatus, ImageStatus, LimitsStatus, State, StatusReport, SupervisorStatus, TunnelStatus, UpdateStatus,
        VolumeStatus,
    },
    sandbox::network_rules::Loaded,
    settings::{RestartPolicy, Settings},
};

impl Instance {
    /// How it is; `None` when there is no such instance: neither settings nor a container.
    ///
    /// # Errors
    /// Why the engine cannot be used, and what it says.
    pub async fn status(&self) -> Result<Option<StatusReport>> {
        let settings = Settings::load(&self.files.settings())?;
        let engine = self.engine().await?;
        let report = report(self, settings.as_ref(), &engine).await?;
        Ok(Some(report).filter(|report| report.state != State::NotSetUp || report.container.is_some()))
    }
}

fn empty(instance: &Instance, settings: Option<&Settings>) -> Result<StatusReport> {
    let recorded = desired_state::recorded(&instance.files.desired())?;
    Ok(StatusReport {
        instance: instance.name.to_string(),
        appliance: instance.appliance.name.clone(),
        state: if settings.is_some() { State::Stopped } else { State::NotSetUp },
        desired: desired(settings.is_some(), recorded.desired),
        url: settings.map(|s| page_url(s.network.bind.0, s.network.port.0)),
        container: None,
        image: None,
        volumes: vec![],
        supervisor: SupervisorStatus {
            survives_reboot: settings.is_some_and(|settings| autostart::is_entered(instance, settings)),
            ..state::for_status(&instance.files, &recorded).0
        },
        disk: disk(instance, settings),
        backup: settings.filter(|s| s.backup.every.duration().is_some()).map(|settings| {
            let last = LastRun::load(&instance.files.backup_state());
            BackupStatus {
                every: settings.backup.every.to_string(),
                next: settings.backup.every.duration().and_then(|every| next(&last, every)),
                last: last.success,
                file: last.file,
                error: last.error,
            }
        }),
        ssh_agent: settings.is_some_and(|settings| settings.git.ssh_agent),
        update: settings.filter(|s| s.update.check_every.duration().is_some()).map(|settings| {
            let LastUpdateCheck { last, available } = LastUpdateCheck::load(&instance.files.update_state());
            UpdateStatus {
                every: settings.update.check_every.to_string(),
                last: last.success,
                available,
                error: last.error,
            }
        }),
        copy: settings.filter(|s| !s.backup.copy.is_empty()).map(|_| {
            let Copies { attempt, success, file, error, .. } = Copies::load(&instance.files.copies());
            CopyStatus { last: success, file, attempt, error }
        }),
        backup_test: settings.filter(|s| s.backup.test_every.duration().is_some()).map(|settings| {
            let LastRun { attempt, success, file, error } = LastRun::load(&instance.files.backup_test());
            BackupTestStatus { every: settings.backup.test_every.to_string(), last: success, file, attempt, error }
        }),
        folders: settings.map(|settings| folders(&binds(settings))).unwrap_or_default(),
        limits: settings.map(limits),
        egress: settings.map(|settings| egress(instance, settings)),
        secrets: instance.secret_names()?,
        environment: settings.iter().flat_map(|s| s.environment.keys()).map(ToString::to_string).collect(),
        engine: EngineStatus::default(),
        tunnel: None,
        command: Lock::holder(&instance.files.lock()).map(|holder| lock::shown(&holder)),
    })
}

/// When the next scheduled backup is due.
fn next(last: &LastRun, every: std::time::Duration) -> Option<String> {
    last.attempt.is_some().then(|| clock::rfc3339(last.next(every)))
}

fn folders(binds: &[BindMount]) -> Vec<FolderStatus> {
    let folder = |bind: &BindMount| FolderStatus {
        host: bind.host.display().to_string(),
        container: bind.container.clone(),
        read_only: bind.read_only,
    };
    // The folder of the ssh agent is docklet's own.
    binds.iter().filter(|bind| bind.container != ssh_agent::MOUNT).map(folder).collect()
}

/// The limits that the settings name.
fn limits(settings: &Settings) -> LimitsStatus {
    let resources = &settings.resources;
    LimitsStatus { memory: resources.memory.0.0, cpus: resources.cpus.0, pids: resources.pids }
}

/// The network rules, and what they refused when the supervisor last looked.
fn egress(instance: &Instance, settings: &Settings) -> EgressStatus {
    let refusals = Loaded::load(&instance.files).refusals.unwrap_or_default();
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
fn disk(instance: &Instance, settings: Option<&Settings>) -> DiskStatus {
    let used = state::SupervisorState::load(&instance.files.supervisor_state()).disk;
    let warning = disk::warning(&used, settings.and_then(|settings| settings.resources.disk.bytes()));
    let fix = warning.map(|warning| warning.fix(&instance.name.flag()));
    DiskStatus { used, warning: warning.map(|warning| warning.to_string()), fix }
}

/// Looks at the engine and at the page.
pub async fn report(instance: &Instance, settings: Option<&Settings>, engine: &Engine) -> Result<StatusReport> {
    let container = engine.container(&instance.container_name()).await?;
    report_on(instance, settings, engine, container).await
}

/// The same with a container that was looked at already.
pub async fn report_on(
    instance: &Instance,
    settings: Option<&Settings>,
    engine: &Engine,
    container: Option<Detail>,
) -> Result<StatusReport> {
    let mut report = empty(instance, settings)?;
    report.engine = EngineStatus::from(&engine.about);
    let volume_name = |role: &str| instance.volume_name(role);
    let volume =
        |role: &str, mount: &str, exists| VolumeStatus { name: volume_name(role), mount: mount.to_owned(), exists };
    let definitions = &instance.appliance.volumes;
    let Some(container) = container else {
        let (there, ()) =
            tokio::try_join!(engine.volumes(&instance.appliance.name), volume_users::refuse(instance, engine, false))?;
        let exists = |role: &str| there.iter().any(|v| v.name == volume_name(role));
        report.volumes = definitions.iter().map(|v| volume(&v.role, &v.mount, exists(&v.role))).collect();
        return Ok(report);
    };
    check_ours(instance, &container)?;
    // A volume that a container has cannot be removed: those that it names are there.
    let mounted = &container.live.volumes;
    let has = |role: &str| mounted.contains_key(&volume_name(role));
    report.volumes = definitions.iter().map(|v| volume(&v.role, &v.mount, has(&v.role))).collect();
    if container.live.publish.port > 0 {
        report.url = Some(page_url(container.live.publish.address, container.live.publish.port));
    }
    let (image, answers, tunnel) = tokio::join!(
        engine.image(&container.image_id),
        answers(instance, engine, &container),
        tunnel(instance, &container)
    );
    report.tunnel = tunnel;
    report.image = Some(image_status(&container, image?));
    report.folders = folders(&container.live.binds);
    report.limits = Some(LimitsStatus {
        memory: container.live.memory,
        cpus: container.live.nano_cpus as f64 / 1e9,
        pids: container.live.pids,
    });
    if let Some(egress) = &mut report.egress {
        egress.mode = container.live.egress.to_string();
    }
    report.container = Some(container_status(container));
    if settings.is_some() {
        report.state = state(instance, &report, answers?);
    }
    Ok(report)
}

/// What can be said while the engine cannot be asked.
pub fn without_engine(instance: &Instance, settings: Option<&Settings>) -> Result<StatusReport> {
    let mut report = StatusReport { state: State::EngineUnreachable, ..empty(instance, settings)? };
    (report.engine.endpoint, report.engine.origin) = connect::chosen(&instance.selection()).unzip();
    Ok(report)
}

/// The same container with what the supervisor and the user have said since.
pub fn refresh(instance: &Instance, report: &mut StatusReport, answers: bool) -> Result<()> {
    let recorded = desired_state::recorded(&instance.files.desired())?;
    report.desired = desired(instance.files.settings().exists(), recorded.desired);
    let survives_reboot = report.supervisor.survives_reboot;
    report.supervisor = SupervisorStatus { survives_reboot, ..state::for_status(&instance.files, &recorded).0 };
    if report.container.is_some() {
        report.state = state(instance, report, answers);
    }
    Ok(())
}

/// Whether the page answers, where there can be one.
pub async fn answers(instance: &Instance, engine: &Engine, container: &Detail) -> Result<bool> {
    if !container.running || container.paused {
        return Ok(false);
    }
    let publish = &container.live.publish;
    let Ok(password) = instance.password() else { return Ok(false) };
    let probe = match instance.tunnel(publish) {
        Some(tunnel) if tunnel.is_unwanted() => Probe::inside(&instance.appliance, engine, &container.name, &password),
        _ => instance.probe_of(publish)?.read_only(),
    };
    Ok(probe.health().await == Seen::Works)
}

/// How the tunnel is, where there is something that it can lead to.
async fn tunnel(instance: &Instance, container: &Detail) -> Option<TunnelStatus> {
    let tunnel = instance.tunnel(&container.live.publish).filter(|_| container.running)?;
    Some(TunnelStatus { open: tunnel.is_open().await, closed_by_user: tunnel.is_unwanted() })
}

fn desired(is_set_up: bool, recorded: DesiredState) -> DesiredState {
    if is_set_up { recorded } else { DesiredState::Stopped }
}

/// What the container, the page, the supervisor and the desired state are together.
fn state(instance: &Instance, report: &StatusReport, answers: bool) -> State {
    let (desired, supervisor) = (report.desired, &report.supervisor);
    let Some(container) = &report.container else { return report.state };
    if !container.running {
        if desired == DesiredState::Running && (supervisor.gave_up || supervisor.port_taken.is_some()) {
            return State::Failed;
        }
        let restarts = match restart_policy(instance) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => container.oom_killed || !matches!(container.exit_code, None | Some(0)),
            RestartPolicy::Never => false,
        };
        if desired == DesiredState::Running && supervisor.running && restarts {
            return State::Starting; // it is about to be restarted
        }
        // Ended by itself or by a polite request is "stopped"; anything else is a failure, unless
        // the user wants it so.
        let failed = desired == DesiredState::Running && !matches!(container.exit_code, None | Some(0 | 143));
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
    let still_starting = age.is_some_and(|age| age < instance.appliance.health.ready_timeout());
    if still_starting { State::Starting } else { State::Unhealthy }
}

fn restart_policy(instance: &Instance) -> RestartPolicy {
    Settings::load(&instance.files.settings()).ok().flatten().unwrap_or_default().restart.policy
}

fn image_status(container: &Detail, image: Option<Image>) -> ImageStatus {
    ImageStatus {
        reference: container.image.clone(),
        id: Some(container.image_id.clone()),
        appliance_version: image.as_ref().and_then(|i| i.appliance_version.clone()),
        compressed: image.as_ref().is_some_and(|i| i.compressed),
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
