//! The last backup, before an uninstall removes the volumes.

use crate::{
    data::{data_check::Records, store::Reason},
    desired_state::{self, DesiredState},
    engine::Engine,
    error::{Error, Result},
    event::Event,
    ops::{Instance, backup, guarded, start},
    settings::Settings,
};

/// Stops the container, so that nothing is written behind it, and backs up what is about to go; the file. What ran runs
/// again when that fails.
///
/// # Errors
/// What the engine says, and when the backup fails; nothing is removed then.
pub(super) async fn make(instance: &Instance, engine: &Engine, settings: Option<&Settings>) -> Result<String> {
    let look = backup::look(instance, engine).await?;
    let main = backup::own_container(instance, &look).filter(|main| main.state == "running");
    let records = match (main, settings) {
        (Some(main), Some(settings)) => guarded::records_now(instance, main, settings).await?,
        _ => None,
    };
    let wanted = desired_state::read(&instance.files.desired())?;
    if settings.is_some() {
        desired_state::write(&instance.files.desired(), DesiredState::Stopped)?;
    }
    let ran = guarded::stop(instance, engine, &look).await;
    let saved = match ran {
        Ok(_) => save(instance, engine, records).await,
        Err(error) => Err(error),
    };
    if let (Err(_), Some(settings), DesiredState::Running) = (&saved, settings, wanted) {
        let timeout = instance.appliance.health.ready_timeout();
        if let Err(error) = start::start(instance, engine, settings, timeout).await {
            let text = format!("it was stopped for the backup, and did not start again: {error}");
            instance.reporter.report(&Event::Warning { text });
        }
    }
    saved
}

async fn save(instance: &Instance, engine: &Engine, records: Option<Records>) -> Result<String> {
    let look = backup::look(instance, engine).await?;
    let without =
        format!("docklet{} uninstall --volumes --no-backup removes the volumes without a backup", instance.name.flag());
    match backup::take(instance, engine, &look, Reason::Uninstall, &backup::Backup::default(), records).await {
        Ok(taken) => {
            backup::confirm_left_out(instance, &taken.made.manifest)?;
            Ok(taken.made.file.display().to_string())
        }
        Err(Error::Missing { what, reason, hint }) => {
            Err(Error::Missing { what, reason, hint: format!("{hint}\n{without}") })
        }
        Err(error) => {
            let text = format!("nothing is removed without a last backup; {without}");
            instance.reporter.report(&Event::Warning { text });
            Err(error)
        }
    }
}
