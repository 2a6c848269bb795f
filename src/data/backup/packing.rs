//! The tars of the volumes → the backup's file, on a thread of its own.

use std::{
    io::{self, BufWriter},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{Request, unfinished::Unfinished};
use crate::{
    data::{
        age::FileKey,
        archive::{
            Manifest,
            tar::Damage,
            write::{self, ArchivePart, Around},
        },
        caches::{CacheFolder, Caches},
        encrypted_file::EncryptedOutput,
    },
    error::{Error, Result},
    event::{Event, Reporter, Transfer},
};

/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Most threads that compress: more would need more memory than docklet allows itself.
const MOST_THREADS: usize = 4;

/// The key is that of an encrypted file, with which it is read back.
pub type Packed = (Manifest, Unfinished, Option<FileKey>, Vec<CacheFolder>);

/// How many threads compress.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS))
}

/// Starts the thread. `parts` makes what it reads, `counted` becomes how much of that it has read, and `complete` adds to the manifest
/// what is known only at the end.
///
/// # Errors
/// When there is no place for the digests.
pub fn pack(
    request: &Request<'_>,
    unfinished: Unfinished,
    parts: impl FnOnce() -> io::Result<Vec<ArchivePart<'static>>> + Send + 'static,
    counted: Arc<AtomicU64>,
    complete: impl FnOnce(&mut Manifest) + Send + 'static,
) -> Result<JoinHandle<Result<Packed>>> {
    let header = request.header.clone();
    let (settings, secrets) = (request.settings.clone(), request.secrets.clone());
    let (path, recipients) = (request.file.to_owned(), request.recipients.clone());
    let spool = super::unfinished::spool(&path)?;
    Ok(tokio::task::spawn_blocking(move || {
        let around = Around { header: &header, settings: settings.as_deref(), secrets: secrets.as_deref() };
        let mut caches = Caches::default();
        let mut count = |path: &[u8], bytes| {
            caches.count(path, bytes);
            counted.fetch_add(bytes, Ordering::Relaxed);
        };
        let write = || {
            let out = BufWriter::with_capacity(256 * 1024, unfinished.as_file());
            let (mut out, key) = EncryptedOutput::begin(out, &recipients)?;
            let manifest = write::write(&mut out, &around, parts()?, spool, threads(), &mut count, complete)?;
            out.finish()?;
            Ok((manifest, key))
        };
        let (manifest, key) = write().map_err(|damage: Damage| failed(damage, &path))?;
        Ok((manifest, unfinished, key, caches.largest()))
    }))
}

/// The error for a tar that cannot be read, or a file that cannot be written.
pub fn failed(damage: Damage, path: &std::path::Path) -> Error {
    match damage {
        Damage::Io(e) => Error::file("write", path, &e),
        Damage::Malformed(reason) => Error::VolumesFailed { what: "reading the volumes".to_owned(), reason },
    }
}

/// What a thread came to.
///
/// # Errors
/// Its own, and a bug when it has not ended by itself.
pub fn joined<T>(ended: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    ended.map_err(|e| Error::bug(format!("packing: {e}")))?
}

/// Tells now and then how much was read.
pub struct Progress<'a> {
    reporter: &'a dyn Reporter,
    expected: u64,
    reported: Instant,
    interval: Duration,
    /// Bytes that were read.
    pub counted: Arc<AtomicU64>,
}

impl<'a> Progress<'a> {
    /// Of so many bytes; 0 where that is not known.
    pub fn new(reporter: &'a dyn Reporter, expected: u64) -> Self {
        let (reported, interval) = (Instant::now(), REPORT_EVERY / 4);
        Progress { reporter, expected, reported, interval, counted: Arc::default() }
    }

    /// Something was read.
    pub fn tick(&mut self) {
        if self.reported.elapsed() < self.interval {
            return;
        }
        self.reported = Instant::now();
        self.interval = REPORT_EVERY;
        let done = self.counted.load(Ordering::Relaxed);
        let total = if self.expected == 0 { 0 } else { self.expected.max(done) };
        self.reporter.report(&Event::Transfer(Transfer { done, total, ..Transfer::default() }));
    }
}
