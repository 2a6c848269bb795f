//! One reading of a backup file on a thread of its own, with progress, and why a file is refused.

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
        read::{self, Contents, Refused},
        receive::Receiver,
    },
    backup::unfinished::spool,
    encrypted_file::{self, Unlock},
};
use crate::{
    error::{Error, Result, io_reason, is_full},
    event::{Event, Reporter, Transfer},
    interrupt::Interrupt,
    paths::shown,
};

/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// One reading of an archive on a thread of its own: the one way in which `verify`, `restore` and `backup` check.
pub(super) struct ArchiveReading {
    path: PathBuf,
    file: File,
    size: u64,
    unlock: Unlock,
    /// The folder of this machine that the receiver writes into.
    pub(super) to: Option<PathBuf>,
    spools: [File; 2],
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl ArchiveReading {
    pub(super) fn begin(path: &Path, unlock: Unlock) -> Result<Self> {
        Self::of(open(path)?, path, unlock, temporary)
    }

    /// Over a file from its beginning, that will get the name `path`; what it needs on disk is beside it.
    pub(super) fn over(file: &File, path: &Path, key: Option<FileKey>) -> Result<Self> {
        let mut file = file.try_clone().map_err(|e| Error::file("read", path, &e))?;
        io::Seek::rewind(&mut file).map_err(|e| Error::file("read", path, &e))?;
        Self::of(file, path, Unlock::by(key), || spool(path))
    }

    pub(super) fn of(file: File, path: &Path, unlock: Unlock, spool: impl Fn() -> Result<File>) -> Result<Self> {
        let size = file.metadata().map_err(|e| Error::file("read", path, &e))?.len();
        Ok(ArchiveReading {
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
        let ArchiveReading { path, file, size, unlock, to, spools, done, stop } = self;
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

pub(super) fn open(path: &Path) -> Result<File> {
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

pub(super) fn temporary() -> Result<File> {
    tempfile::tempfile().map_err(|e| Error::file("create", &std::env::temp_dir(), &e))
}
