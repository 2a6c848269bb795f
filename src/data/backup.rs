//! Volumes → file. The container is paused only while its volumes are read; what is read is packed
//! meanwhile on a thread of its own. The file has its name only when it is whole, on disk, and has been read back
//! with the checks that `verify` and `restore` make.

mod unfinished;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub use unfinished::UNFINISHED;
pub(super) use unfinished::spool;
use unfinished::{Unfinished, begin, finish, folder_of};

use super::{
    age::FileKey,
    archive::{
        Header, Manifest,
        tar::Damage,
        write::{self, Around},
    },
    caches::{CacheFolder, Caches},
    data_check::{self, Records},
    encrypted_file::Output,
    pipe,
    restore::Pass,
    volumes::{self, HelperOf, Named, complaint},
};
use crate::{
    age_key::Recipient,
    engine::{Engine, helper::Ended},
    error::{Error, Result},
    event::{Event, Reporter, Transfer},
    interrupt::Interrupt,
    probe::Probe,
    settings::Glob,
};

/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Most threads that compress: more would need more memory than docklet allows itself.
const MOST_THREADS: usize = 4;

/// What to back up, and where to.
pub struct Request<'a> {
    /// What the backup says of itself.
    pub header: Header,
    /// The volumes.
    pub volumes: Vec<Named>,
    /// What of them is left out.
    pub exclude: Vec<Glob>,
    /// The task that reads them.
    pub task: HelperOf,
    /// The container to pause meanwhile; `None` when none runs.
    pub pause: Option<String>,
    /// `settings.toml`
    pub settings: Option<Vec<u8>>,
    /// The secrets, encrypted.
    pub secrets: Option<Vec<u8>>,
    /// Whom the whole file is encrypted for; none: it is not.
    pub recipients: Vec<Recipient>,
    /// The file; it must not exist.
    pub file: &'a Path,
    /// Whether it never gets that name: it goes elsewhere then.
    pub nameless: bool,
    /// Bytes in the volumes, for the progress; 0 where that is not known.
    pub expected: u64,
    /// What the program holds.
    pub records: Recorded,
}

/// Where the records in a backup come from.
pub enum Recorded {
    /// The program, asked before and after its volumes are read: only what is there both times is surely in them.
    Asked(Box<Probe>, Vec<String>),
    /// It was asked before it was stopped, or it does not run.
    Known(Records),
}

impl Recorded {
    async fn before(&self) -> Records {
        match self {
            Recorded::Asked(probe, paths) => data_check::list(probe, paths).await,
            Recorded::Known(records) => records.clone(),
        }
    }

    async fn after(&self, before: Records) -> Records {
        match self {
            Recorded::Asked(probe, _) => data_check::there(probe, &before).await,
            Recorded::Known(_) => before,
        }
    }
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it.
    pub manifest: Manifest,
    /// How long the container was paused; `None` when none ran.
    pub paused: Option<Duration>,
    /// The largest folders in it that look like caches.
    pub caches: Vec<CacheFolder>,
    /// The archive, where it was to have no name.
    pub nameless: Option<Arc<File>>,
}

/// Makes a backup, and reads it back.
///
/// # Errors
/// [`Error::FileExists`], [`Error::NoSpace`], [`Error::Interrupted`], [`Error::BackupInvalid`] when it cannot be
/// read back, and what the engine says. The container goes on in any case, and no part of a file is left.
pub async fn make(
    engine: &Engine,
    request: Request<'_>,
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<Made> {
    if std::fs::symlink_metadata(request.file).is_ok() {
        return Err(Error::FileExists { path: request.file.display().to_string() });
    }
    let step = step(reporter, 1, format!("back up {} into {}", request.header.instance, request.file.display()));
    let (folder, unfinished) = begin(request.file)?;
    let spec = request.task.pack(&request.volumes, &request.exclude);
    engine.create_helper(&spec).await?;
    let records = request.records.before().await;
    let mut pause = Pause { engine, container: request.pause.as_deref(), since: None, lasted: None };
    // Outside of what an interruption leaves in the middle: a pause that comes true behind its end would stay.
    let paused = pause.begin().await;
    let done = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Error::Interrupted { next: "nothing was changed, and no backup was made".to_owned() }),
        done = async { paused?; read(engine, &request, &spec, unfinished, &mut pause, records, reporter).await } => done,
    };
    let resumed = pause.end().await;
    let removed = engine.remove_container(&spec.name).await;
    let (manifest, unfinished, key, caches) = done?;
    resumed?;
    removed?;
    step();
    let size = unfinished.as_file().metadata().map(|found| found.len()).unwrap_or(0);
    unfinished.as_file().sync_all().map_err(|e| Error::file("write", request.file, &e))?;
    let step = self::step(reporter, 2, format!("read {} back", request.file.display()));
    let pass = Pass::over(unfinished.as_file(), request.file, key)?;
    let (contents, _) = pass.run(io::sink(), reporter, interrupt).await?;
    if contents.manifest != manifest || contents.header != request.header {
        return Err(super::restore::invalid(request.file, "what was written is not what is read back"));
    }
    step();
    let nameless = if request.nameless {
        Some(Arc::new(unfinished.into_file()))
    } else {
        finish(unfinished, request.file, &folder)?;
        None
    };
    Ok(Made { file: request.file.to_owned(), size, manifest, paused: pause.lasted, caches, nameless })
}

/// Reports that one of the two steps begins; what is returned reports that it is done.
fn step(reporter: &dyn Reporter, number: usize, step: String) -> impl FnOnce() {
    let began = Instant::now();
    reporter.report(&Event::StepStarted { number, total: 2, step: step.clone() });
    move || reporter.report(&Event::StepDone { number, total: 2, step, elapsed: began.elapsed() })
}

