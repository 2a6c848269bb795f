//! Volumes → file. The container is paused only while its volumes are read; what is read is packed
//! meanwhile on a thread of its own. The file has its name only when it is whole, on disk, and has been read back
//! with the checks that `verify` and `restore` make.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    archive::{
        Header, Manifest,
        tar::Damage,
        write::{self, Around},
    },
    data_check::{self, Records},
    pipe,
    restore::Pass,
    volumes::{self, HelperOf, Named, complaint},
};
use crate::{
    engine::{Engine, helper::Ended},
    error::{Error, Result},
    event::{Event, Reporter, Transfer},
    interrupt::Interrupt,
    probe::Probe,
};

/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Beginning of the name of a file that is being written.
const UNFINISHED: &str = ".docklet-backup-";

/// Most threads that compress: more would need more memory than docklet allows itself.
const MOST_THREADS: usize = 4;

/// What to back up, and where to.
pub struct Request<'a> {
    /// What the backup says of itself.
    pub header: Header,
    /// The volumes.
    pub volumes: Vec<Named>,
    /// The task that reads them.
    pub task: HelperOf,
    /// The container to pause meanwhile; `None` when none runs.
    pub pause: Option<String>,
    /// `settings.toml`
    pub settings: Option<Vec<u8>>,
    /// The secrets, encrypted.
    pub secrets: Option<Vec<u8>>,
    /// The file; it must not exist.
    pub file: &'a Path,
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
    let spec = request.task.pack(&request.volumes);
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
    let (manifest, unfinished) = done?;
    resumed?;
    removed?;
    step();
    let size = unfinished.as_file().metadata().map(|found| found.len()).unwrap_or(0);
    unfinished.as_file().sync_all().map_err(|e| Error::file("write", request.file, &e))?;
    let step = self::step(reporter, 2, format!("read {} back", request.file.display()));
    let contents = Pass::over(unfinished.as_file(), request.file)?.run(io::sink(), reporter, interrupt).await?;
    if contents.manifest != manifest || contents.header != request.header {
        return Err(super::restore::invalid(request.file, "what was written is not what is read back"));
    }
    step();
    finish(unfinished, request.file, &folder)?;
    Ok(Made { file: request.file.to_owned(), size, manifest, paused: pause.lasted })
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

/// A file that is being written.
enum Unfinished {
    /// It has no name yet, so that nothing is left of it when docklet is killed.
    Nameless(File),
    /// Where a file cannot be without a name: the next backup removes it.
    Named(tempfile::NamedTempFile),
}

impl Unfinished {
    fn as_file(&self) -> &File {
        match self {
            Unfinished::Nameless(file) => file,
            Unfinished::Named(file) => file.as_file(),
        }
    }

    /// Gives it a name that nobody has yet.
    fn name(self, path: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Unfinished::Nameless(file) => nameless::name(&file, path),
            #[cfg(not(target_os = "linux"))]
            Unfinished::Nameless(_) => Err(io::ErrorKind::Unsupported.into()),
            Unfinished::Named(file) => file.persist_noclobber(path).map(drop).map_err(|e| e.error),
        }
    }
}

/// Files without a name, which Linux has on most of its file systems.
#[cfg(target_os = "linux")]
mod nameless {
    use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    /// A new one that can have a name in this folder later.
    pub fn create(folder: &Path) -> Option<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file: File = open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode).ok()?.into();
        // Without /proc it could never have a name.
        std::fs::metadata(link(&file)).is_ok().then_some(file)
    }

    pub fn name(file: &File, path: &Path) -> io::Result<()> {
        Ok(linkat(CWD, link(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn link(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
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
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (told, ended) = tokio::sync::oneshot::channel();
    let packing = pack(request, source, unfinished, std::sync::Arc::clone(&counted), ended)?;
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

type Packed = Result<(Manifest, Unfinished)>;

fn joined(packed: Result<Packed, tokio::task::JoinError>) -> Result<Packed> {
    packed.map_err(|e| Error::bug(format!("packing: {e}")))
}

/// Starts the thread that packs.
fn pack(
    request: &Request<'_>,
    source: pipe::Source,
    unfinished: Unfinished,
    counted: std::sync::Arc<std::sync::atomic::AtomicU64>,
    ended: tokio::sync::oneshot::Receiver<(Ended, Records)>,
) -> Result<tokio::task::JoinHandle<Packed>> {
    let header = request.header.clone();
    let (settings, secrets) = (request.settings.clone(), request.secrets.clone());
    let path = request.file.to_owned();
    let spool = spool(&path)?;
    Ok(tokio::task::spawn_blocking(move || {
        let around = Around { header: &header, settings: settings.as_deref(), secrets: secrets.as_deref() };
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
        let out = BufWriter::with_capacity(256 * 1024, unfinished.as_file());
        let mut count = |bytes| {
            counted.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let threads = u32::try_from(threads).unwrap_or(1);
        let complete = |manifest: &mut Manifest| {
            if let Ok((ended, records)) = ended.blocking_recv() {
                volumes::left_out(&ended, manifest);
                manifest.records = records;
            }
        };
        match write::write(out, &around, source, spool, threads, &mut count, complete) {
            Ok(manifest) => Ok((manifest, unfinished)),
            Err(Damage::Io(e)) => Err(Error::file("write", &path, &e)),
            Err(Damage::Malformed(reason)) => {
                Err(Error::VolumesFailed { what: "reading the volumes".to_owned(), reason })
            }
        }
    }))
}

/// An empty file beside `path` that goes away by itself.
pub(super) fn spool(path: &Path) -> Result<File> {
    tempfile::tempfile_in(folder_of(path)).map_err(|e| Error::file("write", path, &e))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens the file that will get the name, and removes what earlier runs that were killed left.
fn begin(path: &Path) -> Result<(PathBuf, Unfinished)> {
    let folder = folder_of(path).to_owned();
    for entry in fs_err::read_dir(&folder).map_err(|e| Error::file("write into", &folder, &e))?.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        // One that is still being written is locked by its writer.
        if ours && File::open(entry.path()).is_ok_and(|f| flock(&f, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    #[cfg(target_os = "linux")]
    if let Some(file) = nameless::create(&folder) {
        return Ok((folder, Unfinished::Nameless(file)));
    }
    let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&folder);
    let unfinished = unfinished.map_err(|e| Error::file("write", path, &e))?;
    flock(unfinished.as_file(), FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| Error::file("lock", path, &e.into()))?;
    Ok((folder, Unfinished::Named(unfinished)))
}

/// Gives the file, which is on disk, its name, which nobody may have taken meanwhile.
fn finish(unfinished: Unfinished, path: &Path, folder: &Path) -> Result<()> {
    unfinished.name(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::FileExists { path: path.display().to_string() },
        _ => Error::file("write", path, &e),
    })?;
    // The name is on disk only when the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::file("write", path, &e))
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
