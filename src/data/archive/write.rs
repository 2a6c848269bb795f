//! Writes a backup archive: takes the tars of the volumes as they come, keeps their bytes, and adds
//! what is around it. The memory that this takes does not grow with the data.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use sha2::{Digest as _, Sha256};

use super::{
    HEADER, Header, MANIFEST, Manifest, SECRETS, SETTINGS, SUMS,
    checksums::Checksums,
    frames::{self, Frame, FrameWriter},
    rules::EntryRules,
    tar::{BLOCK, Damage, Entry, EntryKind, Reader},
};
use crate::appliance::hex;

/// What goes into a backup besides the volumes.
pub struct Around<'a> {
    /// What it says of itself.
    pub header: &'a Header,
    /// `settings.toml`; `None` where there is none.
    pub settings: Option<&'a [u8]>,
    /// The secrets, encrypted.
    pub secrets: Option<&'a [u8]>,
}

/// What is in the volumes, or a part of it.
pub struct ArchivePart<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// Whether an entry of it belongs into the archive.
    pub keep: Box<dyn FnMut(&Entry) -> bool + 'a>,
}

/// Where entries come from.
pub enum Source<'a> {
    /// A tar.
    Tar {
        /// The tar.
        tar: Box<dyn Read + 'a>,
        /// Most entries that are read; what is behind them may be damaged.
        most: u64,
    },
    /// Entries that were compressed before.
    Recorded {
        /// Those of which nothing was kept, because their headers are too large.
        oversized: Vec<Entry>,
        /// A tar in which the digest (SHA-256) of the content stands in its place.
        index: Box<dyn Read + 'a>,
        /// The frames, one behind the other. In them are the entries, and no end of a tar.
        packed: Box<dyn Read + 'a>,
        /// Their sizes.
        frames: Vec<Frame>,
    },
}

impl<'a> ArchivePart<'a> {
    /// All that is in a tar.
    pub fn whole(tar: impl Read + 'a) -> Self {
        ArchivePart { source: Source::Tar { tar: Box::new(tar), most: u64::MAX }, keep: Box::new(|_| true) }
    }
}

/// Writes a whole archive to `out` from the tars of the `volumes`; what it says of itself at its end, where `complete` may
/// add to it. `progress` hears of the bytes of content as they are read, and whose they are. `spool` is an empty file that goes
/// away by itself, `threads` how many compress. What [`read`](super::read) would refuse is left out.
///
/// # Errors
/// [`Damage::Malformed`] when a tar ends too early or is none, else what the source,
/// `out` and `spool` say.
pub fn write(
    out: impl Write,
    around: &Around<'_>,
    volumes: Vec<ArchivePart<'_>>,
    spool: File,
    threads: usize,
    progress: &mut dyn FnMut(&[u8], u64),
    complete: impl FnOnce(&mut Manifest),
) -> Result<Manifest, Damage> {
    let mut archive = ArchiveWriter {
        out: FrameWriter::new(out, threads),
        checksums: Checksums::new(spool),
        headers: Sha256::new(),
        rules: EntryRules::new(around.header.volumes.iter().map(|volume| volume.role.clone())),
        manifest: Manifest::empty(around.header),
    };
    let time = crate::clock::parse(&around.header.created).map_or(0, |t| t.unix_timestamp());
    let time = u64::try_from(time).unwrap_or(0);
    archive.file(HEADER, time, &json(around.header)?)?;
    for (name, content) in [(SETTINGS, around.settings), (SECRETS, around.secrets)] {
        if let Some(content) = content {
            archive.file(name, time, content)?;
        }
    }
    for ArchivePart { source, mut keep } in volumes {
        match source {
            Source::Tar { tar, most } => archive.tar(tar, most, &mut *keep, progress)?,
            Source::Recorded { oversized, index, packed, frames } => {
                for entry in oversized {
                    archive.admit(&entry, &mut *keep);
                }
                archive.recorded(index, packed, frames, &mut *keep, progress)?;
            }
        }
    }
    let ArchiveWriter { mut out, checksums, mut headers, mut manifest, .. } = archive;
    complete(&mut manifest);
    let (sums_sha256, length, mut lines) = checksums.finish()?;
    let block = header(SUMS, time, length)?;
    headers.update(block);
    out.write_all(&block)?;
    io::copy(&mut lines, &mut out)?;
    out.write_all(&vec![0; padding(length)])?;
    manifest.sums_sha256 = sums_sha256;
    manifest.headers_sha256 = hex(&headers.finalize());
    let content = json(&manifest)?;
    out.write_all(&header(MANIFEST, time, content.len() as u64)?)?;
    out.write_all(&content)?;
    out.write_all(&vec![0; padding(content.len() as u64) + 2 * BLOCK])?;
    out.finish()?.0.flush()?;
    Ok(manifest)
}

/// The digest of an entry's content (SHA-256).
pub type Digest = [u8; 32];

/// Copies the entry that `reader` has just read, headers and all; the digest of its content, and what fills its last block.
/// `count` hears of the bytes of content.
///
/// # Errors
/// What the source and `out` say, and [`Damage::Malformed`].
pub fn copy_entry(
    entry: &Entry,
    reader: &mut Reader<impl Read>,
    out: &mut impl Write,
    count: &mut dyn FnMut(u64),
) -> Result<(Digest, Vec<u8>), Damage> {
    out.write_all(&entry.raw)?;
    let mut digest = Sha256::new();
    reader.pass_content(|piece| {
        digest.update(piece);
        count(piece.len() as u64);
        out.write_all(piece).map_err(Damage::Io)
    })?;
    let padding = reader.padding()?;
    out.write_all(&padding)?;
    Ok((digest.finalize().into(), padding))
}

