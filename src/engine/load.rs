//! Loads an image from an archive such as `docker save` makes. The file is streamed: memory does not
//! grow with it. Unpacks nothing itself; `archive` looks into one beforehand.

mod archive;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use archive::open_archive;
pub use archive::{ArchiveImage, reference_in};
use futures_util::StreamExt as _;
use tokio_util::io::ReaderStream;

use super::{
    Engine,
    pull::REPORT_EVERY,
    reference::Reference,
    stream_error::Failure,
    transfer::{LayerMessage, Layers, Pace},
};
use crate::{
    error::{Error, ImageAction, ImageFault, Result},
    event::{Event, Layer, LayerPhase, Reporter, Transfer},
};

/// How much of the file is in memory at once.
const PIECE: usize = 256 * 1024;

/// How long an engine may take to take the file. Docker answers nothing before it has all of it.
const DEADLINE: Duration = Duration::from_secs(3600);

impl Engine {
    /// Loads an image archive (`docker save`, also compressed) and gives the image the name
    /// `reference`.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, [`Error::Image`] with the fault else. An image
    /// for another processor does not keep the name.
    pub async fn load(&self, file: &Path, reference: &str, reporter: &dyn Reporter) -> Result<()> {
        let failed = |failure: Failure| failure.into_error(ImageAction::Load, reference);
        let _: Reference = reference.parse()?;
        let size = open_archive(file)?.1;
        let before = self.image(reference).await?.map(|image| image.id);
        let names = self.send(file, size, reporter).await.map_err(failed)?;
        let Some(first) = names.first() else {
            let reason = "the engine's answer ended before the image was complete";
            return Err(failed(Failure::lasting(ImageFault::Truncated, reason)));
        };
        let arrived = match self.arrived(ImageAction::Load, first, reference).await {
            Err(error @ Error::Image { fault: ImageFault::Architecture, .. }) => {
                if self.image(reference).await?.map(|image| image.id) != before {
                    // Best effort: the fault is what the user needs to hear of.
                    let _ = self.remove_image(reference).await;
                }
                return Err(error);
            }
            other => other?,
        };
        if self.image(reference).await?.map(|image| image.id) != Some(arrived.id) {
            self.tag_image(first, reference).await?;
        }
        Ok(())
    }

    /// Sends the file; the names or ids of the images that the engine loaded from it.
    async fn send(&self, file: &Path, size: u64, reporter: &dyn Reporter) -> Result<Vec<String>, Failure> {
        let opened = tokio::fs::File::open(file)
            .await
            .map_err(|e| Failure::lasting(ImageFault::BadArchive, crate::error::io_reason(&e)))?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let pieces = ReaderStream::with_capacity(opened, PIECE).inspect(move |piece| {
            if let Ok(piece) = piece {
                counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        });
        let file = bollard::body_try_stream(pieces);
        let mut messages = self.transport.post_stream("/images/load?quiet=false", None, file).boxed();
        let begin = Instant::now();
        let mut layers = Layers::default();
        let mut names = vec![];
        let mut pace = Pace::new(REPORT_EVERY);
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    None => break,
                    Some(Err(_)) if !names.is_empty() => break,
                    Some(Err(error)) => return Err(Failure::from_bollard(ImageAction::Load, &error)),
                    Some(Ok(info)) => {
                        layers.take(LayerMessage::of(&info));
                        names.extend(info["stream"].as_str().map(loaded).unwrap_or_default());
                    }
                },
                _ = ticks.tick() => {}
            }
            if begin.elapsed() >= DEADLINE {
                let reason = format!("the engine has not taken the file within {} s", DEADLINE.as_secs());
                return Err(Failure::lasting(ImageFault::Truncated, reason));
            }
            if pace.is_due(Instant::now()) {
                reporter.report(&Event::Transfer(transfer(&mut layers, sent.load(Ordering::Relaxed), size)));
            }
        }
        if !names.is_empty() {
            // The engine may know all layers and need not have read to the end.
            reporter.report(&Event::Transfer(transfer(&mut layers, size, size)));
        }
        Ok(names)
    }
}

/// The bytes that were sent are the whole; what the engine does with each layer comes beside it.
fn transfer(layers: &mut Layers, sent: u64, size: u64) -> Transfer {
    let mut all = layers.transfer();
    all.done = sent.min(size);
    all.total = size;
    if sent < size {
        all.active.insert(0, Layer { id: "file".to_owned(), phase: LayerPhase::Downloading, done: sent, total: size });
    }
    all
}

/// From "Loaded image: a:1" or "Loaded image ID: sha256:…", what was loaded. Podman names several in
/// one line.
fn loaded(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: ")))
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}
