//! What each error code means and what to do: one table for `docklet errors`, `docklet help errors`
//! and `packaging/errors.md`. Without a wildcard: a new code does not compile without its entry.

use clap::ValueEnum as _;
use serde::Serialize;

use crate::error::Code;

/// One error code explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// The exit status that goes with it.
    pub exit: u8,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// All codes, in the order of their exit statuses.
pub fn all() -> Vec<Entry> {
    let mut all: Vec<Entry> = Code::value_variants().iter().map(|code| entry(*code)).collect();
    all.sort_by_key(|entry| entry.exit);
    all
}

/// One code explained.
pub fn entry(code: Code) -> Entry {
    let (meaning, remedy) = match code {
        Code::Bug => ("docklet itself is wrong", "report it with the output of docklet --verbose doctor --json"),
        Code::Usage => {
            ("the command line, or a file that it names, is wrong", "read the hint, or docklet help COMMAND")
        }
        Code::ConfigInvalid => (
            "settings.toml, or a value for it, is not valid",
            "correct the place that is named: docklet config edit, docklet config set KEY VALUE",
        ),
        Code::NotFound => (
            "the instance is not set up or does not run, or there is no such thing",
            "docklet setup, docklet start or docklet list",
        ),
        Code::EngineNotInstalled => ("there is no container engine", "docklet setup --install-engine"),
        Code::EngineNotRunning => {
            ("the container engine does not run", "start it with the command that the hint names")
        }
        Code::EnginePermissionDenied => (
            "you may not use the container engine",
            "join its group with the command that the hint names, then log in again",
        ),
        Code::EngineUnsupported => {
            ("the container engine is too old or not one that works", "update it, or choose another with --host")
        }
        Code::NetworkError => (
            "the container engine did not answer, or broke off",
            "see whether docker version answers, then run it again",
        ),
        Code::ConfirmationRequired => {
            ("a question could not be asked", "add the flag that the hint names, or run it in a terminal")
        }
        Code::Cancelled => ("you said no", "nothing was changed"),
        Code::PullFailed => {
            ("the image could not be pulled", "check its name and docker login, or build it: docklet setup --build")
        }
        Code::BuildFailed => {
            ("the image could not be built", "read the full log, whose place the hint names; then run it again")
        }
        Code::LoadFailed => {
            ("the archive with the image could not be loaded", "make it again: docker save -o FILE IMAGE")
        }
        Code::RateLimited => ("the registry refuses for now", "wait an hour, or sign in: docker login"),
        Code::NoSpace => (
            "a disk is full: the engine's, or the one that a backup or another file goes to",
            "docker system df shows what uses the engine's, docker builder prune frees old build steps; docklet backup prune --keep 3",
        ),
        Code::ArchMismatch => ("the image is for another processor", "build it for this one: docklet setup --build"),
        Code::AlreadyExists => {
            ("an object of this name is there, or is in use", "look at it with the command that the hint names")
        }
        Code::ForeignObject => (
            "an object has one of our names and was not made by docklet",
            "rename it, or use another instance: --instance NAME",
        ),
        Code::PortInUse => ("another program listens on the port", "docklet setup --port PORT"),
        Code::Locked => ("another docklet command works on this instance", "wait until it is done"),
        Code::StartFailed => ("the appliance did not start, or ended while starting", "docklet logs -n 200"),
        Code::StopFailed => {
            ("the appliance did not stop", "run docklet stop again; if it still runs then, restart the engine")
        }
        Code::Unhealthy => ("it runs, but its page does not work", "docklet logs -n 200, docklet restart"),
        Code::Timeout => ("the page did not answer in time", "docklet logs -n 200; docklet start --timeout 300"),
        Code::GaveUp => {
            ("it crashed too often, and restarting it was given up", "docklet logs -n 200, then docklet start")
        }
        Code::BackupInvalid => ("the backup is damaged, or is none", "docklet backup list shows others"),
        Code::RestoreFailed => ("restoring failed; everything is as it was", "docklet status"),
        Code::UpdateRolledBack => (
            "an update or a rollback failed; the version before is there again, with its data",
            "docklet status, docklet logs",
        ),
        Code::Interrupted => ("you interrupted it", "run it again, it goes on where it stopped"),
    };
    Entry { code, exit: code.exit_status(), meaning, remedy }
}

/// The code as it is written.
pub fn name(code: Code) -> String {
    code.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// All codes as text.
pub fn text() -> String {
    let mut text = String::from(
        "Example: docklet errors PORT_IN_USE\n\nEvery error has a code, and an exit code that goes with it:\n",
    );
    for entry in all() {
        text.push_str(&format!(
            "\n  {:<3} {}\n      {}\n      {}\n",
            entry.exit,
            name(entry.code),
            entry.meaning,
            entry.remedy
        ));
    }
    text
}

/// All codes as a table in Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| exit | code | what it means | what to do |\n|---|---|---|---|\n");
    for entry in all() {
        text.push_str(&format!("| {} | `{}` | {} | {} |\n", entry.exit, name(entry.code), entry.meaning, entry.remedy));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_those_of_the_json_form_and_sentences_are_fragments() {
        for entry in all() {
            assert_eq!(serde_json::to_value(entry.code).unwrap(), name(entry.code));
            for text in [entry.meaning, entry.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains(['|', '\n']), "{text}");
            }
        }
        assert_eq!(name(Code::PortInUse), "PORT_IN_USE");
    }
}
