//! Reads a whole backup archive and checks all of it on the way. What is in it reaches the caller
//! while that is still going on, so nothing of it counts before the end was reached.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest as _, Sha256};

use super::{
    FORMAT, HEADER, Header, MANIFEST, Manifest, SECRETS, SETTINGS, SUMS,
    checksums::{self, Checksums},
    printable,
    receive::Receiver,
    rules::{EntryRules, VOLUMES},
    tar::{Damage, Entry, EntryKind, Reader},
};
use crate::{appliance::hex, data::age::FileKey};

/// Largest window that a zstd stream may want, as a power of two of bytes; `write` uses 2^21.
const LARGEST_WINDOW: u32 = 24;

/// First bytes of every zstd frame (RFC 8878).
pub const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// What was in an archive, all of it checked.
#[derive(Debug, Clone)]
pub struct Contents {
    /// What it says of itself at its beginning.
    pub header: Header,
    /// What it says of itself at its end.
    pub manifest: Manifest,
    /// `settings.toml`
    pub settings: Option<Vec<u8>>,
    /// The encrypted secrets.
    pub secrets: Option<Vec<u8>>,
    /// The key of the file, where the whole of it is encrypted.
    pub key: Option<FileKey>,
}

/// Why an archive is not taken.
#[derive(Debug)]
pub enum Refused {
    /// It could not be read.
    Io(io::Error),
    /// What it holds could not be handed on: the receiver's own error.
    Receiver(io::Error),
    /// It is no backup, or not a whole one, or was altered.
    Invalid(String),
    /// It is encrypted, and there was no key, or only others: why not.
    Encrypted(Option<String>),
}

impl From<Damage> for Refused {
    fn from(damage: Damage) -> Self {
        match damage {
            // The decompressor has no better way to say that what it reads is no zstd.
            Damage::Io(e) if e.kind() == io::ErrorKind::Other || e.kind() == io::ErrorKind::InvalidData => {
                Refused::Invalid(format!("the compressed data is damaged: {e}"))
            }
            Damage::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Refused::Invalid("it is cut off".to_owned()),
            Damage::Io(e) => Refused::Io(e),
            Damage::Malformed(what) => Refused::Invalid(what),
        }
    }
}

/// Reads only the beginning: what a backup says of itself.
///
/// # Errors
/// [`Refused`].
pub fn header(file: impl Read) -> Result<Header, Refused> {
    begin(file).map(|(_, header, _)| header)
}

/// Reads and checks everything. `volumes` receives what is in the volumes.
///
/// # Errors
/// [`Refused`].
pub fn read(file: impl Read, spools: [File; 2], volumes: &mut dyn Receiver) -> Result<Contents, Refused> {
    let (mut pass, header, headers) = begin(file)?;
    let [computed, recorded] = spools;
    let mut check = ArchiveCheck {
        headers,
        checksums: Some(Checksums::new(computed)),
        rules: EntryRules::new(header.volumes.iter().map(|v| v.role.clone())),
        manifest: Manifest::empty(&header),
    };
    check.add(HEADER.as_bytes(), &Sha256::digest(&pass.first))?;
    let (mut settings, mut secrets) = (None, None);
    let mut place = Section::Header;
    loop {
        let entry = pass.next()?;
        let next = Section::of(&entry);
        if next < place || (next == place && next != Section::Volumes) {
            return Err(Refused::Invalid(format!("{} is not where it belongs", shown(&entry))));
        }
        place = next;
        if place == Section::Manifest {
            let recorded: Manifest = pass.json(&entry, MANIFEST)?;
            pass.end()?;
            let mut manifest = check.manifest_with(recorded)?;
            if manifest.records.is_empty() {
                manifest.records.clone_from(&header.records);
            }
            volumes.finish().map_err(Refused::Receiver)?;
            return Ok(Contents { header, manifest, settings, secrets, key: None });
        }
        check.headers.update(&entry.raw);
        match place {
            Section::Header | Section::Manifest => {}
            Section::Settings | Section::Secrets => {
                let content = pass.reader.small(&entry)?;
                check.add(&entry.path, &Sha256::digest(&content))?;
                *(if place == Section::Settings { &mut settings } else { &mut secrets }) = Some(content);
            }
            Section::Volumes => pass.pass_on(&entry, &mut check, volumes)?,
            Section::Sums => {
                if let Some(checksums) = check.checksums.take() {
                    check.manifest.sums_sha256 = pass.compare_checksums(checksums, &recorded)?;
                }
            }
        }
    }
}

