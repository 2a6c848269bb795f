//! One container on one set of volumes: one that was renamed is found by its volumes, and so is a stranger's.

use super::Instance;
use crate::{desired::labels, engine::Engine, error::Result, observe, plan};

/// Refuses when a container that is not the instance's own has its volumes: one that was renamed, or a stranger's that
/// runs. `main_exists`: whether there is one with the instance's name, too.
///
/// # Errors
/// [`crate::error::Error::Renamed`], [`crate::error::Error::VolumeInUse`], and what the engine says.
pub async fn refuse(instance: &Instance, engine: &Engine, main_exists: bool) -> Result<()> {
    let app = &instance.appliance;
    let own = instance.name.containers(&app.name);
    let volumes: Vec<String> = app.volumes.iter().map(|v| instance.name.volume(&app.name, &v.role)).collect();
    let own = own.each_ref().map(String::as_str);
    let others = observe::volume_users(engine, &own, &volumes, &labels(app, &instance.name)).await?;
    plan::refuse_others(&instance.container_name(), main_exists, &others)
}
