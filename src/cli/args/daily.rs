//! The arguments of what runs it and looks at it: start, stop, status, logs, the page, commands inside.

use std::path::PathBuf;

use clap::Args;

use super::PageTimeout;

/// Arguments of `docklet start`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet start --timeout 300")]
pub struct StartArgs {
    #[command(flatten)]
    pub page: PageTimeout,
    /// Do not wait for the page
    #[arg(long)]
    pub no_wait: bool,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet stop --timeout 30")]
pub struct Stop {
    /// Time to wait for a clean exit before opencode is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
}

/// Arguments of `docklet restart`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet restart")]
pub struct RestartArgs {
    /// Time to wait for a clean exit before opencode is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
    /// Show what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `docklet status`.
#[derive(Debug, Clone, Copy, Args)]
#[command(after_help = "Example: docklet status --watch")]
pub struct Status {
    /// Keep watching: a screen with load, restarts and log, and keys to restart, stop and open;
    /// without a terminal, one line for each change
    #[arg(long, short)]
    pub watch: bool,
}

/// Arguments of `docklet logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet logs -f --since 10m")]
pub struct Logs {
    /// Keep printing new lines
    #[arg(long, short)]
    pub follow: bool,
    /// Number of lines from the end, at most 10,000
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 100, value_parser = lines)]
    pub lines: u64,
    /// Only lines since this time: 10m, 2h, 2026-11-21, "2026-11-21 08:00" or 2026-11-21T08:00:00Z (local time without a zone)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Print the local time before each line
    #[arg(long, short)]
    pub timestamps: bool,
}

fn lines(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(lines @ 1..=crate::cli::logs::MOST_LINES) => Ok(lines),
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(_) => Err("at most 10,000 lines are shown; --since and --follow narrow them down".to_owned()),
        Err(_) => Err("it must be a number of lines".to_owned()),
    }
}

/// Arguments of `docklet open`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet open --print")]
pub struct Open {
    /// Print the address, user name and password instead
    #[arg(long)]
    pub print: bool,
}

/// Arguments of `docklet password`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet password --rotate")]
pub struct Password {
    /// Generate a new password and restart opencode
    #[arg(long)]
    pub rotate: bool,
    /// Show what would be done, without doing it
    #[arg(long, requires = "rotate")]
    pub dry_run: bool,
}

/// Arguments of `docklet attach`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet attach ~/code/app")]
pub struct Attach {
    /// Folder to work in: a mounted folder of this machine, or a folder in the container [default: the current folder if
    /// it is mounted, else /workspace]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Arguments of `docklet exec`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet exec -- git -C app status")]
pub struct ExecArgs {
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Arguments of `docklet supervise`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet supervise --json")]
pub struct Supervise {
    /// A process of its own: leaves the terminal, and ends when there is nothing to supervise
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Arguments of `docklet tunnel`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet --host ssh://me@big tunnel")]
pub struct TunnelArgs {
    /// Port of this machine, where the instance is not set up here; by default the page's own
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with_all = ["status", "stop"])]
    pub port: Option<u16>,
    /// Show whether it is open; exit code 3: it is not
    #[arg(long, conflicts_with = "stop")]
    pub status: bool,
    /// Close it
    #[arg(long)]
    pub stop: bool,
}
