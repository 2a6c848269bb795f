//! `docklet restore -`: stores an archive from standard input, because it is read whole before anything is touched, and once
//! more when it is unpacked. The file is among the instance's backups under a hidden name, and goes away afterwards.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::stream::{Counted, copy};
use crate::{
    data::{
        archive::read::MAGIC,
        archive_reading,
        backup::{UNFINISHED, free_space},
        encrypted_file,
    },
    desired::label,
    error::{Error, Result, is_full},
    ops::Instance,
    paths::RECEIVED,
};

/// What is copied at a time.
const PIECE: usize = 256 * 1024;

/// How often the free space is looked at, in bytes.
const LOOK_EVERY: u64 = 64 << 20;

/// Free space that is left alone: a disk without any is a fault of its own.
const RESERVE: u64 = 256 << 20;

/// An archive that was received.
pub struct Received {
    file: NamedTempFile,
    path: PathBuf,
}

impl Received {
    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// After a restore that failed: keeps the file if what undoes that still needs it. The next backup removes it.
    pub async fn keep_if_needed(self, instance: &Instance) {
        let Received { file, path } = self;
        let container = match instance.engine().await {
            Ok(engine) => engine.container(&instance.container_name()).await,
            Err(error) => Err(error),
        };
        let undo = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(label::UNDO).is_some_and(|undo| Path::new(undo) == path)
        };
        if container.map_or(true, |found| found.is_some_and(|container| undo(&container.labels))) {
            let _ = file.keep();
        }
    }
}

/// Stores all of the input.
///
/// # Errors
/// [`Error::BackupInvalid`] at once for what is no archive, [`Error::NoSpace`], [`Error::Interrupted`].
pub async fn receive(instance: &Instance, mut input: File) -> Result<Received> {
    super::store_can_be_written(instance)?;
    let folder = instance.files.backups();
    let named = tempfile::Builder::new().prefix(UNFINISHED).suffix(RECEIVED).tempfile_in(&folder);
    let file = named.map_err(|e| Error::file("write into", &folder, &e))?;
    // A backup that begins meanwhile removes only what nobody has locked.
    flock(file.as_file(), FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| Error::file("lock", &folder, &e.into()))?;
    instance.note(format!("storing the backup from standard input in {} until it is restored", folder.display()));
    let path = file.path().to_owned();
    let place = path.clone();
    let full = move || Error::NoSpace { place: folder.display().to_string(), needed: None, available: None };
    let stored = copy(instance, 0, move |counted| {
        store(&mut input, file, &place, counted).map_err(|failed| match failed {
            ReceiveFailure::NoArchive => {
                archive_reading::invalid(Path::new("-"), "it does not begin like a docklet backup (zstd)")
            }
            ReceiveFailure::Full => full(),
            ReceiveFailure::Read(e) => Error::file("read", Path::new("standard input"), &e),
            ReceiveFailure::Write(e) if is_full(&e) => full(),
            ReceiveFailure::Write(e) => Error::file("write", &place, &e),
        })
    });
    Ok(Received { file: stored.await??, path })
}

/// Why an archive could not be stored.
enum ReceiveFailure {
    NoArchive,
    Full,
    Read(io::Error),
    Write(io::Error),
}

fn store(
    input: &mut File,
    mut file: NamedTempFile,
    path: &Path,
    counted: &Counted,
) -> std::result::Result<NamedTempFile, ReceiveFailure> {
    let mut piece = vec![0; PIECE];
    let (mut stored, mut look_at) = (0, 0);
    loop {
        let read = match input.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(ReceiveFailure::Read)?,
        };
        if read == 0 {
            return Ok(file);
        }
        let begins = |magic: &[u8]| piece[..read].starts_with(&magic[..magic.len().min(read)]);
        if stored == 0 && !begins(&MAGIC) && !begins(encrypted_file::BEGINS) {
            return Err(ReceiveFailure::NoArchive);
        }
        if stored >= look_at {
            if free_space(path).is_some_and(|free| free < RESERVE) {
                return Err(ReceiveFailure::Full);
            }
            look_at = stored + LOOK_EVERY;
        }
        file.write_all(&piece[..read]).map_err(ReceiveFailure::Write)?;
        stored += read as u64;
        counted.add(read).map_err(ReceiveFailure::Read)?;
    }
}
