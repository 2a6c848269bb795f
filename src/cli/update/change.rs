//! One change of the release: another one proves itself on a copy of the data, behind a backup;
//! should it fail, release and data are as before.

use std::time::Duration;

use super::{Last, before, last_update, nothing_to_go_back_to, now};
use crate::{
    appliance::{Appliance, Release},
    cli::{
        backup,
        context::Context,
        mount,
        trial::{self, Missing, Trial},
    },
    data::{
        backup::total,
        records::{self, Records},
        restore,
        shelf::{Reason, Shelved},
        volumes::Named,
    },
    desired::labels,
    engine::{Engine, docker::Listed},
    error::{Code, Error, Result},
    event::Event,
    observe::{self, Look},
    observed::Ownership,
    plan::{
        Action, Plan,
        trial::{Fill, prepare},
    },
    report::{Schema, data::UpdateReport},
    settings::Settings,
};

/// Grace for the old container.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What to go to.
pub struct Target {
    /// What is installed then.
    pub appliance: Appliance,
    /// The settings that hold then.
    pub settings: Settings,
    /// The image: its name, or its id.
    pub image: String,
    /// Its version, for people.
    pub version: Option<String>,
    /// The release, where docklet builds the image.
    pub release: Option<Release>,
}

/// One change of the release.
pub struct Change<'a> {
    /// Which instance.
    pub context: &'a Context,
    /// Where it is.
    pub engine: &'a Engine,
    /// The settings that hold until it counts.
    pub settings: &'a Settings,
    /// The container that is there.
    pub main: &'a Listed,
    /// The version in it.
    pub current: Option<String>,
    /// How long the page may take to answer.
    pub timeout: Duration,
}

