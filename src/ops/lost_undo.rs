//! The backup that undoes an interrupted change: which it is, and the way out when it is gone.

use std::path::PathBuf;

use super::Instance;
use crate::{
    desired::label,
    engine::Engine,
    error::{Error, Result},
    observed::Observed,
};

/// The backup that an interrupted change is undone with; `None` where none was interrupted, or no data was changed.
///
/// # Errors
/// What the engine says.
pub async fn undo_file(instance: &Instance, engine: &Engine) -> Result<Option<PathBuf>> {
    let names = [instance.container_name(), instance.previous_name()];
    let there = engine.containers_named(&names).await?;
    let main = there.iter().find(|c| c.name == names[0]).filter(|_| there.len() == names.len());
    let undo = main.and_then(|main| main.labels.get(label::UNDO)).filter(|file| !file.is_empty());
    Ok(undo.map(PathBuf::from))
}

/// Gives up an interrupted change whose backup is gone: what it did to the data stays, and the container of before comes
/// back. Call it with the lock held, by a command that replaces or removes the data anyway.
///
/// # Errors
/// What the engine says.
pub async fn give_up(instance: &Instance, engine: &Engine) -> Result<()> {
    let Some(file) = undo_file(instance, engine).await?.filter(|file| !file.exists()) else { return Ok(()) };
    instance.warn(format!("an interrupted change cannot be undone, because {} is gone", file.display()));
    engine.remove_container(&instance.container_name()).await.map(drop)
}

/// A change that cannot be undone is told before anything is tried.
///
/// # Errors
/// [`Error::Missing`].
pub fn check(observed: &Observed) -> Result<()> {
    let undo = observed.main.as_ref().filter(|_| observed.previous.is_some()).and_then(|main| main.undo.clone());
    match undo.filter(|file| !file.as_os_str().is_empty() && !file.exists()) {
        None => Ok(()),
        Some(file) => Err(Error::Missing {
            what: format!("file {}", file.display()),
            reason: Some("an interrupted change has to be undone with it".to_owned()),
            hint: "put it back, or restore another backup in place of the data: docklet restore FILE --no-backup"
                .to_owned(),
        }),
    }
}
