//! Volumes of a running container, read in two passes: all of it while the container works, then, while it is paused, what
//! changed meanwhile. See [`HelperOf::pack_twice`](crate::data::volumes::HelperOf::pack_twice) for what the helper prints
//! and `members` for what counts as changed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::mpsc::Sender,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    Pause, Request,
    members::{self, Changed, Clocks, KeptMembers, Members},
    packing::{Progress, failed, joined},
    recording::{Recorder, Recording},
    unfinished::spool,
};
use crate::{
    age_key::Recipient,
    data::{
        archive::{
            tar::{Damage, Entry, Reader},
            write::ArchivePart,
        },
        pipe,
        volumes::complaint,
    },
    engine::{
        Engine,
        helper::{HelperResult, HelperSpec, Task},
    },
    error::{Error, Result},
};

/// The size of GNU tar's records, of which it writes whole ones: 20 blocks, as the helper says.
const RECORD: u64 = 20 * 512;

/// How much more than what is in the volumes a first pass may read before it is given up, in bytes: what is inside may
/// make files as fast as they are read.
const SLACK: u64 = 1 << 30;

type Stream = BufReader<pipe::PipeSource>;

/// The first pass, when it was whole. The helper waits.
pub struct First {
    helper: Helper,
    stream: Stream,
    recording: Recording,
    members: Members,
    clean: bool,
    file: PathBuf,
    recipients: Vec<Recipient>,
}

/// Both passes.
pub struct TwoPasses {
    first: Recording,
    keep: KeptMembers,
    second: Recording,
    /// How many files, links and pipes were read again.
    pub again: u64,
    /// How the helper ended.
    pub ended: HelperResult,
}

impl First {
    /// Reads the volumes while the container works. `None` where only one pass is safe.
    ///
    /// # Errors
    /// What the engine says, and when what was read cannot be kept.
    pub async fn read(
        engine: &Engine,
        request: &Request<'_>,
        spec: &HelperSpec,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Self>> {
        let mut task = engine.start_helper(spec).await?;
        let (sender, source) = pipe::source();
        let input = task.take_input().ok_or_else(|| Error::bug("the helper has no input"))?;
        let mut helper = Helper { task, input: Some(input), sender: Some(sender), pending: None };
        let (file, recipients) = (request.file.to_owned(), request.recipients.clone());
        let recorder = recorder(&file, &recipients)?;
        let (counted, most) = (Arc::clone(&progress.counted), most(request));
        let stream = BufReader::with_capacity(64 * 1024, source);
        let path = file.clone();
        let work = spawn_blocking(move || {
            first_pass(stream, recorder, &counted, most).map_err(|damage| failed(damage, &path))
        });
        let read = helper.run(work, Some(progress)).await?;
        Ok(read.map(|(stream, recording, members, clean)| First {
            helper,
            stream,
            recording,
            members,
            clean,
            file,
            recipients,
        }))
    }

    /// Reads again what has changed. The container is paused; it goes on when all is read.
    ///
    /// # Errors
    /// As [`First::read`].
    pub async fn read_again(self, pause: &mut Pause<'_>) -> Result<TwoPasses> {
        let First { mut helper, mut stream, recording, members, clean, file, recipients } = self;
        let spools = [spool(&file)?, spool(&file)?];
        let recorder = recorder(&file, &recipients)?;
        helper.go().await;
        let path = file.clone();
        let work = spawn_blocking(move || {
            let changed = compare(&mut stream, members, clean, spools).map_err(|e| unreadable(&e, &path))?;
            Ok((stream, changed))
        });
        let (mut stream, Changed { keep, names, count }) = helper.run(work, None).await?;
        helper.send(names);
        let work = spawn_blocking(move || {
            let kept = keep_tar(&mut stream, recorder, &AtomicU64::new(0), |_| true);
            let kept = kept.map_err(|damage| failed(damage, &file))?;
            kept.map(|kept| (stream, kept)).ok_or_else(|| Error::bug("an entry of the second pass was refused"))
        });
        // The stream is held until the helper has ended: nothing is printed into a pipe that nobody reads.
        let (_stream, second) = helper.run(work, None).await?;
        // All is read. The engine takes longer to end the helper than the pause should last.
        pause.end().await?;
        let ended = helper.task.end().await?;
        if ended.code != 0 {
            return Err(complaint("reading the volumes", &ended));
        }
        Ok(TwoPasses { first: recording, keep, second, again: count, ended })
    }
}

impl TwoPasses {
    /// What the archive is made of, and how the helper ended. Reading ends with an error once `stop` is true.
    pub fn into_parts(
        self,
        stop: Arc<AtomicBool>,
    ) -> (impl FnOnce() -> io::Result<Vec<ArchivePart<'static>>> + Send, HelperResult) {
        let TwoPasses { first, mut keep, second, ended, .. } = self;
        let parts = move || Ok(vec![first.part(&stop, move |entry| keep.take(entry))?, second.part(&stop, |_| true)?]);
        (parts, ended)
    }
}

fn recorder(file: &Path, recipients: &[Recipient]) -> Result<Recorder> {
    Recorder::new([spool(file)?, spool(file)?], recipients).map_err(|e| Error::file("write", file, &e))
}

/// Most bytes that a first pass may read.
fn most(request: &Request<'_>) -> u64 {
    match request.expected {
        0 => super::free_space(request.file).map_or(u64::MAX, |free| free / 2),
        expected => expected.saturating_mul(2).saturating_add(SLACK),
    }
}

/// A running helper, of which a thread reads what it prints.
struct Helper {
    task: Task,
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    sender: Option<Sender<Bytes>>,
    pending: Option<Bytes>,
}

impl Helper {
    /// Hands on what the helper prints until the thread has what it wants.
    async fn run<T>(&mut self, mut work: JoinHandle<Result<T>>, mut progress: Option<&mut Progress<'_>>) -> Result<T> {
        let done = loop {
            let Some(sender) = &self.sender else { break work.await };
            if self.pending.is_some() {
                tokio::select! {
                    done = &mut work => break done,
                    room = sender.reserve() => if let (Ok(room), Some(piece)) = (room, self.pending.take()) {
                        room.send(piece);
                    },
                }
                continue;
            }
            tokio::select! {
                done = &mut work => break done,
                piece = self.task.next_in_time() => match piece? {
                    Some(piece) => self.pending = Some(piece),
                    // The thread sees the end.
                    None => self.sender = None,
                },
            }
            if let Some(progress) = &mut progress {
                progress.tick();
            }
        };
        let done = joined(done);
        if done.is_err() && self.sender.is_none() {
            // A helper that failed is the reason for what the thread could not read.
            let ended = self.task.end().await?;
            if ended.code != 0 {
                return Err(complaint("reading the volumes", &ended));
            }
        }
        done
    }

