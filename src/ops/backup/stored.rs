//! What is known of backups that are there: the instance's own ones, and what any file holds.

use std::{fs::File, path::Path};

use super::absolute;
use crate::{
    clean,
    data::{
        archive::{Header, read::Contents},
        encrypted_file::Unlock,
        restore, retention, store,
    },
    error::Result,
    event::begin_step,
    ops::Instance,
    paths::shown,
    report::data::{BackupEntry, BackupListReport, VerifyReport},
    settings::Settings,
};

/// This instance's own backups, newest first.
///
/// # Errors
/// When their folder cannot be read.
pub fn list(instance: &Instance) -> Result<BackupListReport> {
    let folder = instance.files.backups();
    let shown = |text: &String| clean::line(text, false);
    let entry = |b: store::StoredBackup| {
        let header = b.header.as_ref().ok();
        // The name of an encrypted one says less.
        let inside = header.filter(|_| !b.encrypted);
        BackupEntry {
            file: b.file.display().to_string(),
            size: b.size,
            created: header.map(|h| h.created.clone()),
            reason: header.map(|h| shown(&h.reason)),
            encrypted: b.encrypted,
            instance: inside.map(|h| shown(&h.instance)),
            appliance_version: inside.and_then(|h| h.appliance_version.as_ref().map(shown)),
            missing_volumes: inside.map(|h| missing_volumes(instance, h)).unwrap_or_default(),
            exclude: inside.map(excluded).unwrap_or_default(),
            kept_by: retention::rule_of(&b).filter(|_| b.stranger(&instance.appliance.name, &instance.name).is_none()),
            error: b.header.as_ref().err().cloned(),
        }
    };
    let settings = Settings::load(&instance.files.settings())?.unwrap_or_default();
    let mounts_not_included = mounts_not_included(Some(&settings));
    let rules = settings.backup;
    Ok(BackupListReport {
        instance: instance.name.to_string(),
        keep: rules.keep.to_string(),
        keep_changes: rules.keep_changes,
        mounts_not_included,
        folder: folder.display().to_string(),
        backups: store::list(&folder)?.into_iter().map(entry).collect(),
    })
}

/// Reads all of a backup and checks it.
///
/// # Errors
/// BACKUP_INVALID, and when it cannot be read.
pub async fn verify(instance: &Instance, file: &Path, unlock: &Unlock) -> Result<VerifyReport> {
    let file = &absolute(file)?;
    Ok(verified(instance, file, check(instance, file, unlock).await?))
}

/// Reads all of a backup as a step of its own.
///
/// # Errors
/// As [`verify`].
pub async fn check(instance: &Instance, file: &Path, unlock: &Unlock) -> Result<Contents> {
    let reporter = instance.reporter.as_ref();
    let done = begin_step(reporter, 1, 1, format!("check {}", shown(file)));
    restore::verify(file, unlock, reporter, &instance.interrupt).await.inspect(|_| done())
}

fn verified(instance: &Instance, file: &Path, contents: Contents) -> VerifyReport {
    VerifyReport {
        file: file.display().to_string(),
        valid: true,
        encrypted: contents.key.is_some(),
        missing_volumes: missing_volumes(instance, &contents.header),
        exclude: excluded(&contents.header),
        created: contents.header.created,
        instance: clean::line(&contents.header.instance, false),
        appliance_version: contents.header.appliance_version.map(|version| clean::line(&version, false)),
        left_out_count: contents.manifest.left_out_count,
        files: contents.manifest.files,
        bytes: contents.manifest.bytes,
        secrets: contents.secrets.is_some(),
    }
}

/// The same of what comes from standard input, which is read once and not kept.
///
/// # Errors
/// As [`verify`].
pub async fn verify_stream(instance: &Instance, input: File, unlock: &Unlock) -> Result<VerifyReport> {
    let name = Path::new("-");
    let contents = restore::verify_stream(input, name, unlock, instance.reporter.as_ref(), &instance.interrupt).await?;
    Ok(verified(instance, name, contents))
}

/// What a backup leaves out, as it says.
pub fn excluded(header: &Header) -> Vec<String> {
    header.exclude.iter().map(|pattern| clean::line(pattern, false)).collect()
}

/// Where folders of the host are mounted.
pub(super) fn mounts_not_included(settings: Option<&Settings>) -> Vec<String> {
    settings.iter().flat_map(|settings| &settings.mounts).map(|mount| mount.container.clone()).collect()
}

/// The roles of the volumes that a backup does not hold: it was made when they were not there.
pub fn missing_volumes(instance: &Instance, header: &Header) -> Vec<String> {
    let roles = instance.appliance.volumes.iter().map(|v| v.role.clone());
    roles.filter(|role| header.volumes.iter().all(|v| v.role != *role)).collect()
}
