//! The arguments of what holds from now on: settings, secrets, mounts, autostart.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use crate::{cli::complete, settings::Mount};

/// Arguments of `docklet autostart`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet autostart enable")]
pub struct Autostart {
    /// What to do.
    #[command(subcommand)]
    pub action: AutostartAction,
}

/// What to do about the start by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum AutostartAction {
    /// Start opencode with your user's service manager (systemd or launchd)
    ///
    /// Without a service manager, this ends with exit code 4 and changes nothing.
    #[command(after_help = "Example: docklet autostart enable")]
    Enable,
    /// Turn off the automatic start; a running container keeps running
    #[command(after_help = "Example: docklet autostart disable")]
    Disable,
    /// Show whether autostart is on (exit code 0: on, 3: off)
    #[command(after_help = "Example: docklet autostart status --json")]
    Status,
}

/// Arguments of `docklet config`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet config set resources.memory 2GiB")]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Show all settings and mark those that have their default value
    #[command(after_help = "Example: docklet config show")]
    Show,
    /// Print one setting
    #[command(after_help = "Example: docklet config get network.port")]
    Get {
        /// Dotted name of the setting, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
    },
    /// Change one setting; comments in the file are kept
    #[command(after_help = "Example: docklet config set resources.memory 2GiB")]
    Set {
        /// Dotted name of the setting, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
        /// New value
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a setting from the file, so that its default applies
    #[command(after_help = "Example: docklet config unset network.port")]
    Unset {
        /// Dotted name of the setting, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
    /// Open the settings in your editor ($VISUAL or $EDITOR); they are checked before they are saved
    #[command(after_help = "Example: EDITOR=nano docklet config edit")]
    Edit,
    /// Print the path of the settings file
    #[command(after_help = "Example: docklet config path")]
    Path,
}

/// Arguments of `docklet secret`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet secret set ANTHROPIC_API_KEY")]
pub struct SecretCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: SecretAction,
}

/// What to do with a secret.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Set a secret from a prompt, a file or standard input
    #[command(after_help = "Example: docklet secret set ANTHROPIC_API_KEY --from-file key.txt")]
    Set {
        /// Name of the secret and of its environment variable in the container
        #[arg(value_name = "NAME")]
        name: String,
        /// File with the value, or - for standard input
        #[arg(long, value_name = "PATH")]
        from_file: Option<PathBuf>,
    },
    /// Set every secret in a file of NAME=VALUE lines, such as a project's .env
    ///
    /// Comments, `export` and quotes are understood; `$NAME` in a value stays as it is. What cannot be a secret, such as a
    /// lower-case name, is left out and named. If a line cannot be read, nothing is set.
    #[command(after_help = "Example: docklet secret import .env")]
    Import {
        /// The file, or - for standard input
        #[arg(value_name = "ENV_FILE")]
        file: PathBuf,
    },
    /// List the names of all secrets
    #[command(after_help = "Example: docklet secret list")]
    List,
    /// Remove a secret
    #[command(after_help = "Example: docklet secret remove ANTHROPIC_API_KEY")]
    Remove {
        /// Its name
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::secrets))]
        name: String,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `docklet mount`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet mount add ~/code/app:/workspace/app")]
pub struct MountCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: MountAction,
}

/// What to do with a mount.
#[derive(Debug, Subcommand)]
pub enum MountAction {
    /// Mount a folder or file of this machine in the container
    #[command(after_help = "Example: docklet mount add ~/code/app:/workspace/app:ro")]
    Add {
        /// Folder or file on this machine and its path in the container; append :ro for read-only
        #[arg(value_name = "HOST:CONTAINER[:ro]")]
        mount: Mount,
    },
    /// List the mounts
    #[command(after_help = "Example: docklet mount list")]
    List,
    /// Remove a mount; the folder or file itself is kept
    #[command(after_help = "Example: docklet mount remove /workspace/app")]
    Remove {
        /// Path in the container, or on this machine
        #[arg(value_name = "CONTAINER|HOST", add = ArgValueCompleter::new(complete::mounts))]
        place: String,
        /// Show what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
}
