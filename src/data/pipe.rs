//! Between asynchronous streams and the threads that pack and unpack. Both sides wait for each
//! other, so that no more than a few pieces are ever in memory.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How many pieces may be under way; the engine's are 32 KiB at most.
const PIECES: usize = 16;

/// How much is collected before it is handed on, in bytes.
const PIECE: usize = 64 * 1024;

/// What a thread reads; it ends when the sender is dropped.
pub struct PipeSource {
    pieces: Receiver<Bytes>,
    current: Bytes,
}

/// A sender, and what a thread reads of it.
pub fn source() -> (Sender<Bytes>, PipeSource) {
    let (sender, pieces) = channel(PIECES);
    (sender, PipeSource { pieces, current: Bytes::new() })
}

impl Read for PipeSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        Ok(length)
    }
}

/// What a thread writes; an error when nobody takes it any more.
pub struct Sink {
    pieces: Sender<Bytes>,
    collected: Vec<u8>,
}

/// What a thread writes, and the receiver of it.
pub fn sink() -> (Sink, Receiver<Bytes>) {
    let (pieces, receiver) = channel(PIECES);
    (Sink { pieces, collected: Vec::with_capacity(PIECE) }, receiver)
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.collected.extend_from_slice(bytes);
        if self.collected.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.collected, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
