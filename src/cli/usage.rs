//! Wrong usage, and what clap answers itself: help and version.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Command,
    builder::{BoolishValueParser, TypedValueParser as _},
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::json;

use super::command;
use crate::{
    desired::VERSION,
    error::{Code, Error},
    host::terminal,
    instance_name::{DEFAULT, InstanceName},
    present::{self, ColorChoice, Output, Streams},
};

/// Help and version go to standard output; wrong usage is an error like any other.
pub fn answer(error: &clap::Error) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let boolish = |value: OsString| BoolishValueParser::new().parse_ref(&command(), None, &value).unwrap_or(false);
    let wants_json = std::env::var_os("DOCKLET_JSON").is_some_and(boolish);
    let json = wants_json || arguments.iter().any(|argument| argument == "--json");
    if error.kind() == ErrorKind::DisplayVersion && json {
        let build = env!("DOCKLET_COMMIT").trim_matches([' ', '(', ')']).split_once(' ');
        let (commit, date) = build.unzip();
        let report = json!({"version": VERSION, "commit": commit, "date": date});
        Output::new(Streams { json, ..Streams::default() }).result(&report, |_| String::new());
        return ExitCode::SUCCESS;
    }
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let Err(error) = error.print().or_else(|e| present::unwritten(&e)) else { return ExitCode::SUCCESS };
        Output::new(Streams::default()).error(&error, None);
        return ExitCode::from(error.code().exit_status());
    }
    let stderr_columns = terminal::columns(&console::Term::stderr());
    let streams = Streams { json, color: ColorChoice::Never, stderr_columns, ..Streams::default() };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json {
        let _ = error.print();
        return ExitCode::from(Code::Usage.exit_status());
    }
    let mut text = error.render().to_string();
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && let Some(variable) = variable_of(argument, &arguments)
    {
        text = text.replacen(&format!("for '{argument}'"), &format!("of the variable {variable}"), 1);
    }
    let wrong = in_our_words(&text, &help_of(&arguments));
    Output::new(streams).error(&wrong, Some(&instance(&arguments)));
    ExitCode::from(wrong.code().exit_status())
}

/// Wrong usage that was found after the arguments were read: the help of the command tells more.
pub fn with_help(error: Error) -> Error {
    match error {
        Error::Usage { message, hint: None } => {
            let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
            Error::Usage { message, hint: Some(help_of(&arguments)) }
        }
        other => other,
    }
}

/// clap's words: what is wrong in the first paragraph, tips in later ones, and the usage.
fn in_our_words(text: &str, help: &str) -> Error {
    let mut paragraphs = text.split("\n\n");
    if !text.starts_with("error: ") {
        return Error::Usage { message: "a command is missing".to_owned(), hint: Some(help.to_owned()) };
    }
    let lines: Vec<&str> = paragraphs.next().unwrap_or_default().lines().map(str::trim).collect();
    let message = lines.join(" ").trim_start_matches("error: ").to_owned();
    if let Some((value, flag)) = value_of_switch(&message) {
        let hint =
            format!("{flag} is on where it is named; for a file behind it, leave a space: {flag} {value}\n{help}");
        return Error::Usage { message: format!("{flag} takes no value"), hint: Some(hint) };
    }
    let mut hint: Vec<String> = paragraphs
        .flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .map(str::to_owned)
        .collect();
    hint.push(help.to_owned());
    Error::Usage { message, hint: Some(hint.join("\n")) }
}

/// The value in what clap says of `--encrypt=FILE`, where the flag takes none; and the flag.
fn value_of_switch(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix("unexpected value '")?;
    rest.strip_suffix("' found; no more were expected")?.rsplit_once("' for '")
}

/// The variable that the value of an argument such as `--port <PORT>` comes from, where the line does not name it.
fn variable_of(argument: &str, arguments: &[OsString]) -> Option<String> {
    let flag = argument.split(' ').next()?;
    let names = |word: &OsString| word.to_str().and_then(|word| word.split('=').next()) == Some(flag);
    if arguments.iter().any(names) {
        return None;
    }
    let root = command();
    let (meant, _) = meant(&root, arguments);
    let long = flag.strip_prefix("--");
    let known = meant.get_arguments().chain(root.get_arguments()).find(|known| known.get_long() == long)?;
    known.get_env().filter(|name| std::env::var_os(name).is_some()).map(|name| name.to_string_lossy().into_owned())
}

/// The help of the command that was meant.
fn help_of(arguments: &[OsString]) -> String {
    format!("{} --help", meant(&command(), arguments).1)
}

/// The command that was meant, and how it is called.
fn meant<'a>(root: &'a Command, arguments: &[OsString]) -> (&'a Command, String) {
    let (mut known, mut path) = (root, "docklet".to_owned());
    for argument in arguments.iter().filter_map(|argument| argument.to_str()) {
        if let Some(sub) = known.find_subcommand(argument) {
            known = sub;
            path.push_str(&format!(" {argument}"));
        }
    }
    (known, path)
}

/// The instance that was meant, as far as that can be told.
pub fn instance(arguments: &[OsString]) -> String {
    let mut words = arguments.iter().filter_map(|argument| argument.to_str());
    let mut named = std::env::var("DOCKLET_INSTANCE").ok();
    while let Some(word) = words.next() {
        if let Some(value) = word.strip_prefix("--instance=") {
            named = Some(value.to_owned());
        } else if word == "--instance" {
            named = words.next().map(str::to_owned);
        }
    }
    named.filter(|name| name.parse::<InstanceName>().is_ok()).unwrap_or_else(|| DEFAULT.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(line: &str) -> (String, String) {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let whole = std::iter::once(OsString::from("docklet")).chain(arguments.iter().cloned());
        let error = <super::super::args::Cli as clap::Parser>::try_parse_from(whole).unwrap_err();
        let error = in_our_words(&error.render().to_string(), &help_of(&arguments));
        (error.to_string(), error.hint().unwrap())
    }

    #[test]
    fn what_is_wrong_and_whose_help_tells_more() {
        let (message, hint) = of("setup --prt 1");
        assert_eq!(message, "unexpected argument '--prt' found");
        assert_eq!(hint, "a similar argument exists: '--port'\ndocklet setup --help");
        let (message, hint) = of("config set network.port");
        assert!(message.contains("not provided: <VALUE>"), "{message}");
        assert_eq!(hint, "docklet config set --help");
        let (message, _) = of("setup --restart often");
        assert!(message.contains("[possible values: always, on-failure, never]"), "{message}");
        let (message, hint) = of("backup --encrypt=my.tar.zst");
        assert_eq!(message, "--encrypt takes no value");
        assert!(hint.contains("--encrypt my.tar.zst\ndocklet backup --help"), "{hint}");
        assert!(of("setup --port 0").0.contains("ports are 1 to 65535"));
    }

    #[test]
    fn the_instance_that_was_meant() {
        let of = |line: &str| instance(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("--instance work setup --prt"), "work");
        assert_eq!(of("setup --instance=work --prt"), "work");
        assert_eq!(of("--instance ../x status"), "default");
    }
}
