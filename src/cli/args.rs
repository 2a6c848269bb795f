//! The command line: clap types whose doc comments are the help text. Parses and does nothing.
//!
//! - here: the options of every command, and the commands in the order of the help
//! - `setup`; `daily`: run it and look at it; `data`: keep, move and remove data; `config`: what holds
//!   from now on; `support`: about docklet itself

mod config;
mod daily;
mod data;
mod setup;
mod support;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

pub use config::{
    Autostart, AutostartAction, Config, ConfigAction, MountAction, MountCommand, SecretAction, SecretCommand,
};
pub use daily::{Exec, Logs, Open, Password, Restart, Start, Status, Stop, Supervise};
pub use data::{Backup, BackupAction, Restore, Rollback, Uninstall, Update};
pub use setup::Setup;
pub use support::{Completions, Doctor, Errors, Man, Shell};

use super::complete;
use crate::instance_name::InstanceName;

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
    pub instance: InstanceName,
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
