//! The settings and secrets that a restore brings to an instance that is set up: in a folder of their own until the data
//! counts, and taken over then, also by whoever comes after a kill.

use std::collections::BTreeMap;

use crate::{
    engine::Engine,
    error::{Error, Result},
    ops::{Instance, backup, release},
    paths,
    secrets::{self, Secret},
    settings::Settings,
};

const SETTINGS: &str = "settings.toml";
const SECRETS: &str = "secrets";

/// Keeps them until the data counts. [`take_over`] or [`discard`] follows.
///
/// # Errors
/// When they cannot be written.
pub fn keep(instance: &Instance, settings: Option<&Settings>, secrets: &BTreeMap<String, Secret>) -> Result<()> {
    discard(instance);
    if settings.is_none() && secrets.is_empty() {
        return Ok(());
    }
    let folder = instance.files.restored();
    paths::create_folder(&folder, 0o700)?;
    if let Some(settings) = settings {
        settings.save(&folder.join(SETTINGS))?;
    }
    for (name, value) in secrets {
        secrets::write(&folder.join(SECRETS), name, value)?;
    }
    Ok(())
}

/// They do not count.
pub fn discard(instance: &Instance) {
    let _ = std::fs::remove_dir_all(instance.files.restored());
}

/// They count. Done again after a kill, it ends the same.
///
/// # Errors
/// When a file cannot be read or written; then the next command takes them over.
pub fn take_over(instance: &Instance) -> Result<()> {
    let (from, files) = (instance.files.restored(), &instance.files);
    let folder = from.join(SECRETS);
    for name in secrets::names(&folder)? {
        if let Some(value) = secrets::read(&folder, &name)? {
            secrets::write(&files.secrets(), &name, &value)?;
        }
    }
    if let Some(settings) = Settings::load(&from.join(SETTINGS))? {
        settings.save(&files.settings())?;
    }
    match std::fs::remove_dir_all(&from) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &from, &e)),
        _ => Ok(()),
    }
}

/// After a restore that was killed: takes over what it brought if its data counts. Call it with the lock held, before
/// settings and secrets are read. Whether there was something.
///
/// # Errors
/// What the engine says, and as [`take_over`].
pub async fn finish(instance: &Instance, engine: &Engine) -> Result<bool> {
    if !instance.files.restored().exists() {
        return Ok(false);
    }
    let look = backup::look(instance, engine).await?;
    let counts = release::committed(instance, &look).container.is_some();
    if counts {
        take_over(instance)?;
    } else {
        discard(instance);
    }
    Ok(counts)
}
