//! A part of an archive → a folder of this machine, as the user's own files. An archive may come from anybody: every
//! folder on the way is opened without following links, a link that could lead outside is left out, and everything is
//! written into a new folder that gets its name when all of it is there.

pub(super) mod sparse;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps, flock};

use self::sparse::Holes;
use super::archive::{
    LeftOut,
    receive::{Receiver, below},
    tar::{Entry, EntryKind},
};

/// Beginning of the name of a folder that is being filled.
const UNFINISHED: &str = ".docklet-restore-";

/// Most paths that are named of what was left out.
const MOST_NAMED: usize = 100;

/// What is looked for in an archive, and what its first reading says of it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `volumes/…`, without a slash at its end.
    path: Vec<u8>,
    /// Files elsewhere that have another name below the path: the first such name. The content comes with the file.
    elsewhere: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether it is there.
    pub found: bool,
    /// Files with content.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Room that they need on a disk, in bytes: holes take none.
    pub room: u64,
}

impl Wanted {
    /// This path.
    pub fn new(path: Vec<u8>) -> Self {
        Wanted { path, elsewhere: HashMap::new(), found: false, files: 0, bytes: 0, room: 0 }
    }

    /// The name that it gets on this machine.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.path.rsplit(|b| *b == b'/').next().unwrap_or_default())
    }
}

impl Receiver for Wanted {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        if below(&entry.path, &self.path).is_none() {
            return Ok(());
        }
        self.found = true;
        if entry.kind == EntryKind::File {
            self.files += 1;
            self.bytes += entry.length();
            self.room += entry.size;
        }
        if entry.kind == EntryKind::HardLink && below(&entry.link, &self.path).is_none() {
            self.elsewhere.entry(entry.link.clone()).or_insert_with(|| entry.path.clone());
        }
        Ok(())
    }
}

/// Writes what is wanted.
pub struct Extract {
    wanted: Wanted,
    folder: tempfile::TempDir,
    root: OwnedFd,
    current: Option<OpenFile>,
    /// Paths that could not be written, the first of them.
    pub left_out: Vec<LeftOut>,
    /// How many there are.
    pub left_out_count: u64,
    /// Files that were written.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// A file that is being written.
struct OpenFile {
    file: File,
    holes: Option<Holes>,
    mode: Mode,
    modified: i64,
}

impl Extract {
    /// Into a new folder beside the place that it gets in the end.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn begin(wanted: Wanted, into: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(into)?;
        let root = rustix::fs::open(folder.path(), FOLDER, Mode::empty())?;
        flock(&root, FlockOperation::NonBlockingLockExclusive)?;
        let (left_out, left_out_count, files, bytes) = (vec![], 0, 0, 0);
        Ok(Extract { wanted, folder, root, current: None, left_out, left_out_count, files, bytes })
    }

