//! zstd in frames that stand alone: several threads make them at the same time, and where all of one is wanted again, it is
//! copied as it is. Programs that know zstd read them as one stream (RFC 8878, section 3.1).

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::mpsc,
    thread,
};

use zstd::bulk::Compressor;

/// zstd's own default: a higher level costs more time than it saves space.
const LEVEL: i32 = 3;

/// How much is in a frame, in bytes. Each thread has up to four buffers of this size.
const FRAME: usize = 1 << 20;

/// How many frames a thread may have been given, of which it makes one.
const AHEAD: usize = 2;

/// The sizes of a frame in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What is in it.
    pub plain: u32,
    /// What it takes.
    pub packed: u32,
}

/// Compresses what is written to it. All of it is there only after [`FrameWriter::finish`].
pub struct FrameWriter<W> {
    out: W,
    plain: Vec<u8>,
    threads: Vec<Compressing>,
    next: usize,
    begun: VecDeque<Begun>,
    frames: Vec<Frame>,
}

struct Compressing {
    plain: mpsc::Sender<Vec<u8>>,
    packed: mpsc::Receiver<io::Result<Vec<u8>>>,
}

/// A frame that is not written yet: one that a thread makes, or one that is copied.
enum Begun {
    Made { thread: usize, plain: u32 },
    Copied { packed: Vec<u8>, plain: u32 },
}

impl<W: Write> FrameWriter<W> {
    /// With so many threads.
    pub fn new(out: W, threads: usize) -> Self {
        let threads = (0..threads.max(1)).map(|_| compressing()).collect();
        FrameWriter { out, plain: vec![], threads, next: 0, begun: VecDeque::new(), frames: vec![] }
    }

    /// Adds a frame that was made before, of so many bytes.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn copy(&mut self, packed: Vec<u8>, plain: u32) -> io::Result<()> {
        self.end_frame()?;
        self.begin(Begun::Copied { packed, plain })
    }

    /// Writes all that is left; `out`, and the sizes of all frames.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<(W, Vec<Frame>)> {
        self.end_frame()?;
        while !self.begun.is_empty() {
            self.write_first()?;
        }
        Ok((self.out, self.frames))
    }

    fn end_frame(&mut self) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let plain = std::mem::take(&mut self.plain);
        let begun = Begun::Made { thread: self.next, plain: length(&plain) };
        // A thread that has ended says so when its frame is asked for.
        let _ = self.threads[self.next].plain.send(plain);
        self.next = (self.next + 1) % self.threads.len();
        self.begin(begun)
    }

    fn begin(&mut self, frame: Begun) -> io::Result<()> {
        self.begun.push_back(frame);
        while self.begun.len() > self.threads.len() * AHEAD {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let (packed, plain) = match self.begun.pop_front() {
            None => return Ok(()),
            Some(Begun::Copied { packed, plain }) => (packed, plain),
            Some(Begun::Made { thread, plain }) => {
                let ended = |_| io::Error::other("a thread that compresses has ended");
                (self.threads[thread].packed.recv().map_err(ended)??, plain)
            }
        };
        self.frames.push(Frame { plain, packed: length(&packed) });
        self.out.write_all(&packed)
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain.capacity() == 0 {
            self.plain.reserve_exact(FRAME);
        }
        let fits = bytes.len().min(FRAME - self.plain.len());
        self.plain.extend_from_slice(&bytes[..fits]);
        if self.plain.len() == FRAME {
            self.end_frame()?;
        }
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is in a frame.
///
/// # Errors
/// When it is none, or holds something else than `frame` says.
pub fn decompress(packed: &[u8], frame: Frame) -> io::Result<Vec<u8>> {
    let plain = zstd::bulk::decompress(packed, frame.plain as usize)?;
    if length(&plain) == frame.plain { Ok(plain) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A thread that ends when nobody gives it anything any more.
fn compressing() -> Compressing {
    let (plain, given) = mpsc::channel::<Vec<u8>>();
    let (made, packed) = mpsc::channel();
    thread::spawn(move || {
        let mut compressor = Compressor::new(LEVEL).and_then(|mut compressor| {
            compressor.include_checksum(true)?;
            Ok(compressor)
        });
        for plain in given {
            let packed = match &mut compressor {
                Ok(compressor) => compressor.compress(&plain),
                Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
            };
            if made.send(packed).is_err() {
                break;
            }
        }
    });
    Compressing { plain, packed }
}

/// A frame holds at most 1 MiB, and takes hardly more.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_are_one_stream_and_can_be_copied() {
        let text: Vec<u8> = (0..3 * FRAME / 4).flat_map(|n| u32::try_from(n).unwrap().to_le_bytes()).collect();
        for threads in [1, 3] {
            let mut writer = FrameWriter::new(vec![], threads);
            writer.write_all(&text).unwrap();
            let (packed, frames) = writer.finish().unwrap();
            assert_eq!(frames.iter().map(|frame| frame.plain as usize).sum::<usize>(), text.len());
            assert!(zstd::decode_all(packed.as_slice()).unwrap() == text);

            let mut copies = FrameWriter::new(vec![], threads);
            copies.write_all(b"before").unwrap();
            let mut rest = packed.as_slice();
            for frame in frames {
                let (one, behind) = rest.split_at(frame.packed as usize);
                rest = behind;
                assert_eq!(length(&decompress(one, frame).unwrap()), frame.plain);
                copies.copy(one.to_vec(), frame.plain).unwrap();
            }
            copies.write_all(b"behind").unwrap();
            let copied = zstd::decode_all(copies.finish().unwrap().0.as_slice()).unwrap();
            assert!(copied == [b"before", text.as_slice(), b"behind"].concat());
        }
    }

    #[test]
    fn a_frame_that_holds_something_else_is_refused() {
        let packed = zstd::encode_all(&b"abc"[..], 1).unwrap();
        let frame = Frame { plain: 3, packed: length(&packed) };
        assert_eq!(decompress(&packed, frame).unwrap(), b"abc");
        assert!(decompress(&packed, Frame { plain: 4, ..frame }).is_err());
    }
}
