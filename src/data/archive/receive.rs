//! What the entries of an archive's volumes are handed to while it is read: back to a tar, or counted for a listing.
//! Nothing of it counts before the whole archive was read.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    rules::VOLUMES,
    tar::{BLOCK, Entry, EntryKind},
};

/// Gets the entries of the volumes one after the other.
pub trait Receiver {
    /// The next entry. Its content follows.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn entry(&mut self, entry: &Entry) -> io::Result<()>;

    /// A piece of the entry's content, for those that want it.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn content(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// The entry ends; what fills its last block.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn padding(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// The last entry was there, and the archive is whole.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Wants nothing.
impl Receiver for io::Sink {
    fn entry(&mut self, _: &Entry) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all bytes of some volumes' tar, ended by two empty blocks.
pub struct AsTar<W> {
    out: W,
    /// Beginnings of paths: `volumes/ROLE`.
    volumes: Vec<Vec<u8>>,
    passes: bool,
}

impl<W: Write> AsTar<W> {
    /// Of the volumes with these roles.
    pub fn new<'a>(out: W, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let volumes = roles.into_iter().map(|role| [VOLUMES, role.as_bytes()].concat());
        AsTar { out, volumes: volumes.collect(), passes: false }
    }
}

impl<W: Write> Receiver for AsTar<W> {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.passes = self.volumes.iter().any(|volume| below(&entry.path, volume).is_some());
        if self.passes { self.out.write_all(&entry.raw) } else { Ok(()) }
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.passes { self.out.write_all(bytes) } else { Ok(()) }
    }

    fn padding(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.content(bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}

/// What of a path is below a folder: empty for the folder itself, `None` for what is elsewhere.
pub fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.strip_prefix(folder)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// What a folder of an archive has in it, one level deep.
pub struct Listing {
    /// `volumes/…`, without a slash at its end.
    folder: Vec<u8>,
    /// The folder, or the file, itself.
    pub itself: Option<ListedEntry>,
    /// What is in it, by name.
    pub inside: BTreeMap<Vec<u8>, ListedEntry>,
}

/// A path in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Files with content: itself, and all that are below it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// When it was changed last, in seconds since 1970.
    pub modified: i64,
    /// Where a link leads.
    pub link: Vec<u8>,
}

impl Listing {
    /// Of this folder.
    pub fn of(folder: Vec<u8>) -> Self {
        Listing { folder, itself: None, inside: BTreeMap::new() }
    }
}

impl Receiver for Listing {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(rest) = below(&entry.path, &self.folder) else { return Ok(()) };
        let file = entry.kind == EntryKind::File;
        let (files, bytes) = (u64::from(file), if file { entry.length() } else { 0 });
        let own = ListedEntry { kind: entry.kind, files, bytes, modified: entry.modified(), link: entry.link.clone() };
        if rest.is_empty() {
            self.itself = Some(own);
            return Ok(());
        }
        let name = rest.split(|b| *b == b'/').next().unwrap_or_default();
        if name.len() == rest.len() {
            // What is below may have been there first.
            let before = self.inside.get(name).map_or((0, 0), |there| (there.files, there.bytes));
            let own = ListedEntry { files: own.files + before.0, bytes: own.bytes + before.1, ..own };
            self.inside.insert(name.to_vec(), own);
            return Ok(());
        }
        let folder = ListedEntry { kind: EntryKind::Folder, files: 0, bytes: 0, modified: 0, link: vec![] };
        let above = self.inside.entry(name.to_vec()).or_insert(folder);
        above.files += files;
        above.bytes += bytes;
        Ok(())
    }
}
