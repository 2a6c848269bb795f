//! The backups of an instance: how they are named, and which are there.

use std::path::{Path, PathBuf};

use super::{
    archive::Header,
    encrypted_file::{self, Unlock},
    restore,
};
use crate::{
    clean, clock,
    error::{Error, Result},
    instance_name::InstanceName,
};

/// What the names of backups end with.
pub const SUFFIX: &str = ".tar.zst";

/// What the names of encrypted backups end with, in addition.
pub const ENCRYPTED: &str = ".age";

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
    /// To move to another engine.
    Move,
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
            Reason::Move => "move",
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
    /// What it says of itself, or of an encrypted one its name; the reason why it cannot be read otherwise.
    pub header: Result<Header, String>,
    /// Whether all of it is encrypted.
    pub encrypted: bool,
}

impl StoredBackup {
    /// Why it is not counted among the backups of an instance, whose container has this name; `None`: it is one.
    pub fn stranger(&self, appliance: &str, instance: &InstanceName) -> Option<String> {
        let header = match &self.header {
            Err(reason) => return Some(format!("it cannot be read: {reason}")),
            Ok(header) => header,
        };
        let (container, whose) = if self.encrypted {
            let name = self.file.file_name().unwrap_or_default().to_string_lossy();
            let container = container_of(&name).unwrap_or_default().to_owned();
            (container.clone(), format!("container {container}"))
        } else if header.appliance == appliance {
            // A name that none can have belongs to nobody here.
            let named = header.instance.parse().ok().map(|name: InstanceName| name.container(appliance));
            (named.unwrap_or_default(), format!("instance {}", header.instance))
        } else {
            (String::new(), header.appliance.clone())
        };
        (container != instance.container(appliance))
            .then(|| format!("it is a backup of {}", clean::line(&whose, false)))
    }

    /// Whether it was made for this reason.
    pub fn is_for(&self, reason: Reason) -> bool {
        self.header.as_ref().is_ok_and(|header| header.reason == reason.word())
    }
}

/// A name for a new backup: sorts by time.
fn name(container: &str, created: &str, reason: Reason, encrypted: bool) -> String {
    let time: String = created.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let suffix = if reason == Reason::Manual { String::new() } else { format!("-{}", reason.word()) };
    format!("{container}-{time}{suffix}{SUFFIX}{}", if encrypted { ENCRYPTED } else { "" })
}

/// What the name of an encrypted backup says of it: when and why it was made.
fn from_name(name: &str) -> Option<Header> {
    let (_, created, reason) = parts(name)?;
    Some(Header { created, reason: reason.to_owned(), ..Header::default() })
}

/// The container that the name of an encrypted backup begins with.
fn container_of(name: &str) -> Option<&str> {
    parts(name).map(|(container, ..)| container)
}

/// Container, time and reason in the name of an encrypted backup.
fn parts(name: &str) -> Option<(&str, String, &str)> {
    let stem = name.strip_suffix(ENCRYPTED)?.strip_suffix(SUFFIX)?;
    let (before, last) = stem.rsplit_once('-')?;
    if let Some(created) = created(last) {
        return Some((before, created, Reason::Manual.word()));
    }
    let (container, time) = before.rsplit_once('-')?;
    Some((container, created(time)?, last))
}

/// The time in a name, such as `20261121T050607Z` or `20261121T050607Z.2`, as RFC 3339.
fn created(part: &str) -> Option<String> {
    let digits = part.get(..16).filter(|_| part.is_ascii())?;
    let (date, time) = digits.strip_suffix('Z')?.split_once('T')?;
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        date.get(..4)?,
        date.get(4..6)?,
        date.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    clock::parse(&text).map(|_| text)
}

/// A path in `folder` that no file has: two backups may be made within a second.
pub fn free_path(folder: &Path, container: &str, created: &str, reason: Reason, encrypted: bool) -> PathBuf {
    let path = folder.join(name(container, created, reason, encrypted));
    let numbered = |n: u32| {
        let name = name(container, &format!("{created}.{n}"), reason, encrypted);
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
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.strip_suffix(ENCRYPTED).unwrap_or(&name).ends_with(SUFFIX) && !name.starts_with('.');
            if !ours {
                return None;
            }
            let file = entry.path();
            // A pipe would wait for its other end.
            let encrypted = file.is_file() && encrypted_file::is_encrypted(&file);
            let header = match encrypted {
                true => from_name(&name).ok_or_else(|| "it is encrypted, and its name has no time".to_owned()),
                false => restore::header(&file, &Unlock::Identities(vec![])).map_err(|e| match e {
                    Error::BackupInvalid { reason, .. } => reason,
                    other => other.to_string(),
                }),
            };
            let size = entry.metadata().map(|m| m.len()).unwrap_or(0);
            Some(StoredBackup { file, size, header, encrypted })
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
        let path = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Manual, false);
        assert_eq!(path.file_name().unwrap(), "opencode-cloud-20261121T050607Z.tar.zst");
        std::fs::write(&path, "").unwrap();
        let next = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Manual, false);
        assert_eq!(next.file_name().unwrap(), "opencode-cloud-20261121T050607Z.2.tar.zst");
        let path = free_path(folder.path(), "opencode-cloud", "2026-11-21T05:06:07Z", Reason::Update, false);
        assert_eq!(path.file_name().unwrap(), "opencode-cloud-20261121T050607Z-update.tar.zst");
    }

    #[test]
    fn the_name_of_an_encrypted_one_says_when_and_why_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let (created, container) = ("2026-11-21T05:06:07Z", "opencode-cloud-my-work");
        for reason in [Reason::Manual, Reason::Scheduled, Reason::Scheduled, Reason::Uninstall] {
            let path = free_path(folder.path(), container, created, reason, true);
            std::fs::write(&path, "age-encryption.org/v1\n-> X25519 ...").unwrap();
            let header = from_name(path.file_name().unwrap().to_str().unwrap()).unwrap();
            assert_eq!((header.created.as_str(), header.reason.as_str()), (created, reason.word()));
        }
        for bad in
            ["notes.tar.zst.age", "a-20261121T050607Z.tar.zst", "a-20261141T050607Z.tar.zst.age", "-.tar.zst.age"]
        {
            assert!(from_name(bad).is_none(), "{bad}");
        }
        std::fs::write(folder.path().join("mine.tar.zst.age"), "age-encryption.org/v1\n").unwrap();
        let found = list(folder.path()).unwrap();
        assert_eq!((found.len(), found.iter().filter(|b| b.encrypted).count()), (5, 5));
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
