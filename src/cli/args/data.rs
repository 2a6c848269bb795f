//! The arguments of what keeps, moves and removes data: backups, updates, uninstall.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, builder::BoolishValueParser};
use clap_complete::engine::ArgValueCompleter;

use super::PageTimeout;
use crate::{
    cli::complete,
    settings::{Glob, Keep},
};

/// Arguments of `docklet backup`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    after_help = "Example: docklet backup ~/opencode.tar.zst"
)]
pub struct BackupArgs {
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
    ///
    /// They are encrypted with a passphrase, or for the keys in backup.recipients. With keys there, every backup has them.
    #[arg(long)]
    pub secrets: bool,
    /// Encrypt the whole file for backup.recipients
    ///
    /// Its name then ends with .age. backup.encrypt is the setting for all backups; those that docklet makes before an
    /// update, a rollback or a restore are never encrypted as a whole.
    #[arg(long, hide_short_help = true)]
    pub encrypt: bool,
    /// Passphrase file, or - for standard input
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH", hide_short_help = true)]
    pub passphrase_file: Option<PathBuf>,
}

impl BackupArgs {
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
    /// List what is in a folder of a backup
    #[command(after_help = "Example: docklet backup ls ~/opencode.tar.zst projects/app")]
    Ls {
        /// The backup
        #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
        file: PathBuf,
        /// Folder in it, such as projects/app or /workspace/app; by default, the volumes
        #[arg(value_name = "PATH", default_value = "", hide_default_value = true)]
        path: String,
        /// File with the private key for an encrypted backup, or - for standard input
        #[arg(long, env = "DOCKLET_IDENTITY", value_name = "PATH")]
        identity: Option<PathBuf>,
    },
    /// Read a whole backup and check every file in it
    #[command(after_help = "Example: docklet backup verify ~/opencode.tar.zst")]
    Verify {
        /// The backup, or - for standard input
        #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
        file: PathBuf,
        /// File with the private key for an encrypted backup, or - for standard input
        #[arg(long, env = "DOCKLET_IDENTITY", value_name = "PATH")]
        identity: Option<PathBuf>,
    },
    /// Prove a backup in a throwaway instance
    ///
    /// The throwaway instance has volumes of its own, no network and no port. Every file is compared with the backup, the page
    /// must answer and the sessions must be there. What runs meanwhile is neither stopped nor paused. In the end everything
    /// is removed. backup.test_every is the setting for the supervisor to do that.
    #[command(after_help = "Example: docklet backup test")]
    Test {
        /// The backup; by default, the newest
        #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
        file: Option<PathBuf>,
        /// File with the private key for an encrypted backup, or - for standard input
        #[arg(long, env = "DOCKLET_IDENTITY", value_name = "PATH")]
        identity: Option<PathBuf>,
        /// Passphrase file for the secrets, or - for standard input
        ///
        /// Without what opens them, it is not tested whether the secrets can be opened.
        #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH", hide_short_help = true)]
        passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        page: PageTimeout,
    },
    /// Make a key pair that backups can be encrypted for
    Key(BackupKey),
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

/// Arguments of `docklet backup key`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet backup key -o key.txt")]
pub struct BackupKey {
    /// File to write the private key to, which must not exist yet; by default, it is printed
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `docklet restore`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet restore ~/opencode.tar.zst --instance copy")]
pub struct RestoreArgs {
    /// The backup, or - for standard input
    #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
    pub file: PathBuf,
    /// Only these volumes; the rest stays as it is
    ///
    /// The volumes are session, projects and config, separated by commas. Settings and secrets stay, too.
    #[arg(long, value_name = "VOLUMES", value_delimiter = ',', conflicts_with_all = ["settings", "no_backup"])]
    pub only: Vec<String>,
    /// Only this path, to a folder of this machine
    ///
    /// A path such as projects/app, or /workspace/app. The files belong to you. Links that lead outside are left out.
    #[arg(long, value_name = "PATH", requires = "into", conflicts_with_all = ["only", "settings", "no_backup", "force"])]
    pub path: Option<String>,
    /// Folder for --path; nothing in it is replaced
    #[arg(long, value_name = "DIR", requires = "path")]
    pub into: Option<PathBuf>,
    /// Also restore the settings
    ///
    /// By default, an existing instance keeps its own.
    #[arg(long)]
    pub settings: bool,
    /// Passphrase file for the secrets, or -
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH", hide_short_help = true)]
    pub passphrase_file: Option<PathBuf>,
    /// Private key file, or - for standard input
    ///
    /// The key, as docklet backup key or age-keygen makes one, opens an encrypted backup and secrets that are encrypted for
    /// keys.
    #[arg(long, env = "DOCKLET_IDENTITY", value_name = "PATH")]
    pub identity: Option<PathBuf>,
    /// Install and start a container engine if there is none
    ///
    /// On a bare machine, this one command brings the engine, the image, settings, secrets and data.
    #[arg(long, env = "DOCKLET_INSTALL_ENGINE", value_parser = BoolishValueParser::new())]
    pub install_engine: bool,
    /// Don't back up the current data first
    #[arg(long)]
    pub no_backup: bool,
    /// Accept a damaged backup, or missing sessions
    ///
    /// What can be read of a damaged backup is restored, after a question and behind a backup of the current data. The
    /// result lists what is missing or altered.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub page: PageTimeout,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet move`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet move --to ssh://me@big --secrets")]
pub struct MoveArgs {
    /// The other engine, such as ssh://me@big
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Copy the API keys and other secrets without asking
    #[arg(long)]
    pub secrets: bool,
    /// Keep using opencode here; the copy there is stopped once it has proved itself
    #[arg(long)]
    pub keep: bool,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet update`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet update --check")]
pub struct UpdateArgs {
    /// Only check whether there is a newer release
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    pub check: bool,
    /// Release to install; may be older, or of another major version
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    #[command(flatten)]
    pub page: PageTimeout,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet rollback --data")]
pub struct RollbackArgs {
    /// Also restore the data from before the update; newer data is kept only in a backup
    #[arg(long)]
    pub data: bool,
    #[command(flatten)]
    pub page: PageTimeout,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet uninstall --dry-run")]
pub struct UninstallArgs {
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
