//! What can still be read of a damaged archive, written as a whole one, with a list of what is missing or altered. It is read
//! twice: once to see how far that goes, so that no file ends in its middle, and once more for the content.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read},
};

use sha2::{Digest as _, Sha256};

use super::{
    archive::{
        HEADER, Header, LeftOut, MANIFEST, Manifest, SECRETS, SETTINGS, SUMS, checksums, printable,
        read::{Refused, decompressed},
        rules::{EntryRules, VOLUMES},
        tar::{Damage, Entry, EntryKind, Reader},
        write::{self, ArchivePart, Around, Source},
    },
    archive_reading::Watched,
    encrypted_file::{self, Unlock},
};

/// Most paths that are named.
const MOST_NAMED: usize = 100;

/// Most folders that are made for what is in them: only a made-up archive lacks so many.
const MOST_FOLDERS: usize = 10_000;

/// What is not as it was when the backup was made.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    /// Why it cannot be read to its end; `None`: it can.
    pub cut: Option<String>,
    /// The last path that could be read.
    pub last: String,
    /// What was in it and cannot be restored: the first of it.
    pub missing: Vec<LeftOut>,
    /// How much that is in all.
    pub missing_count: u64,
    /// What is restored and is not what it was: the first of it.
    pub altered: Vec<String>,
    /// How much that is in all.
    pub altered_count: u64,
}

impl Lost {
    fn miss(&mut self, path: &[u8], reason: &str) {
        self.missing_count += 1;
        if self.missing.len() < MOST_NAMED {
            self.missing.push(LeftOut { path: printable(path), reason: reason.to_owned() });
        }
    }

    fn alter(&mut self, path: &[u8]) {
        self.altered_count += 1;
        if self.altered.len() < MOST_NAMED {
            self.altered.push(printable(path));
        }
    }
}

/// What the first reading finds.
#[derive(Default)]
struct FirstReading {
    lost: Lost,
    /// How many entries are whole.
    whole: u64,
    settings: Option<Vec<u8>>,
    secrets: Option<Vec<u8>>,
    manifest: Option<Manifest>,
    /// Digests of files, by their paths; both as the first half of their SHA-256.
    digests: HashMap<u128, u128>,
    folders: Folders,
}

/// The folders above what can be read. One that changed while the backup was made stands behind what is in it: where that is cut
/// off, the folder would be root's, and nobody inside could write into it.
#[derive(Default)]
struct Folders {
    /// The first half of the SHA-256 of each path that was read.
    read: HashSet<u128>,
    /// Those that were not read so far, and the owner of what is in them.
    lacking: BTreeMap<Vec<u8>, (u64, u64)>,
}

impl Folders {
    fn add(&mut self, entry: &Entry) {
        let path = entry.path.strip_suffix(b"/").unwrap_or(&entry.path);
        self.lacking.remove(path);
        if entry.kind == EntryKind::Folder {
            self.read.insert(half(&Sha256::digest(path)));
        }
        let slashes = path.iter().enumerate().skip(VOLUMES.len()).filter(|(_, byte)| **byte == b'/');
        for above in slashes.map(|(at, _)| &path[..at]) {
            let is_lacking = !self.read.contains(&half(&Sha256::digest(above))) && !self.lacking.contains_key(above);
            if is_lacking && self.lacking.len() < MOST_FOLDERS {
                self.lacking.insert(above.to_owned(), entry.owner());
            }
        }
    }

    /// A tar of those that were never read.
    fn tar(&self) -> io::Result<Vec<u8>> {
        let mut tar = ::tar::Builder::new(vec![]);
        for (path, (uid, gid)) in &self.lacking {
            tar.append_pax_extensions([("path", path.as_slice())])?;
            let mut header = ::tar::Header::new_ustar();
            header.set_path("folder/")?;
            header.set_entry_type(::tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_uid(*uid);
            header.set_gid(*gid);
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, io::empty())?;
        }
        tar.into_inner()
    }
}

