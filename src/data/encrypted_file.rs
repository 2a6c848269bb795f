//! A backup's file as it is written and read: encrypted for keys (age), or plain.

use std::{
    fs::File,
    io::{self, BufRead, Read, Write},
    path::Path,
};

use super::{
    age::{self, AgeUnlock, Encrypt, FileKey, For, OpenError},
    archive::read::Refused,
};
use crate::age_key::{Identity, Recipient};

pub use super::age::BEGINS;

/// What opens a file that is encrypted; a plain one needs nothing.
#[derive(Debug, Clone)]
pub enum Unlock {
    /// One of these private keys.
    Identities(Vec<Identity>),
    /// The key of this very file: whoever wrote it, or has opened it before, knows it.
    File(FileKey),
}

impl Unlock {
    /// What opens a file that was opened before, or written just now: its key, where it is encrypted.
    pub fn by(key: Option<FileKey>) -> Self {
        key.map_or(Unlock::Identities(vec![]), Unlock::File)
    }
}

/// What is written to it reaches the file encrypted or as it is. The file is whole only after [`EncryptedOutput::finish`].
pub enum EncryptedOutput<W> {
    /// As it is.
    Plain(W),
    /// Encrypted.
    Encrypted(Box<Encrypt<W>>),
}

impl<W: Write> EncryptedOutput<W> {
    /// Begins a file; its key. Without recipients it is plain.
    ///
    /// # Errors
    /// When `out` cannot be written, or the system has no randomness.
    pub fn begin(out: W, recipients: &[Recipient]) -> io::Result<(Self, Option<FileKey>)> {
        if recipients.is_empty() {
            return Ok((EncryptedOutput::Plain(out), None));
        }
        let (encrypt, key) = age::encrypt(out, For::Recipients(recipients))?;
        Ok((EncryptedOutput::Encrypted(Box::new(encrypt)), Some(key)))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            EncryptedOutput::Plain(mut out) => out.flush(),
            EncryptedOutput::Encrypted(encrypt) => encrypt.finish().map(drop),
        }
    }
}

impl<W: Write> Write for EncryptedOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            EncryptedOutput::Plain(out) => out.write(bytes),
            EncryptedOutput::Encrypted(encrypt) => encrypt.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            EncryptedOutput::Plain(out) => out.flush(),
            EncryptedOutput::Encrypted(encrypt) => encrypt.flush(),
        }
    }
}

/// The plain archive in a file, and the key of a file that is encrypted.
///
/// # Errors
/// [`Refused::Encrypted`] when none of the keys opens it.
pub fn input<'a>(
    mut file: impl BufRead + 'a,
    unlock: &Unlock,
) -> Result<(Box<dyn Read + 'a>, Option<FileKey>), Refused> {
    if !begins_encrypted(&mut file).map_err(Refused::Io)? {
        return Ok((Box::new(file), None));
    }
    let key = match unlock {
        Unlock::Identities(all) if all.is_empty() => return Err(Refused::Encrypted(None)),
        Unlock::Identities(all) => AgeUnlock::Identities(all),
        Unlock::File(key) => AgeUnlock::File(key),
    };
    let (plain, key) = age::decrypt(file, key).map_err(|error| match error {
        OpenError::Keys | OpenError::Passphrase => Refused::Encrypted(Some(error.to_string())),
        OpenError::Header(what) => Refused::Invalid(what.to_owned()),
        OpenError::Read(e) if e.kind() == io::ErrorKind::UnexpectedEof => Refused::Invalid("it is cut off".to_owned()),
        OpenError::Read(e) => Refused::Io(e),
    })?;
    Ok((Box::new(plain), Some(key)))
}

fn begins_encrypted(file: &mut impl BufRead) -> io::Result<bool> {
    Ok(file.fill_buf()?.starts_with(age::BEGINS))
}

/// Whether a file begins as an encrypted one does.
pub fn is_encrypted(path: &Path) -> bool {
    let mut begin = [0; age::BEGINS.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && begin == age::BEGINS
}
