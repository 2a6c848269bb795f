//! Reads a tar stream entry by entry and keeps every header byte as it came, so that what is passed
//! on is what was read: extended attributes, sparse maps and times to the nanosecond included.
//! Understands POSIX (pax), ustar and GNU's long names. Judges nothing; see `rules`.

use std::io::{self, Read};

/// Size of a tar block in bytes (POSIX.1-1988).
pub const BLOCK: usize = 512;

/// Most that the headers of one entry may take: extended attributes have at most 64 KiB each.
const LARGEST_HEADERS: usize = 4 << 20;

/// Largest entry that is kept in memory: header, settings, secrets, manifest.
const LARGEST_KEPT: u64 = 16 << 20;

/// What is handed on at a time.
const PIECE: usize = 128 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with content.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier file.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
    /// Anything else, by its type byte.
    Other(u8),
}

impl EntryKind {
    fn of(type_byte: u8, path: &[u8]) -> Self {
        match type_byte {
            b'0' | 0 | b'7' if path.ends_with(b"/") => EntryKind::Folder,
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Folder,
            b'6' => EntryKind::Fifo,
            other => EntryKind::Other(other),
        }
    }
}

/// One entry's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// All header blocks as they came, extended ones included.
    pub raw: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Its path, as bytes: names need not be UTF-8.
    pub path: Vec<u8>,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// Bytes of content that follow. Of a sparse file: its map and what is between the holes.
    pub size: u64,
    /// Size with its holes, where it is a file that has some (GNU's format 1.0).
    pub sparse: Option<u64>,
    /// Whether its headers were larger than the limit; `raw` then lacks their end.
    pub oversized: bool,
}

impl Entry {
    /// Bytes that a file has, holes included.
    pub fn length(&self) -> u64 {
        self.sparse.unwrap_or(self.size)
    }

    /// Permissions.
    pub fn mode(&self) -> u32 {
        self.field(100..108).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0)
    }

    /// Its user's id and its group's.
    pub fn owner(&self) -> (u64, u64) {
        (self.field(108..116).unwrap_or(0), self.field(116..124).unwrap_or(0))
    }

    /// When it was changed last, in whole seconds since 1970; 0 before that.
    pub fn modified(&self) -> i64 {
        self.field(136..148).and_then(|time| i64::try_from(time).ok()).unwrap_or(0)
    }

    /// A value of its POSIX extended header, which GNU tar puts first.
    pub fn extended(&self, key: &[u8]) -> Option<&[u8]> {
        if *self.raw.get(156)? != b'x' {
            return None;
        }
        let length = usize::try_from(number(self.raw.get(124..136)?)?).ok()?;
        let mut rest = self.raw.get(BLOCK..BLOCK.checked_add(length)?)?;
        while !rest.is_empty() {
            let (record, behind) = pax_record(rest)?;
            if let Some(value) = record.strip_prefix(key).and_then(|value| value.strip_prefix(b"=")) {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    /// A number in its last header block, which is its own.
    fn field(&self, at: std::ops::Range<usize>) -> Option<u64> {
        let block = self.raw.get(self.raw.len().checked_sub(BLOCK)?..)?;
        number(&block[at])
    }
}

/// Why a tar stream cannot be read on.
#[derive(Debug)]
pub enum Damage {
    /// The source failed.
    Io(io::Error),
    /// The bytes are no tar, with what is wrong with them.
    Malformed(String),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Damage::Io(error)
    }
}

/// Reads entries from a source.
pub struct Reader<R> {
    source: R,
    remaining: u64,
    padding: usize,
    path: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// A reader at the beginning of a tar.
    pub fn new(source: R) -> Self {
        Reader { source, remaining: 0, padding: 0, path: vec![] }
    }

    /// The next entry; `None` behind the last. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Damage> {
        let mut skipped = [0; 16 * 1024];
        while self.content(&mut skipped)? > 0 {}
        self.padding()?;
        let mut raw = vec![];
        let mut extended = Extended::default();
        loop {
            let start = raw.len();
            raw.resize(start + BLOCK, 0);
            self.fill(&mut raw[start..])?;
            let block: [u8; BLOCK] = raw[start..].try_into().map_err(|_| self.malformed("a header is cut off"))?;
            if block == [0; BLOCK] {
                if start > 0 {
                    return Err(self.malformed("a header is missing"));
                }
                let mut second = [0; BLOCK];
                self.fill(&mut second)?;
                return if second == [0; BLOCK] { Ok(None) } else { Err(self.malformed("the end is damaged")) };
            }
            if !checksum_is_right(&block) {
                return Err(self.malformed("a header's checksum is wrong"));
            }
            let size = number(&block[124..136]).ok_or_else(|| self.malformed("a size is no number"))?;
            match block[156] {
                kind @ (b'x' | b'L' | b'K') => {
                    if !extended.may_follow(kind) {
                        // Two readers may take one name or the other, and what was checked is not what is written.
                        return Err(self.malformed("it has two kinds of extended headers"));
                    }
                    let length = usize::try_from(size).unwrap_or(usize::MAX);
                    let kept = length.min(LARGEST_HEADERS);
                    let from = raw.len();
                    raw.resize(from + kept.next_multiple_of(BLOCK), 0);
                    self.fill(&mut raw[from..])?;
                    let read = extended.read(kind, &raw[from..from + kept]);
                    if length > kept {
                        extended.oversized = true;
                        self.skip((size - kept as u64).div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64))?;
                    } else {
                        read.ok_or_else(|| self.malformed("an extended header cannot be read"))?;
                    }
                }
                kind => return self.entry(&block, kind, size, raw, extended).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        kind: u8,
        size: u64,
        raw: Vec<u8>,
        extended: Extended,
    ) -> Result<Entry, Damage> {
        let path = extended.path.unwrap_or_else(|| path_of(block));
        let link = extended.link.unwrap_or_else(|| text(&block[157..257]).to_vec());
        let kind = EntryKind::of(kind, &path);
        let size = extended.size.unwrap_or(size);
        self.path.clone_from(&path);
        if size > 0 && !matches!(kind, EntryKind::File | EntryKind::Other(_)) {
            // Readers differ in whether they skip it, and what one skips is an entry for another.
            return Err(self.malformed("something that is not a file has content"));
        }
        self.remaining = size;
        self.padding = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or(0)) % BLOCK;
        let sparse = extended.sparse_size.filter(|_| kind == EntryKind::File && extended.sparse_path);
        Ok(Entry { raw, kind, path, link, size, sparse, oversized: extended.oversized })
    }

    /// Reads on in the content of the current entry; 0 at its end.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn content(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.source.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if read == 0 {
            return Err(self.malformed("it ends in the middle"));
        }
        self.remaining -= read as u64;
        Ok(read)
    }

    /// Reads what stands in the place of the current entry's content, where that is kept elsewhere.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn instead_of_content(&mut self, buffer: &mut [u8]) -> Result<(), Damage> {
        self.remaining = 0;
        self.fill(buffer)
    }

    /// Hands on what is left of the current entry's content, piece by piece.
    ///
    /// # Errors
    /// [`Damage`], and those of `take`.
    pub fn pass_content<E: From<Damage>>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut buffer = vec![0; PIECE.min(usize::try_from(self.remaining).unwrap_or(PIECE))];
        loop {
            match self.content(&mut buffer)? {
                0 => return Ok(()),
                read => take(&buffer[..read])?,
            }
        }
    }

    /// The content of an entry that is kept in memory.
    ///
    /// # Errors
    /// [`Damage`], also when it is too large for that.
    pub fn small(&mut self, entry: &Entry) -> Result<Vec<u8>, Damage> {
        if entry.size > LARGEST_KEPT {
            return Err(Damage::Malformed(format!("{} is too large", super::printable(&entry.path))));
        }
        let mut content = vec![];
        self.pass_content(|piece| {
            content.extend_from_slice(piece);
            Ok::<(), Damage>(())
        })?;
        Ok(content)
    }

    /// Reads what fills the last block of the current entry's content.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn padding(&mut self) -> Result<Vec<u8>, Damage> {
        let mut padding = vec![0; std::mem::take(&mut self.padding)];
        self.fill(&mut padding)?;
        Ok(padding)
    }

    /// Whether the source is at its end.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn nothing_left(&mut self) -> Result<bool, Damage> {
        let mut one = [0];
        Ok(self.source.read(&mut one)? == 0)
    }

    /// The source, wherever it stands.
    pub fn into_source(self) -> R {
        self.source
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Damage> {
        match self.source.read_exact(buffer) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.malformed("it ends too early")),
            Err(e) => Err(e.into()),
        }
    }

    fn skip(&mut self, length: u64) -> Result<(), Damage> {
        match io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? {
            skipped if skipped == length => Ok(()),
            _ => Err(self.malformed("it ends too early")),
        }
    }

    fn malformed(&self, what: &str) -> Damage {
        let after = super::printable(&self.path);
        Damage::Malformed(if after.is_empty() { what.to_owned() } else { format!("{what}, at or after {after}") })
    }
}

