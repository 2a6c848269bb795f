//! The results of `backup`, `restore`, `update` and `rollback`.

use serde::Serialize;

use crate::data::{
    archive::{LeftOut, VolumeTotals},
    caches::CacheFolder,
};

/// `docklet backup`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupReport {
    /// Whose.
    pub instance: String,
    /// The backup.
    pub file: String,
    /// When it was begun, RFC 3339 in UTC.
    pub created: String,
    /// Its size in bytes.
    pub size: u64,
    /// Files with content in the volumes.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The same for each volume.
    pub volumes: Vec<VolumeTotals>,
    /// How long the container was paused; `None` when none ran.
    pub paused_seconds: Option<f64>,
    /// How many files, links and pipes were read while it was paused, because they had changed since they were read
    /// before; `None` where all of them were, or none ran.
    pub read_again: Option<u64>,
    /// Whether the secrets are in it.
    pub secrets: bool,
    /// The public keys that the secrets are encrypted for; none: they are encrypted with a passphrase.
    pub secrets_for: Vec<String>,
    /// The public keys that the whole file is encrypted for; none: it is not.
    pub encrypted_for: Vec<String>,
    /// Always true: it was read back whole, with the checks that `verify` and `restore` make.
    pub verified: bool,
    /// What was left out because nothing could restore it, such as devices: the first of it.
    pub left_out: Vec<LeftOut>,
    /// How much that is in all.
    pub left_out_count: u64,
    /// What was left out because the settings or the command said so: patterns.
    pub exclude: Vec<String>,
    /// Where in the container folders of the host are mounted: backups never hold those.
    pub mounts_not_included: Vec<String>,
    /// The largest folders in it that look like caches.
    pub caches: Vec<CacheFolder>,
    /// Whether `backup.copy` copied it, too; false where that is not set, or there is no file.
    pub copied: bool,
}

/// One backup in `docklet backup list`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupEntry {
    /// The file.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was begun; `None` when it cannot be read.
    pub created: Option<String>,
    /// Why it was made, in one word.
    pub reason: Option<String>,
    /// Whether all of it is encrypted. What is not in its name is then `None`.
    pub encrypted: bool,
    /// Whose data it is.
    pub instance: Option<String>,
    /// Version of the program.
    pub appliance_version: Option<String>,
    /// Roles of the volumes that are not in it.
    pub missing_volumes: Vec<String>,
    /// What it leaves out, because somebody said so: patterns.
    pub exclude: Vec<String>,
    /// The setting that says how long it stays; `None`: until it is removed by hand.
    pub kept_by: Option<&'static str>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// `docklet backup list`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupListReport {
    /// Whose.
    pub instance: String,
    /// The folder.
    pub folder: String,
    /// `backup.keep`
    pub keep: String,
    /// `backup.keep_changes`
    pub keep_changes: u32,
    /// Where in the container folders of the host are mounted: backups never hold those.
    pub mounts_not_included: Vec<String>,
    /// The newest first.
    pub backups: Vec<BackupEntry>,
}

/// `docklet backup verify`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The backup.
    pub file: String,
    /// Always true: one that is not is an error.
    pub valid: bool,
    /// Whether all of it is encrypted.
    pub encrypted: bool,
    /// When it was begun.
    pub created: String,
    /// Whose data it is.
    pub instance: String,
    /// Version of the program.
    pub appliance_version: Option<String>,
    /// Files with content in the volumes.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Whether secrets are in it.
    pub secrets: bool,
    /// Roles of the volumes that are not in it.
    pub missing_volumes: Vec<String>,
    /// How many paths were left out of it when it was made.
    pub left_out_count: u64,
    /// What it leaves out, because somebody said so: patterns.
    pub exclude: Vec<String>,
}

/// `docklet backup test`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackupTestReport {
    /// Whose settings and image it was tested with.
    pub instance: String,
    /// The backup.
    pub file: String,
    /// Always true: one that does not is an error.
    pub works: bool,
    /// When it was begun.
    pub created: String,
    /// Whose data it is.
    pub from_instance: String,
    /// Version of the program that it was made with.
    pub appliance_version: Option<String>,
    /// Files with content, each of which was compared after it was restored.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What the program listed then.
    pub records: Vec<RecordsReport>,
    /// Whether the secrets in it were opened.
    pub secrets: bool,
    /// Whether secrets are in it.
    pub secrets_in_it: bool,
    /// Roles of the volumes that are not in it.
    pub missing_volumes: Vec<String>,
    /// How many paths were left out of it when it was made.
    pub left_out_count: u64,
    /// What it leaves out, because somebody said so: patterns.
    pub exclude: Vec<String>,
    /// How long it took until the page and the records were there.
    pub seconds: f64,
    /// What is left of the throwaway instance: nothing.
    pub left: Vec<String>,
}

