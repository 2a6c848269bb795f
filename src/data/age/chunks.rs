//! The encrypted data behind the header of an age file: chunks of 64 KiB, each sealed with its number and whether it is
//! the last.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce};

use super::{FileKey, damaged, derived, seal};

/// Plain bytes in every chunk but the last.
pub(super) const CHUNK: usize = 64 * 1024;
/// Bytes by which an encrypted chunk is longer than a plain one.
pub(super) const TAG: usize = 16;

/// The key of the chunks, and how many there were.
struct Chunks {
    key: LessSafeKey,
    count: u64,
}

impl Chunks {
    fn new(file_key: &FileKey, nonce: &[u8; 16]) -> io::Result<Self> {
        derived(&file_key.0, nonce, "payload", &CHACHA20_POLY1305)
            .map(|key| Chunks { key: LessSafeKey::new(key), count: 0 })
    }

    /// The next chunk's nonce. Counts before anything can fail, so that none is used twice.
    fn nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.count.to_be_bytes());
        nonce[11] = u8::from(last);
        self.count += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Encrypts what is written to it. The file is whole only after [`Encrypt::finish`].
pub struct Encrypt<W> {
    output: W,
    chunks: Chunks,
    plain: Vec<u8>,
}

impl<W: Write> Encrypt<W> {
    /// Behind a header that is written already.
    pub(super) fn new(mut output: W, file_key: &FileKey, nonce: &[u8; 16]) -> io::Result<Self> {
        output.write_all(nonce)?;
        Ok(Encrypt { output, chunks: Chunks::new(file_key, nonce)?, plain: vec![] })
    }

    /// Writes the last chunk, without which nobody accepts the file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        self.output.flush()?;
        Ok(self.output)
    }

    pub(super) fn put(&mut self, last: bool) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.plain);
        let nonce = self.chunks.nonce(last);
        seal(&self.chunks.key, nonce, &mut chunk)?;
        self.output.write_all(&chunk)?;
        chunk.clear();
        self.plain = chunk;
        Ok(())
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when more follows: a full chunk may be the last.
        if self.plain.len() == CHUNK && !bytes.is_empty() {
            self.put(false)?;
        }
        let count = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Gives the plain bytes, none before its chunk is proved genuine. A file that was cut is an error, not an end.
pub struct Decrypt<R> {
    input: BufReader<R>,
    chunks: Chunks,
    plain: Vec<u8>,
    at: usize,
    state: ChunkState,
}

enum ChunkState {
    Open,
    Ended,
    /// A chunk could not be read or is not genuine: nothing behind it counts.
    Broken,
}

impl<R: Read> Decrypt<R> {
    /// Behind a header that was read already.
    pub(super) fn new(mut input: BufReader<R>, file_key: &FileKey) -> io::Result<Self> {
        let mut nonce = [0; 16];
        input.read_exact(&mut nonce)?;
        Ok(Decrypt { input, chunks: Chunks::new(file_key, &nonce)?, plain: vec![], at: 0, state: ChunkState::Open })
    }

    fn next(&mut self) -> io::Result<()> {
        if matches!(std::mem::replace(&mut self.state, ChunkState::Broken), ChunkState::Broken) {
            return Err(damaged("the encrypted data could not be read before"));
        }
        // Nothing of it is visible before it is proved genuine.
        let mut chunk = std::mem::take(&mut self.plain);
        self.at = 0;
        chunk.clear();
        (&mut self.input).take((CHUNK + TAG) as u64).read_to_end(&mut chunk)?;
        let last = self.input.fill_buf()?.is_empty();
        let first = self.chunks.count == 0;
        let nonce = self.chunks.nonce(last);
        let opened = self.chunks.key.open_in_place(nonce, Aad::empty(), &mut chunk);
        let count = opened.map_err(|_| damaged("the encrypted data was cut or changed"))?.len();
        if count == 0 && !first {
            return Err(damaged("the encrypted data ends with an empty chunk"));
        }
        chunk.truncate(count);
        self.plain = chunk;
        self.state = if last { ChunkState::Ended } else { ChunkState::Open };
        Ok(())
    }
}

impl<R: Read> Read for Decrypt<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.plain.len() && !matches!(self.state, ChunkState::Ended) && !to.is_empty() {
            self.next()?;
        }
        let count = (&self.plain[self.at..]).read(to)?;
        self.at += count;
        Ok(count)
    }
}