/// What extended headers say of the entry behind them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse_path: bool,
    sparse_size: Option<u64>,
    oversized: bool,
    kinds: Vec<u8>,
}

impl Extended {
    /// Whether one of this kind may come now: one of POSIX alone, or one of each of GNU's two.
    fn may_follow(&mut self, kind: u8) -> bool {
        let fits = self.kinds.iter().all(|before| *before != kind && *before != b'x' && kind != b'x');
        self.kinds.push(kind);
        fits
    }

    fn read(&mut self, kind: u8, content: &[u8]) -> Option<()> {
        match kind {
            b'L' => self.path = Some(text(content).to_vec()),
            b'K' => self.link = Some(text(content).to_vec()),
            _ => {
                let mut rest = content;
                while !rest.is_empty() {
                    let (record, behind) = pax_record(rest)?;
                    rest = behind;
                    let equals = record.iter().position(|b| *b == b'=')?;
                    let (key, value) = (&record[..equals], &record[equals + 1..]);
                    match key {
                        // The name of a sparse file; `path` holds a made-up one then (GNU tar, "PAX Format, Version 1.0").
                        b"GNU.sparse.name" => {
                            self.path = Some(value.to_vec());
                            self.sparse_path = true;
                        }
                        b"GNU.sparse.realsize" => {
                            self.sparse_size = Some(std::str::from_utf8(value).ok()?.parse().ok()?)
                        }
                        b"path" if !self.sparse_path => self.path = Some(value.to_vec()),
                        b"linkpath" => self.link = Some(value.to_vec()),
                        b"size" => self.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                        _ => {}
                    }
                }
            }
        }
        Some(())
    }
}

/// The first "LENGTH KEY=VALUE\n" record without length and line end, and what is behind it.
fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?;
    Some((record.strip_suffix(b"\n")?, &bytes[length..]))
}

fn path_of(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    let prefix = text(&block[345..500]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() { [prefix, b"/", name].concat() } else { name.to_vec() }
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

/// A number in octal digits, or in GNU's base 256 for what does not fit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let fits = matches!(high, [0x80, rest @ ..] if rest.iter().all(|b| *b == 0));
        return fits.then(|| low.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
    }
    let digits = std::str::from_utf8(text(field)).ok()?.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn checksum_is_right(block: &[u8; BLOCK]) -> bool {
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| u64::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
    number(&block[148..156]) == Some(sum)
}