/// What the program says that it has, in `docklet backup test`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordsReport {
    /// The path that it was asked.
    pub path: String,
    /// How many the backup says that there were, all of which are there.
    pub expected: u64,
    /// The ids of those that it listed.
    pub listed: Vec<String>,
}

/// `docklet backup prune`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PruneReport {
    /// Whose.
    pub instance: String,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// What went, or would go.
    pub removed: Vec<String>,
    /// What stays, and why.
    pub kept: Vec<KeptBackup>,
    /// What is in the folder and does not count: backups of others, and what cannot be read. All of it stays.
    pub not_looked_at: Vec<KeptBackup>,
}

/// A backup that stays in `docklet backup prune`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptBackup {
    /// The file.
    pub file: String,
    /// Why it stays.
    pub reason: String,
}

/// `docklet restore`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// Into which instance.
    pub instance: String,
    /// From which backup.
    pub file: String,
    /// When that was begun.
    pub created: String,
    /// Whose data it is.
    pub from_instance: String,
    /// Roles of the volumes that were restored, the others staying as they were; none: all that are in the backup.
    pub only: Vec<String>,
    /// Files with content.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Whether the settings were taken from it.
    pub settings: bool,
    /// Whether the secrets were taken from it.
    pub secrets: bool,
    /// Roles of the volumes that are not in it: they are as they were.
    pub missing_volumes: Vec<String>,
    /// How many paths were left out of it when it was made.
    pub left_out_count: u64,
    /// What it leaves out, because somebody said so: patterns.
    pub exclude: Vec<String>,
    /// What is missing or altered, where it was restored with `--force`; `None`: nothing.
    pub damage: Option<DamageReport>,
    /// The backup of what was there before; `None` when nothing was.
    pub before: Option<String>,
    /// Version of the program that is there now.
    pub appliance_version: Option<String>,
    /// Whether it runs; one that was stopped stays stopped.
    pub running: bool,
    /// Address of the page.
    pub url: String,
}

/// What `docklet restore --force` could not bring back as it was
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DamageReport {
    /// What is wrong with the backup; empty: nothing, but records are missing.
    pub reason: String,
    /// The last path that could be read, all that was behind it being lost; `None`: it could be read to its end.
    pub read_up_to: Option<String>,
    /// What was in the backup and was not restored: the first of it.
    pub missing: Vec<LeftOut>,
    /// How much that is in all; `None` when nobody knows, because the end of the backup is lost.
    pub missing_count: Option<u64>,
    /// Files that were restored and are not what they were: the first of them.
    pub altered: Vec<String>,
    /// How many there are.
    pub altered_count: u64,
    /// Ids of records, such as sessions, that the backup lists and the program does not have.
    pub missing_records: Vec<String>,
}

/// `docklet update --check`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpdateCheckReport {
    /// Whose.
    pub instance: String,
    /// The version that is there; `None` where the image does not say.
    pub current: Option<String>,
    /// The newest of the same major version; `None` where the image does not say.
    pub latest: Option<String>,
    /// Whether that is another.
    pub update_available: bool,
}

/// What `docklet update`, `rollback` or `restore` would do; nothing when there are no steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ChangePreview {
    /// Whose.
    pub instance: String,
    /// What would be done, in this order.
    pub steps: Vec<String>,
    /// What the container that is replaced has outside its volumes, in a line.
    pub lost: Option<String>,
}

/// `docklet update` and `docklet rollback`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpdateReport {
    /// Whose.
    pub instance: String,
    /// Whether there was anything to do.
    pub changed: bool,
    /// The version before.
    pub from: Option<String>,
    /// The version now.
    pub to: Option<String>,
    /// Whether the data was taken from a backup.
    pub data: bool,
    /// The backup that was made before; `None` when there was nothing to do.
    pub backup: Option<String>,
    /// Whether it runs; one that was stopped stays stopped.
    pub running: bool,
    /// Address of the page.
    pub url: String,
}