struct ArchiveWriter<W: Write> {
    out: FrameWriter<W>,
    checksums: Checksums,
    headers: Sha256,
    rules: EntryRules,
    manifest: Manifest,
}

impl<W: Write> ArchiveWriter<W> {
    fn file(&mut self, name: &str, time: u64, content: &[u8]) -> io::Result<()> {
        let length = content.len() as u64;
        let block = header(name, time, length)?;
        self.headers.update(block);
        self.checksums.add(name.as_bytes(), &Sha256::digest(content))?;
        self.out.write_all(&block)?;
        self.out.write_all(content)?;
        self.out.write_all(&vec![0; padding(length)])
    }

    /// Passes a tar of the volumes on.
    fn tar(
        &mut self,
        tar: impl Read,
        most: u64,
        keep: &mut dyn FnMut(&Entry) -> bool,
        progress: &mut dyn FnMut(&[u8], u64),
    ) -> Result<(), Damage> {
        let mut reader = Reader::new(tar);
        for _ in 0..most {
            let Some(entry) = reader.next_entry()? else {
                // What is behind the end only fills the last record; a source that is not read out blocks its writer.
                io::copy(&mut reader.into_source(), &mut io::sink())?;
                break;
            };
            let Some(volume) = self.admit(&entry, keep) else { continue };
            let mut count = |bytes| progress(&entry.path, bytes);
            let (digest, padding) = copy_entry(&entry, &mut reader, &mut self.out, &mut count)?;
            self.add(&entry, volume, &padding, &digest)?;
        }
        Ok(())
    }

    /// Passes on what was compressed before. Frames of which all is wanted are copied.
    fn recorded(
        &mut self,
        index: impl Read,
        mut packed: impl Read,
        frames: Vec<Frame>,
        keep: &mut dyn FnMut(&Entry) -> bool,
        progress: &mut dyn FnMut(&[u8], u64),
    ) -> Result<(), Damage> {
        let mut index = Reader::new(index);
        // How much of the current entry is still to come, and whether it is wanted.
        let (mut left, mut wanted) = (0_u64, false);
        for frame in frames {
            let mut pieces = vec![];
            let mut rest = u64::from(frame.plain);
            while rest > 0 {
                if left == 0 {
                    (left, wanted) = self.next_recorded(&mut index, keep, progress)?;
                }
                let piece = left.min(rest);
                pieces.push((usize::try_from(piece).unwrap_or(usize::MAX), wanted));
                (left, rest) = (left - piece, rest - piece);
            }
            let mut bytes = vec![0; frame.packed as usize];
            packed.read_exact(&mut bytes)?;
            if pieces.iter().all(|(_, wanted)| *wanted) {
                self.out.copy(bytes, frame.plain)?;
            } else if pieces.iter().any(|(_, wanted)| *wanted) {
                let plain = frames::decompress(&bytes, frame)?;
                let mut plain = plain.as_slice();
                for (length, wanted) in pieces {
                    let (piece, behind) = plain.split_at(length);
                    plain = behind;
                    if wanted {
                        self.out.write_all(piece)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many bytes the next entry takes, and whether it is wanted.
    fn next_recorded(
        &mut self,
        index: &mut Reader<impl Read>,
        keep: &mut dyn FnMut(&Entry) -> bool,
        progress: &mut dyn FnMut(&[u8], u64),
    ) -> Result<(u64, bool), Damage> {
        let short = || Damage::Malformed("there is more than was taken note of".to_owned());
        let entry = index.next_entry()?.ok_or_else(short)?;
        let mut digest = Digest::default();
        index.instead_of_content(&mut digest)?;
        let padding = index.padding()?;
        let length = entry.raw.len() as u64 + entry.size + padding.len() as u64;
        let Some(volume) = self.admit(&entry, keep) else { return Ok((length, false)) };
        progress(&entry.path, entry.size);
        self.add(&entry, volume, &padding, &digest)?;
        Ok((length, true))
    }

    /// The volume of an entry that belongs into the archive.
    fn admit(&mut self, entry: &Entry, keep: &mut dyn FnMut(&Entry) -> bool) -> Option<usize> {
        if !keep(entry) {
            return None;
        }
        self.rules.check(entry).map_err(|why| self.manifest.leave_out(&entry.path, &why)).ok()
    }

    /// Takes note of an entry that is in the archive.
    fn add(&mut self, entry: &Entry, volume: usize, padding: &[u8], digest: &Digest) -> io::Result<()> {
        self.headers.update(&entry.raw);
        self.headers.update(padding);
        self.manifest.count(volume, entry.kind, entry.size);
        if entry.kind == EntryKind::File { self.checksums.add(&entry.path, digest) } else { Ok(()) }
    }
}

fn json<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

fn header(name: &str, time: u64, length: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = ::tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header.set_size(length);
    header.set_entry_type(::tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

fn padding(length: u64) -> usize {
    (BLOCK - usize::try_from(length % BLOCK as u64).unwrap_or(0)) % BLOCK
}
