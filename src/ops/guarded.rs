//! The one way in which update, rollback and restore change the release or the data: behind a backup, on the same
//! volumes, and undone when the new container does not prove itself.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Instance,
    backup::{self, Backup},
    backup_test, build_surroundings,
    converge::{self, ConvergeOptions},
    release,
    run_plan::{self, PlanRun},
};
use crate::{
    appliance::{Appliance, Release},
    data::{
        archive::read::Contents,
        data_check::{self, Records},
        store::Reason,
    },
    desired_state::{self, DesiredState},
    engine::{Engine, container::Listed},
    error::{Error, Result},
    interrupt::{self, Interrupt},
    mounts,
    observe::{self, Snapshot},
    plan::{
        Plan,
        guarded::{self, Change},
    },
    settings::Settings,
};

/// Grace for the old container.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

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
    /// Makes the change, up to its commit. There is a container, and the image is on the engine. `records` are those of
    /// what runs now, where they were asked for. The backup that was made. After an error, [`super::recovery::undo`]
    /// follows.
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
        let snapshot = instance.snapshot(engine).await?;
        let ran = stop(instance, engine, &snapshot).await?;
        // Stopped, so that nothing is written behind the backup.
        let snapshot = instance.snapshot(engine).await?;
        let saved = match self.backup {
            Some(reason) => {
                let made = backup::take(instance, engine, &snapshot, reason, &Backup::default(), records).await?.made;
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
        let desired = instance.desired(engine, self.appliance, self.settings, &snapshot);
        let observed = observe::observe(engine, &snapshot, &desired).await?;
        build_surroundings::prepare_ca_bundle(instance, self.settings)?;
        let plan = guarded::change(&desired, &observed, &change);
        self.run(instance, engine, &plan, None).await?;
        let image = instance.own_container(&snapshot).map(|old| old.image_id.as_str());
        self.prove(instance, engine, image.zip(saved.as_deref())).await?;
        self.commit(instance, engine, &guarded::commit(&desired, !shall_run(instance, ran)?)).await?;
        // It counts: old ways back that cannot be removed are no reason to fail.
        let used = self.archive.map(|(file, _)| file);
        if let Err(error) = backup::prune::by_settings(instance, self.settings, saved.as_deref(), used) {
            instance.warn(format!("older backups could not be removed: {error}"));
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
        match instance.snapshot(engine).await {
            Ok(snapshot) if release::committed(instance, &snapshot).container.is_some() => Ok(()),
            _ => Err(error),
        }
    }

    /// Whether the program that runs now has what must still be there. `before`: the image that ran, and the backup of then.
    async fn prove(&self, instance: &Instance, engine: &Engine, before: Option<(&str, &Path)>) -> Result<()> {
        let probe = run_plan::probe(instance, self.settings);
        let mut missing = data_check::missing(&probe, &self.records).await;
        if let (Asked::BeforeTheStop, Some((image, file))) = (self.asked, before)
            && !missing.is_empty()
        {
            // What was deleted between the question and the stop is in no backup that was made behind the stop.
            instance.note("records are missing; looking whether they were deleted before the stop");
            match backup_test::records_in(instance, engine, self.settings, file, image, &missing).await {
                Ok(in_backup) => missing = in_backup,
                Err(error @ Error::Interrupted { .. }) => return Err(error),
                // Then they count as lost.
                Err(error) => instance.warn(error.with_causes(": ")),
            }
        }
        let Some((path, ids)) = missing.iter().find(|(_, ids)| !ids.is_empty()) else { return Ok(()) };
        let mut reason = data_check::lacking(path, ids, self.records.get(path).map_or(0, Vec::len));
        match self.missing {
            Missing::IsTold => {
                instance.warn(reason);
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
        let usual = PlanRun::with(self.settings, self.appliance);
        PlanRun { verified: self.archive, timeout: Some(self.timeout), interrupt, ..usual }
            .run(instance, engine, plan)
            .await
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
pub async fn stop(instance: &Instance, engine: &Engine, snapshot: &Snapshot) -> Result<bool> {
    let Some(main) = instance.own_container(snapshot) else { return Ok(false) };
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
    let work = converge::apply(instance, engine, settings, &planned, &how, timeout);
    let told = async {
        instance.interrupt.wait().await;
        instance.note("the change is already committed; completing it first");
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
