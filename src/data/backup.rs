//! Volumes → file. A container that runs is paused only while what has changed since a first pass is read. The file has
//! its name only when it is whole, on disk, and has been read back with the checks that `verify` and `restore` make.
//!
//! `twice`: the two passes; `members`: what of the first is still right; `recording` and `spool`: where they are kept; `packing`: the
//! thread that writes the file; `unfinished`: the file before it has its name.

mod members;
mod packing;
mod recording;
mod spool;
mod twice;
pub(super) mod unfinished;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use self::{
    packing::{Packed, Progress, joined},
    twice::{First, TwoPasses},
    unfinished::{Unfinished, begin, finish, folder_of},
};
pub use unfinished::UNFINISHED;

use super::{
    archive::{Header, Manifest, write::ArchivePart},
    archive_reading::{self, ArchiveReading, Stops},
    caches::CacheFolder,
    data_check::{self, Records},
    pipe,
    volumes::{self, HelperOf, Named, complaint},
};
use crate::{
    age_key::Recipient,
    engine::{
        Engine,
        helper::{HelperResult, HelperSpec},
    },
    error::{Error, Result},
    event::{Reporter, begin_step},
    interrupt::Interrupt,
    probe::Probe,
    settings::Glob,
};

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
            Recorded::Asked(probe, paths) => data_check::briefly(data_check::list(probe, paths)).await,
            Recorded::Known(records) => records.clone(),
        }
    }

    async fn after(&self, before: Records) -> Records {
        match self {
            Recorded::Asked(probe, _) => data_check::briefly(data_check::there(probe, &before)).await,
            Recorded::Known(_) => before,
        }
    }
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct MadeBackup {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it.
    pub manifest: Manifest,
    /// How long the container was paused; `None` when none ran.
    pub paused: Option<Duration>,
    /// How many files, links and pipes were read while it was paused; `None` where all of them were.
    pub read_again: Option<u64>,
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
) -> Result<MadeBackup> {
    if std::fs::symlink_metadata(request.file).is_ok() {
        return Err(Error::FileExists { path: request.file.display().to_string() });
    }
    let done =
        begin_step(reporter, 1, 2, format!("back up {} into {}", request.header.instance, request.file.display()));
    let (folder, unfinished) = begin(request.file)?;
    let mut pause = Pause { engine, container: request.pause.as_deref(), since: None, lasted: None };
    let read = read(engine, &request, unfinished, &mut pause, reporter, interrupt).await;
    let ((manifest, unfinished, key, caches), read_again) = read?;
    done();
    let size = unfinished.as_file().metadata().map(|found| found.len()).unwrap_or(0);
    unfinished.as_file().sync_all().map_err(|e| Error::file("write", request.file, &e))?;
    let done = begin_step(reporter, 2, 2, format!("read {} back", request.file.display()));
    let pass = ArchiveReading::over(unfinished.as_file(), request.file, key)?;
    let (contents, _) = pass.run(io::sink(), reporter, interrupt).await?;
    if contents.manifest != manifest || contents.header != request.header {
        return Err(archive_reading::invalid(request.file, "what was written is not what is read back"));
    }
    done();
    let nameless = if request.nameless {
        Some(Arc::new(unfinished.into_file()))
    } else {
        finish(unfinished, request.file, &folder)?;
        None
    };
    Ok(MadeBackup { file: request.file.to_owned(), size, manifest, paused: pause.lasted, read_again, caches, nameless })
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
        if let (Some(name), Some(since)) = (self.container, self.since) {
            let resumed = self.engine.unpause_container(name).await;
            self.lasted = Some(since.elapsed());
            // One that was never paused, or that has ended meanwhile, is not paused now either.
            if resumed.is_err() && self.engine.container(name).await?.is_some_and(|c| c.paused) {
                return resumed;
            }
            self.since = None;
        }
        Ok(())
    }

    /// Removes the helper, unless the container is still paused: the helper that is left tells whoever comes next, the
    /// supervisor or a command, that the pause is to be undone.
    async fn remove(&self, helper: &str) -> Result<()> {
        if self.since.is_some() { Ok(()) } else { self.engine.remove_container(helper).await.map(drop) }
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

/// Reads the volumes and packs them.
async fn read(
    engine: &Engine,
    request: &Request<'_>,
    unfinished: Unfinished,
    pause: &mut Pause<'_>,
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<(Packed, Option<u64>)> {
    let records = request.records.before().await;
    if request.pause.is_some()
        && let Some(both) = read_twice(engine, request, pause, reporter, interrupt).await?
    {
        let records = request.records.after(records).await;
        let again = both.again;
        let packed = interrupt.or(interrupted(), pack_both(request, unfinished, both, records)).await?;
        return Ok((packed, Some(again)));
    }
    let spec = request.task.pack(&request.volumes, &request.exclude);
    engine.create_helper(&spec).await?;
    // Outside of what an interruption leaves in the middle: a pause that comes true behind its end would stay.
    let paused = pause.begin().await;
    let once = async {
        paused?;
        read_once(engine, request, &spec, unfinished, pause, records, reporter).await
    };
    let done = interrupt.or(interrupted(), once).await;
    let resumed = pause.end().await;
    let removed = pause.remove(&spec.name).await;
    let packed = done?;
    resumed?;
    removed?;
    Ok((packed, None))
}

fn interrupted() -> Error {
    Error::Interrupted { next: "nothing was changed, and no backup was made".to_owned() }
}

/// While the container works, and again while it is paused; `None` where that is not safe. The helper is gone then.
async fn read_twice(
    engine: &Engine,
    request: &Request<'_>,
    pause: &mut Pause<'_>,
    reporter: &dyn Reporter,
    interrupt: &Interrupt,
) -> Result<Option<TwoPasses>> {
    let spec = request.task.pack_twice(&request.volumes, &request.exclude);
    engine.create_helper(&spec).await?;
    let mut progress = Progress::new(reporter, request.expected);
    let both = match interrupt.or(interrupted(), First::read(engine, request, &spec, &mut progress)).await {
        Ok(Some(first)) => {
            let paused = pause.begin().await;
            let both = interrupt.or(interrupted(), async { paused.map(|()| first)?.read_again(pause).await }).await;
            let resumed = pause.end().await;
            both.and_then(|both| resumed.map(|()| Some(both)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let removed = pause.remove(&spec.name).await;
    let both = both?;
    removed?;
    Ok(both)
}

/// Writes the archive of both passes.
async fn pack_both(request: &Request<'_>, unfinished: Unfinished, both: TwoPasses, records: Records) -> Result<Packed> {
    let stop = Arc::new(AtomicBool::new(false));
    // The thread reads no pipe that ends when nobody waits for it any more.
    let _stops = Stops(Arc::clone(&stop));
    let (parts, ended) = both.into_parts(stop);
    let complete = move |manifest: &mut Manifest| complete(manifest, &ended, records);
    joined(packing::pack(request, unfinished, parts, Arc::default(), complete)?.await)
}

fn complete(manifest: &mut Manifest, ended: &HelperResult, records: Records) {
    volumes::left_out(ended, manifest);
    manifest.records = records;
}

/// In one pass, the container being paused or not running.
async fn read_once(
    engine: &Engine,
    request: &Request<'_>,
    spec: &HelperSpec,
    unfinished: Unfinished,
    pause: &mut Pause<'_>,
    records: Records,
    reporter: &dyn Reporter,
) -> Result<Packed> {
    let (sender, source) = pipe::source();
    let mut progress = Progress::new(reporter, request.expected);
    let (told, ended) = tokio::sync::oneshot::channel();
    // Only at the end is known what was left out, and what is there afterwards: the thread waits for it.
    let complete = move |manifest: &mut Manifest| {
        if let Ok((ended, records)) = ended.blocking_recv() {
            complete(manifest, &ended, records);
        }
    };
    let parts = move || Ok(vec![ArchivePart::whole(source)]);
    let packing = packing::pack(request, unfinished, parts, Arc::clone(&progress.counted), complete)?;
    let mut task = engine.start_helper(spec).await?;
    while let Some(piece) = task.next_in_time().await? {
        if sender.send(piece).await.is_err() {
            // The thread has ended: it says why.
            break;
        }
        progress.tick();
    }
    let stopped = sender.is_closed();
    drop(sender);
    if stopped {
        drop(told);
        return Err(joined(packing.await).err().unwrap_or_else(|| Error::bug("packing stopped too early")));
    }
    let ended = task.end().await?;
    pause.end().await?;
    if ended.code != 0 {
        return Err(complaint("reading the volumes", &ended));
    }
    let _ = told.send((ended, request.records.after(records).await));
    joined(packing.await)
}

/// Bytes that are free where a file would be; `None` where that cannot be known.
pub fn free_space(path: &Path) -> Option<u64> {
    free_in(folder_of(path))
}

/// Bytes that are free in a folder; `None` where that cannot be known.
pub fn free_in(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Sizes of volumes, added up.
pub fn total(sizes: &BTreeMap<String, u64>, volumes: &[Named]) -> u64 {
    volumes.iter().filter_map(|v| sizes.get(&v.volume)).sum()
}
