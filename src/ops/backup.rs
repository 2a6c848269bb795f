//! Backups: what `backup` makes, and what other operations make first.
//!
//! - `take`: makes one; `stored`: which ones there are, and what is in them; `prune`: which ones go
//! - `stream`: to standard output; `receive`: from standard input

pub mod prune;
pub mod receive;
mod stored;
mod stream;
mod take;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::{
    stored::{check, excluded, list, missing_volumes, verify, verify_stream},
    take::{Taken, take},
};
use super::{Instance, copy, recovery};
use crate::{
    age_key::Recipient,
    data::{archive::Manifest, encryption::Readers, schedule::LastRun, store::Reason},
    error::{Error, Result},
    paths,
    present::data as text,
    report::data::BackupReport,
    secrets::Secret,
    settings::{Glob, Settings},
};

/// What to back up, and where to.
#[derive(Debug, Clone, Default)]
pub struct Backup {
    /// The file, or the folder for it; `None`: among this instance's own backups.
    pub file: Option<PathBuf>,
    /// Where the archive goes instead of into a file, once it has been read back.
    pub output: Option<Arc<File>>,
    /// What is left out in addition to `backup.exclude`.
    pub exclude: Vec<Glob>,
    /// The passphrase that the secrets are encrypted with; `None`: they are encrypted for `backup.recipients` of the
    /// settings, and left out where there are none.
    pub passphrase: Option<Secret>,
    /// Whether all of the file is encrypted for `backup.recipients`, as `backup.encrypt` of the settings has it always.
    pub encrypt: bool,
    /// Whether the schedule made it: then older scheduled ones are removed, and its result is kept for `status`.
    pub scheduled: bool,
}

impl Instance {
    /// Makes a backup of the volumes, the settings and, with a passphrase or recipients, the secrets. A container that runs
    /// is paused while what changed meanwhile is read. The file gets its name when it has been read back.
    ///
    /// # Errors
    /// NOT_FOUND when there are no volumes, NO_SPACE, and what the engine says.
    pub async fn backup(&self, options: &Backup) -> Result<BackupReport> {
        let options = &Backup { passphrase: options.passphrase.clone().map(not_empty).transpose()?, ..options.clone() };
        let reason = if options.scheduled { Reason::Scheduled } else { Reason::Manual };
        let lock = self.lock("backup")?;
        let engine = self.engine().await?;
        let settings = Settings::load(&self.files.settings())?;
        let snapshot = recovery::recover(self, &engine, settings.as_ref()).await?;
        let made = take(self, &engine, &snapshot, reason, options, None).await;
        if options.scheduled {
            let outcome = made
                .as_ref()
                .map(|taken| taken.made.file.display().to_string())
                .map_err(|error| error.with_causes(": "));
            let path = self.files.backup_state();
            LastRun::load(&path).after(outcome).save(&path)?;
        }
        let Taken { made, created, readers, encrypted, exclude } = made?;
        if options.scheduled {
            prune::by_settings(self, settings.as_ref().unwrap_or(&Settings::default()), Some(&made.file), None)?;
        }
        // Whoever takes it may be slow, and the supervisor does nothing while the lock is held.
        drop(lock);
        let mut copied = false;
        let file = match (&options.output, &made.nameless) {
            (Some(output), Some(archive)) => {
                if settings.as_ref().is_some_and(|settings| !settings.backup.copy.is_empty()) {
                    self.note("backup.copy does not run: this backup is no file here");
                }
                stream::send(self, archive, output).await?;
                "-".to_owned()
            }
            _ => {
                // The supervisor copies what it has made, beside its other work.
                if let Some(settings) = settings.as_ref().filter(|_| !options.scheduled) {
                    copied = copy::just_made(self, settings, &made.file).await?;
                }
                made.file.display().to_string()
            }
        };
        let shown = |keys: &[Recipient]| keys.iter().map(ToString::to_string).collect();
        Ok(BackupReport {
            instance: self.name.to_string(),
            file,
            created,
            size: made.size,
            files: made.manifest.files,
            bytes: made.manifest.bytes,
            volumes: made.manifest.volumes.clone(),
            paused_seconds: made.paused.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0),
            read_again: made.read_again,
            secrets: readers.is_some(),
            secrets_for: match readers {
                Some(Readers::Recipients(all)) => shown(&all),
                _ => vec![],
            },
            encrypted_for: shown(&encrypted),
            verified: true,
            left_out: made.manifest.left_out.clone(),
            left_out_count: made.manifest.left_out_count,
            exclude: exclude.iter().map(ToString::to_string).collect(),
            mounts_not_included: stored::mounts_not_included(settings.as_ref()),
            caches: made.caches,
            copied,
        })
    }
}

/// A passphrase that somebody gave.
///
/// # Errors
/// When there is nothing in it.
pub fn not_empty(passphrase: Secret) -> Result<Secret> {
    if passphrase.reveal().is_empty() {
        return Err(Error::Usage {
            message: "the passphrase is empty".to_owned(),
            hint: Some(
                "write a passphrase to the file given with --passphrase-file, or leave the secrets out".to_owned(),
            ),
        });
    }
    Ok(passphrase)
}

/// Whether backups can be written where they are kept, before anything is stopped for one.
///
/// # Errors
/// When they cannot.
pub fn store_can_be_written(instance: &Instance) -> Result<()> {
    let folder = instance.files.backups();
    paths::create_folder(&instance.files.data, 0o700)?;
    paths::create_folder(&folder, 0o700)?;
    tempfile::tempfile_in(&folder).map(drop).map_err(|e| Error::file("write into", &folder, &e))
}

/// The whole path of a backup's file. It is written beside its place and read more than once, so
/// standard input and output cannot stand in for it.
///
/// # Errors
/// A usage error for `-`.
pub fn absolute(file: &Path) -> Result<PathBuf> {
    if file == Path::new("-") {
        return Err(Error::Usage {
            message: "a backup is a file, not standard input or output".to_owned(),
            hint: Some("give a file name; for a file named -, use ./-".to_owned()),
        });
    }
    std::path::absolute(file).map_err(|e| Error::file("find", file, &e))
}

/// Before data goes of which the last backup, just made, could not take all: asks.
///
/// # Errors
/// When the answer is no, or nobody is there to give one.
pub fn confirm_left_out(instance: &Instance, last: &Manifest) -> Result<()> {
    match text::left_out(last) {
        Some(text) => instance.confirm(&format!("{text}; continue?")),
        None => Ok(()),
    }
}
