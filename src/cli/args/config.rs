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
    /// Let the service manager of your user start it (systemd or launchd)
    ///
    /// Where there is no service manager, this ends with exit code 4 and nothing is changed.
    #[command(after_help = "Example: docklet autostart enable")]
    Enable,
    /// Do not start it by itself any more; what runs goes on
    #[command(after_help = "Example: docklet autostart disable")]
    Disable,
    /// Say whether it starts by itself (exit code 0: it does, 3: it does not)
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
    /// Show all settings, those that have their default marked
    #[command(after_help = "Example: docklet config show")]
    Show,
    /// Print one setting
    #[command(after_help = "Example: docklet config get network.port")]
    Get {
        /// Its dotted path, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
    },
    /// Change one setting; comments in the file stay
    #[command(after_help = "Example: docklet config set resources.memory 2GiB")]
    Set {
        /// Its dotted path, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
        /// Its new value
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Take a setting out of the file, so that its default counts
    #[command(after_help = "Example: docklet config unset network.port")]
    Unset {
        /// Its dotted path, such as network.port
        #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::keys))]
        key: String,
    },
    /// Open the settings in your editor ($VISUAL or $EDITOR); they are checked before they are taken over
    #[command(after_help = "Example: EDITOR=nano docklet config edit")]
    Edit,
    /// Print where the settings file is
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
    /// Set a secret, from a prompt, a file or standard input
    #[command(after_help = "Example: docklet secret set ANTHROPIC_API_KEY --from-file key.txt")]
    Set {
        /// Its name, which is the variable that the appliance sees
        #[arg(value_name = "NAME")]
        name: String,
        /// File with the value, or - for standard input
        #[arg(long, value_name = "PATH")]
        from_file: Option<PathBuf>,
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
    /// Show a folder or file of this machine inside
    #[command(after_help = "Example: docklet mount add ~/code/app:/workspace/app:ro")]
    Add {
        /// The folder or file here and the place inside, with :ro behind it for read-only
        #[arg(value_name = "HOST:CONTAINER[:ro]")]
        mount: Mount,
    },
    /// List what is mounted
    #[command(after_help = "Example: docklet mount list")]
    List,
    /// Do not show it inside any more; the folder or file itself stays
    #[command(after_help = "Example: docklet mount remove /workspace/app")]
    Remove {
        /// The place inside, or the folder or file here
        #[arg(value_name = "CONTAINER|HOST")]
        place: String,
    },
}
