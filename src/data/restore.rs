//! File → volumes. Everything is checked before anything is touched, and once more on the
//! way, for the file may change in between.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    age::FileKey,
    archive::{
        Header,
        read::{self, Contents, Refused},
        receive::{AsTar, Receiver},
    },
    encrypted_file::{self, Unlock},
    pipe,
    volumes::{self, HelperOf, Named, OnDisk, complaint},
};
use crate::{
    engine::Engine,
    error::{Error, Result, io_reason, is_full},
    event::{Event, Reporter, Transfer},
    interrupt::Interrupt,
    paths::shown,
};

/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

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
    let mut pass = Pass::begin(path, unlock.clone())?;
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
    let pass = Pass::of(file, name, unlock.clone(), temporary)?;
    pass.run(io::sink(), reporter, interrupt).await.map(|(contents, _)| contents)
}

fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(|e| Error::file("create", &std::env::temp_dir(), &e))
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
        let pass = Pass::begin(path, Unlock::by(verified.key.clone()))?;
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

/// One reading of an archive on a thread of its own: the one way in which `verify`, `restore` and `backup` check.
pub(super) struct Pass {
    path: PathBuf,
    file: File,
    size: u64,
    unlock: Unlock,
    /// The folder of this machine that the receiver writes into.
    to: Option<PathBuf>,
    spools: [File; 2],
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Pass {
    fn begin(path: &Path, unlock: Unlock) -> Result<Self> {
        Self::of(open(path)?, path, unlock, temporary)
    }

    /// Over a file from its beginning, that will get the name `path`; what it needs on disk is beside it.
    pub(super) fn over(file: &File, path: &Path, key: Option<FileKey>) -> Result<Self> {
        let mut file = file.try_clone().map_err(|e| Error::file("read", path, &e))?;
        io::Seek::rewind(&mut file).map_err(|e| Error::file("read", path, &e))?;
        Self::of(file, path, Unlock::by(key), || super::backup::spool(path))
    }

    fn of(file: File, path: &Path, unlock: Unlock, spool: impl Fn() -> Result<File>) -> Result<Self> {
        let size = file.metadata().map_err(|e| Error::file("read", path, &e))?.len();
        Ok(Pass {
            path: path.to_owned(),
            file,
            size,
            unlock,
            to: None,
            spools: [spool()?, spool()?],
            done: Arc::default(),
            stop: Arc::default(),
        })
    }

    pub(super) async fn run<R: Receiver + Send + 'static>(
        self,
        mut receiver: R,
        reporter: &dyn Reporter,
        interrupt: &Interrupt,
    ) -> Result<(Contents, R)> {
        let Pass { path, file, size, unlock, to, spools, done, stop } = self;
        let source = Watched { file, done: Arc::clone(&done), stop: Arc::clone(&stop) };
        let _stops = Stops(stop);
        let shown = path.clone();
        let mut reading = tokio::task::spawn_blocking(move || {
            let source = io::BufReader::with_capacity(256 * 1024, source);
            let (plain, key) = encrypted_file::input(source, &unlock)?;
            let contents = read::read(plain, spools, &mut receiver)?;
            Ok((Contents { key, ..contents }, receiver))
        });
        let mut ticks = tokio::time::interval_at((Instant::now() + REPORT_EVERY / 4).into(), REPORT_EVERY);
        loop {
            tokio::select! {
                biased;
                // The thread ends at its next look at the file; nobody waits for it but the end of the process.
                () = interrupt.wait() => return Err(Error::Interrupted { next: "nothing was changed".to_owned() }),
                contents = &mut reading => {
                    let contents = contents.map_err(|e| Error::bug(format!("reading: {e}")))?;
                    return contents.map_err(|refused| match (refused, &to) {
                        (Refused::Receiver(e), Some(to)) => Error::file("write into", to, &e),
                        (refused, _) => refusal(&shown, refused),
                    });
                }
                _ = ticks.tick() => {
                    let done = done.load(Ordering::Relaxed);
                    reporter.report(&Event::Transfer(Transfer { done, total: size, ..Transfer::default() }));
                }
            }
        }
    }
}

/// Tells a thread to end its reading when nobody waits for it any more.
pub struct Stops(pub Arc<AtomicBool>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A file that counts what is read of it, and that can be told to end.
pub struct Watched {
    file: File,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Watched {
    /// One that nobody counts.
    pub fn new(file: File, stop: Arc<AtomicBool>) -> Self {
        Watched { file, done: Arc::default(), stop }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let read = self.file.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn open(path: &Path) -> Result<File> {
    let error = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::Missing {
            what: format!("file {}", shown(path)),
            reason: None,
            hint: "docklet backup list shows the available backups".to_owned(),
        },
        _ => Error::file("read", path, &e),
    };
    // Before it is opened: a pipe would wait for its other end.
    let kind = std::fs::metadata(path).map_err(error)?.file_type();
    if kind.is_dir() {
        return Err(invalid(path, "it is a folder"));
    }
    if !kind.is_file() {
        return Err(invalid(path, "it isn't a regular file, and a backup is read more than once"));
    }
    File::open(path).map_err(error)
}

/// The error for a file that is no backup.
pub fn invalid(path: &Path, reason: &str) -> Error {
    Error::BackupInvalid { path: shown(path), reason: reason.to_owned() }
}

/// The error for a file that is not taken.
pub fn refusal(path: &Path, refused: Refused) -> Error {
    match refused {
        Refused::Invalid(reason) => invalid(path, &reason),
        Refused::Encrypted(None) => Error::ConfirmationRequired {
            question: format!("{} is encrypted, and its private key is needed", shown(path)),
            flag: "--identity FILE".to_owned(),
        },
        Refused::Encrypted(Some(reason)) => Error::NotDecrypted {
            what: shown(path),
            reason,
            hint: "give the file with the private key of one of the keys that it was encrypted for: --identity FILE"
                .to_owned(),
        },
        Refused::Io(e) if is_full(&e) => {
            Error::NoSpace { place: std::env::temp_dir().display().to_string(), needed: None, available: None }
        }
        Refused::Io(e) => Error::file("read", path, &e),
        Refused::Receiver(e) => Error::VolumesFailed { what: "writing the volumes".to_owned(), reason: io_reason(&e) },
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
