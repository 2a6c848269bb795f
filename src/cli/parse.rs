//! Parses the process's own arguments and variables. An empty variable counts as unset, and so does a switch that is off,
//! and one that contradicts what the line itself says.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Id,
    builder::{BoolishValueParser, Resettable, TypedValueParser as _},
    error::ErrorKind,
    parser::ValueSource,
};

use super::{args::Cli, help};

/// What the user asks for.
///
/// # Errors
/// Wrong usage, and what clap answers itself: help and version.
pub fn arguments() -> Result<Cli, clap::Error> {
    match parse(Cli::command()) {
        // Only a help that is shown is put together.
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) =>
        {
            parse(help::asked_for())
        }
        parsed => parsed,
    }
}

/// To change the command tree takes longer than all else here, so it is changed only where a variable asks for it.
fn parse(mut command: Command) -> Result<Cli, clap::Error> {
    let ours = |(name, _): &(OsString, OsString)| name.as_encoded_bytes().starts_with(b"DOCKLET_");
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().filter(ours).collect();
    if variables.iter().any(|(_, value)| value.is_empty() || is_off(value)) {
        command = without_unset_variables(command);
    }
    if can_be_contradicted(&command, &variables) {
        // What is missing on the line may be in a variable; what is wrong is told below.
        let line = without_variables(command.clone()).try_get_matches_from(std::env::args_os());
        if let Ok(line) = line {
            command = without_contradicted_variables(command, &line);
            // Both may be there, and the engine's address comes first.
            if was_given(&line, "context") && !was_given(&line, "host") {
                command = command.mut_arg("host", |argument| argument.env(Resettable::Reset));
            }
        }
    }
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn is_off(value: &OsStr) -> bool {
    BoolishValueParser::new().parse_ref(&Command::new(""), None, value).is_ok_and(|on| !on)
}

/// Whether one of these variables is that of an argument which excludes another one, or is excluded.
fn can_be_contradicted(command: &Command, variables: &[(OsString, OsString)]) -> bool {
    let is_set = |argument: &&Arg| argument.get_env().is_some_and(|env| variables.iter().any(|(name, _)| name == env));
    let can_be = |argument: &Arg| {
        let excluded = command.get_arg_conflicts_with(argument);
        let one_is = !excluded.is_empty() && (is_set(&argument) || excluded.iter().any(is_set));
        one_is || (argument.get_id() == "host" && is_set(&argument))
    };
    command.get_arguments().any(can_be)
        || command.get_subcommands().any(|command| can_be_contradicted(command, variables))
}

fn without_unset_variables(command: Command) -> Command {
    let unset = |argument: Arg| match argument.get_env().map(std::env::var_os) {
        Some(Some(value))
            if value.is_empty() || (matches!(argument.get_action(), ArgAction::SetTrue) && is_off(&value)) =>
        {
            argument.env(Resettable::Reset)
        }
        _ => argument,
    };
    command.mut_args(unset).mut_subcommands(without_unset_variables)
}

fn was_given(line: &ArgMatches, id: &str) -> bool {
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
            match ids.map(|id| was_given(line, id.as_str())) {
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