    /// Lets the second pass begin. A helper that has ended says why it did.
    async fn go(&mut self) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(b"go\n").await;
            let _ = input.flush().await;
        }
    }

    /// Sends the names of what it is to read, beside what it prints.
    fn send(&mut self, names: File) {
        if let Some(mut input) = self.input.take() {
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut tokio::fs::File::from_std(names), &mut input).await;
                let _ = input.flush().await;
                let _ = input.shutdown().await;
            });
        }
    }
}

/// Counts what is read.
struct Counted<'a> {
    stream: &'a mut Stream,
    counted: &'a AtomicU64,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.read += read as u64;
        self.counted.store(self.read, Ordering::Relaxed);
        Ok(read)
    }
}

/// Keeps what is in a tar up to its end, behind which the helper goes on to print. `None` when an entry is refused.
fn keep_tar(
    stream: &mut Stream,
    mut recorder: Recorder,
    counted: &AtomicU64,
    mut accept: impl FnMut(&Entry) -> bool,
) -> Result<Option<Recording>, Damage> {
    let mut reader = Reader::new(Counted { stream, counted, read: 0 });
    while let Some(entry) = reader.next_entry()? {
        if !accept(&entry) {
            return Ok(None);
        }
        recorder.add(entry, &mut reader)?;
    }
    let mut rest = reader.into_source();
    let fills = (RECORD - rest.read % RECORD) % RECORD;
    io::copy(&mut rest.by_ref().take(fills), &mut io::sink())?;
    Ok(Some(recorder.finish()?))
}

type FirstPass = Option<(Stream, Recording, Members, bool)>;

fn first_pass(mut stream: Stream, recorder: Recorder, counted: &AtomicU64, most: u64) -> Result<FirstPass, Damage> {
    let malformed = || Damage::Malformed("the helper did not say what it does".to_owned());
    let line = record(&mut stream)?;
    if line == b"once" {
        return Ok(None);
    }
    let mut members = Members::new(Clocks::parse(&line).ok_or_else(malformed)?);
    let mut bytes = 0_u64;
    let kept = keep_tar(&mut stream, recorder, counted, |entry| {
        bytes = bytes.saturating_add(entry.size);
        let fits = bytes <= most && members.len() < members::MOST;
        if fits && !entry.oversized {
            members.add(entry);
        }
        fits
    })?;
    let Some(recording) = kept else { return Ok(None) };
    let clean = record(&mut stream)? == b"clean";
    Ok(Some((stream, recording, members, clean)))
}

fn compare(stream: &mut Stream, members: Members, clean: bool, spools: [File; 2]) -> io::Result<Changed> {
    let clocks = Clocks::parse(&record(stream)?).ok_or(io::ErrorKind::InvalidData)?;
    members.compare(stream, clean, clocks, spools)
}

/// What stands before the next NUL.
fn record(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut line = vec![];
    stream.by_ref().take(1 << 20).read_until(0, &mut line)?;
    line.pop();
    Ok(line)
}

fn unreadable(e: &io::Error, path: &Path) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Error::VolumesFailed {
            what: "reading the volumes".to_owned(),
            reason: "the list of what is there cannot be read".to_owned(),
        },
        _ => Error::file("write", path, e),
    }
}
