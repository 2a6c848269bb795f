//! What `setup`, `start`, `restart` and `password --rotate` share: look, plan, and apply.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    Instance, build_surroundings, lost_undo, other_home,
    release::{self, Committed},
    run_plan::{self, PlanRun},
    supervisor,
};
use crate::{
    appliance::Appliance,
    apply::{self, Sandbox},
    desired::Desired,
    desired_state::{self, DesiredState},
    engine::Engine,
    error::{Error, Result},
    host::tunnel,
    interrupt, mounts, observe,
    observed::{self, Observed},
    plan::{self, Action, Plan, guarded, lost},
    probe::Seen,
    ready,
    sandbox::{self, ssh_agent},
    secrets::Secret,
    settings::Settings,
};

/// A plan, and what it was made from.
pub struct Planned {
    /// What is wanted.
    pub desired: Desired,
    /// What leads out of a state that a killed command left behind; done first.
    pub recovery: Plan,
    /// What to do.
    pub plan: Plan,
    /// What the container that is replaced has outside its volumes, in a line.
    pub lost: Option<String>,
    /// The data volumes that are gone beside others that are there, in a line.
    pub missing: Option<String>,
    /// Whether a page that only this machine reached is published to others.
    pub opens_up: bool,
    /// The engine's id of the container that is there now.
    pub container_id: Option<String>,
    /// Whether that runs once `recovery` is done.
    pub runs: bool,
    /// Whether the engine says that it cannot hold a container to a memory limit.
    pub no_memory_limit: bool,
    /// What is installed, in the release that counts.
    pub appliance: Appliance,
    /// What was committed and is not written down yet.
    pub committed: Committed,
    /// What the container is given.
    pub sandbox: Sandbox,
}

impl Planned {
    /// Whether a container that runs would be replaced because of settings that were changed since: only `start` does
    /// that, recovery after another command's end does not.
    pub fn applies_changed_settings(&self) -> bool {
        self.runs && self.plan.changed_settings().is_some()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.recovery.is_empty() && self.plan.is_empty()
    }
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.recovery.is_empty() {
            writeln!(f, "first, to complete an interrupted command:\n{}\nthen:", self.recovery)?;
        }
        self.plan.fmt(f)?;
        if let Some(missing) = &self.missing {
            write!(f, "\n     {missing}")?;
        }
        match &self.lost {
            Some(lost) => write!(f, "\n     will be lost with the old container: {lost}"),
            None => Ok(()),
        }
    }
}

/// How to go about it.
#[derive(Debug, Clone, Default)]
pub struct ConvergeOptions {
    /// Whether it shall run in the end.
    pub running: bool,
    /// An archive to load the image from.
    pub image_file: Option<PathBuf>,
    /// Whether a Ctrl-C waits until it is done.
    pub uninterrupted: bool,
    /// Secrets that are about to be written.
    pub new_secrets: BTreeMap<String, Secret>,
    /// Whether the settings are new: they, and what the user wants of the container, are saved once their image is there. An
    /// image that cannot be had is not asked for again by the next command.
    pub saves: bool,
}

/// Looks at the engine and plans.
///
/// # Errors
/// What [`observe::look`] and [`plan::converge`] find.
pub async fn plan(instance: &Instance, engine: &Engine, settings: &Settings, how: &ConvergeOptions) -> Result<Planned> {
    let snapshot = observe::look_at_own(engine, &instance.appliance, &instance.name).await?;
    plan_with(instance, engine, &snapshot, settings, how).await
}

/// Plans from a look that was taken already.
///
/// # Errors
/// As [`plan`].
pub async fn plan_with(
    instance: &Instance,
    engine: &Engine,
    snapshot: &observe::Snapshot,
    settings: &Settings,
    how: &ConvergeOptions,
) -> Result<Planned> {
    let mut planned = plan_from(instance, engine, snapshot, settings, how).await?;
    if !planned.plan.creates() {
        return Ok(planned);
    }
    if settings.git.ssh_agent {
        ssh_agent::check(engine)?;
    }
    let mut snapshot = snapshot.clone();
    if engine.known_host.is_some() {
        // The machine may have got more memory or processors since it was asked about them.
        let host = engine.host().await?;
        if host != snapshot.host {
            snapshot.host = host;
            planned = plan_from(instance, engine, &snapshot, settings, how).await?;
        }
    }
    let (desired, there) = (settings.resources.cpus.0, snapshot.host.cpus);
    if there > 0 && desired > there as f64 {
        // The engine would refuse it, after the old container was stopped.
        return Err(Error::Usage {
            message: format!("{desired} CPUs are set, but the engine has {there}"),
            hint: Some(format!("to use all: docklet{} config set resources.cpus 0", instance.name.flag())),
        });
    }
    Ok(planned)
}