/// The order of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Header,
    Settings,
    Secrets,
    Volumes,
    Sums,
    Manifest,
}

impl Section {
    fn of(entry: &Entry) -> Self {
        let named = |name: &str| entry.kind == EntryKind::File && entry.path == name.as_bytes();
        match () {
            () if named(HEADER) => Section::Header,
            () if named(SETTINGS) => Section::Settings,
            () if named(SECRETS) => Section::Secrets,
            () if named(SUMS) => Section::Sums,
            () if named(MANIFEST) => Section::Manifest,
            // Whatever does not belong there is refused there.
            () => Section::Volumes,
        }
    }
}

/// What is checked on the way.
struct ArchiveCheck {
    headers: Sha256,
    /// Until they were compared.
    checksums: Option<Checksums>,
    rules: EntryRules,
    manifest: Manifest,
}

impl ArchiveCheck {
    fn add(&mut self, path: &[u8], sha256: &[u8]) -> Result<(), Refused> {
        self.checksums.as_mut().map_or(Ok(()), |checksums| checksums.add(path, sha256)).map_err(Refused::Io)
    }

    /// The manifest, if the recorded one says the same as what was counted.
    fn manifest_with(mut self, recorded: Manifest) -> Result<Manifest, Refused> {
        self.manifest.headers_sha256 = hex(&self.headers.finalize());
        self.manifest.format = recorded.format;
        self.manifest.left_out.clone_from(&recorded.left_out);
        self.manifest.left_out_count = recorded.left_out_count;
        self.manifest.records.clone_from(&recorded.records);
        if self.manifest == recorded {
            return Ok(recorded);
        }
        Err(Refused::Invalid(if self.manifest.headers_sha256 != recorded.headers_sha256 {
            "names, owners, modes or times were altered".to_owned()
        } else {
            "it does not hold what its manifest says".to_owned()
        }))
    }
}

/// One way through an archive.
struct ArchivePass<R> {
    reader: Reader<R>,
    /// The header's bytes.
    first: Vec<u8>,
}

/// Reads the beginning, and digests its headers.
fn begin(mut file: impl Read) -> Result<(ArchivePass<impl Read>, Header, Sha256), Refused> {
    let mut magic = [0; 4];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        // What is encrypted and was altered.
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(Refused::Invalid(e.to_string())),
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => return Err(Refused::Io(e)),
        _ => return Err(Refused::Invalid("it does not begin like a docklet backup (zstd)".to_owned())),
    }
    let tar = decompressed(io::Cursor::new(magic).chain(file)).map_err(Refused::Io)?;
    let mut pass = ArchivePass { reader: Reader::new(tar), first: vec![] };
    let entry = pass.next()?;
    if Section::of(&entry) != Section::Header {
        return Err(Refused::Invalid(format!("it isn't a docklet backup: it begins with {}", shown(&entry))));
    }
    pass.first = pass.reader.small(&entry)?;
    // The format comes first: the rest may be written otherwise in a later one.
    let text: serde_json::Value = parse(&pass.first, HEADER)?;
    match text.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) if format > u64::from(FORMAT) => {
            return Err(Refused::Invalid(format!(
                "a newer docklet made it: its format is {format}, this one reads up to {FORMAT}"
            )));
        }
        _ => return Err(Refused::Invalid(format!("{HEADER} names no format"))),
    }
    let header: Header = parse(&pass.first, HEADER)?;
    // It is shown before anybody has seen more of the archive.
    if has_controls(&text) {
        return Err(Refused::Invalid(format!("{HEADER} has control characters in it")));
    }
    if crate::clock::parse(&header.created).is_none() {
        return Err(Refused::Invalid(format!("{HEADER} says no time")));
    }
    Ok((pass, header, Sha256::new_with_prefix(&entry.raw)))
}

