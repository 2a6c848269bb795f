//! `docklet backup -`: hands an archive on that was made and read back. It was whole on disk before its first byte goes out,
//! so a slow reader keeps no container paused, and a backup that fails sends nothing.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    error::{Error, Result, is_full},
    event::{Event, Transfer, begin_step},
    ops::Instance,
};

/// What is copied at a time.
const PIECE: usize = 256 * 1024;

/// Time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Sends the whole file.
///
/// # Errors
/// When the other end does not take all of it, and [`Error::Interrupted`].
pub async fn send(instance: &Instance, archive: &Arc<File>, output: &Arc<File>) -> Result<()> {
    let step = "send the backup to standard output".to_owned();
    let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
    let total = archive.metadata().map_or(0, |found| found.len());
    let (from, to) = (Arc::clone(archive), Arc::clone(output));
    copy(instance, total, move |counted| {
        let (mut from, mut to) = (&*from, &*to);
        from.rewind()?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                break;
            }
            to.write_all(&piece[..read])?;
            counted.add(read)?;
        }
        // A file of the shell's is as safe as one of ours.
        if to.metadata().is_ok_and(|found| found.is_file()) { to.sync_all() } else { Ok(()) }
    })
    .await?
    .map_err(|e| match e.kind() {
        _ if is_full(&e) => Error::NoSpace { place: "standard output".to_owned(), needed: None, available: None },
        _ => Error::file("write to", Path::new("standard output"), &e),
    })?;
    done();
    Ok(())
}

/// What a thread has copied, and whether it is to stop.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Counted {
    /// Takes note of a piece.
    ///
    /// # Errors
    /// When it is to stop.
    pub fn add(&self, bytes: usize) -> io::Result<()> {
        self.done.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Copies on a thread of its own, with progress, until it is done or interrupted. The other end may make it wait for ever.
///
/// # Errors
/// [`Error::Interrupted`]; what the thread finds is inside.
pub async fn copy<T: Send + 'static>(
    instance: &Instance,
    total: u64,
    work: impl FnOnce(&Counted) -> T + Send + 'static,
) -> Result<T> {
    let counted = Counted::default();
    let of_thread = counted.clone();
    let mut thread = tokio::task::spawn_blocking(move || work(&of_thread));
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    loop {
        tokio::select! {
            biased;
            () = instance.interrupt.wait() => {
                counted.stop.store(true, Ordering::Relaxed);
                return Err(Error::Interrupted { next: "nothing was changed".to_owned() });
            }
            done = &mut thread => return done.map_err(|e| Error::bug(format!("copying: {e}"))),
            _ = ticks.tick() => {
                let done = counted.done.load(Ordering::Relaxed);
                instance.reporter.report(&Event::Transfer(Transfer { done, total, ..Transfer::default() }));
            }
        }
    }
}