    /// Gives what was written its place, which nobody may have taken meanwhile.
    ///
    /// # Errors
    /// When it cannot have it; `AlreadyExists` when it is taken.
    pub fn settle(&self, into: &Path) -> io::Result<PathBuf> {
        let (from, to) = (self.folder.path().join(self.wanted.name()), into.join(self.wanted.name()));
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, rustix::fs::RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {}
            done => return Ok(done.map(|()| to)?),
        }
        if to.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(from, &to)?;
        Ok(to)
    }

    /// Where a path of the archive is below the new folder.
    fn place<'a>(&self, path: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let above = self.wanted.path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        below(path, &self.wanted.path)?;
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let parts: Vec<&[u8]> = path.get(above..)?.split(|b| *b == b'/').collect();
        // Reading refuses these; here they would lead outside.
        let named = |part: &&[u8]| !part.is_empty() && **part != b"."[..] && **part != b".."[..];
        parts.iter().all(named).then_some(parts)
    }

    /// The folder above a path, made where it is missing, and the path's last part.
    fn parent<'a>(&self, parts: &[&'a [u8]]) -> io::Result<(OwnedFd, &'a [u8])> {
        let (name, above) = parts.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = self.root.try_clone()?;
        for part in above {
            folder = open_folder(&folder, part)?;
        }
        Ok((folder, name))
    }

    fn leave_out(&mut self, path: &[u8], reason: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < MOST_NAMED {
            self.left_out.push(LeftOut { path: super::archive::printable(path), reason: reason.to_owned() });
        }
    }

    fn file(&mut self, parts: &[&[u8]], entry: &Entry) -> io::Result<()> {
        let (folder, name) = self.parent(parts)?;
        cleared(&folder, name)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::RUSR | Mode::WUSR)?.into();
        let holes = entry.sparse.map(Holes::new);
        self.current = Some(OpenFile { file, holes, mode: mode(entry), modified: entry.modified() });
        Ok(())
    }

    fn symlink(&self, parts: &[&[u8]], entry: &Entry) -> io::Result<()> {
        let (folder, name) = self.parent(parts)?;
        cleared(&folder, name)?;
        Ok(rustix::fs::symlinkat(&entry.link[..], &folder, name)?)
    }

    /// Another name of what is there already.
    fn hard_link(&self, parts: &[&[u8]], target: &[&[u8]]) -> io::Result<()> {
        let (from, old) = self.parent(target)?;
        let there = rustix::fs::statat(&from, old, AtFlags::SYMLINK_NOFOLLOW)?;
        if rustix::fs::FileType::from_raw_mode(there.st_mode) != rustix::fs::FileType::RegularFile {
            // A link that stays inside where it is may lead outside from elsewhere.
            return Err(io::ErrorKind::NotFound.into());
        }
        if parts == target {
            return Ok(());
        }
        let (folder, name) = self.parent(parts)?;
        cleared(&folder, name)?;
        Ok(rustix::fs::linkat(&from, old, &folder, name, AtFlags::empty())?)
    }

    fn folder(&self, parts: &[&[u8]], entry: &Entry) -> io::Result<()> {
        let (above, name) = self.parent(parts)?;
        let folder = open_folder(&above, name)?;
        // Whoever restores it must be able to write into it.
        Ok(rustix::fs::fchmod(&folder, mode(entry) | Mode::RWXU)?)
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(parts) = self.place(&entry.path) else {
            // A file elsewhere with another name here.
            let name = self.wanted.elsewhere.get(&entry.path).filter(|_| entry.kind == EntryKind::File).cloned();
            return match name.as_deref().and_then(|name| self.place(name)) {
                Some(parts) => self.file(&parts, entry),
                None => Ok(()),
            };
        };
        match entry.kind {
            EntryKind::File => self.file(&parts, entry),
            EntryKind::Folder => self.folder(&parts, entry),
            EntryKind::Symlink if stays_inside(&entry.link, parts.len() - 1) => self.symlink(&parts, entry),
            EntryKind::Symlink => {
                self.leave_out(&entry.path, "it is a link that leads outside");
                Ok(())
            }
            EntryKind::HardLink => {
                let first = self.wanted.elsewhere.get(&entry.link).cloned().unwrap_or_else(|| entry.link.clone());
                let linked = match self.place(&first) {
                    Some(target) => self.hard_link(&parts, &target),
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                match linked {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        self.leave_out(&entry.path, "it is another name of a link, or of what was left out");
                        Ok(())
                    }
                    done => done,
                }
            }
            EntryKind::Fifo | EntryKind::Device | EntryKind::Other(_) => {
                self.leave_out(&entry.path, "it is neither a file, nor a folder, nor a link");
                Ok(())
            }
        }
    }
}

impl Receiver for Extract {
    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        match self.write(entry) {
            // What a file system cannot hold, such as two names that differ only in case, or bytes that are no text.
            Err(e) if !crate::error::is_full(&e) && !matches!(e.kind(), io::ErrorKind::PermissionDenied) => {
                self.leave_out(&entry.path, &crate::error::io_reason(&e));
                Ok(())
            }
            done => done,
        }
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some(OpenFile { file, holes: None, .. }) => file.write_all(bytes),
            Some(OpenFile { file, holes: Some(holes), .. }) => {
                holes.write(|at, part| file.write_all_at(part, at), bytes)
            }
            None => Ok(()),
        }
    }

    fn padding(&mut self, _: &[u8]) -> io::Result<()> {
        let Some(OpenFile { file, holes, mode, modified }) = self.current.take() else { return Ok(()) };
        if let Some(holes) = holes {
            holes.finish(&file)?;
        }
        self.files += 1;
        self.bytes += file.metadata()?.len();
        rustix::fs::fchmod(&file, mode)?;
        let time = Timespec { tv_sec: modified, tv_nsec: 0 };
        Ok(rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })?)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes what runs that were killed left unfinished in a folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn tidy(into: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(into)?.flatten() {
        let ours = entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes());
        // One that is being filled is locked.
        if ours
            && let Ok(folder) = rustix::fs::open(entry.path(), FOLDER, Mode::empty())
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder in a folder, never a link to one.
fn open_folder(above: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    match rustix::fs::openat(above, name, FOLDER, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            rustix::fs::mkdirat(above, name, Mode::RWXU)?;
            Ok(rustix::fs::openat(above, name, FOLDER, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// An archive may have a name twice: the last one counts, as for tar.
fn cleared(folder: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Permissions without set-user-id and its kind: the file has another owner now.
fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode((entry.mode() & 0o777) as rustix::fs::RawMode)
}

/// Whether a link that is `depth` folders below the top cannot lead above it: it may go up only at its beginning, where
/// every step is a real folder, and not too far. What is behind may be links, for which the same holds.
fn stays_inside(link: &[u8], depth: usize) -> bool {
    if link.first() == Some(&b'/') {
        return false;
    }
    let parts: Vec<&[u8]> = link.split(|b| *b == b'/').filter(|part| !part.is_empty() && **part != b"."[..]).collect();
    let up = parts.iter().take_while(|part| **part == b"..").count();
    // What was asked for lies one folder deep; beside it is the user's own.
    up < depth && !parts[up..].contains(&&b".."[..])
}
