//! The backup archive: one zstd stream with one POSIX tar in it, that `tar --zstd -xf` unpacks and
//! `sha256sum -c SHA256SUMS` checks.
//!
//! | entry | what |
//! |---|---|
//! | `docklet-backup.json` | [`Header`]: first, so that a reader knows at once what it has |
//! | `settings.toml` | the settings as they were |
//! | `secrets.age` | the secrets, encrypted with a passphrase (age); only when there was one |
//! | `volumes/ROLE/…` | the volumes, every header byte as GNU tar wrote it |
//! | `SHA256SUMS` | a SHA-256 for every file above, in `sha256sum`'s own format |
//! | `manifest.json` | [`Manifest`]: counts, and the digests of `SHA256SUMS` and of all headers |
//!
//! So a change to any byte of content, and to any owner, mode, time or name, is noticed. Of a
//! sparse file the digest is that of its map and of what is between the holes.
//!
//! `tar`: entries; `rules`: which may be in it; `checksums`; `frames`: how they are packed; `write`; `read`; `receive`: who gets the entries then. Nothing here knows an engine.

pub mod checksums;
pub mod frames;
pub mod read;
pub mod receive;
pub mod rules;
pub mod tar;
pub mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The newest format that is written and read. Earlier ones stay readable.
pub const FORMAT: u32 = 1;

/// Name of the [`Header`]'s entry.
pub const HEADER: &str = "docklet-backup.json";
/// Name of the settings' entry.
pub const SETTINGS: &str = "settings.toml";
/// Name of the encrypted secrets' entry.
pub const SECRETS: &str = "secrets.age";
/// Name of the digests' entry.
pub const SUMS: &str = "SHA256SUMS";
/// Name of the [`Manifest`]'s entry.
pub const MANIFEST: &str = "manifest.json";

/// What a backup says of itself before anything else. Unknown keys are left alone, so that a later
/// docklet can add some without a new format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// When it was begun, RFC 3339 in UTC.
    pub created: String,
    /// Why, in one word: `manual`, `scheduled`, `update`, `rollback`, `uninstall`.
    pub reason: String,
    /// Version of the docklet that made it.
    pub docklet: String,
    /// The appliance's name.
    pub appliance: String,
    /// Version of the program whose data this is; `None` where the image did not say.
    pub appliance_version: Option<String>,
    /// The release in it, where docklet built the image.
    pub release: Option<crate::appliance::Release>,
    /// The image that ran.
    pub image: Option<ImageUsed>,
    /// Whose.
    pub instance: String,
    /// The volumes.
    pub volumes: Vec<VolumeIn>,
    /// What it leaves out, because the user said so: patterns of paths below `volumes/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Where docklet 0.1.0 put [`Manifest::records`]: before the volumes were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, Vec<String>>,
}

/// An image in a [`Header`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsed {
    /// Its name.
    pub reference: String,
    /// The engine's id.
    pub id: String,
}

/// A volume in a [`Header`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeIn {
    /// Its role: the folder below `volumes/`.
    pub role: String,
    /// Where it was mounted.
    pub mount: String,
}

/// What a backup says of itself at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Files with content in the volumes.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The same for each volume.
    pub volumes: Vec<VolumeTotals>,
    /// SHA-256 over all that is not content: the headers of all entries before this one, and what fills the last
    /// block of a file. As hex digits.
    pub headers_sha256: String,
    /// SHA-256 of `SHA256SUMS`, as hex digits.
    pub sums_sha256: String,
    /// What was in the volumes and is not in the backup, because nothing could restore it: the first of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How much that is in all.
    #[serde(default)]
    pub left_out_count: u64,
    /// Ids of the records that the program had before and after its volumes were read, by the path that lists
    /// them. They are looked for after a restore.
    #[serde(default)]
    pub records: BTreeMap<String, Vec<String>>,
}

/// A path that a backup cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Where it was, below `volumes/`; of a folder, all that is in it.
    pub path: String,
    /// Why it cannot be restored.
    pub reason: String,
}

/// Most paths that are named of what was left out.
const MOST_NAMED: usize = 100;

/// How much is in a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeTotals {
    /// Its role.
    pub role: String,
    /// Everything: files, folders, links, pipes.
    pub entries: u64,
    /// Files with content.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Manifest {
    /// For a header's volumes, all empty.
    fn empty(header: &Header) -> Self {
        let volumes = header.volumes.iter().map(|v| VolumeTotals { role: v.role.clone(), ..VolumeTotals::default() });
        Manifest { format: FORMAT, volumes: volumes.collect(), ..Manifest::default() }
    }

    /// Takes note of what a backup cannot hold.
    pub fn leave_out(&mut self, path: &[u8], reason: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < MOST_NAMED {
            self.left_out.push(LeftOut { path: printable(path), reason: reason.to_owned() });
        }
    }

    fn count(&mut self, volume: usize, kind: tar::EntryKind, size: u64) {
        let totals = &mut self.volumes[volume];
        totals.entries += 1;
        if kind == tar::EntryKind::File {
            totals.files += 1;
            totals.bytes += size;
            self.files += 1;
            self.bytes += size;
        }
    }
}

/// A path for messages. An archive may come from anybody: what would move a terminal's cursor is no part of it.
pub fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
