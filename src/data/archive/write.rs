//! Writes a backup archive: takes the tars of the volumes as they come, keeps their bytes, and adds
//! what is around it. The memory that this takes does not grow with the data.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use sha2::{Digest as _, Sha256};
use zstd::{stream::write::Encoder, zstd_safe::CParameter};

use super::{
    HEADER, Header, MANIFEST, Manifest, SECRETS, SETTINGS, SUMS,
    checksums::Checksums,
    rules::EntryRules,
    tar::{BLOCK, Damage, Entry, EntryKind, Reader},
};
use crate::appliance::hex;

/// zstd's own default: a higher level costs more time than it saves space.
const LEVEL: i32 = 3;

/// How much one compressing thread takes at a time, in bytes. zstd's own choice for this level is eight times
/// that, for which it keeps several buffers for each thread.
const JOB: u32 = 1 << 20;

/// What goes into a backup besides the volumes.
pub struct Around<'a> {
    /// What it says of itself.
    pub header: &'a Header,
    /// `settings.toml`; `None` where there is none.
    pub settings: Option<&'a [u8]>,
    /// The secrets, encrypted.
    pub secrets: Option<&'a [u8]>,
}

/// A tar of the volumes, or of a part of what is in them.
pub struct ArchivePart<'a> {
    /// The tar.
    pub tar: Box<dyn Read + 'a>,
    /// Most entries that are read; what is behind them may be damaged.
    pub most: u64,
    /// Whether an entry of it belongs into the archive.
    pub keep: Box<dyn FnMut(&Entry) -> bool + 'a>,
}

impl<'a> ArchivePart<'a> {
    /// All that is in a tar.
    pub fn whole(tar: impl Read + 'a) -> Self {
        ArchivePart { tar: Box::new(tar), most: u64::MAX, keep: Box::new(|_| true) }
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
    threads: u32,
    progress: &mut dyn FnMut(&[u8], u64),
    complete: impl FnOnce(&mut Manifest),
) -> Result<Manifest, Damage> {
    let mut encoder = Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    if threads > 1 {
        encoder.multithread(threads)?;
        encoder.set_parameter(CParameter::JobSize(JOB))?;
    }
    let mut archive = ArchiveWriter { out: encoder, checksums: Checksums::new(spool), headers: Sha256::new() };
    let time = crate::clock::parse(&around.header.created).map_or(0, |t| t.unix_timestamp());
    let time = u64::try_from(time).unwrap_or(0);
    archive.file(HEADER, time, &json(around.header)?)?;
    for (name, content) in [(SETTINGS, around.settings), (SECRETS, around.secrets)] {
        if let Some(content) = content {
            archive.file(name, time, content)?;
        }
    }
    let mut manifest = Manifest::empty(around.header);
    let mut rules = EntryRules::new(manifest.volumes.iter().map(|v| v.role.clone()));
    for part in volumes {
        archive.volumes(part, &mut rules, &mut manifest, progress)?;
    }
    complete(&mut manifest);
    let ArchiveWriter { mut out, checksums, mut headers } = archive;
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
    out.finish()?.flush()?;
    Ok(manifest)
}

struct ArchiveWriter<W: Write> {
    out: W,
    checksums: Checksums,
    headers: Sha256,
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
    fn volumes(
        &mut self,
        ArchivePart { tar, mut most, mut keep }: ArchivePart<'_>,
        rules: &mut EntryRules,
        manifest: &mut Manifest,
        progress: &mut dyn FnMut(&[u8], u64),
    ) -> Result<(), Damage> {
        let mut reader = Reader::new(tar);
        while most > 0 {
            let Some(entry) = reader.next_entry()? else {
                // What is behind the end only fills the last record; a source that is not read out blocks its writer.
                io::copy(&mut reader.into_source(), &mut io::sink())?;
                break;
            };
            most -= 1;
            if !keep(&entry) {
                continue;
            }
            let volume = match rules.check(&entry) {
                Ok(volume) => volume,
                Err(why) => {
                    manifest.leave_out(&entry.path, &why);
                    continue;
                }
            };
            self.headers.update(&entry.raw);
            self.out.write_all(&entry.raw)?;
            let mut digest = Sha256::new();
            reader.pass_content(|piece| {
                digest.update(piece);
                self.out.write_all(piece)?;
                progress(&entry.path, piece.len() as u64);
                Ok::<(), Damage>(())
            })?;
            let padding = reader.padding()?;
            self.headers.update(&padding);
            self.out.write_all(&padding)?;
            manifest.count(volume, entry.kind, entry.size);
            if entry.kind == EntryKind::File {
                self.checksums.add(&entry.path, &digest.finalize())?;
            }
        }
        Ok(())
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
