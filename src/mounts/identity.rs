//! What a mounted folder or file was when it was added: kept in a small file of the instance and compared before
//! each start. An agent that can write beside a folder could otherwise put a link to any other place there.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result, io_reason},
    paths,
    settings::Mount,
};

/// The form of the file.
const SCHEMA: u32 = 1;

/// What is at the host's end of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceIdentity {
    /// Its path without links.
    real: PathBuf,
    /// Which folder; `None` for a file, as editors replace files by renaming.
    folder: Option<Folder>,
}

/// Which folder, whatever its path is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Folder {
    device: u64,
    inode: u64,
    /// When the device has this number: the kernel may number it anew at each boot. `None` where that is unknown.
    boot: Option<String>,
}

impl Folder {
    fn is(&self, other: &Folder) -> bool {
        let comparable = self.boot.is_some() && self.boot == other.boot;
        self.inode == other.inode && (self.device == other.device || !comparable)
    }
}

impl SourceIdentity {
    /// Looks. `Err` says why it cannot be mounted.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        let real = fs::canonicalize(path).map_err(|e| io_reason(&e))?;
        let found = fs::metadata(&real).map_err(|e| io_reason(&e))?;
        if !found.is_dir() && !found.is_file() {
            return Err("it is neither a folder nor a file".to_owned());
        }
        let folder = found.is_dir().then(|| Folder { device: found.dev(), inode: found.ino(), boot: boot() });
        Ok(SourceIdentity { real, folder })
    }

    fn is(&self, other: &SourceIdentity) -> bool {
        let same = match (&self.folder, &other.folder) {
            (Some(a), Some(b)) => a.is(b),
            (None, None) => true,
            _ => false,
        };
        same && self.real == other.real
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real = self.real.display();
        match &self.folder {
            Some(Folder { device, inode, .. }) => write!(f, "the folder {real} (inode {inode}, device {device})"),
            None => write!(f, "the file {real}"),
        }
    }
}

/// Which boot this is, where the system says.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// One mount as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AcceptedMount {
    host: PathBuf,
    container: String,
    identity: SourceIdentity,
}

/// What was accepted, by mount.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AcceptedMounts {
    schema: u32,
    mounts: Vec<AcceptedMount>,
}

impl AcceptedMounts {
    /// Reads the file; without one, nothing is known.
    pub(super) fn load(file: &Path) -> Result<Self> {
        let Some(text) = paths::read_text(file)? else { return Ok(AcceptedMounts::default()) };
        serde_json::from_str(&text).map_err(|e| Error::File {
            action: "read",
            path: file.display().to_string(),
            reason: e.to_string(),
            hint: Some(format!("to accept all mounts as they are now: rm {}", super::quoted(file))),
        })
    }

    fn save(mounts: Vec<AcceptedMount>, file: &Path) -> Result<()> {
        let known = AcceptedMounts { schema: SCHEMA, mounts };
        let text = serde_json::to_string_pretty(&known).map_err(|e| Error::usage(e.to_string()))?;
        if let Some(folder) = file.parent() {
            paths::create_folder(folder, 0o700)?;
        }
        paths::write_file(file, text.as_bytes(), 0o600)
    }

    fn entry(&self, mount: &Mount) -> Option<&AcceptedMount> {
        self.mounts.iter().find(|entry| entry.host == mount.host && entry.container == mount.container)
    }

    /// Whether this mount was accepted before.
    pub(super) fn has(&self, mount: &Mount) -> bool {
        self.entry(mount).is_some()
    }

    /// A mount's source must be what was accepted, and be there when nothing was accepted yet.
    pub(super) fn verify(&self, mount: &Mount) -> Result<()> {
        self.entry(mount).map_or_else(|| identity_of(mount).map(drop), |entry| same(mount, &entry.identity))
    }

    /// The same for a container that has these places.
    pub(super) fn verify_places<'a>(&self, mut places: impl Iterator<Item = &'a str>) -> Result<()> {
        let places: Vec<&str> = places.by_ref().collect();
        for AcceptedMount { host, container, identity } in &self.mounts {
            if places.contains(&container.as_str()) {
                let mount = Mount { host: host.clone(), container: container.clone(), read_only: false };
                same(&mount, identity)?;
            }
        }
        Ok(())
    }
}

/// Keeps what these mounts are now. Of those that were accepted before, which [`AcceptedMounts::verify`] found unchanged, only
/// the numbers of a new boot are new; other mounts are forgotten. Writes only what changed.
pub(super) fn remember(mounts: &[Mount], file: &Path) -> Result<()> {
    let before = AcceptedMounts::load(file)?;
    let mounts = mounts.iter().map(entry).collect::<Result<Vec<_>>>()?;
    if before.mounts == mounts { Ok(()) } else { AcceptedMounts::save(mounts, file) }
}

/// Keeps what this mount is now, whatever it was.
pub(super) fn accept(mount: &Mount, file: &Path) -> Result<()> {
    let mut mounts = AcceptedMounts::load(file)?.mounts;
    mounts.retain(|entry| entry.host != mount.host || entry.container != mount.container);
    mounts.push(entry(mount)?);
    AcceptedMounts::save(mounts, file)
}

fn entry(mount: &Mount) -> Result<AcceptedMount> {
    Ok(AcceptedMount { host: mount.host.clone(), container: mount.container.clone(), identity: identity_of(mount)? })
}

/// What a mount's source is now.
fn identity_of(mount: &Mount) -> Result<SourceIdentity> {
    SourceIdentity::of(&mount.host).map_err(|reason| Error::Missing {
        what: format!("folder or file {} to mount at {}", mount.host.display(), mount.container),
        reason: Some(reason),
        hint: format!(
            "make it again, or choose another; if it is in the settings: docklet mount remove {}",
            shell_words::quote(&mount.container)
        ),
    })
}

fn same(mount: &Mount, accepted: &SourceIdentity) -> Result<()> {
    let now = identity_of(mount)?;
    if accepted.is(&now) {
        return Ok(());
    }
    Err(Error::MountChanged {
        host: mount.host.display().to_string(),
        container: mount.container.clone(),
        was: accepted.to_string(),
        now: now.to_string(),
        mount: shell_words::quote(&mount.to_string()).into_owned(),
    })
}

#[cfg(test)]
mod tests;
