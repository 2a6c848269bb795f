//! The one way in which update, rollback and restore change the release or the data: behind a backup, on the same
//! volumes, and undone when the new container does not prove itself. Also leads out of what a killed one left.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Instance,
    backup::{self, Backup},
    backup_test,
    converge::{self, ConvergeOptions},
    lost_undo, other_home, release,
    restore::pending,
};
use crate::{
    appliance::{Appliance, Release},
    apply::{self, Sandbox, Tools},
    data::{
        archive::read::Contents,
        data_check::{self, Records},
        store::Reason,
    },
    desired::{Desired, Publish, labels_in_home},
    desired_state::{self, DesiredState},
    engine::{Engine, docker::Listed},
    error::{Error, Result},
    event::Event,
    interrupt::{self, Interrupt},
    mounts,
    observe::{self, Snapshot},
    plan::{
        Plan,
        guarded::{self, Change},
    },
    probe::Probe,
    sandbox::{self, ssh_agent},
    secrets::Secret,
    settings::Settings,
};

/// Grace for the old container.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Looks, leads out of what a killed command left behind, and looks again. Call it with the lock
/// held. `settings` are `None` where the instance is not set up.
///
/// # Errors
/// What looking, planning and the steps find.
pub async fn recovered(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<Snapshot> {
    let look = backup::look(instance, engine).await?;
    other_home::refuse(instance, &look.containers)?;
    pending::finish(instance, engine).await?;
    let committed = release::committed(instance, &look);
    release::write_down(instance, &committed)?;
    // What was committed may have brought other settings.
    let written = if committed.container.is_some() { Settings::load(&instance.files.settings())? } else { None };
    let settings = written.as_ref().or(settings);
    let default = Settings::default();
    let wanted = desired(instance, engine, &instance.appliance, settings.unwrap_or(&default), &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    lost_undo::check(&observed)?;
    let (plan, _) = guarded::recover(&wanted, &observed)?;
    let wants_it = settings.is_some() && desired_state::read(&instance.files.desired())? == DesiredState::Running;
    // A start that was killed before the rules were there: the entrypoint waits for them.
    let without_rules = match settings {
        Some(settings) if wants_it && observed.main.as_ref().is_some_and(|c| c.running) => {
            !converge::rules(instance, settings, &Default::default())?.are_loaded(&instance.files)
        }
        _ => false,
    };
    if plan.is_empty() && !without_rules {
        return Ok(look);
    }
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let planned = match settings.filter(|_| wants_it) {
        Some(settings) => Some(converge::plan_with(instance, engine, &look, settings, &how).await?),
        None => None,
    };
    let planned = planned.filter(|planned| !planned.applies_changed_settings());
    if plan.is_empty() && planned.is_none() {
        return Ok(look);
    }
    instance.reporter.report(&completing());
    match (settings, planned) {
        (Some(settings), Some(planned)) => {
            let timeout = instance.appliance.health.ready_timeout();
            Box::pin(converge::apply(instance, engine, settings, &planned, &how, timeout)).await?;
        }
        _ => run(instance, engine, settings.unwrap_or(&default), &instance.appliance, &plan, None).await?,
    }
    backup::look(instance, engine).await
}

/// Only leads out of what a killed command left behind, and starts nothing. For who stops or removes it anyway.
///
/// # Errors
/// As [`recovered`].
pub async fn tidy(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<()> {
    let look = backup::look(instance, engine).await?;
    let default = Settings::default();
    let held = settings.unwrap_or(&default);
    let wanted = desired(instance, engine, &instance.appliance, held, &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    let (plan, _) = match guarded::recover(&wanted, &observed) {
        // What is not ours stays as it is, and is no reason to keep what is.
        Err(Error::Foreign { .. } | Error::VolumeInUse { .. } | Error::Renamed { .. }) => return Ok(()),
        found => found?,
    };
    lost_undo::check(&observed)?;
    if !plan.is_empty() {
        instance.reporter.report(&completing());
    }
    run(instance, engine, held, &instance.appliance, &plan, None).await
}

fn completing() -> Event {
    Event::Note { text: "completing or reverting the work of an interrupted command first".to_owned() }
}

/// A guarded change.
pub struct Guarded<'a> {
    /// What is installed then.
    pub appliance: &'a Appliance,
    /// The settings that hold then.
    pub settings: &'a Settings,
    /// The image: its name, or its id.
    pub image: &'a str,
    /// The release that the instance has then; `None` where docklet does not build the image.
    pub release: Option<&'a Release>,
    /// The backup to take the data from, which was read whole, and what is in it; `None`: the data stays.
    pub archive: Option<(&'a Path, &'a Contents)>,
    /// Roles of the volumes that are taken from it; empty: all that it holds.
    pub only: &'a [String],
    /// Why the data of now is backed up; `None`: it is not, and what undoes the change is `archive` itself.
    pub backup: Option<Reason>,
    /// Whether there was no data before, so that none is put back.
    pub fresh: bool,
    /// What must still be there afterwards.
    pub records: Records,
    /// Where that was learnt from.
    pub asked: Asked,
    /// What it means when some of that is missing.
    pub missing: Missing,
    /// How long the page may take to answer.
    pub timeout: Duration,
}

/// Where the records that must still be there are known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// They are in the backup that the data comes from.
    OfTheBackup,
    /// The program said so before it was stopped.
    BeforeTheStop,
}

/// What missing records mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The change fails.
    Fails,
    /// The change fails, and the user may override that with `--force`.
    FailsUnlessForced,
    /// The user said `--force`: they are told.
    IsTold,
}

impl Guarded<'_> {
    /// Makes the change, up to its commit. There is a container, and the image is on the engine. `data_check` are those of
    /// what runs now, where they were asked for. The backup that was made. After an error, [`undo`] follows.
    ///
    /// # Errors
    /// The first step's that failed, and [`Error::Unhealthy`] when data is missing.
    pub async fn make(
        &self,
        instance: &Instance,
        engine: &Engine,
        records: Option<Records>,
    ) -> Result<Option<PathBuf>> {
        mounts::verify(&self.settings.mounts, &instance.files.mounts())?;
        let look = backup::look(instance, engine).await?;
        let ran = stop(instance, engine, &look).await?;
        // Stopped, so that nothing is written behind the backup.
        let look = backup::look(instance, engine).await?;
        let saved = match self.backup {
            Some(reason) => {
                let made = backup::take(instance, engine, &look, reason, &Backup::default(), records).await?.made;
                if self.archive.is_some() {
                    backup::confirm_left_out(instance, &made.manifest)?;
                }
                Some(made.file)
            }
            None => None,
        };
        let archive = self.archive.map(|(file, _)| file.to_owned());
        let undo = saved.clone().or(archive.clone().filter(|_| !self.fresh)).unwrap_or_default();
        let change = Change { image: self.image, release: self.release, undo, archive, only: self.only };
        let wanted = desired(instance, engine, self.appliance, self.settings, &look);
        let observed = observe::observe(engine, &look, &wanted).await?;
        converge::prepare_ca_bundle(instance, self.settings)?;
        let plan = guarded::change(&wanted, &observed, &change);
        self.run(instance, engine, &plan, None).await?;
        let image = backup::own_container(instance, &look).map(|old| old.image_id.as_str());
        self.prove(instance, engine, image.zip(saved.as_deref())).await?;
        self.commit(instance, engine, &guarded::commit(&wanted, !shall_run(instance, ran)?)).await?;
        // It counts: old ways back that cannot be removed are no reason to fail.
        let used = self.archive.map(|(file, _)| file);
        if let Err(error) = backup::prune::by_settings(instance, self.settings, saved.as_deref(), used) {
            let text = format!("older backups could not be removed: {error}");
            instance.reporter.report(&Event::Warning { text });
        }
        Ok(saved)
    }

    /// Commits: it counts or it does not, and a Ctrl-C in between waits. An answer that is lost proves nothing: the engine
    /// is asked again, which is harmless, and what is there then decides.
    async fn commit(&self, instance: &Instance, engine: &Engine, plan: &Plan) -> Result<()> {
        let (_raise, patient) = interrupt::pair();
        let Err(error) = self.run(instance, engine, plan, Some(&patient)).await else { return Ok(()) };
        if self.run(instance, engine, plan, Some(&patient)).await.is_ok() {
            return Ok(());
        }
        match backup::look(instance, engine).await {
            Ok(look) if release::committed(instance, &look).container.is_some() => Ok(()),
            _ => Err(error),
        }
    }

    /// Whether the program that runs now has what must still be there. `before`: the image that ran, and the backup of then.
    async fn prove(&self, instance: &Instance, engine: &Engine, before: Option<(&str, &Path)>) -> Result<()> {
        let probe = probe(instance, self.settings);
        let mut missing = data_check::missing(&probe, &self.records).await;
        if let (Asked::BeforeTheStop, Some((image, file))) = (self.asked, before)
            && !missing.is_empty()
        {
            // What was deleted between the question and the stop is in no backup that was made behind the stop.
            let text = "records are missing; looking whether they were deleted before the stop".to_owned();
            instance.reporter.report(&Event::Note { text });
            match backup_test::records_in(instance, engine, self.settings, file, image, &missing).await {
                Ok(in_backup) => missing = in_backup,
                Err(error @ Error::Interrupted { .. }) => return Err(error),
                // Then they count as lost.
                Err(error) => instance.reporter.report(&Event::Warning { text: error.with_causes(": ") }),
            }
        }
        let Some((path, ids)) = missing.iter().find(|(_, ids)| !ids.is_empty()) else { return Ok(()) };
        let mut reason = data_check::lacking(path, ids, self.records.get(path).map_or(0, Vec::len));
        match self.missing {
            Missing::IsTold => {
                instance.reporter.report(&Event::Warning { text: reason });
                return Ok(());
            }
            Missing::FailsUnlessForced => reason.push_str("; to accept the data anyway, add --force"),
            Missing::Fails => {}
        }
        Err(Error::Unhealthy { name: instance.container_name(), reason, log: vec![] })
    }

    async fn run(
        &self,
        instance: &Instance,
        engine: &Engine,
        plan: &Plan,
        interrupt: Option<&Interrupt>,
    ) -> Result<()> {
        let work = Work { verified: self.archive, timeout: self.timeout, interrupt };
        run_with(instance, engine, self.settings, self.appliance, plan, work).await
    }
}

