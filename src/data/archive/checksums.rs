//! The lines of `SHA256SUMS`, one for each file, kept in an unnamed file meanwhile: there may be
//! more of them than fit into the memory that docklet allows itself.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, Write as _},
};

use sha2::{Digest as _, Sha256};

use crate::appliance::hex;

/// Collects lines.
pub struct Checksums {
    file: BufWriter<File>,
    digest: Sha256,
    length: u64,
}

impl Checksums {
    /// Into an empty file that goes away by itself.
    pub fn new(file: File) -> Self {
        Checksums { file: BufWriter::with_capacity(64 * 1024, file), digest: Sha256::new(), length: 0 }
    }

    /// Adds a file.
    pub fn add(&mut self, path: &[u8], sha256: &[u8]) -> io::Result<()> {
        let line = line(path, sha256);
        self.digest.update(&line);
        self.length += line.len() as u64;
        self.file.write_all(&line)
    }

    /// Digest, length in bytes, and the lines from the beginning.
    pub fn finish(self) -> io::Result<(String, u64, File)> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok((hex(&self.digest.finalize()), self.length, file))
    }
}

/// The path in the first line that differs between what was computed and what was recorded.
pub fn first_difference(computed: impl Read, recorded: impl Read) -> io::Result<Option<String>> {
    let (mut computed, mut recorded) = (BufReader::new(computed), BufReader::new(recorded));
    let (mut here, mut there) = (vec![], vec![]);
    loop {
        here.clear();
        there.clear();
        computed.read_until(b'\n', &mut here)?;
        recorded.read_until(b'\n', &mut there)?;
        if here != there {
            let line = if here.is_empty() { &there } else { &here };
            let path = line.splitn(2, |b| *b == b' ').nth(1).unwrap_or_default();
            return Ok(Some(super::printable(path.trim_ascii())));
        }
        if here.is_empty() {
            return Ok(None);
        }
    }
}

/// One line in `sha256sum`'s format: a name with a line end or a backslash in it is escaped, and the
/// line begins with a backslash then (GNU coreutils, "md5sum invocation").
fn line(path: &[u8], sha256: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(path.len() + 68);
    let escaped = path.iter().any(|b| matches!(b, b'\n' | b'\r' | b'\\'));
    if escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(hex(sha256).as_bytes());
    line.extend_from_slice(b"  ");
    for byte in path {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            other => line.push(*other),
        }
    }
    line.push(b'\n');
    line
}

/// Path and digest in such a line.
pub fn parse(line: &[u8]) -> Option<(Vec<u8>, [u8; 32])> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let mut digest = [0; 32];
    for (byte, text) in digest.iter_mut().zip(line.get(..64)?.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?;
    }
    let name = line.get(64..)?.strip_prefix(b"  ")?.strip_suffix(b"\n")?;
    let (mut path, mut bytes) = (vec![], name.iter());
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'\\' if escaped => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                other => *other,
            },
            other => *other,
        });
    }
    Some((path, digest))
}
