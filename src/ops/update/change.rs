//! One change of the release: another one proves itself behind a backup; should it fail, release and data are as before.

use std::time::Duration;

use crate::{
    appliance::{Appliance, Release},
    data::{
        data_check,
        encrypted_file::Unlock,
        restore,
        store::{Reason, StoredBackup},
    },
    engine::{Engine, container::Listed},
    error::{Error, Result},
    observe::{self, Snapshot},
    ops::{
        Instance, backup,
        guarded::{self, Asked, Guarded, Missing},
        mounts, recovery,
        run_plan::PlanRun,
    },
    plan::guarded::prepare,
    report::data::UpdateReport,
    settings::Settings,
};

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
pub struct ReleaseChange<'a> {
    /// Which instance.
    pub instance: &'a Instance,
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

impl ReleaseChange<'_> {
    /// Makes it. With `data`, the volumes are filled from that backup, else the data stays.
    ///
    /// # Errors
    /// [`Error::UpdateRolledBack`] when release and data are as before; what comes before anything is
    /// stopped, as it is.
    pub async fn make(
        &self,
        snapshot: &Snapshot,
        target: Target,
        reason: Reason,
        data: Option<&StoredBackup>,
    ) -> Result<UpdateReport> {
        let ReleaseChange { instance, engine, .. } = *self;
        let ran = self.main.is_running();
        let early = guarded::records_now(instance, self.main, self.settings).await?;
        mounts::admit(instance, &target.settings.mounts)?;
        let built = target.release.is_some() && self.prepare(snapshot, &target).await?;
        backup::store_can_be_written(instance)?;
        let contents = match data {
            Some(data) => Some(
                restore::verify(
                    &data.file,
                    &Unlock::Identities(vec![]),
                    instance.reporter.as_ref(),
                    &instance.interrupt,
                )
                .await?,
            ),
            None => None,
        };
        let now = guarded::records_still(instance, self.main, self.settings, early).await?;
        let records = match &contents {
            Some(contents) => data_check::sane(contents.manifest.records.clone()),
            None => now.clone().unwrap_or_default(),
        };
        let change = Guarded {
            appliance: &target.appliance,
            settings: &target.settings,
            image: &target.image,
            release: target.release.as_ref(),
            archive: data.map(|data| data.file.as_path()).zip(contents.as_ref()),
            backup: Some(reason),
            only: &[],
            fresh: false,
            records,
            asked: if contents.is_some() { Asked::OfTheBackup } else { Asked::BeforeTheStop },
            missing: Missing::Fails,
            timeout: self.timeout,
        };
        let saved = match change.make(instance, engine, now).await {
            Ok(saved) => saved.map(|file| file.display().to_string()),
            Err(error) => return Err(self.taken_back(&target, built, error).await),
        };
        if target.settings != *self.settings {
            target.settings.save(&instance.files.settings())?;
        }
        // For a way back: nothing else names the image any more.
        if target.release.is_none() {
            let name = instance.name.previous_image(&instance.appliance.name);
            let older = engine.image(&name).await?.map(|image| image.id);
            engine.tag_image(&self.main.image_id, &name).await?;
            if let Some(older) = older.filter(|id| *id != self.main.image_id && *id != target.image) {
                self.forget(&older).await;
            }
        }
        if target.release.is_some() {
            self.forget_builds(&target.image).await;
        }
        let running = guarded::shall_run(instance, ran)?;
        guarded::settle(instance, engine, &target.settings, running, self.timeout).await?;
        Ok(UpdateReport {
            instance: instance.name.to_string(),
            changed: true,
            from: self.current.clone(),
            to: target.version,
            data: data.is_some(),
            backup: saved,
            running,
            url: crate::desired::page_url(target.settings.network.bind.0, target.settings.network.port.0),
        })
    }

    /// Builds the image while the old one runs; whether it was not there.
    async fn prepare(&self, snapshot: &Snapshot, target: &Target) -> Result<bool> {
        let desired = self.instance.desired(self.engine, &target.appliance, &target.settings, snapshot);
        let mut observed = observe::observe(self.engine, snapshot, &desired).await?;
        observed.image_present = self.engine.image(&target.image).await?.is_some();
        let plan = prepare(&desired, &observed)?;
        PlanRun::with(&target.settings, &target.appliance).run(self.instance, self.engine, &plan).await?;
        Ok(!observed.image_present)
    }

    /// Puts everything back after a failure, and removes an image that was `built` for it; the error to end with.
    async fn taken_back(&self, target: &Target, built: bool, error: Error) -> Error {
        let instance = self.instance;
        let again = guarded::shall_run(instance, self.main.is_running()).unwrap_or(true);
        if let Err(second) = recovery::undo(instance, self.engine, self.settings, again).await {
            instance.warn(format!("rolling back failed: {second}; to continue: docklet{} start", instance.name.flag()));
            return error;
        }
        if target.release.is_none() && target.image != self.main.image_id {
            self.forget(&target.image).await;
        }
        if built {
            // One that stays, for whatever reason, spoils nothing.
            let _ = self.engine.remove_image(&target.image).await;
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
        let ReleaseChange { instance, engine, main, .. } = *self;
        let built = engine.images_labelled(&instance.appliance.name).await.unwrap_or_default();
        for image in built.iter().filter(|image| instance.owns(&image.labels)) {
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