async fn plan_from(
    instance: &Instance,
    engine: &Engine,
    snapshot: &observe::Snapshot,
    settings: &Settings,
    how: &ConvergeOptions,
) -> Result<Planned> {
    other_home::refuse(instance, &snapshot.containers)?;
    remote_refuses(engine, settings)?;
    let name = instance.container_name();
    if !snapshot.containers.iter().any(|c| c.name == name && c.is_running()) {
        // One that leads nowhere would hold the port.
        tunnel::close_all(&instance.files.state).await;
    }
    // What was committed counts, whether its release was written down already or not.
    let committed = release::committed(instance, snapshot);
    let mut appliance = instance.appliance.clone();
    if let Some(release) = &committed.release {
        appliance.adopt(release.clone());
    }
    let mut settings = settings.clone();
    if let Some(reference) = &committed.reference {
        settings.image.reference.clone_from(reference);
    }
    let (given, secrets) =
        sandbox::given(engine, &appliance, &settings, &instance.files, snapshot.host.memory, &how.new_secrets)?;
    let mut desired =
        Desired::new(&appliance, &settings, &instance.name, &instance.files, &given, how.image_file.as_deref());
    let sandbox = Sandbox {
        helper: desired.helper_name.clone(),
        labels: desired.container.labels.clone(),
        ids: given.ids,
        secrets,
        rules: run_plan::rules(instance, &settings, &how.new_secrets)?,
        files: instance.files.clone(),
        mounts: settings.mounts.clone(),
    };
    desired.running = how.running;
    let observed = at_rest(instance, engine, snapshot, &desired).await?;
    lost_undo::check(&observed)?;
    let (recovery, observed) = guarded::recover(&desired, &observed)?;
    let mut plan = plan::converge(&desired, &observed)?;
    if desired.running
        && observed.main.as_ref().is_some_and(|c| c.running)
        && !sandbox.rules.are_loaded(&instance.files)
    {
        plan.load_rules(&desired);
    }
    if plan.starts() {
        mounts::verify(&settings.mounts, &instance.files.mounts())?;
    }
    let private = |c: &observed::Container| c.live.as_ref().is_some_and(|live| live.publish.address.is_loopback());
    let opens_up = !desired.container.publish.address.is_loopback() && observed.main.as_ref().is_some_and(private);
    let replaced = observed.main.as_ref().filter(|_| plan.creates());
    let lost = match replaced {
        Some(old) => lost(engine, &appliance, &old.name).await,
        None => None,
    };
    let missing = missing_volumes(instance, &desired, &observed).filter(|_| plan.creates());
    let runs = observed.main.as_ref().is_some_and(|c| c.running);
    let container_id = observed.main.map(|c| c.id);
    Ok(Planned {
        no_memory_limit: snapshot.host.no_memory_limit,
        lost,
        missing,
        opens_up,
        container_id,
        runs,
        desired,
        recovery,
        plan,
        appliance,
        committed,
        sandbox,
    })
}

/// Refuses what a machine behind ssh cannot have.
pub(super) fn remote_refuses(engine: &Engine, settings: &Settings) -> Result<()> {
    let Some(mount) = settings.mounts.first().filter(|_| engine.is_behind_ssh()) else { return Ok(()) };
    let endpoint = &engine.about.endpoint;
    let folder = mount.host.display();
    Err(Error::SettingRefused {
        key: "mounts".to_owned(),
        value: folder.to_string(),
        reason: format!("{folder} is on this machine, and the engine on another ({endpoint})"),
        hint: "mount nothing, and clone the repository inside, with docklet shell".to_owned(),
    })
}

/// An uninstall that was killed, or somebody else, removed a part of the data: the rest would look like all of it.
fn missing_volumes(instance: &Instance, desired: &Desired, observed: &Observed) -> Option<String> {
    let is_there = |name: &String| observed.volumes.iter().any(|volume| volume.name == *name);
    let gone: Vec<&str> =
        desired.volumes.iter().map(|v| &v.name).filter(|name| !is_there(name)).map(String::as_str).collect();
    (!gone.is_empty() && gone.len() < desired.volumes.len()).then(|| {
        let flag = instance.name.flag();
        format!("{} is gone and begins empty; backups that may have it: docklet{flag} backup list", gone.join(", "))
    })
}

