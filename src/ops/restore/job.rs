//! One restore, once it is confirmed: image, volumes and data, and the way back when it fails.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Restore, known_records, only, pending};
use crate::{
    appliance::Appliance,
    data::{archive::read::Contents, restore, store::Reason, volumes::Named},
    desired::Desired,
    engine::{Engine, container::Listed},
    error::{Error, Result},
    observe::{self, Snapshot},
    ops::{
        Instance,
        guarded::{self, Asked, Guarded, Missing},
        other_home, recovery,
        run_plan::PlanRun,
    },
    plan::{self, guarded::prepare},
    settings::{Bind, Image, Port, Settings},
};

/// One restore.
pub struct RestoreJob<'a> {
    pub instance: &'a Instance,
    pub engine: &'a Engine,
    /// The backup, or what could be read of it.
    pub file: &'a Path,
    pub contents: &'a Contents,
    pub settings: &'a Settings,
    pub appliance: Appliance,
    /// How long the page may take to answer, also on the way back.
    pub timeout: Duration,
}

impl RestoreJob<'_> {
    /// Up to the commit; the backup of what was there. `own`: the container that is there.
    pub async fn run(
        &self,
        options: &Restore,
        snapshot: &Snapshot,
        own: Option<&Listed>,
        there: &[Named],
        before: Option<&Settings>,
    ) -> Result<Option<PathBuf>> {
        let RestoreJob { instance, engine, settings, .. } = *self;
        let mut desired = instance.desired(engine, &self.appliance, settings, snapshot);
        let observed = observe::observe(engine, snapshot, &desired).await?;
        let plan = prepare(&desired, &observed)?;
        PlanRun::with(settings, &self.appliance).run(instance, engine, &plan).await?;
        if own.is_none() {
            // One that never runs: what a change is undone to.
            desired.running = false;
            let snapshot = instance.snapshot(engine).await?;
            // Getting the image takes time; whoever was quicker has the volumes.
            other_home::refuse(instance, &snapshot.containers)?;
            let plan = plan::converge(&desired, &observe::observe(engine, &snapshot, &desired).await?)?;
            PlanRun::with(settings, &self.appliance).run(instance, engine, &plan).await?;
        }
        self.room(options, snapshot, &desired).await?;
        let no_backup = there.is_empty() || options.no_backup;
        if options.no_backup && !there.is_empty() {
            instance.warn("the current data is not backed up first: it will be lost");
        }
        let now = match own {
            Some(main) if !no_backup => guarded::records_now(instance, main, before.unwrap_or(settings)).await?,
            _ => None,
        };
        let change = Guarded {
            appliance: &self.appliance,
            settings,
            image: desired.image.reference(),
            release: self.appliance.release.as_ref(),
            archive: Some((self.file, self.contents)),
            only: &options.only,
            backup: (!no_backup).then_some(Reason::Restore),
            fresh: there.is_empty(),
            records: match only::holds_records(&options.only) {
                true => known_records(instance, self.contents),
                false => now.clone().unwrap_or_default(),
            },
            asked: if only::holds_records(&options.only) { Asked::OfTheBackup } else { Asked::BeforeTheStop },
            missing: if options.force { Missing::IsTold } else { Missing::FailsUnlessForced },
            timeout: self.timeout,
        };
        change.make(instance, engine, now).await
    }

    /// Whether the data fits in place of what is there now, before anything is stopped for it.
    async fn room(&self, options: &Restore, snapshot: &Snapshot, desired: &Desired) -> Result<()> {
        let RestoreJob { instance, engine, contents, .. } = *self;
        let mut task = instance.volume_helper(engine, snapshot, Some(self.settings)).await?;
        desired.image.reference().clone_into(&mut task.image);
        let appliance = &instance.appliance.name;
        let totals = only::totals(contents, &options.only);
        let named = |role: &String| Named { role: role.clone(), volume: instance.name.volume(appliance, role) };
        let volumes: Vec<Named> = totals.iter().map(|total| named(&total.role)).collect();
        if volumes.is_empty() {
            return Ok(());
        }
        restore::room_for(engine, totals.iter().map(|total| total.bytes).sum(), &task, &volumes).await
    }

    /// Puts everything back after a failure; the error to end with. There were the container `own` and the volumes `there`.
    pub async fn undo(&self, before: Option<&Settings>, own: Option<&Listed>, there: &[Named], error: Error) -> Error {
        let RestoreJob { instance, engine, .. } = *self;
        let alone = own.is_none();
        // First: what runs again is given the secrets of before.
        pending::discard(instance);
        // Another home may have been quicker: what is there is its, then.
        let elsewhere = async || match engine.containers(false).await {
            Ok(all) => other_home::refuse(instance, &all).err(),
            Err(_) => None,
        };
        if let Some(elsewhere) = elsewhere().await {
            return elsewhere;
        }
        let held = before.cloned().unwrap_or_else(|| self.settings_of(own));
        // Without settings, nobody knows what the user wants but for what was there.
        let again = own.is_some_and(|own| match before {
            Some(_) => guarded::shall_run(instance, own.is_running()).unwrap_or(true),
            None => own.is_running(),
        });
        if let Err(second) = recovery::undo(instance, engine, &held, again).await {
            instance.warn(format!("reverting failed: {second}; to continue: docklet{} start", instance.name.flag()));
            return error;
        }
        if alone && elsewhere().await.is_none() {
            let _ = engine.remove_container(&instance.container_name()).await;
            let _ = engine.remove_network(&instance.container_name()).await;
            let _ = engine.remove_volume(&instance.name.secrets_volume(&instance.appliance.name)).await;
            for volume in &instance.appliance.volumes {
                let name = instance.volume_name(&volume.role);
                if !there.iter().any(|kept| kept.volume == name) {
                    let _ = engine.remove_volume(&name).await;
                }
            }
        }
        match error {
            error @ (Error::NoSpace { .. }
            | Error::BackupInvalid { .. }
            | Error::Interrupted { .. }
            | Error::Image { .. }
            | Error::Missing { .. }
            | Error::Foreign { .. }
            | Error::SetUpElsewhere { .. }
            | Error::PortInUse { .. }) => error,
            other => Error::RestoreFailed { reason: [vec![other.to_string()], other.causes()].concat().join(": ") },
        }
    }

    /// The settings that a container without any is put back with: those of the backup, but its own image and address.
    fn settings_of(&self, own: Option<&Listed>) -> Settings {
        let mut settings = Settings { image: Image::default(), ..self.settings.clone() };
        if let Some(published) = own.and_then(|own| own.ports.first()) {
            settings.network.port = Port(published.port);
            if let Some(address) = published.address {
                settings.network.bind = Bind(address);
            }
        }
        settings
    }
}
