//! The backups of an instance: how they are named, and which are there.

use std::path::{Path, PathBuf};

use super::{archive::Header, restore};
use crate::error::{Error, Result};

/// What the names of backups end with.
pub const SUFFIX: &str = ".tar.zst";

/// Why a backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Manual,
    /// Its time had come.
    Scheduled,
    /// Before an update.
    Update,
    /// Before a rollback.
    Rollback,
    /// Before another backup is restored.
    Restore,
    /// Before the volumes are removed.
    Uninstall,
}

impl Reason {
    /// In one word, as in a [`Header`].
    pub fn word(self) -> &'static str {
        match self {
            Reason::Manual => "manual",
            Reason::Scheduled => "scheduled",
            Reason::Update => "update",
            Reason::Rollback => "rollback",
            Reason::Restore => "restore",
            Reason::Uninstall => "uninstall",
        }
    }
}

/// A backup that is there.
#[derive(Debug, Clone)]
pub struct StoredBackup {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What it says of itself; the reason why it cannot be read otherwise.
    pub header: Result<Header, String>,
}

impl StoredBackup {
    /// Whether it was made for this reason.
    pub fn is_for(&self, reason: Reason) -> bool {
        self.header.as_ref().is_ok_and(|header| header.reason == reason.word())
    }
}

/// A name for a new backup: sorts by time.
pub fn name(container: &str, created: &str, reason: Reason) -> String {
    let time: String = created.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let suffix = if reason == Reason::Manual { String::new() } else { format!("-{}", reason.word()) };
    format!("{container}-{time}{suffix}{SUFFIX}")
}

/// A path in `folder` that no file has: two backups may be made within a second.
pub fn free_path(folder: &Path, container: &str, created: &str, reason: Reason) -> PathBuf {
    let path = folder.join(name(container, created, reason));
    let numbered = |n: u32| {
        let name = name(container, &format!("{created}.{n}"), reason);
        folder.join(name)
    };
    std::iter::once(path)
        .chain((2..).map(numbered))
        .find(|path| std::fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| folder.to_owned())
}

/// All backups in a folder, the newest first.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn list(folder: &Path) -> Result<Vec<StoredBackup>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(|e| Error::file("read", folder, &e))?,
    };
    let mut found: Vec<StoredBackup> = entries
        .flatten()
        .filter(|e| {
            e.file_name().to_string_lossy().ends_with(SUFFIX) && !e.file_name().to_string_lossy().starts_with('.')
        })
        .map(|entry| {
            let file = entry.path();
            let header = restore::header(&file).map_err(|e| match e {
                Error::BackupInvalid { reason, .. } => reason,
                other => other.to_string(),
            });
            StoredBackup { size: entry.metadata().map(|m| m.len()).unwrap_or(0), file, header }
        })
        .collect();
    // Of two that were begun within the same second, the one that was finished later is the newer one.
    let finished = |b: &StoredBackup| std::fs::metadata(&b.file).and_then(|m| m.modified()).ok();
    let created = |b: &StoredBackup| b.header.as_ref().map(|h| h.created.clone()).unwrap_or_default();
    found.sort_by_cached_key(|b| std::cmp::Reverse((created(b), finished(b), b.file.clone())));
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_tell_time_and_reason_and_are_never_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Manual);
        assert_eq!(path.file_name().unwrap(), "opencode-cloud-20261121T050607Z.tar.zst");
        std::fs::write(&path, "").unwrap();
        let next = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Manual);
        assert_eq!(next.file_name().unwrap(), "opencode-cloud-20261121T050607Z.2.tar.zst");
        let path = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Update);
        assert_eq!(path.file_name().unwrap(), "opencode-cloud-20261121T050607Z-update.tar.zst");
    }

    #[test]
    fn only_backups_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(list(folder.path()).unwrap().is_empty());
        assert!(list(&folder.path().join("none")).unwrap().is_empty());
        std::fs::write(folder.path().join("broken.tar.zst"), "nonsense").unwrap();
        std::fs::write(folder.path().join(".docklet-backup-x.tar.zst"), "unfinished").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let found = list(folder.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].header.is_err());
    }
}