/// What the program that runs says that it holds; `None` where it cannot be asked.
///
/// # Errors
/// When the password cannot be read.
pub async fn records_now(instance: &Instance, main: &Listed, settings: &Settings) -> Result<Option<Records>> {
    // Settings that do not hold yet may name a port that is somebody else's.
    if main.state != "running" || !main.publishes(settings.network.port.0) {
        return Ok(None);
    }
    let probe = instance.probe(settings)?;
    Ok(Some(data_check::list(&probe, &instance.appliance.records.paths).await))
}

/// Which of these it still holds, right before it is stopped: what came and went in between proves nothing.
///
/// # Errors
/// As [`records_now`].
pub async fn records_still(
    instance: &Instance,
    main: &Listed,
    settings: &Settings,
    early: Option<Records>,
) -> Result<Option<Records>> {
    match early {
        Some(early) if main.publishes(settings.network.port.0) => {
            Ok(Some(data_check::there(&instance.probe(settings)?, &early).await))
        }
        early => Ok(early),
    }
}

/// Stops the container; whether it ran.
///
/// # Errors
/// What the engine says.
pub async fn stop(instance: &Instance, engine: &Engine, look: &Snapshot) -> Result<bool> {
    let Some(main) = backup::own_container(instance, look) else { return Ok(false) };
    if main.state == "paused" {
        engine.unpause_container(&main.name).await?;
    }
    if main.is_running() {
        match engine.stop_container(&main.name, STOP_GRACE).await {
            Err(Error::NoSuchObject { .. }) => {}
            other => drop(other?),
        }
    }
    Ok(main.is_running())
}

