//! Parses the process's own arguments and variables. An empty variable counts as unset.

use clap::{Arg, Command, FromArgMatches as _, builder::Resettable};

use super::{args::Cli, help};

/// What the user asks for.
///
/// # Errors
/// Wrong usage, and what clap answers itself: help and version.
pub fn arguments() -> Result<Cli, clap::Error> {
    let mut command = without_empty_variables(help::asked_for());
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn without_empty_variables(command: Command) -> Command {
    command.mut_args(without_empty_variable).mut_subcommands(without_empty_variables)
}

fn without_empty_variable(argument: Arg) -> Arg {
    match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
        _ => argument,
    }
}
