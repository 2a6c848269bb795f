//! The command line: clap types whose doc comments are the help text. Parses and does nothing.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use clap_complete::engine::ArgValueCompleter;

use super::complete;

use crate::{
    catalogue,
    error::Code,
    instance::Instance,
    settings::{Bind, Cpus, Memory, Mount, PackageName, Port, RestartPolicy},
};

/// Put opencode, an AI coding agent with a web page, into one container on your own machine, and
/// keep it: set up, run, restart, look at, remove.
#[derive(Debug, Parser)]
#[command(name = "docklet", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Begin with: docklet setup")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Which instance, when there are several
    #[arg(
        long,
        global = true,
        env = "DOCKLET_INSTANCE",
        default_value = "default",
        value_name = "NAME",
        help_heading = "Global options",
        add = ArgValueCompleter::new(complete::instances)
    )]
    pub instance: Instance,
    /// Print the result as one JSON object, and progress as one object a line on standard error
    #[arg(long, global = true, env = "DOCKLET_JSON", value_parser = BoolishValueParser::new(), help_heading = "Global options")]
    pub json: bool,
    /// Answer yes to every question
    #[arg(long, short, global = true, env = "DOCKLET_YES", value_parser = BoolishValueParser::new(), help_heading = "Global options")]
    pub yes: bool,
    /// Print nothing but the result
    #[arg(long, short, global = true, env = "DOCKLET_QUIET", value_parser = BoolishValueParser::new(), help_heading = "Global options")]
    pub quiet: bool,
    /// Say more about what is done; twice for even more
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        env = "DOCKLET_COLOR",
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    pub color: Color,
    /// Address of the container engine, such as unix:///var/run/docker.sock
    #[arg(long, global = true, env = "DOCKLET_HOST", value_name = "URL", help_heading = "Global options")]
    pub host: Option<String>,
    /// Start no supervisor in the background: something else runs `docklet supervise`
    #[arg(long, global = true, env = "DOCKLET_NO_SUPERVISOR", value_parser = BoolishValueParser::new(), hide_short_help = true, help_heading = "Global options")]
    pub no_supervisor: bool,
    /// Docker context that names the container engine
    #[arg(long, global = true, env = "DOCKLET_CONTEXT", value_name = "NAME", help_heading = "Global options")]
    pub context: Option<String>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where a terminal shows them.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set everything up, or bring it in line with changed answers
    Setup(Box<Setup>),
    /// Start it, creating or replacing what is needed, and wait until the page answers
    Start(Start),
    /// Stop it; it stays stopped until `docklet start`
    Stop(Stop),
    /// Stop and start it
    Restart(Restart),
    /// Say whether it runs, where, and how it is (exit code 0: runs, 3: does not, 4: not set up)
    Status(Status),
    /// Show what it logged
    Logs(Logs),
    /// Open the page in the browser, already signed in
    Open(Open),
    /// Print the password of the page, or make a new one
    Password(Password),
    /// Back up sessions, projects, configuration and settings into one file
    ///
    /// Without a file, docklet finds a name among its own backups. A running appliance is paused only while its volumes
    /// are read.
    Backup(Backup),
    /// Put a backup back, also into another instance or on another machine
    ///
    /// Everything is checked before anything is touched. What is there now is backed up first, and comes back by itself
    /// when the restored data does not work.
    Restore(Restore),
    /// Update to the newest release of the same major version; taken back by itself when it does not work
    Update(Update),
    /// Go back to the release before the last update
    Rollback(Rollback),
    /// Remove it; the data stays unless you say otherwise
    Uninstall(Uninstall),
    /// List all instances on this engine
    List,
    /// Start it by itself after a login or a reboot
    Autostart(Autostart),
    /// Show and change the settings
    Config(Config),
    /// Keep keys of providers and other secrets for it
    Secret(SecretCommand),
    /// Show folders of this machine inside
    Mount(MountCommand),
    /// Open a shell inside, in the projects folder
    #[command(after_help = "Example: docklet shell")]
    Shell,
    /// Run one command inside; its output and its exit code are passed on
    Exec(Exec),
    /// Explain the error codes
    Errors(Errors),
    /// Print what makes your shell complete docklet's commands
    Completions(Completions),
    /// Print the man page, or write all man pages into a folder
    Man(Man),
    /// Restart it whenever that is needed, until told to end; start does this in the background
    ///
    /// Says each decision in one line. Ends on Ctrl-C and SIGTERM, and leaves the container as it is then. There is
    /// one supervisor for an instance.
    Supervise(Supervise),
    /// Check everything that is known to go wrong, and say what mends it (exit code 0: no problem,
    /// warnings or not; 10: a problem)
    Doctor(Doctor),
}