impl Change<'_> {
    /// Makes it. With `data`, the volumes are filled from that backup, else with what is there.
    ///
    /// # Errors
    /// [`Error::UpdateRolledBack`] when release and data are as before; what comes before anything is
    /// stopped, as it is.
    pub async fn make(
        &self,
        look: &Look,
        target: Target,
        reason: Reason,
        data: Option<&Shelved>,
    ) -> Result<UpdateReport> {
        let Change { context, engine, .. } = *self;
        let ran = self.main.is_running();
        mount::admit(context, &target.settings.mounts)?;
        if target.release.is_some() {
            self.prepare(look, &target).await?;
        }
        backup::shelf_can_be_written(context)?;
        self.room(look).await?;
        let records = if ran { self.records().await? } else { Records::new() };
        let saved = match self.prove(look, &target, reason, data, records).await {
            Ok(saved) => saved,
            Err(error) => return Err(self.taken_back(&target, error).await),
        };
        if target.settings != *self.settings {
            target.settings.save(&context.files.settings())?;
        }
        // For a way back: nothing else names the image any more.
        if target.release.is_none() {
            let name = context.instance.previous_image(&context.appliance.name);
            let older = engine.image(&name).await?.map(|image| image.id);
            engine.tag_image(&self.main.image_id, &name).await?;
            if let Some(older) = older.filter(|id| *id != self.main.image_id && *id != target.image) {
                self.forget(&older).await;
            }
        }
        if target.release.is_some() {
            self.forget_builds(&target.image).await;
        }
        let running = trial::shall_run(context, ran)?;
        if let Err(error) = trial::settle(context, engine, &target.settings, running, self.timeout).await {
            return Err(match reason {
                Reason::Update => self.gone_back(&target, error).await,
                _ => error,
            });
        }
        Ok(UpdateReport {
            schema: Schema,
            instance: context.instance.to_string(),
            changed: true,
            from: self.current.clone(),
            to: target.version,
            data: data.is_some(),
            backup: Some(saved),
            running,
            url: crate::desired::page_url(target.settings.network.bind.0, target.settings.network.port.0),
        })
    }

    /// Whether the data fits beside itself, before anything is stopped for it.
    async fn room(&self, look: &Look) -> Result<()> {
        let Change { context, engine, .. } = *self;
        let volumes = backup::existing(context, look)?;
        let sizes = engine.volume_sizes().await.unwrap_or_default();
        let needed = total(&sizes, &volumes);
        let task = backup::task_of(context, engine, look, Some(self.settings)).await?;
        match volumes.first() {
            Some(first) if needed > 0 => restore::room_for(engine, needed, &task, first).await,
            _ => Ok(()),
        }
    }

    /// Builds the image while the old one runs.
    async fn prepare(&self, look: &Look, target: &Target) -> Result<()> {
        let wanted = trial::desired(self.context, self.engine, &target.appliance, &target.settings, look);
        let mut observed = observe::observe(self.engine, look, &wanted).await?;
        observed.image_present = self.engine.image(&target.image).await?.is_some();
        let plan = prepare(&wanted, &observed)?;
        trial::run(self.context, self.engine, &target.settings, &target.appliance, &plan, self.timeout, None).await
    }

    async fn records(&self) -> Result<Records> {
        // Settings that do not hold yet may name a port that is somebody else's.
        if !self.main.publishes(self.settings.network.port.0) {
            return Ok(Records::new());
        }
        let probe = self.context.probe(self.settings)?;
        Ok(records::list(&probe, &self.context.appliance.records.paths).await)
    }

    /// Up to the commit; the backup that was made.
    async fn prove(
        &self,
        look: &Look,
        target: &Target,
        reason: Reason,
        data: Option<&Shelved>,
        records: Records,
    ) -> Result<String> {
        let Change { context, engine, .. } = *self;
        let mut plan = Plan::default();
        if self.main.state == "paused" {
            plan.add(Action::UnpauseContainer { name: self.main.name.clone() });
        }
        plan.add(Action::StopContainer { name: self.main.name.clone() });
        trial::run(context, engine, self.settings, &context.appliance, &plan, STOP_GRACE, None).await?;
        // Stopped, so that nothing is written behind the backup.
        let stopped = backup::look(context, engine).await?;
        let taken = backup::take(context, engine, &stopped, reason, None, None, Some(records.clone())).await?;
        let (fill, records) = match data {
            Some(shelved) => (Fill::Done, records::sane(self.fill(look, target, shelved).await?)),
            None => (Fill::Copy, records),
        };
        let trial = Trial {
            appliance: &target.appliance,
            settings: &target.settings,
            fill,
            image: target.image.clone(),
            release: target.release.clone(),
            records,
            missing: Missing::Fails,
            timeout: self.timeout,
        };
        let stopped = backup::look(context, engine).await?;
        trial::prove(context, engine, &stopped, &trial).await?;
        let proved = backup::look(context, engine).await?;
        trial::commit(context, engine, &proved, &trial).await?;
        Ok(taken.made.file.display().to_string())
    }

    /// Fills staged volumes from a backup; the records in it.
    async fn fill(&self, look: &Look, target: &Target, shelved: &Shelved) -> Result<Records> {
        let Change { context, engine, .. } = *self;
        let (reporter, interrupt) = (context.reporter.as_ref(), &context.interrupt);
        let contents = restore::verify(&shelved.file, reporter, interrupt).await?;
        let wanted = trial::desired(context, engine, &target.appliance, &target.settings, look);
        let staged = wanted.staged_volumes();
        for volume in &staged {
            engine.create_volume(volume).await?;
        }
        let roles = context.appliance.volumes.iter().map(|v| v.role.clone());
        let in_it = |role: &String| contents.header.volumes.iter().any(|v| v.role == *role);
        let named: Vec<Named> = roles
            .zip(staged)
            .filter(|(role, _)| in_it(role))
            .map(|(role, volume)| Named { role, volume: volume.name })
            .collect();
        let task = backup::task_of(context, engine, look, Some(self.settings)).await?;
        restore::fill(engine, &shelved.file, &contents, &task, &named, reporter, interrupt).await?;
        Ok(contents.manifest.records)
    }

    /// Goes back with the data of before when the new release answered once and not again; the error
    /// to end with.
    async fn gone_back(&self, target: &Target, error: Error) -> Error {
        let context = self.context;
        if error.code().exit_status() == Code::NetworkError.exit_status() {
            // Without the engine, nothing can be done; the next command goes on.
            return error;
        }
        let text = format!("it answered, and then it did not: {error}; going back with the data of before");
        context.reporter.report(&Event::Warning { text });
        // Boxed: going back is a change, which may itself have to be taken back.
        match Box::pin(self.go_back()).await {
            Ok(()) => self.rolled_back(target, &error),
            Err(second) => {
                let text = format!("going back failed: {second}; docklet{} rollback --data", context.instance.flag());
                context.reporter.report(&Event::Warning { text });
                error
            }
        }
    }

    async fn go_back(&self) -> Result<()> {
        let Change { context, engine, timeout, .. } = *self;
        let settings = context.settings()?;
        let look = trial::recovered(context, engine, Some(&settings)).await?;
        let (main, current) = now(context, engine, &look).await?;
        let Last::Update(shelved, header) = last_update(context, current.as_deref(), &main)? else {
            return Err(nothing_to_go_back_to(context, None));
        };
        let target = before(context, engine, &settings, &look, &header).await?;
        let change = Change { context, engine, settings: &settings, main: &main, current, timeout };
        change.make(&look, target, Reason::Rollback, Some(&shelved)).await.map(drop)
    }

    /// Puts everything back after a failure; the error to end with.
    async fn taken_back(&self, target: &Target, error: Error) -> Error {
        let context = self.context;
        if let Err(second) = trial::undo(context, self.engine, Some(self.settings)).await {
            let text = format!("taking it back stopped: {second}; docklet{} start goes on", context.instance.flag());
            context.reporter.report(&Event::Warning { text });
            return error;
        }
        if target.release.is_none() && target.image != self.main.image_id {
            self.forget(&target.image).await;
        }
        self.rolled_back(target, &error)
    }

    /// Removes an image that nothing names any more, so that updates do not fill the disk. That it
    /// stays, for whatever reason, spoils nothing.
    async fn forget(&self, id: &str) {
        let image = self.engine.image(id).await.ok().flatten();
        if image.is_some_and(|image| image.references.iter().all(|name| name.contains('@'))) {
            let _ = self.engine.remove_image(id).await;
        }
    }

    /// Removes the images that this instance built for releases before the last one: a rollback goes
    /// back one, and anything else is built again. One that a container uses stays.
    async fn forget_builds(&self, now: &str) {
        let Change { context, engine, main, .. } = *self;
        let ours = labels(&context.appliance, &context.instance);
        let built = engine.images_labelled(&context.appliance.name).await.unwrap_or_default();
        for image in built.iter().filter(|image| Ownership::of(&image.labels, &ours) == Ownership::Ours) {
            let kept = image.id == main.image_id || image.references.iter().any(|name| name == now);
            for name in image.references.iter().filter(|name| !kept && !name.contains('@')) {
                let _ = engine.remove_image(name).await;
            }
        }
    }

    /// What is said when release and data are as before.
    fn rolled_back(&self, target: &Target, error: &Error) -> Error {
        let unknown = || "the one before".to_owned();
        let log = match error {
            Error::NotReady { log, .. } | Error::Unhealthy { log, .. } | Error::StartFailed { log, .. } => log.clone(),
            Error::Exited { report, .. } => report.log_tail.clone(),
            _ => vec![],
        };
        let mut reason = vec![error.to_string()];
        reason.extend(error.causes().into_iter().filter(|cause| !cause.starts_with("the last log lines")));
        Error::UpdateRolledBack {
            version: target.version.clone().unwrap_or_else(|| target.image.clone()),
            previous: self.current.clone().unwrap_or_else(unknown),
            reason: reason.join(": "),
            log,
        }
    }
}
