//! The file of a backup while it is written: it has no name yet, so that nothing is left of it when docklet is killed.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};

/// Beginning of the name of a file that goes away by itself: one that is being written, or was received.
pub const UNFINISHED: &str = ".docklet-backup-";

/// Random letters behind that, of `tempfile`.
const RANDOM_LETTERS: usize = 6;

/// A file that is being written.
pub enum Unfinished {
    /// It has no name yet, so that nothing is left of it when docklet is killed.
    Nameless(File),
    /// Where a file cannot be without a name: the next backup removes it.
    Named(tempfile::NamedTempFile),
}

impl Unfinished {
    /// To read and write it.
    pub fn as_file(&self) -> &File {
        match self {
            Unfinished::Nameless(file) => file,
            Unfinished::Named(file) => file.as_file(),
        }
    }

    /// The file, without any name.
    pub fn into_file(self) -> File {
        match self {
            Unfinished::Nameless(file) => file,
            Unfinished::Named(file) => file.into_file(),
        }
    }

    /// Gives it a name that nobody has yet.
    fn name(self, path: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Unfinished::Nameless(file) => nameless::name(&file, path),
            #[cfg(not(target_os = "linux"))]
            Unfinished::Nameless(_) => Err(io::ErrorKind::Unsupported.into()),
            Unfinished::Named(file) => file.persist_noclobber(path).map(drop).map_err(|e| e.error),
        }
    }
}

/// Files without a name, which Linux has on most of its file systems.
#[cfg(target_os = "linux")]
mod nameless {
    use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    /// A new one that can have a name in this folder later.
    pub fn create(folder: &Path) -> Option<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file: File = open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode).ok()?.into();
        // Without /proc it could never have a name.
        std::fs::metadata(link(&file)).is_ok().then_some(file)
    }

    pub fn name(file: &File, path: &Path) -> io::Result<()> {
        Ok(linkat(CWD, link(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn link(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }
}

/// An empty file beside `path` that goes away by itself.
pub fn spool(path: &Path) -> Result<File> {
    tempfile::tempfile_in(folder_of(path)).map_err(|e| Error::file("write", path, &e))
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens the file that will get the name, and removes what earlier runs that were killed left.
///
/// # Errors
/// When the folder cannot be written.
pub fn begin(path: &Path) -> Result<(PathBuf, Unfinished)> {
    let folder = folder_of(path).to_owned();
    for entry in fs_err::read_dir(&folder).map_err(|e| Error::file("write into", &folder, &e))?.flatten() {
        // One that is still being written is locked by its writer.
        if is_left_over(&entry)
            && File::open(entry.path()).is_ok_and(|f| flock(&f, FlockOperation::NonBlockingLockExclusive).is_ok())
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    #[cfg(target_os = "linux")]
    if let Some(file) = nameless::create(&folder) {
        return Ok((folder, Unfinished::Nameless(file)));
    }
    let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&folder);
    let unfinished = unfinished.map_err(|e| Error::file("write", path, &e))?;
    flock(unfinished.as_file(), FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| Error::file("lock", path, &e.into()))?;
    Ok((folder, Unfinished::Named(unfinished)))
}

/// Whether an earlier run left it: by its name, its type and its owner. Opening a pipe would wait for its other end.
fn is_left_over(entry: &fs_err::DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)).map(|rest| rest.split('.').next());
    let named = random.flatten().is_some_and(|random| {
        random.len() == RANDOM_LETTERS && random.bytes().all(|letter| letter.is_ascii_alphanumeric())
    });
    named && entry.metadata().is_ok_and(|found| found.is_file() && is_own(&found))
}

#[cfg(unix)]
fn is_own(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_own(_: &std::fs::Metadata) -> bool {
    true
}

/// Gives the file, which is on disk, its name, which nobody may have taken meanwhile.
///
/// # Errors
/// [`Error::FileExists`], and a file error.
pub fn finish(unfinished: Unfinished, path: &Path, folder: &Path) -> Result<()> {
    unfinished.name(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::FileExists { path: path.display().to_string() },
        _ => Error::file("write", path, &e),
    })?;
    // The name is on disk only when the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::file("write", path, &e))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_an_earlier_run_left_is_removed_and_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(format!("{UNFINISHED}{name}"));
        for name in ["abc123", "abc124.received", "mine", "abcdefg"] {
            std::fs::write(at(name), "x").unwrap();
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, at("abc125"), rustix::fs::Mode::RUSR).unwrap();
        std::fs::create_dir(at("abc126")).unwrap();
        drop(begin(&folder.path().join("b.tar.zst")).unwrap());
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().trim_start_matches(UNFINISHED).to_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["abc125", "abc126", "abcdefg", "mine"]);
    }
}
