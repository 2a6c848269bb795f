//! What each error code means and what to do: one table for `docklet errors`, `docklet help errors`
//! and `packaging/errors.md`. Without a wildcard: a new code does not compile without its entry.

use clap::ValueEnum as _;
use serde::Serialize;

use crate::error::Code;

/// One error code explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeEntry {
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
pub fn all() -> Vec<CodeEntry> {
    let mut all: Vec<CodeEntry> = Code::value_variants().iter().map(|code| entry(*code)).collect();
    all.sort_by_key(|entry| entry.exit);
    all
}

/// One code explained.
pub fn entry(code: Code) -> CodeEntry {
    let (meaning, remedy) = match code {
        Code::Bug => (
            "there is a bug in docklet",
            "report it where you got docklet from, with the file that docklet doctor --bundle docklet-report.tar.zst writes",
        ),
        Code::Usage => {
            ("the command line, or a file named there, is not valid", "read the hint, or docklet help COMMAND")
        }
        Code::ConfigInvalid => (
            "settings.toml, or a value for it, is not valid",
            "correct the value: docklet config edit, or docklet config set KEY VALUE",
        ),
        Code::NotFound => (
            "the instance is not set up or not running, or the named object does not exist",
            "docklet setup, docklet start or docklet list",
        ),
        Code::EngineNotInstalled => ("no container engine is installed", "docklet setup --install-engine"),
        Code::EngineNotRunning => ("the container engine is not running", "start it with the command in the hint"),
        Code::EnginePermissionDenied => {
            ("you may not use the container engine", "join its group with the command in the hint, then log in again")
        }
        Code::EngineUnsupported => {
            ("the container engine is too old or not supported", "update it, or choose another with --host")
        }
        Code::NetworkError => (
            "the container engine did not answer, or the connection broke",
            "check that docker version works, then run the command again",
        ),
        Code::ConfirmationRequired => (
            "a confirmation or an answer is missing, and there is no terminal to ask on",
            "add the flag in the hint, or run the command in a terminal",
        ),
        Code::Cancelled => ("you declined the confirmation", "nothing was changed"),
        Code::PullFailed => {
            ("the image could not be pulled", "check its name and docker login, or build it: docklet setup --build")
        }
        Code::BuildFailed => {
            ("the image could not be built", "read the log file named in the hint, then run the command again")
        }
        Code::LoadFailed => {
            ("the archive with the image could not be loaded", "make it again: docker save -o FILE IMAGE")
        }
        Code::RateLimited => ("the registry's rate limit is reached", "wait an hour, or sign in: docker login"),
        Code::NoSpace => (
            "a disk is full: the engine's, or the one that a backup or another file goes to",
            "docker system df shows what uses the engine's, docker builder prune frees old build steps; docklet backup prune --keep 3",
        ),
        Code::ArchMismatch => ("the image is for another processor", "build it for this one: docklet setup --build"),
        Code::AlreadyExists => {
            ("an object with this name exists, or is in use", "inspect it with the command in the hint")
        }
        Code::ForeignObject => (
            "an object has a name that docklet uses, but was not made by docklet",
            "rename it, or use another instance: docklet --instance NAME setup",
        ),
        Code::PortInUse => ("another program listens on the port", "docklet setup --port PORT"),
        Code::Locked => ("another docklet command is working on this instance", "wait until it is done"),
        Code::StartFailed => ("the appliance did not start, or ended while starting", "docklet logs -n 200"),
        Code::StopFailed => {
            ("the appliance did not stop", "run docklet stop again; if it still runs then, restart the engine")
        }
        Code::Unhealthy => ("opencode is running, but its page does not work", "docklet logs -n 200, docklet restart"),
        Code::Timeout => ("the page did not answer in time", "docklet logs -n 200; docklet start --timeout 300"),
        Code::GaveUp => {
            ("opencode crashed too often, and docklet stopped restarting it", "docklet logs -n 200, then docklet start")
        }
        Code::BackupInvalid => ("the file is damaged, or not a docklet backup", "docklet backup list shows others"),
        Code::CopyFailed => (
            "a backup was made and read back, and the command in backup.copy did not copy it",
            "run that command by hand with the file that the hint names; docklet status shows the next attempt",
        ),
        Code::RestoreFailed => ("restoring failed; the data and the settings are unchanged", "docklet status"),
        Code::ReleaseRefused => (
            "a release of docklet is unsigned, altered, damaged or older, and was not installed",
            "docklet self-update again; if it fails again, report it",
        ),
        Code::UpdateRolledBack => (
            "an update or a rollback failed; the previous version and its data are back",
            "docklet status, docklet logs",
        ),
        Code::Interrupted => ("the command was interrupted", "run the same command again to continue"),
    };
    CodeEntry { code, exit: code.exit_status(), meaning, remedy }
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
