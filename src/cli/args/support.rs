//! The arguments of what is about docklet itself: error codes, completions, man pages, the check-up.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{error::Code, error_codes};

/// Arguments of `docklet errors`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet errors PORT_IN_USE", after_long_help = error_codes::text())]
pub struct Errors {
    /// Explain only this code
    #[arg(value_name = "CODE", ignore_case = true, hide_possible_values = true)]
    pub code: Option<Code>,
}

/// Arguments of `docklet completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet completions bash > ~/.local/share/bash-completion/completions/docklet")]
pub struct Completions {
    /// Shell to print the script for
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
    /// Folder to write one page for each command to
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `docklet self-update`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet self-update --check")]
pub struct SelfUpdate {
    /// Only say whether there is a newer release
    #[arg(long, conflicts_with = "rollback")]
    pub check: bool,
    /// Go back to the program before the last update; a second time, forward again
    #[arg(long)]
    pub rollback: bool,
    /// Restart the supervisors and renew the man pages, after this program was put in place
    #[arg(long, hide = true, conflicts_with_all = ["check", "rollback"])]
    pub finish: bool,
}

/// Arguments of `docklet doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example: docklet doctor --bundle docklet-report.tar.zst")]
pub struct Doctor {
    /// Write an archive for a bug report, without secrets: compressed (.tar.zst), or plain if FILE ends in .tar
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "docklet-report.tar.zst")]
    pub bundle: Option<PathBuf>,
}