/// After the commit: writes down what holds, and sees to it that it runs if it shall. It counts already, so a Ctrl-C waits.
///
/// # Errors
/// What planning and the steps find.
pub async fn settle(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    running: bool,
    timeout: Duration,
) -> Result<()> {
    let how = ConvergeOptions { running, uninterrupted: true, ..ConvergeOptions::default() };
    let planned = converge::plan(instance, engine, settings, &how).await?;
    let work = Box::pin(converge::apply(instance, engine, settings, &planned, &how, timeout));
    let told = async {
        instance.interrupt.wait().await;
        let text = "the change is already committed; completing it first".to_owned();
        instance.reporter.report(&Event::Note { text });
        std::future::pending().await
    };
    tokio::select! {
        done = work => done,
        never = told => never,
    }
}

/// Whether it shall run in the end: as it is now, or as the user wants it.
///
/// # Errors
/// When what the user wants cannot be read.
pub fn shall_run(instance: &Instance, ran: bool) -> Result<bool> {
    Ok(ran || desired_state::read(&instance.files.desired())? == DesiredState::Running)
}

/// Takes everything back that has not been committed. `again`: what was there shall run; however short a time the user gave
/// the new one, that has the usual time to answer. A Ctrl-C waits.
///
/// # Errors
/// What the steps find; then the next command goes on with it.
pub async fn undo(instance: &Instance, engine: &Engine, held: &Settings, again: bool) -> Result<()> {
    instance.reporter.report(&Event::Note { text: "rolling back".to_owned() });
    let (_raise, patient) = interrupt::pair();
    let look = backup::look(instance, engine).await?;
    if release::committed(instance, &look).container.is_some() {
        let call = format!("remove container {}", instance.name.previous_container(&instance.appliance.name));
        return Err(Error::EngineGone { call, reason: "the engine has done it, and the change counts".to_owned() });
    }
    let wanted = desired(instance, engine, &instance.appliance, held, &look);
    let observed = observe::observe(engine, &look, &wanted).await?;
    let (recovery, then) = guarded::recover(&wanted, &observed)?;
    run(instance, engine, held, &instance.appliance, &recovery, Some(&patient)).await?;
    if again {
        let plan = guarded::start_again(&wanted, &then);
        run(instance, engine, held, &instance.appliance, &plan, Some(&patient)).await?;
    }
    Ok(())
}