/// The pause of the container, which must end however the backup ends.
struct Pause<'a> {
    engine: &'a Engine,
    container: Option<&'a str>,
    since: Option<Instant>,
    lasted: Option<Duration>,
}

impl Pause<'_> {
    async fn begin(&mut self) -> Result<()> {
        if let Some(name) = self.container {
            self.since = Some(Instant::now());
            if let Err(error) = self.engine.pause_container(name).await {
                // One that has just ended needs no pause. Newer engines list it as running for a moment longer.
                let runs = self.engine.container(name).await.map(|c| c.is_some_and(|c| c.running));
                if !matches!(runs, Ok(false)) {
                    return Err(cannot_pause(self.engine, error));
                }
                self.since = None;
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        if let (Some(name), Some(since)) = (self.container, self.since.take()) {
            let resumed = self.engine.unpause_container(name).await;
            self.lasted = Some(since.elapsed());
            // One that was never paused, or that has ended meanwhile, is not paused now either.
            if resumed.is_err() && self.engine.container(name).await?.is_some_and(|c| c.paused) {
                return resumed;
            }
        }
        Ok(())
    }
}

/// Rootless engines on an older kernel cannot pause (cgroup v1); what is stopped can be backed up there, too.
fn cannot_pause(engine: &Engine, error: Error) -> Error {
    match error {
        Error::EngineRefused { reason, .. } => Error::EngineUnsupported {
            endpoint: engine.about.endpoint.clone(),
            reason: format!("it cannot pause the container: {reason}"),
            hint: "stop it for the backup: docklet stop, docklet backup, docklet start".to_owned(),
        },
        other => other,
    }
}

async fn read(
    engine: &Engine,
    request: &Request<'_>,
    spec: &crate::engine::helper::HelperSpec,
    unfinished: Unfinished,
    pause: &mut Pause<'_>,
    records: Records,
    reporter: &dyn Reporter,
) -> Packed {
    let (sender, source) = pipe::source();
    let counted = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (told, ended) = tokio::sync::oneshot::channel();
    let packing = pack(request, source, unfinished, Arc::clone(&counted), ended)?;
    let mut task = engine.start_helper(spec).await?;
    let mut reported = Instant::now();
    let mut interval = REPORT_EVERY / 4;
    while let Some(piece) = task.next().await? {
        if sender.send(piece).await.is_err() {
            // The thread has ended: it says why.
            break;
        }
        if reported.elapsed() >= interval {
            reported = Instant::now();
            interval = REPORT_EVERY;
            let done = counted.load(std::sync::atomic::Ordering::Relaxed);
            let total = if request.expected == 0 { 0 } else { request.expected.max(done) };
            reporter.report(&Event::Transfer(Transfer { done, total, ..Transfer::default() }));
        }
    }
    let stopped = sender.is_closed();
    drop(sender);
    if stopped {
        drop(told);
        return Err(joined(packing.await)?.err().unwrap_or_else(|| Error::bug("packing stopped too early")));
    }
    let ended = task.end().await?;
    pause.end().await?;
    if ended.code != 0 {
        return Err(complaint("reading the volumes", &ended));
    }
    // Only now is known what was left out, and what is there afterwards: the thread waits for it.
    let _ = told.send((ended, request.records.after(records).await));
    joined(packing.await)?
}

/// The key is that of an encrypted file, with which it is read back.
type Packed = Result<(Manifest, Unfinished, Option<FileKey>, Vec<CacheFolder>)>;

fn joined(packed: Result<Packed, tokio::task::JoinError>) -> Result<Packed> {
    packed.map_err(|e| Error::bug(format!("packing: {e}")))
}

/// Starts the thread that packs.
fn pack(
    request: &Request<'_>,
    source: pipe::Source,
    unfinished: Unfinished,
    counted: Arc<std::sync::atomic::AtomicU64>,
    ended: tokio::sync::oneshot::Receiver<(Ended, Records)>,
) -> Result<tokio::task::JoinHandle<Packed>> {
    let header = request.header.clone();
    let (settings, secrets) = (request.settings.clone(), request.secrets.clone());
    let (path, recipients) = (request.file.to_owned(), request.recipients.clone());
    let spool = spool(&path)?;
    Ok(tokio::task::spawn_blocking(move || {
        let around = Around { header: &header, settings: settings.as_deref(), secrets: secrets.as_deref() };
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
        let out = BufWriter::with_capacity(256 * 1024, unfinished.as_file());
        let mut caches = Caches::default();
        let mut count = |path: &[u8], bytes| {
            caches.count(path, bytes);
            counted.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let threads = u32::try_from(threads).unwrap_or(1);
        let complete = |manifest: &mut Manifest| {
            if let Ok((ended, records)) = ended.blocking_recv() {
                volumes::left_out(&ended, manifest);
                manifest.records = records;
            }
        };
        let (mut out, key) = Output::begin(out, &recipients).map_err(|e| Error::file("write", &path, &e))?;
        let written = write::write(&mut out, &around, source, spool, threads, &mut count, complete);
        match written.and_then(|manifest| out.finish().map(|()| manifest).map_err(Damage::Io)) {
            Ok(manifest) => Ok((manifest, unfinished, key, caches.largest())),
            Err(Damage::Io(e)) => Err(Error::file("write", &path, &e)),
            Err(Damage::Malformed(reason)) => {
                Err(Error::VolumesFailed { what: "reading the volumes".to_owned(), reason })
            }
        }
    }))
}

/// Bytes that are free where a file would be; `None` where that cannot be known.
pub fn free_space(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder_of(path)).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Sizes of volumes, added up.
pub fn total(sizes: &BTreeMap<String, u64>, volumes: &[Named]) -> u64 {
    volumes.iter().filter_map(|v| sizes.get(&v.volume)).sum()
}
