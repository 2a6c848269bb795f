//! The command line: clap types whose doc comments are the help text. Parses and does nothing.
//!
//! - here: the options of every command, and the commands in the order of the help
//! - `setup`; `daily`: run it and look at it; `data`: keep, move and remove data; `export`; `config`: what holds
//!   from now on; `support`: about docklet itself

mod config;
mod daily;
mod data;
mod export;
mod setup;
mod support;

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

pub use config::{
    Autostart, AutostartAction, Config, ConfigAction, MountAction, MountCommand, SecretAction, SecretCommand,
};
pub use daily::{Attach, ExecArgs, Logs, Open, Password, RestartArgs, StartArgs, Status, Stop, Supervise, TunnelArgs};
pub use data::{
    BackupAction, BackupArgs, BackupKey, MoveArgs, RestoreArgs, RollbackArgs, UninstallArgs, UpdateArgs, is_standard,
};
pub use export::{ExportArgs, ExportCommon, ExportFor, ExportKubernetes};
pub use setup::SetupArgs;
pub use support::{Completions, Doctor, Errors, Man, SelfUpdate, Shell};

use super::complete;
use crate::instance_name::InstanceName;

/// Run opencode, an AI coding agent with a web page, in a sandboxed container
#[derive(Debug, Parser)]
#[command(name = "docklet", version = VERSION, max_term_width = 100, propagate_version = true)]
#[command(after_help = "To get started: docklet setup")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Version, and where the build knew them, commit and date: `0.1.0 (3fd3d21 2026-11-26)`.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("DOCKLET_COMMIT"));

