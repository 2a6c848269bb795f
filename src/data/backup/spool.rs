//! A file without a name that is written once and read once, encrypted where the backup is. It takes less and less space
//! while it is read.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    age_key::Recipient,
    data::{
        age::FileKey,
        encrypted_file::{self, EncryptedOutput, Unlock},
    },
};

/// How much is read before the space of it is given back, in bytes.
const GIVE_BACK: u64 = 8 << 20;

/// What is being written.
pub struct SpoolWriter {
    out: EncryptedOutput<BufWriter<File>>,
    file: File,
    key: Option<FileKey>,
}

impl SpoolWriter {
    /// Into an empty file that goes away by itself.
    pub fn new(file: File, recipients: &[Recipient]) -> io::Result<Self> {
        let out = BufWriter::with_capacity(256 * 1024, file.try_clone()?);
        let (out, key) = EncryptedOutput::begin(out, recipients)?;
        Ok(SpoolWriter { out, file, key })
    }

    /// All of it is there.
    pub fn finish(self) -> io::Result<Spool> {
        self.out.finish()?;
        Ok(Spool { file: self.file, key: self.key })
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What was written.
pub struct Spool {
    file: File,
    key: Option<FileKey>,
}

impl Spool {
    /// Reads it from its beginning; an error when `stop` becomes true.
    pub fn read(self, stop: &Arc<AtomicBool>) -> io::Result<Box<dyn Read>> {
        let mut file = self.file;
        file.rewind()?;
        let file = BufReader::with_capacity(64 * 1024, GivesBack { file, stop: Arc::clone(stop), read: 0, given: 0 });
        let (plain, _) = encrypted_file::input(file, &Unlock::by(self.key))
            .map_err(|refused| io::Error::other(format!("{refused:?}")))?;
        Ok(plain)
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