/// Arguments of `docklet setup`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet setup --yes --port 3001 --extra-package python3")]
pub struct Setup {
    /// Show what would be done, and do nothing
    #[arg(long, env = "DOCKLET_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Port of the page on this machine [default: 3000]
    #[arg(long, env = "DOCKLET_PORT")]
    pub port: Option<Port>,
    /// Address to publish the page on; anything but 127.0.0.1 lets other machines in
    #[arg(long, env = "DOCKLET_BIND", value_name = "ADDRESS")]
    pub bind: Option<Bind>,
    /// Pull this image
    #[arg(long, env = "DOCKLET_IMAGE", value_name = "REF", conflicts_with_all = ["build", "image_file"])]
    pub image: Option<String>,
    /// Build the image here (this is the default)
    #[arg(long, env = "DOCKLET_BUILD", value_parser = BoolishValueParser::new(), conflicts_with = "image_file")]
    pub build: bool,
    /// Load the image from an archive made with `docker save`; needs no network
    #[arg(long, env = "DOCKLET_IMAGE_FILE", value_name = "TAR")]
    pub image_file: Option<PathBuf>,
    /// Image to build on [default: debian:trixie-slim]
    #[arg(long, env = "DOCKLET_BASE_IMAGE", value_name = "REF")]
    pub base_image: Option<String>,
    /// Debian packages to build into the image, for the agent's use
    #[arg(long = "extra-package", env = "DOCKLET_EXTRA_PACKAGE", value_name = "PKG", num_args = 1.., value_delimiter = ',')]
    pub extra_packages: Option<Vec<PackageName>>,
    /// Memory limit [default: 4GiB, or three quarters of the engine's memory]
    #[arg(long, env = "DOCKLET_MEMORY", value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Number of processors, 0 for all [default: 0]
    #[arg(long, env = "DOCKLET_CPUS", value_name = "N")]
    pub cpus: Option<Cpus>,
    /// When docklet restarts it [default: always]
    #[arg(long, env = "DOCKLET_RESTART", value_enum, value_name = "WHEN")]
    pub restart: Option<RestartPolicy>,
    /// Start it with your session
    #[arg(long, env = "DOCKLET_AUTOSTART", value_parser = BoolishValueParser::new(), overrides_with = "no_autostart")]
    pub autostart: bool,
    /// Do not start it with your session
    #[arg(long, env = "DOCKLET_NO_AUTOSTART", value_parser = BoolishValueParser::new())]
    pub no_autostart: bool,
    /// Folder of this machine to show inside, such as ~/code/app:/workspace/app, with :ro behind it for read-only
    #[arg(long = "mount", env = "DOCKLET_MOUNT", value_name = "HOST:CONTAINER[:ro]", value_delimiter = ',')]
    pub mounts: Option<Vec<Mount>>,
    /// File with a secret, such as ANTHROPIC_API_KEY=key.txt
    #[arg(long = "secret-file", env = "DOCKLET_SECRET_FILE", value_name = "NAME=PATH", value_delimiter = ',')]
    pub secret_files: Vec<String>,
    /// File with the password of the page, or - for standard input; without it, one is made up
    #[arg(long, env = "DOCKLET_PASSWORD_FILE", value_name = "PATH")]
    pub password_file: Option<PathBuf>,
    /// File with a company's own certificate authorities (PEM)
    #[arg(long, env = "DOCKLET_CA_FILE", value_name = "PATH")]
    pub ca_file: Option<PathBuf>,
    /// Create everything and start nothing
    #[arg(long, env = "DOCKLET_NO_START", value_parser = BoolishValueParser::new())]
    pub no_start: bool,
    /// Open the page in the browser at the end
    #[arg(long, env = "DOCKLET_OPEN", value_parser = BoolishValueParser::new())]
    pub open: bool,
    /// Longest time to wait for the page
    #[arg(long, env = "DOCKLET_TIMEOUT", value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Install and start a container engine if there is none
    #[arg(long, env = "DOCKLET_INSTALL_ENGINE", value_parser = BoolishValueParser::new())]
    pub install_engine: bool,
}

/// Arguments of `docklet start`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet start --timeout 300")]
pub struct Start {
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Do not wait for the page
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of `docklet stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet stop --timeout 30")]
pub struct Stop {
    /// How long it may take to end by itself before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet restart`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet restart")]
pub struct Restart {
    /// How long it may take to end by itself before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet status`.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "Example: docklet status --watch")]
pub struct Status {
    /// Go on: a screen with load, restarts and log, and keys to restart, stop and open; without a
    /// terminal, a line for each change
    #[arg(long, short)]
    pub watch: bool,
}

/// Arguments of `docklet logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet logs -f --since 10m")]
pub struct Logs {
    /// Go on as lines come
    #[arg(long, short)]
    pub follow: bool,
    /// How many lines from the end, at most 10,000
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 100, value_parser = lines)]
    pub lines: u64,
    /// Only lines since then: 10m, 2h, 2026-11-21, "2026-11-21 08:00" or 2026-11-21T08:00:00Z (UTC without a zone)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Put the time before each line
    #[arg(long, short)]
    pub timestamps: bool,
}

