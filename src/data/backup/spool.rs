//! What was read of the volumes, kept beside the backup until that is written: compressed, without a name, and encrypted
//! where the backup is. It takes less and less space while it is read again.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use zstd::stream::{read::Decoder, write::Encoder};

use crate::{
    age_key::Recipient,
    data::{
        age::FileKey,
        encrypted_file::{self, EncryptedOutput, Unlock},
    },
};

/// zstd's fastest ordinary level: the container may be paused while this is written.
const LEVEL: i32 = 1;

/// How much is read before the space of it is given back, in bytes.
const GIVE_BACK: u64 = 8 << 20;

/// What is being written.
pub struct Writer {
    encoder: Encoder<'static, EncryptedOutput<BufWriter<File>>>,
    file: File,
    key: Option<FileKey>,
}

impl Writer {
    /// Into an empty file that goes away by itself.
    pub fn new(file: File, recipients: &[Recipient]) -> io::Result<Self> {
        let out = BufWriter::with_capacity(256 * 1024, file.try_clone()?);
        let (out, key) = EncryptedOutput::begin(out, recipients)?;
        // On this thread alone: others would keep memory that the archive's own need.
        let encoder = Encoder::new(out, LEVEL)?;
        Ok(Writer { encoder, file, key })
    }

    /// All of it is there.
    pub fn finish(self) -> io::Result<Compressed> {
        self.encoder.finish()?.finish()?;
        Ok(Compressed { file: self.file, key: self.key })
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// What was written.
pub struct Compressed {
    file: File,
    key: Option<FileKey>,
}

impl Compressed {
    /// Reads it from its beginning, once; an error when `stop` becomes true.
    pub fn read(self, stop: &Arc<AtomicBool>) -> io::Result<impl Read + 'static> {
        let mut file = self.file;
        file.rewind()?;
        let file = BufReader::with_capacity(64 * 1024, GivesBack { file, stop: Arc::clone(stop), read: 0, given: 0 });
        let (plain, _) = encrypted_file::input(file, &Unlock::by(self.key))
            .map_err(|refused| io::Error::other(format!("{refused:?}")))?;
        Decoder::new(plain)
    }
}

/// A file that is read once.
struct GivesBack {
    file: File,
    stop: Arc<AtomicBool>,
    read: u64,
    given: u64,
}

impl Read for GivesBack {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody wants it any more"));
        }
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        if self.read - self.given >= GIVE_BACK {
            give_back(&self.file, self.given, self.read - self.given);
            self.given = self.read;
        }
        Ok(read)
    }
}

/// Frees the space of a part of a file. Not every file system can; it is then taken until the end.
#[cfg(target_os = "linux")]
fn give_back(file: &File, from: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, length);
}

#[cfg(not(target_os = "linux"))]
fn give_back(_: &File, _: u64, _: u64) {}
