//! `restore --force` of a damaged backup: what can be read of it is written into a file that is whole, and that one is
//! restored as any other. It lies among the instance's backups under a hidden name, and goes away afterwards.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use crate::{
    data::{
        archive::{Header, read::Contents},
        archive_reading::{self, Stops, Watched},
        backup::UNFINISHED,
        encrypted_file::Unlock,
        restore, salvage,
    },
    error::{Error, Result},
    ops::{Instance, backup},
    report::data::DamageReport,
};

/// A backup that was read, or what could be read of it.
pub struct Checked {
    /// What is in it.
    pub contents: Contents,
    /// Where that is, if it is damaged.
    pub salvaged: Option<Salvaged>,
}

/// Reads all of it. With `force`, as far as that goes.
///
/// # Errors
/// [`Error::BackupInvalid`], [`Error::Interrupted`], and a file error.
pub async fn check(instance: &Instance, file: &Path, unlock: &Unlock, header: &Header, force: bool) -> Result<Checked> {
    match backup::check(instance, file, unlock).await {
        Err(Error::BackupInvalid { reason, .. }) if force => salvage(instance, file, unlock, header, reason).await,
        contents => Ok(Checked { contents: contents?, salvaged: None }),
    }
}

/// What could be read of a damaged backup.
pub struct Salvaged {
    file: NamedTempFile,
    /// What is missing in it, or altered.
    pub report: DamageReport,
}

impl Salvaged {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Reads what can be read. `reason`: what the check of the whole file found.
async fn salvage(
    instance: &Instance,
    file: &Path,
    unlock: &Unlock,
    header: &Header,
    reason: String,
) -> Result<Checked> {
    backup::store_can_be_written(instance)?;
    let folder = instance.files.backups();
    let failed = |e: std::io::Error| Error::file("write into", &folder, &e);
    let named = tempfile::Builder::new().prefix(UNFINISHED).suffix(".salvaged").tempfile_in(&folder).map_err(failed)?;
    // A backup that begins meanwhile removes only what nobody has locked.
    flock(named.as_file(), FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
    instance.warn(format!("the backup is damaged: {reason}; storing what can be read of it in {}", folder.display()));
    let stop = Arc::new(AtomicBool::new(false));
    let source = {
        let (path, stop) = (file.to_owned(), Arc::clone(&stop));
        move || Ok(Watched::new(std::fs::File::open(&path)?, Arc::clone(&stop)))
    };
    let out = named.as_file().try_clone().map_err(failed)?;
    let spool = tempfile::tempfile_in(&folder).map_err(failed)?;
    let (unlock, header, path) = (unlock.clone(), header.clone(), file.to_owned());
    let _stops = Stops(stop);
    let reading = tokio::task::spawn_blocking(move || {
        let done = salvage::salvage(source, &header, &unlock, &out, spool);
        done.map_err(|refused| archive_reading::refusal(&path, refused))
    });
    let reading = async { reading.await.map_err(|e| Error::bug(format!("salvaging: {e}")))? };
    let stopped = Error::Interrupted { next: "nothing was changed".to_owned() };
    let lost = instance.interrupt.or(stopped, reading).await?;
    let (reporter, plain) = (instance.reporter.as_ref(), Unlock::Identities(vec![]));
    let contents = restore::verify(named.path(), &plain, reporter, &instance.interrupt).await?;
    let report = DamageReport {
        reason,
        missing_count: lost.cut.is_none().then_some(lost.missing_count),
        read_up_to: lost.cut.map(|_| lost.last),
        missing: lost.missing,
        altered: lost.altered,
        altered_count: lost.altered_count,
        missing_records: vec![],
    };
    Ok(Checked { contents, salvaged: Some(Salvaged { file: named, report }) })
}