fn lines(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(lines @ 1..=super::logs::MOST_LINES) => Ok(lines),
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(_) => Err("at most 10,000 lines are shown; --since and --follow narrow them down".to_owned()),
        Err(_) => Err("it is no number of lines".to_owned()),
    }
}

/// Arguments of `docklet open`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet open --print")]
pub struct Open {
    /// Print the address instead; whoever has it is signed in
    #[arg(long)]
    pub print: bool,
}

/// Arguments of `docklet password`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet password --rotate")]
pub struct Password {
    /// Make a new one and restart
    #[arg(long)]
    pub rotate: bool,
}

/// Arguments of `docklet supervise`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet supervise --json")]
pub struct Supervise {
    /// A process of its own: leaves the terminal, and ends when there is nothing to supervise
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Arguments of `docklet backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Example: docklet backup ~/opencode.tar.zst")]
pub struct Backup {
    /// What to do with backups that are there.
    #[command(subcommand)]
    pub action: Option<BackupAction>,
    /// The file, which must not exist, or a folder
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Back up the secrets, too, under a passphrase that is asked for
    #[arg(long)]
    pub secrets: bool,
    /// File with the passphrase for the secrets, or - for standard input
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,
    /// Made by the supervisor when its time has come
    #[arg(long, hide = true)]
    pub scheduled: bool,
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
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove this instance's oldest backups
    #[command(after_help = "Example: docklet backup prune --keep 3")]
    Prune {
        /// How many to keep, the newest
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `docklet restore`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet restore ~/opencode.tar.zst --instance copy")]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take the settings from the backup, too; those of an instance that is set up stay otherwise
    #[arg(long)]
    pub settings: bool,
    /// File with the passphrase for the secrets in the backup, or - for standard input
    #[arg(long, env = "DOCKLET_PASSPHRASE_FILE", value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,
    /// Take no backup of what is there now
    #[arg(long)]
    pub no_backup: bool,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet update`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet update --check")]
pub struct Update {
    /// Only say whether there is a newer release
    #[arg(long, conflicts_with = "to")]
    pub check: bool,
    /// Update to this release; also an older one, or one of another major version
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet rollback --data")]
pub struct Rollback {
    /// Take the data from before the update, too; what came since then is only in a backup then
    #[arg(long)]
    pub data: bool,
    /// Longest time to wait for the page
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet uninstall --dry-run")]
pub struct Uninstall {
    /// Remove the three volumes too: sessions, projects and configuration
    #[arg(long)]
    pub volumes: bool,
    /// Remove everything: volumes, settings, secrets and backups
    #[arg(long)]
    pub purge: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take no last backup before the volumes are removed
    #[arg(long)]
    pub no_backup: bool,
}

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
    /// Show a folder of this machine inside
    #[command(after_help = "Example: docklet mount add ~/code/app:/workspace/app:ro")]
    Add {
        /// The folder here and the place inside, with :ro behind it for read-only
        #[arg(value_name = "HOST:CONTAINER[:ro]")]
        mount: Mount,
    },
    /// List the folders
    #[command(after_help = "Example: docklet mount list")]
    List,
    /// Do not show a folder inside any more; the folder itself stays
    #[command(after_help = "Example: docklet mount remove /workspace/app")]
    Remove {
        /// The place inside, or the folder here
        #[arg(value_name = "CONTAINER|HOST")]
        place: String,
    },
}

/// Arguments of `docklet exec`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet exec -- git -C app status")]
pub struct Exec {
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Arguments of `docklet errors`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet errors PORT_IN_USE", after_long_help = catalogue::text())]
pub struct Errors {
    /// Only this one
    #[arg(value_name = "CODE", ignore_case = true, hide_possible_values = true)]
    pub code: Option<Code>,
}

/// Arguments of `docklet completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet completions bash > ~/.local/share/bash-completion/completions/docklet")]
pub struct Completions {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Shells that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// elvish
    Elvish,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// zsh
    Zsh,
}

/// Arguments of `docklet man`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet man --dir ~/.local/share/man/man1")]
pub struct Man {
    /// Write one page for each command into this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `docklet doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet doctor --bundle docklet-report.tar")]
pub struct Doctor {
    /// Write what a bug report needs into this tar archive, without secrets
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}
