//! The settings and secrets that a restore brings: in a folder of their own until the data counts, and taken over then, also by
//! whoever comes after a kill.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use crate::{
    engine::Engine,
    error::{Error, Result},
    ops::{Instance, release},
    paths,
    secrets::{self, Secret},
    settings::Settings,
};

const SETTINGS: &str = "settings.toml";
const SECRETS: &str = "secrets";

/// The secrets of before, where the new ones are in use already.
const BEFORE: &str = "secrets.before";

/// Keeps them until the data counts. [`take_over`] or [`discard`] follows. `in_use`: nothing is set up, so that the new container
/// needs the secrets at once.
///
/// # Errors
/// When they cannot be written; then all is as before.
pub fn keep(
    instance: &Instance,
    settings: Option<&Settings>,
    secrets: &BTreeMap<String, Secret>,
    in_use: bool,
) -> Result<()> {
    discard(instance);
    if settings.is_none() && secrets.is_empty() {
        return Ok(());
    }
    let kept = write(instance, settings, secrets, in_use);
    kept.inspect_err(|_| discard(instance))
}

fn write(
    instance: &Instance,
    settings: Option<&Settings>,
    secrets: &BTreeMap<String, Secret>,
    in_use: bool,
) -> Result<()> {
    let (folder, now) = (instance.files.restored(), instance.files.secrets());
    paths::create_folder(&folder, 0o700)?;
    if let Some(settings) = settings {
        settings.save(&folder.join(SETTINGS))?;
    }
    for (name, value) in secrets {
        secrets::write(&folder.join(SECRETS), name, value)?;
    }
    if in_use {
        let before = folder.join(BEFORE);
        match fs::rename(&now, &before) {
            Err(e) if e.kind() == ErrorKind::NotFound => paths::create_folder(&before, 0o700)?,
            moved => moved.map_err(|e| Error::file("rename", &now, &e))?,
        }
        copy(&before, &now)?;
        copy(&folder.join(SECRETS), &now)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for name in secrets::names(from)? {
        if let Some(value) = secrets::read(from, &name)? {
            secrets::write(to, &name, &value)?;
        }
    }
    Ok(())
}

/// They do not count: what was there before is there again. Done again after a kill, it ends the same.
pub fn discard(instance: &Instance) {
    let (folder, now) = (instance.files.restored(), instance.files.secrets());
    let before = folder.join(BEFORE);
    if before.exists() {
        let _ = fs::remove_dir_all(&now);
        if let Err(error) = fs::rename(&before, &now) {
            return instance.warn(format!("the secrets of before are in {}: {error}", before.display()));
        }
    }
    let _ = fs::remove_dir_all(&folder);
    // Only empty ones go.
    for folder in [&now, &instance.files.config] {
        let _ = fs::remove_dir(folder);
    }
}

/// They count. Done again after a kill, it ends the same. The settings that it brought.
///
/// # Errors
/// When a file cannot be read or written; then the next command takes them over.
pub fn take_over(instance: &Instance) -> Result<Option<Settings>> {
    let (from, files) = (instance.files.restored(), &instance.files);
    copy(&from.join(SECRETS), &files.secrets())?;
    let settings = Settings::load(&from.join(SETTINGS))?;
    if let Some(settings) = &settings {
        settings.save(&files.settings())?;
    }
    // First what `discard` would put back.
    for folder in [from.join(BEFORE), from] {
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::file("remove", &folder, &e)),
            _ => {}
        }
    }
    Ok(settings)
}

/// After a restore that was killed: takes over what it brought if its data counts. Call it with the lock held, before
/// settings and secrets are used. The settings that hold then, where it brought something.
///
/// # Errors
/// What the engine says, and as [`take_over`].
pub async fn finish(instance: &Instance, engine: &Engine) -> Result<Option<Settings>> {
    if !instance.files.restored().exists() {
        return Ok(None);
    }
    let snapshot = instance.snapshot(engine).await?;
    if release::committed(instance, &snapshot).container.is_none() {
        discard(instance);
        return Ok(None);
    }
    take_over(instance)?;
    Settings::load(&instance.files.settings())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{instance_name::InstanceName, ops::Options};

    #[test]
    fn secrets_that_are_in_use_already_count_only_with_the_data() {
        for counts in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let options = Options { folder: Some(home.path().to_owned()), ..Options::default() };
            let instance = Instance::open(InstanceName::default(), options).unwrap();
            let folder = instance.files.secrets();
            secrets::write(&folder, "API_KEY", &Secret::new("mine")).unwrap();
            secrets::write(&folder, "STAYS", &Secret::new("mine")).unwrap();
            let given = [("API_KEY", "brought"), ("OTHER_KEY", "brought")];
            let given = BTreeMap::from(given.map(|(name, value)| (name.to_owned(), Secret::new(value))));
            keep(&instance, Some(&Settings::default()), &given, true).unwrap();
            let now = || ["API_KEY", "OTHER_KEY", "STAYS"].map(|name| secrets::read(&folder, name).unwrap());
            let now = || now().map(|secret| secret.map(|secret| secret.reveal().to_owned()));
            let brought = [Some("brought"), Some("brought"), Some("mine")].map(|value| value.map(str::to_owned));
            assert_eq!(now(), brought, "the new container needs them");
            if counts {
                take_over(&instance).unwrap();
                assert_eq!(now(), brought);
            } else {
                discard(&instance);
                assert_eq!(now(), [Some("mine"), None, Some("mine")].map(|value| value.map(str::to_owned)));
            }
            assert_eq!(instance.files.settings().exists(), counts);
            assert!(!instance.files.restored().exists());
        }
    }

    #[test]
    fn where_nothing_was_nothing_stays() {
        let home = tempfile::tempdir().unwrap();
        let options = Options { folder: Some(home.path().to_owned()), ..Options::default() };
        let instance = Instance::open(InstanceName::default(), options).unwrap();
        let given = BTreeMap::from([("API_KEY".to_owned(), Secret::new("brought"))]);
        keep(&instance, None, &given, true).unwrap();
        discard(&instance);
        assert!(!instance.files.config.exists());
    }
}