/// Runs a plan.
///
/// # Errors
/// The first step's that failed.
pub async fn run(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    appliance: &Appliance,
    plan: &Plan,
    interrupt: Option<&Interrupt>,
) -> Result<()> {
    let work = Work { verified: None, timeout: instance.appliance.health.ready_timeout(), interrupt };
    run_with(instance, engine, settings, appliance, plan, work).await
}

/// How a plan is run.
struct Work<'a> {
    /// A backup that was read whole already, and what is in it.
    verified: Option<(&'a Path, &'a Contents)>,
    /// How long the page may take to answer.
    timeout: Duration,
    /// What interrupts it; `None`: the user's Ctrl-C.
    interrupt: Option<&'a Interrupt>,
}

async fn run_with(
    instance: &Instance,
    engine: &Engine,
    settings: &Settings,
    appliance: &Appliance,
    plan: &Plan,
    work: Work<'_>,
) -> Result<()> {
    if plan.is_empty() {
        return Ok(());
    }
    if settings.git.ssh_agent {
        ssh_agent::prepare(&instance.files, instance.options.ssh_agent.as_deref())?;
    }
    let probe = probe(instance, settings);
    let sandbox = sandbox(instance, engine, appliance, settings)?;
    let tools = Tools {
        engine,
        appliance,
        sandbox: &sandbox,
        probe: &probe,
        docker_config: &instance.options.docker_config,
        build: converge::build_surroundings(instance, settings)?,
        ready_timeout: work.timeout,
        verified: work.verified,
        reporter: instance.reporter.as_ref(),
        interrupt: work.interrupt.unwrap_or(&instance.interrupt),
    };
    Box::pin(apply::apply(plan, &tools)).await
}

/// A probe; of an instance without a password, one that is refused.
fn probe(instance: &Instance, settings: &Settings) -> Probe {
    let password = instance.password().unwrap_or_else(|_| Secret::new(""));
    let container_port = instance.appliance.container.port;
    let publish = Publish { address: settings.network.bind.0, port: settings.network.port.0, container_port };
    Probe::of(&instance.appliance, &instance.files, &instance.selection(), &publish, &password)
}

/// What is wanted with this appliance and these settings.
pub fn desired(
    instance: &Instance,
    engine: &Engine,
    appliance: &Appliance,
    settings: &Settings,
    look: &Snapshot,
) -> Desired {
    let (given, _) = sandbox::given_at_least(engine, appliance, settings, &instance.files, look.host.memory);
    Desired::new(appliance, settings, &instance.name, &instance.files, &given, None)
}

fn sandbox(instance: &Instance, engine: &Engine, appliance: &Appliance, settings: &Settings) -> Result<Sandbox> {
    let (given, secrets) = sandbox::given_at_least(engine, appliance, settings, &instance.files, 0);
    Ok(Sandbox {
        helper: instance.name.helper_container(&appliance.name),
        labels: labels_in_home(appliance, &instance.name, &instance.files),
        ids: given.ids,
        secrets,
        rules: converge::rules(instance, settings, &Default::default())?,
        files: instance.files.clone(),
        mounts: settings.mounts.clone(),
    })
}