/// How long what starts it waits.
#[derive(Debug, Clone, Copy, Args)]
pub struct PageTimeout {
    /// Longest time to wait for the page
    #[arg(long, env = "DOCKLET_TIMEOUT", value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

impl PageTimeout {
    /// As the library takes it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Instance to work on
    #[arg(
        long,
        global = true,
        env = "DOCKLET_INSTANCE",
        default_value = "default",
        value_name = "NAME",
        help_heading = "Options of every command", hide_short_help = true,
        add = ArgValueCompleter::new(complete::instances)
    )]
    pub instance: InstanceName,
    /// Print the result as one JSON object
    ///
    /// Progress goes to standard error, one object a line.
    #[arg(long, global = true, env = "DOCKLET_JSON", value_parser = BoolishValueParser::new(), help_heading = "Options of every command", hide_short_help = true)]
    pub json: bool,
    /// Answer yes to every question
    #[arg(long, short, global = true, env = "DOCKLET_YES", value_parser = BoolishValueParser::new(), help_heading = "Options of every command", hide_short_help = true)]
    pub yes: bool,
    /// Print nothing but the result
    #[arg(long, short, global = true, env = "DOCKLET_QUIET", value_parser = BoolishValueParser::new(), help_heading = "Options of every command", hide_short_help = true)]
    pub quiet: bool,
    /// Print more detail; repeat for even more
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Options of every command", hide_short_help = true)]
    pub verbose: u8,
    /// When to use colours: auto, always or never
    ///
    /// auto: on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        global = true,
        env = "DOCKLET_COLOR",
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Options of every command",
        hide_short_help = true
    )]
    pub color: Color,
    /// Ask with plain lines, for screen readers and simple terminals
    #[arg(
        long,
        global = true,
        env = "DOCKLET_PLAIN",
        value_parser = BoolishValueParser::new(),
        help_heading = "Options of every command",
        hide_short_help = true
    )]
    pub plain: bool,
    /// Address of the container engine
    ///
    /// Such as unix:///var/run/docker.sock or ssh://me@host.
    #[arg(
        long,
        global = true,
        env = "DOCKLET_HOST",
        value_name = "URL",
        help_heading = "Options of every command",
        hide_short_help = true
    )]
    pub host: Option<String>,
    /// Don't start a supervisor in the background, because something else runs `docklet supervise`
    #[arg(long, global = true, env = "DOCKLET_NO_SUPERVISOR", value_parser = BoolishValueParser::new(), help_heading = "Options of every command", hide_short_help = true)]
    pub no_supervisor: bool,
    /// Docker context of the container engine
    #[arg(
        long,
        global = true,
        env = "DOCKLET_CONTEXT",
        value_name = "NAME",
        help_heading = "Options of every command",
        hide_short_help = true
    )]
    pub context: Option<String>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When the output is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up opencode, or apply changed settings
    Setup(Box<SetupArgs>),
    /// Start opencode and wait until its page answers
    ///
    /// Creates what is missing. A container whose settings changed is replaced; the data is kept.
    Start(StartArgs),
    /// Stop opencode until the next `docklet start`
    Stop(Stop),
    /// Stop opencode and start it again
    Restart(RestartArgs),
    /// Show the state of opencode
    ///
    /// Exit code 0: running, 3: not running, 4: not set up.
    Status(Status),
    /// Show the log of opencode
    Logs(Logs),
    /// Open the page in the browser, already signed in
    Open(Open),
    /// Reach the page of an instance on another machine from this one
    ///
    /// The engine is at ssh://…: from --host, --context or the settings. The tunnel stays open in the background. Where the
    /// instance is set up, its supervisor keeps it open.
    Tunnel(TunnelArgs),
    /// Print the page's password, or generate a new one
    Password(Password),
    /// Back up sessions, projects, configuration and settings into one file
    ///
    /// Without FILE, the backup goes to docklet's backup folder. A container that runs is paused only for what
    /// changed while its volumes were read.
    ///
    /// With - as FILE, the archive goes to standard output, and everything else to standard error, the result of --json
    /// too. It is first stored in the backup folder, without a name, and read back: what goes out is a whole backup, and
    /// nothing goes out when the backup fails. Whether the other end has stored it, only that end can tell: check the exit
    /// codes, or read it back with: docklet backup verify -
    ///
    /// Mounted folders are not in it, and neither are paths that match backup.exclude or --exclude. The patterns mean the
    /// paths below volumes/ in the archive: session/…, projects/… and config/…. * and ? stay within a name, ** goes across folders. Backups from before an update, rollback
    /// or restore hold everything.
    ///
    /// backup.copy is a command that is run after each backup, {file} and {name} in it being the file and its name. It is
    /// killed after six hours. The supervisor tries it again after a minute if it fails, then later and later.
    Backup(BackupArgs),
    /// Restore a backup, also into another instance or machine
    ///
    /// The whole backup is checked before anything is changed. The current data is backed up first and put back
    /// automatically if the restored data does not work.
    ///
    /// With - as FILE, the backup is read from standard input. It is stored in the backup folder until it is restored, so
    /// there must be room for it; questions need --yes.
    Restore(RestoreArgs),
    /// Move opencode to another machine's engine
    ///
    /// It is stopped and backed up here, restored there, and used there once it has proved itself: it answers, with all
    /// sessions. What was here stays, stopped, as the way back. If anything fails, it goes on here.
    Move(MoveArgs),
    /// Print what another engine needs to run the same: Kubernetes, Compose or Quadlet
    Export(ExportArgs),
    /// Update opencode to the newest release of its major version
    ///
    /// The data is backed up first. If the new release does not work, the old one and its data are put back automatically.
    Update(UpdateArgs),
    /// Go back to the release before the last update
    Rollback(RollbackArgs),
    /// Remove the container and the image, and keep the data
    ///
    /// --volumes and --purge remove the data, too.
    Uninstall(UninstallArgs),
    /// List all instances on this engine
    List,
    /// Start opencode automatically after a login or a reboot
    Autostart(Autostart),
    /// Show and change the settings
    Config(Config),
    /// Manage API keys and other secrets
    Secret(SecretCommand),
    /// Mount folders of this machine in the container
    Mount(MountCommand),
    /// Use opencode in this terminal, with the sessions of the page
    Attach(Attach),
    /// Open a shell in the container, in the projects folder
    #[command(after_help = "Example: docklet shell")]
    Shell,
    /// Run a command in the container; pass on its output and exit code
    Exec(ExecArgs),
    /// Explain the error codes
    Errors(Errors),
    /// Print a completion script for your shell
    Completions(Completions),
    /// Update docklet itself to its newest release
    ///
    /// Only a release with docklet's signature is installed. Restarts the supervisors, not opencode. The program of before
    /// stays beside it, for --rollback. Where a package manager installed docklet, its command is named instead.
    SelfUpdate(SelfUpdate),
    /// Print the man page, or write all man pages to a folder
    Man(Man),
    /// Restart opencode when it crashes or hangs
    ///
    /// `start` runs this in the background. Prints one line for each decision. Ctrl-C or SIGTERM ends it; the container keeps its state. Each instance has at
    /// most one supervisor.
    Supervise(Supervise),
    /// Check for known problems and show how to fix them
    ///
    /// Exit code 0: no problem, possibly warnings; 10: a problem.
    Doctor(Doctor),
}

impl Command {
    /// Whether it may install programs on this machine for a build: by `--install-engine`, or because the plan of `setup` that
    /// the user is asked about says so.
    pub fn may_install(&self, asks: bool) -> bool {
        match self {
            Command::Setup(setup) => setup.install_engine || asks,
            Command::Restore(restore) => restore.install_engine,
            _ => false,
        }
    }

    /// Whether standard output carries data, and results and errors go to standard error.
    pub fn writes_data(&self) -> bool {
        matches!(self, Command::Backup(backup) if backup.to_standard_output())
    }
}