/// Writes what can be read of a file into another one. `spool` is an empty file that goes away by itself.
///
/// # Errors
/// When a file cannot be read or written.
pub fn salvage(
    source: impl Fn() -> io::Result<Watched>,
    header: &Header,
    unlock: &Unlock,
    out: &File,
    spool: File,
) -> Result<Lost, Refused> {
    let mut found = FirstReading::default();
    let ended = first(&mut Reader::new(open(source().map_err(Refused::Io)?, unlock)?), header, &mut found);
    match ended.map_err(Refused::from) {
        // What is behind the last entry holds nothing.
        Ok(()) | Err(Refused::Invalid(_)) if found.manifest.is_some() => {}
        Ok(()) => found.lost.cut = Some("it ends before its manifest".to_owned()),
        Err(Refused::Invalid(why)) => found.lost.cut = Some(why),
        // The disk that it is on is no damage of the archive.
        Err(refused) => return Err(refused),
    }
    let tar = Box::new(open(source().map_err(Refused::Io)?, unlock)?);
    let volumes = ArchivePart {
        source: Source::Tar { tar, most: found.whole },
        keep: Box::new(|entry| entry.path.starts_with(VOLUMES)),
    };
    let folders = found.folders.tar().map_err(Refused::Io)?;
    let around = Around { header, settings: found.settings.as_deref(), secrets: found.secrets.as_deref() };
    let recorded = found.manifest.unwrap_or_default();
    let complete = |manifest: &mut Manifest| {
        (manifest.left_out, manifest.left_out_count) = (recorded.left_out, recorded.left_out_count);
        manifest.records = recorded.records;
    };
    let out = BufWriter::with_capacity(256 * 1024, out);
    write::write(
        out,
        &around,
        vec![volumes, ArchivePart::whole(folders.as_slice())],
        spool,
        1,
        &mut |_, _| {},
        complete,
    )?;
    Ok(found.lost)
}

fn open(source: Watched, unlock: &Unlock) -> Result<impl Read, Refused> {
    let source = BufReader::with_capacity(256 * 1024, source);
    let (plain, _) = encrypted_file::input(source, unlock)?;
    decompressed(plain).map_err(Refused::Io)
}

/// Reads as far as that goes.
fn first(reader: &mut Reader<impl Read>, header: &Header, found: &mut FirstReading) -> Result<(), Damage> {
    let mut rules = EntryRules::new(header.volumes.iter().map(|volume| volume.role.clone()));
    while let Some(entry) = reader.next_entry()? {
        let named = |name: &str| entry.kind == EntryKind::File && entry.path == name.as_bytes();
        if named(SUMS) {
            compare(reader, found)?;
        } else if named(MANIFEST) {
            found.manifest = serde_json::from_slice(&reader.small(&entry)?).ok();
        } else {
            let refused = match entry.path.starts_with(VOLUMES) {
                true => rules.check(&entry).err(),
                false if [HEADER, SETTINGS, SECRETS].into_iter().any(named) => None,
                false => Some("it does not belong into a backup".to_owned()),
            };
            if let Err(damage) = content(reader, &entry, found) {
                found.lost.miss(&entry.path, "only a part of it can be read");
                return Err(damage);
            }
            match refused {
                Some(why) => found.lost.miss(&entry.path, &why),
                None if entry.path.starts_with(VOLUMES) => found.folders.add(&entry),
                None => {}
            }
        }
        found.lost.last = printable(&entry.path);
        found.whole += 1;
    }
    Ok(())
}

/// Reads an entry's content and keeps its digest.
fn content(reader: &mut Reader<impl Read>, entry: &Entry, found: &mut FirstReading) -> Result<(), Damage> {
    let mut digest = Sha256::new();
    let kept = [SETTINGS, SECRETS].iter().any(|name| entry.path == name.as_bytes());
    if kept && entry.kind == EntryKind::File {
        let content = reader.small(entry)?;
        digest.update(&content);
        *(if entry.path == SETTINGS.as_bytes() { &mut found.settings } else { &mut found.secrets }) = Some(content);
    } else {
        reader.pass_content(|piece| {
            digest.update(piece);
            Ok::<(), Damage>(())
        })?;
    }
    reader.padding()?;
    if entry.kind == EntryKind::File {
        found.digests.insert(half(&Sha256::digest(&entry.path)), half(&digest.finalize()));
    }
    Ok(())
}

/// Compares the digests with those that were recorded.
fn compare(reader: &mut Reader<impl Read>, found: &mut FirstReading) -> Result<(), Damage> {
    let mut lines = BufReader::new(EntryContent(reader));
    let mut line = vec![];
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Some((path, recorded)) = checksums::parse(&line) {
            let recorded = half(&recorded);
            match found.digests.remove(&half(&Sha256::digest(&path))) {
                Some(digest) if digest == recorded => {}
                Some(_) if path == SETTINGS.as_bytes() || path == SECRETS.as_bytes() => {
                    // Not for use: settings can open this machine.
                    *(if path == SETTINGS.as_bytes() { &mut found.settings } else { &mut found.secrets }) = None;
                    found.lost.miss(&path, "it was altered");
                }
                Some(_) => found.lost.alter(&path),
                None => found.lost.miss(&path, "it is not in the archive"),
            }
        }
        line.clear();
    }
    for _ in 0..found.digests.len() {
        found.lost.alter(b"a file that was not there when the backup was made");
    }
    Ok(())
}

fn half(digest: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(bytes)
}

/// The content of the current entry.
struct EntryContent<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.content(buffer).map_err(unreadable)
    }
}

fn unreadable(damage: Damage) -> io::Error {
    match damage {
        Damage::Io(e) => e,
        Damage::Malformed(what) => io::Error::new(io::ErrorKind::InvalidData, what),
    }
}
