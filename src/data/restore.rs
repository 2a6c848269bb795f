//! File → volumes. Everything is checked before anything is touched, and once more on the
//! way, for the file may change in between.

use std::{fs::File, io, path::Path};

use super::{
    archive::{
        Header,
        read::{self, Contents},
        receive::{AsTar, Receiver},
    },
    archive_reading::{ArchiveReading, invalid, open, refusal, temporary},
    encrypted_file::{self, Unlock},
    pipe,
    volumes::{self, HelperOf, Named, OnDisk, complaint},
};
use crate::{
    engine::Engine,
    error::{Error, Result},
    event::Reporter,
    interrupt::Interrupt,
};

/// Free space that is left alone, in bytes: a file system does not work well when it is full.
const RESERVE: u64 = 16 << 20;

/// What a backup says of itself; reads only its beginning.
///
/// # Errors
/// [`Error::BackupInvalid`], and a file error.
pub fn header(path: &Path, unlock: &Unlock) -> Result<Header> {
    let file = io::BufReader::new(open(path)?);
    let header = encrypted_file::input(file, unlock).and_then(|(plain, _)| read::header(plain));
    header.map_err(|refused| refusal(path, refused))
}

/// Reads a whole backup and checks all of it.
///
/// # Errors
/// [`Error::BackupInvalid`], [`Error::Interrupted`], and a file error.
pub async fn verify(path: &Path, unlock: &Unlock, reporter: &dyn Reporter, interrupt: &Interrupt) -> Result<Contents> {
    read_into(path, unlock, io::sink(), None, reporter, interrupt).await.map(|(contents, _)| contents)
}

/// Reads a whole backup, checks all of it, and hands on what is in its volumes. `to`: the folder of this machine that
/// it is written into.
///
/// # Errors
/// As [`verify`], and what is wrong with that folder.
pub async fn read_into<R: Receiver + Send + 'static>(
    path: &Path,
    unlock: &Unlock,
    receiver: R,
    to: Option<&Path>,
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<(Contents, R)> {
    let mut pass = ArchiveReading::begin(path, unlock.clone())?;
    pass.to = to.map(Path::to_owned);
    pass.run(receiver, reporter, interrupt).await
}

/// The same of what comes from a pipe, which is read once. `name` is for messages.
///
/// # Errors
/// As [`verify`].
pub async fn verify_stream(
    file: File,
    name: &Path,
    unlock: &Unlock,
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<Contents> {
    let pass = ArchiveReading::of(file, name, unlock.clone(), temporary)?;
    pass.run(io::sink(), reporter, interrupt).await.map(|(contents, _)| contents)
}

/// Empties volumes and fills them from a backup that was verified.
///
/// # Errors
/// [`Error::BackupInvalid`] when it is not the same any more, [`Error::NoSpace`],
/// [`Error::Interrupted`], and what the engine says. The volumes then hold part of it.
pub async fn fill(
    engine: &Engine,
    path: &Path,
    verified: &Contents,
    task: &HelperOf,
    volumes: &[Named],
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<()> {
    let spec = task.unpack(volumes);
    engine.create_helper(&spec).await?;
    let work = async {
        let mut task = engine.start_helper(&spec).await?;
        let (sink, mut pieces) = pipe::sink();
        let pass = ArchiveReading::begin(path, Unlock::by(verified.key.clone()))?;
        let receiver = AsTar::new(sink, volumes.iter().map(|volume| volume.role.as_str()));
        let feed = async {
            let mut reads = true;
            while let Some(piece) = pieces.recv().await {
                reads = reads && task.write(&piece).await;
                if !reads {
                    break;
                }
            }
            drop(pieces);
            task.end().await
        };
        // The receiver goes with the end of the reading: until then, the other side waits for more.
        let read = async { pass.run(receiver, reporter, interrupt).await.map(|(contents, _)| contents) };
        let (contents, ended) = tokio::join!(read, feed);
        let ended = match (&contents, ended) {
            // What was wrong with the archive comes first: the task only suffers from it.
            (Err(Error::BackupInvalid { .. } | Error::Interrupted { .. }), _) => return contents.map(drop),
            (_, ended) => ended?,
        };
        if ended.code != 0 {
            return Err(complaint("writing the volumes", &ended));
        }
        if contents?.manifest != verified.manifest {
            return Err(invalid(path, "it was changed while it was being restored"));
        }
        Ok(())
    };
    let done = work.await;
    let removed = engine.remove_container(&spec.name).await;
    done?;
    removed.map(drop)
}

/// Checks that there is room for `needed` bytes in place of what these volumes hold now.
///
/// # Errors
/// [`Error::NoSpace`] when there is not, and what the engine says.
pub async fn room_for(engine: &Engine, needed: u64, task: &HelperOf, volumes: &[Named]) -> Result<()> {
    let OnDisk { free, used } = volumes::on_disk(engine, task, volumes).await?;
    let needed = needed.saturating_sub(used).saturating_add(RESERVE);
    match free {
        Some(available) if available < needed => Err(Error::NoSpace {
            place: "the engine's disk".to_owned(),
            needed: Some(needed),
            available: Some(available),
        }),
        _ => Ok(()),
    }
}

/// Checks that there is room for `needed` bytes in a folder of this machine, or where it is to be made. A small archive may
/// hold much.
///
/// # Errors
/// [`Error::NoSpace`] when there is not.
pub fn room_in(folder: &Path, needed: u64) -> Result<()> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder);
    let needed = needed.saturating_add(RESERVE);
    match super::backup::free_in(there) {
        Some(available) if available < needed => {
            Err(Error::NoSpace { place: there.display().to_string(), needed: Some(needed), available: Some(available) })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_disk_without_room_is_named_by_a_folder_that_is_there() {
        let there = tempfile::tempdir().unwrap();
        let Err(Error::NoSpace { place, .. }) = room_in(&there.path().join("not/yet"), u64::MAX) else { panic!() };
        assert_eq!(place, there.path().display().to_string());
        assert!(room_in(there.path(), 1).is_ok());
    }
}