/// What a container has outside its volumes, in a line. Best effort: Podman and old engines cannot always tell.
pub async fn lost(engine: &Engine, appliance: &Appliance, container: &str) -> Option<String> {
    let paths = engine.changed_paths(container).await.ok()?;
    lost::summary(&paths, &lost::scratch(appliance))
}

/// How long the engine may go on with a start that a killed command asked for.
const STARTING: Duration = Duration::from_secs(5);

/// What there is. A start that a killed command asked for may still be under way: the engine holds
/// the port by then, and lists our container as one that does not run.
async fn at_rest(
    instance: &Instance,
    engine: &Engine,
    snapshot: &observe::Snapshot,
    desired: &Desired,
) -> Result<Observed> {
    let begun = Instant::now();
    let mut observed = observe::observe(engine, snapshot, desired).await?;
    while observed.may_be_starting() && begun.elapsed() < STARTING {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let snapshot = observe::look_at_own(engine, &instance.appliance, &instance.name).await?;
        observed = observe::observe(engine, &snapshot, desired).await?;
    }
    Ok(observed)
}

/// Applies a plan and remembers what the user wants.
///
/// # Errors
/// The first step's that failed.
pub async fn apply(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    planned: &Planned,
    how: &ConvergeOptions,
    timeout: Duration,
) -> Result<()> {
    apply_asked(instance, engine, settings, planned, how, timeout, JoinSet::new()).await
}

/// The same, where the health of the page was asked already.
///
/// # Errors
/// As [`apply`].
pub async fn apply_asked(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    planned: &Planned,
    how: &ConvergeOptions,
    timeout: Duration,
    mut page: JoinSet<Seen>,
) -> Result<()> {
    let probe = instance.probe(settings)?;
    if !planned.is_empty() {
        build_surroundings::prepare_ca_bundle(instance, settings)?;
    }
    if let Some(missing) = &planned.missing {
        instance.warn(missing.clone());
    }
    let (_raise, never) = interrupt::pair();
    let interrupt = if how.uninterrupted { &never } else { &instance.interrupt };
    let run =
        PlanRun { timeout: Some(timeout), ..PlanRun::with(settings, &planned.appliance) }.interrupted_by(interrupt);
    let tools = run.tools(instance, engine, &planned.sandbox, &probe)?;
    release::write_down(instance, &planned.committed)?;
    let desired = if how.running { DesiredState::Running } else { DesiredState::Stopped };
    if !how.saves {
        desired_state::write(&instance.files.desired(), desired)?;
    }
    apply::apply(&planned.recovery, &tools).await?;
    let (images, all) = (planned.plan.image_steps(), planned.plan.steps.len());
    apply::apply_part(&planned.plan, 0..images, &tools).await?;
    if how.saves {
        settings.save(&instance.files.settings())?;
        desired_state::write(&instance.files.desired(), desired)?;
    }
    let main = &planned.desired.container;
    let ran = how.running && planned.is_empty();
    let asks = ran && (main.egress.has_rules() || !timeout.is_zero());
    let health = async {
        match page.join_next().await {
            Some(Ok(seen)) => seen,
            _ => probe.health().await,
        }
    };
    let answers = asks && health.await == Seen::Works;
    if ran && !answers && main.egress.has_rules() {
        // Somebody may have started it past docklet with nobody there to load its rules, for which its entrypoint waits.
        apply::load_rules(&main.name, &plan::Made::of(main), &tools).await?;
    }
    apply::apply_part(&planned.plan, images..all, &tools).await?;
    let waited = planned.plan.steps.iter().any(|s| matches!(s.action, Action::WaitUntilReady { .. }));
    if how.running && !answers && !waited && !timeout.is_zero() {
        // "Running" is said of a page that answers, also when there was nothing to do.
        let name = &planned.desired.container.name;
        let url = planned.desired.url();
        interrupt.or(interrupted(), ready::wait(engine, name, &url, &probe, timeout, tools.reporter)).await?;
    }
    if how.running {
        // What works is kept working; that nobody will restart it is no reason to call it broken.
        if let Err(error) = supervisor::ensure_running(instance, settings, engine).await {
            instance.warn(format!("opencode is running, but the supervisor could not be started: {error}"));
        }
    }
    Ok(())
}

/// The error for Ctrl-C.
pub fn interrupted() -> Error {
    Error::Interrupted { next: "run the same command again to continue".to_owned() }
}