/// The tar in an archive.
///
/// # Errors
/// When there is no memory for it.
pub fn decompressed(file: impl Read) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::new(file)?;
    decoder.window_log_max(LARGEST_WINDOW)?;
    Ok(decoder)
}

impl<R: Read> ArchivePass<R> {
    fn next(&mut self) -> Result<Entry, Refused> {
        self.reader.next_entry()?.ok_or_else(|| Refused::Invalid("it ends before its manifest".to_owned()))
    }

    /// Nothing may come behind the last entry.
    fn end(&mut self) -> Result<(), Refused> {
        match self.reader.next_entry()? {
            None => {}
            Some(entry) => return Err(Refused::Invalid(format!("{} is behind its end", shown(&entry)))),
        }
        self.reader.nothing_left()?.then_some(()).ok_or_else(|| Refused::Invalid("something is behind its end".into()))
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, entry: &Entry, name: &str) -> Result<T, Refused> {
        parse(&self.reader.small(entry)?, name)
    }

    /// Hands an entry of a volume on, and counts and digests it.
    fn pass_on(&mut self, entry: &Entry, check: &mut ArchiveCheck, volumes: &mut dyn Receiver) -> Result<(), Refused> {
        if !entry.path.starts_with(VOLUMES) {
            return Err(Refused::Invalid(format!("{} does not belong into a backup", shown(entry))));
        }
        let volume = check.rules.check(entry).map_err(|why| Refused::Invalid(format!("{}: {why}", shown(entry))))?;
        volumes.entry(entry).map_err(Refused::Receiver)?;
        let mut digest = Sha256::new();
        self.reader.pass_content(|piece| {
            digest.update(piece);
            volumes.content(piece).map_err(Refused::Receiver)
        })?;
        let padding = self.reader.padding()?;
        check.headers.update(&padding);
        volumes.padding(&padding).map_err(Refused::Receiver)?;
        check.manifest.count(volume, entry.kind, entry.size);
        if entry.kind == EntryKind::File {
            check.add(&entry.path, &digest.finalize())?;
        }
        Ok(())
    }

    /// Compares the recorded digests with the computed ones; the digest of both.
    fn compare_checksums(&mut self, computed: Checksums, mut recorded: &File) -> Result<String, Refused> {
        let mut digest = Sha256::new();
        self.reader.pass_content(|piece| {
            digest.update(piece);
            io::Write::write_all(&mut recorded, piece).map_err(Refused::Io)
        })?;
        let (expected, _, lines) = computed.finish().map_err(Refused::Io)?;
        if hex(&digest.finalize()) == expected {
            return Ok(expected);
        }
        io::Seek::rewind(&mut recorded).map_err(Refused::Io)?;
        let path = checksums::first_difference(lines, recorded).map_err(Refused::Io)?.unwrap_or_default();
        Err(Refused::Invalid(format!("{path} is not what it was when the backup was made")))
    }
}

/// Whether any text in it has control characters, which a terminal would obey.
fn has_controls(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.chars().any(char::is_control),
        serde_json::Value::Array(list) => list.iter().any(has_controls),
        serde_json::Value::Object(map) => {
            map.iter().any(|(key, value)| key.chars().any(char::is_control) || has_controls(value))
        }
        _ => false,
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, Refused> {
    serde_json::from_slice(bytes).map_err(|e| Refused::Invalid(format!("{name} cannot be read: {e}")))
}

fn shown(entry: &Entry) -> String {
    printable(&entry.path)
}
