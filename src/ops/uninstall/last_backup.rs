//! The last backup, before an uninstall removes the volumes.

use crate::{
    data::{data_check::Records, store::Reason},
    desired_state::{self, DesiredState},
    engine::Engine,
    error::{Error, Result},
    ops::{Instance, backup, guarded, start},
    settings::Settings,
};

/// The last backup.
pub(super) struct LastBackup {
    /// The file.
    pub file: String,
    /// Roles of the volumes that are not in it, such as those that a killed uninstall removed.
    pub missing_volumes: Vec<String>,
    /// Where there are some: the newest backup that lacks none.
    pub whole: Option<String>,
}

/// Stops the container, so that nothing is written behind it, and backs up what is about to go. What ran runs again when
/// that fails.
///
/// # Errors
/// What the engine says, and when the backup fails; nothing is removed then.
pub(super) async fn make(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<LastBackup> {
    let snapshot = instance.snapshot(engine).await?;
    let main = instance.own_container(&snapshot).filter(|main| main.state == "running");
    let records = match (main, settings) {
        (Some(main), Some(settings)) => guarded::records_now(instance, main, settings).await?,
        _ => None,
    };
    let desired = desired_state::read(&instance.files.desired())?;
    if settings.is_some() {
        desired_state::write(&instance.files.desired(), DesiredState::Stopped)?;
    }
    let ran = guarded::stop(instance, engine, &snapshot).await;
    let saved = match ran {
        Ok(_) => save(instance, engine, records).await,
        Err(error) => Err(error),
    };
    if let (Err(_), Some(settings), DesiredState::Running) = (&saved, settings, desired) {
        let timeout = instance.appliance.health.ready_timeout();
        if let Err(error) = start::start(instance, engine, settings, timeout).await {
            instance.warn(format!("it was stopped for the backup, and did not start again: {error}"));
        }
    }
    saved
}

async fn save(instance: &Instance, engine: &Engine, records: Option<Records>) -> Result<LastBackup> {
    let snapshot = instance.snapshot(engine).await?;
    let without =
        format!("docklet{} uninstall --volumes --no-backup removes the volumes without a backup", instance.name.flag());
    match backup::take(instance, engine, &snapshot, Reason::Uninstall, &backup::Backup::default(), records).await {
        Ok(taken) => {
            backup::confirm_left_out(instance, &taken.made.manifest)?;
            let there = instance.own_volumes(&snapshot)?;
            let roles = instance.appliance.volumes.iter().map(|v| v.role.clone());
            let missing: Vec<String> = roles.filter(|role| there.iter().all(|v| v.role != *role)).collect();
            let whole = if missing.is_empty() { None } else { whole(instance) };
            Ok(LastBackup { file: taken.made.file.display().to_string(), missing_volumes: missing, whole })
        }
        Err(Error::Missing { what, reason, hint }) => {
            Err(Error::Missing { what, reason, hint: format!("{hint}\n{without}") })
        }
        Err(error) => {
            instance.warn(format!("nothing is removed without a last backup; {without}"));
            Err(error)
        }
    }
}

/// The newest backup of this instance that lacks no volume. What is in an encrypted one is not known.
fn whole(instance: &Instance) -> Option<String> {
    let stored = backup::list(instance).ok()?.backups.into_iter();
    let own = stored.filter(|b| b.instance.as_deref() == Some(instance.name.as_str()) && !b.encrypted);
    let mut whole = own.filter(|b| b.error.is_none() && b.missing_volumes.is_empty() && b.exclude.is_empty());
    whole.next().map(|b| b.file)
}
