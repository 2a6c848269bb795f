//! The help: the commands in groups, a short form (`-h`) that fits on one screen, and a long one (`--help`).

use std::ffi::OsString;

use clap::{Arg, CommandFactory as _};

use super::args::Cli;
use crate::present::style::wrap;

/// Every command, in the order in which the help shows them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Set up", &["setup", "autostart", "list", "tunnel", "uninstall", "self-update", "completions", "man"]),
    ("Every day", &["open", "attach", "status", "logs", "start", "stop", "restart", "shell", "exec", "password"]),
    ("Data", &["backup", "restore", "update", "rollback", "move", "export"]),
    ("Settings", &["config", "secret", "mount"]),
    ("Trouble", &["doctor", "errors", "supervise"]),
];

const OPTIONS: &str = "Options of every command";

/// Column in which the options are explained.
const OPTION: usize = 25;

/// Columns that the help takes at most, and where there is no terminal.
const WIDTH: usize = 100;

/// How much of the help is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HelpForm {
    /// One screen.
    Short,
    /// All of it.
    Long,
}

/// The command tree with the help that the process's arguments ask for.
pub fn asked_for() -> clap::Command {
    let wants_all = |argument: OsString| argument == "--help" || argument == "help";
    let form = if std::env::args_os().any(wants_all) { HelpForm::Long } else { HelpForm::Short };
    let width = console::Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns));
    command_in(form, width.min(WIDTH))
}

/// The whole command tree with its long help.
pub fn command() -> clap::Command {
    command_in(HelpForm::Long, WIDTH)
}

fn command_in(form: HelpForm, width: usize) -> clap::Command {
    let command = Cli::command();
    let (groups, options) = (groups(&command, form, width), options(&command, width));
    let head = "{about-with-newline}\n{usage-heading} {usage}\n\n";
    match form {
        HelpForm::Long => {
            let heading = heading(&command, OPTIONS);
            command.help_template(format!("{head}{groups}\n{heading}{{options}}{{after-help}}"))
        }
        HelpForm::Short => command
            .help_template(format!(
                "{head}{groups}\n{options}\nTo get started: docklet setup\nWhat each command does: docklet --help\n"
            ))
            .mut_subcommands(shorten),
    }
}

/// A command without what its long help tells in addition.
fn shorten(command: clap::Command) -> clap::Command {
    let example = command.get_after_help().map(|text| format!("{text}\n")).unwrap_or_default();
    command
        .after_help(format!("{example}More: --help. Options of every command: docklet -h"))
        .mut_args(|argument| argument.hide_env(true))
        .mut_subcommands(shorten)
}

fn heading(command: &clap::Command, text: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{text}:{style:#}\n")
}

/// A row of two columns; the second is broken between words.
fn row(first: &str, column: usize, text: &str, width: usize) -> String {
    let lines = wrap(text, width.saturating_sub(column).max(1));
    let indent = format!("\n{}", " ".repeat(column));
    format!("{first:<column$}{}\n", lines.join(&indent))
}

/// The commands, by name or each with what it does.
fn groups(command: &clap::Command, form: HelpForm, width: usize) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        if form == HelpForm::Short {
            text.push_str(&row(&format!("  {title}"), 13, &names.join(" "), width));
            continue;
        }
        text.push_str(&heading(command, title));
        for found in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = found.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&row(&format!("  {}", found.get_name()), 15, &about, width));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

/// The options of every command, each in one line where there is room.
fn options(command: &clap::Command, width: usize) -> String {
    let shown = command.get_arguments().filter(|argument| argument.is_global_set() && !argument.is_hide_set());
    let mut text = heading(command, OPTIONS);
    for argument in shown.filter(|argument| !matches!(argument.get_long(), Some("no-supervisor" | "plain"))) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&row(&spelling(argument), OPTION, &help, width));
    }
    text + &row("  -V, --version", OPTION, "Print version, commit and date", width)
}

fn spelling(argument: &Arg) -> String {
    let short = argument.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
    let value = value.map(|names| format!(" <{}>", names.join(" "))).unwrap_or_default();
    format!("  {short}--{}{value}", argument.get_long().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let command = Cli::command();
        let mut there: Vec<&str> =
            command.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        there.sort_unstable();
        assert_eq!(grouped, there);
    }

    #[test]
    fn words_stay_whole_where_the_help_is_narrow() {
        for form in [HelpForm::Short, HelpForm::Long] {
            let help = command_in(form, 60).term_width(60).render_help().to_string();
            let longest = help.lines().max_by_key(|line| line.len()).unwrap();
            assert!(longest.len() <= 60, "{longest}");
            for name in GROUPS.iter().flat_map(|(_, names)| *names) {
                assert!(help.split_whitespace().any(|word| word == *name), "{name}\n{help}");
            }
        }
    }
}
