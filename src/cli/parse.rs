//! Parses the process's own arguments and variables. An empty variable counts as unset, and so does a switch that is off,
//! and one that contradicts what the line itself says.

use std::ffi::OsStr;

use clap::{
    Arg, ArgAction, ArgMatches, Command, FromArgMatches as _, Id,
    builder::{BoolishValueParser, Resettable, TypedValueParser as _},
    parser::ValueSource,
};

use super::{args::Cli, help};

/// What the user asks for.
///
/// # Errors
/// Wrong usage, and what clap answers itself: help and version.
pub fn arguments() -> Result<Cli, clap::Error> {
    let command = without_unset_variables(help::asked_for());
    // Without variables there is nothing to compare with the line, and no need to parse it twice.
    let has_variables = std::env::vars_os().any(|(name, _)| name.as_encoded_bytes().starts_with(b"DOCKLET_"));
    let line = has_variables.then(|| without_variables(command.clone()).try_get_matches_from(std::env::args_os()));
    let mut command = match line {
        Some(Ok(line)) => {
            let command = without_contradicted_variables(command, &line);
            // Both may be there, and the engine's address comes first.
            match said(&line, "context") && !said(&line, "host") {
                true => command.mut_arg("host", |argument| argument.env(Resettable::Reset)),
                false => command,
            }
        }
        // What is missing there may be in a variable; what is wrong is told below.
        None | Some(Err(_)) => command,
    };
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn without_unset_variables(command: Command) -> Command {
    let is_off = |argument: &Arg, value: &OsStr| {
        let parsed = BoolishValueParser::new().parse_ref(&Command::new(""), None, value);
        matches!(argument.get_action(), ArgAction::SetTrue) && parsed.is_ok_and(|on| !on)
    };
    let unset = |argument: Arg| match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() || is_off(&argument, &value) => argument.env(Resettable::Reset),
        _ => argument,
    };
    command.mut_args(unset).mut_subcommands(without_unset_variables)
}

fn said(line: &ArgMatches, id: &str) -> bool {
    line.value_source(id) == Some(ValueSource::CommandLine)
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|argument| argument.env(Resettable::Reset)).mut_subcommands(without_variables)
}

fn without_contradicted_variables(command: Command, line: &ArgMatches) -> Command {
    let mut contradicted: Vec<Id> = vec![];
    for argument in command.get_arguments() {
        for other in command.get_arg_conflicts_with(argument) {
            let ids = [argument.get_id(), other.get_id()];
            match ids.map(|id| said(line, id.as_str())) {
                [true, false] => contradicted.push(ids[1].clone()),
                [false, true] => contradicted.push(ids[0].clone()),
                _ => {}
            }
        }
    }
    let command = command.mut_args(|argument| match contradicted.contains(argument.get_id()) {
        true => argument.env(Resettable::Reset),
        false => argument,
    });
    match line.subcommand() {
        Some((name, line)) => command.mut_subcommand(name, |command| without_contradicted_variables(command, line)),
        None => command,
    }
}
