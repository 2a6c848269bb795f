//! The arguments of what keeps, moves and removes data: backups, updates, uninstall.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use crate::{
    cli::complete,
    settings::{Glob, Keep},
};

/// Arguments of `docklet backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Example: docklet backup ~/opencode.tar.zst")]
pub struct Backup {
    /// What to do with backups that are there.
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// New file, a folder, or - for standard output
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also leave out paths such as '**/target'
    ///
    /// In addition to backup.exclude. May be repeated.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<Glob>,
    /// Also back up the secrets, encrypted
    #[arg(long)]
    pub secrets: bool,
    /// Passphrase file, or - for standard input
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,
}

impl Backup {
    /// Whether it is `docklet backup -`.
    pub fn to_standard_output(&self) -> bool {
        self.action.is_none() && self.file.as_deref().is_some_and(is_standard)
    }
}

/// Whether a file is standard input or output.
pub fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

/// What to do with backups that are there.
#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// List this instance's backups
    #[command(after_help = "Example: docklet backup list --json")]
    List,
    /// Read a whole backup and check every file in it
    #[command(after_help = "Example: docklet backup verify ~/opencode.tar.zst")]
    Verify {
        /// The backup, or - for standard input
        #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
        file: PathBuf,
    },
    /// Remove this instance's old backups
    ///
    /// A rule is a number of the newest, or the newest of each of the last so many hours (h), days (d), weeks (w), months
    /// (m) and years (y) that have any, as restic and borg count them. Days are counted in UTC, weeks from Monday.
    ///
    /// Backups from before an update, rollback or restore have a rule of their own. The one that docklet rollback needs
    /// stays, unless --keep-changes is 0.
    #[command(after_help = "Example: docklet backup prune --keep '7d 4w 6m' --dry-run")]
    Prune {
        /// Which backups to keep: 3, or "7d 4w 6m"; by default, backup.keep, and all that were not made by the schedule
        #[arg(long, value_name = "RULE")]
        keep: Option<Keep>,
        /// How many to keep of those made before update, rollback and restore; by default, backup.keep_changes
        #[arg(long, value_name = "N")]
        keep_changes: Option<u32>,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `docklet restore`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet restore ~/opencode.tar.zst --instance copy")]
pub struct Restore {
    /// The backup, or - for standard input
    #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
    pub file: PathBuf,
    /// Also restore the settings; by default, an existing instance keeps its own
    #[arg(long)]
    pub settings: bool,
    /// File with the passphrase for the secrets in the backup, or - for standard input
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,
    /// Don't back up the current data first
    #[arg(long)]
    pub no_backup: bool,
    /// Accept the restored data even if sessions are missing
    #[arg(long)]
    pub force: bool,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet update`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet update --check")]
pub struct Update {
    /// Only check whether there is a newer release
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    pub check: bool,
    /// Release to install; may be older, or of another major version
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet rollback --data")]
pub struct Rollback {
    /// Also restore the data from before the update; newer data is kept only in a backup
    #[arg(long)]
    pub data: bool,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet uninstall --dry-run")]
pub struct Uninstall {
    /// Also remove the three volumes: sessions, projects and configuration
    #[arg(long)]
    pub volumes: bool,
    /// Remove everything: volumes, settings, secrets and backups
    #[arg(long)]
    pub purge: bool,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
    /// Don't make a last backup before the volumes are removed
    #[arg(long)]
    pub no_backup: bool,
}
