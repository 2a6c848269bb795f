//! Which of the instance's own backups go: what `backup prune` does, and what follows a scheduled backup and a change.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::{
    data::{
        retention::{self, Retention},
        store::{self, Reason, StoredBackup},
    },
    error::{Error, Result},
    ops::{Instance, lost_undo},
    report::data::{KeptBackup, PruneReport},
    settings::{Keep, Settings},
};

/// Which backups to remove.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Which scheduled and manual ones stay; `None`: as the settings say, and all manual ones.
    pub keep: Option<Keep>,
    /// How many from before a change stay; `None`: as the settings say.
    pub keep_changes: Option<u32>,
    /// Whether it only says what would be done.
    pub dry_run: bool,
}

/// Removes old backups of this instance.
///
/// # Errors
/// When a file cannot be removed, when removing all of a kind is not confirmed, and what the engine says.
pub async fn prune(instance: &Instance, options: &Prune) -> Result<PruneReport> {
    let lock = if options.dry_run { None } else { Some(instance.lock("backup prune")?) };
    let settings = Settings::load(&instance.files.settings())?.unwrap_or_default();
    let (backups, not_looked_at) = own(instance)?;
    let way_back = way_back(instance, &backups);
    let mut retention = by(instance, &settings, options.keep.as_ref(), options.keep_changes);
    // It may be the only copy of the data.
    let undo = match instance.engine().await {
        Ok(engine) => {
            lost_undo::undo_file(instance, &engine).await?.map(|file| (file, "an interrupted change is undone with it"))
        }
        Err(_) => {
            let newest = backups.iter().find(|backup| retention::rule_of(backup) == Some("backup.keep_changes"));
            newest.map(|backup| {
                (backup.file.clone(), "an interrupted change may need it, and the engine cannot be asked")
            })
        }
    };
    retention.spared.extend(undo);
    if options.keep_changes != Some(0) {
        retention.spared.extend(way_back.clone().map(|file| (file, NEEDED)));
    }
    let judged = retention::judge(&backups, &retention);
    let removed = superfluous(&backups, &judged);
    if !options.dry_run && !removed.is_empty() {
        if options.keep == Some(Keep::Newest(0)) || options.keep_changes == Some(0) {
            let any = backups.iter().any(|backup| !removed.contains(&backup.file));
            let number = removed.len();
            let some = format!("remove {number} {} of this instance?", if number == 1 { "backup" } else { "backups" });
            instance.confirm(if any { &some } else { "remove every backup of this instance?" })?;
        }
        remove(&removed)?;
    }
    if way_back.is_some_and(|file| removed.contains(&file)) {
        instance.warn("this includes the backup from before the last update, which docklet rollback needs");
    }
    drop(lock);
    let kept = backups
        .iter()
        .zip(judged)
        .filter_map(|(backup, kept)| kept.map(|reason| KeptBackup { file: backup.file.display().to_string(), reason }));
    Ok(PruneReport {
        instance: instance.name.to_string(),
        dry_run: options.dry_run,
        kept: kept.collect(),
        removed: removed.iter().map(|file| file.display().to_string()).collect(),
        not_looked_at,
    })
}

/// The backups in the instance's folder that are its own and can be read, and the other ones, with the reason.
fn own(instance: &Instance) -> Result<(Vec<StoredBackup>, Vec<KeptBackup>)> {
    let (mut own, mut others) = (vec![], vec![]);
    for backup in store::list(&instance.files.backups())? {
        match backup.stranger(&instance.appliance.name, &instance.name) {
            None => own.push(backup),
            Some(reason) => others.push(KeptBackup { file: backup.file.display().to_string(), reason }),
        }
    }
    Ok((own, others))
}

/// What follows a scheduled backup, and a change that counts. `made`: the backup that was just made; `used`: the one that
/// was just restored. Call it with the lock held, and with no change under way.
///
/// # Errors
/// When a file cannot be removed.
pub fn by_settings(instance: &Instance, settings: &Settings, made: Option<&Path>, used: Option<&Path>) -> Result<()> {
    let (backups, _) = own(instance)?;
    let mut retention = by(instance, settings, None, None);
    let way_back = way_back(instance, &backups);
    retention.spared.extend(way_back.map(|file| (file, NEEDED)));
    retention.spared.extend(made.map(|file| (file.to_owned(), "it was just made")));
    retention.spared.extend(used.map(|file| (file.to_owned(), "it was just restored")));
    remove(&superfluous(&backups, &retention::judge(&backups, &retention)))
}

const NEEDED: &str = "docklet rollback needs it";

/// The rules, each from the command or else from the settings.
fn by(instance: &Instance, settings: &Settings, keep: Option<&Keep>, changes: Option<u32>) -> Retention {
    let of_settings = match &settings.backup.keep {
        // What the schedule has just made stays.
        Keep::Newest(0) => Keep::Newest(1),
        rule => rule.clone(),
    };
    Retention {
        keep: keep.cloned().unwrap_or(of_settings),
        manual_too: keep.is_some(),
        changes: changes.unwrap_or(settings.backup.keep_changes),
        spared: vec![],
        roles: instance.appliance.volumes.iter().map(|volume| volume.role.clone()).collect(),
        now: OffsetDateTime::now_utc(),
    }
}

/// The backup that `rollback` needs: the newest from before an update to another release than is installed. One of the
/// same release is from an update that was taken back.
fn way_back(instance: &Instance, backups: &[StoredBackup]) -> Option<PathBuf> {
    let installed = &instance.appliance.version;
    let another = |backup: &&StoredBackup| {
        let release = backup.header.as_ref().ok().and_then(|header| header.release.as_ref());
        release.is_none_or(|release| release.version != *installed)
    };
    let found = backups.iter().filter(|backup| backup.is_for(Reason::Update)).find(another);
    found.map(|backup| backup.file.clone())
}

fn superfluous(backups: &[StoredBackup], judged: &[Option<String>]) -> Vec<PathBuf> {
    let gone = backups.iter().zip(judged).filter(|(_, kept)| kept.is_none());
    gone.map(|(backup, _)| backup.file.clone()).collect()
}

fn remove(files: &[PathBuf]) -> Result<()> {
    files.iter().try_for_each(|file| fs_err::remove_file(file).map_err(|e| Error::file("remove", file, &e)))
}
