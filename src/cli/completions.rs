//! `docklet completions`, and the answers to what the shells ask then. The scripts of all shells ask this program, so they
//! never get out of date.

use clap_complete::{
    CompleteEnv,
    env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh},
};
use serde_json::json;

use super::{args::Shell, context::Context};
use crate::error::{Error, Result};

/// The variable with which a shell asks.
const ASK: &str = "DOCKLET_COMPLETE";

/// Prints a shell's script.
pub fn run(context: &Context, shell: Shell) -> Result<()> {
    let script = script(shell)?;
    context.output.result(&json!({"script": script}), |_| script.clone());
    Ok(())
}

/// Answers a shell that asks; `false` when none does.
pub fn answer(command: impl Fn() -> clap::Command) -> bool {
    if std::env::var_os(ASK).is_none() {
        return false;
    }
    let folder = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(ASK).bin("docklet");
    // Nobody would read an error in the middle of a line that is being typed.
    asked.try_complete(std::env::args_os(), folder.as_deref()).unwrap_or(true)
}

/// The scripts of all shells: file names and texts.
pub fn scripts() -> Result<Vec<(String, String)>> {
    let files = [
        (Shell::Bash, "docklet.bash"),
        (Shell::Elvish, "docklet.elv"),
        (Shell::Fish, "docklet.fish"),
        (Shell::Powershell, "docklet.ps1"),
        (Shell::Zsh, "_docklet"),
    ];
    files.into_iter().map(|(shell, name)| Ok((format!("completions/{name}"), script(shell)?))).collect()
}

fn script(shell: Shell) -> Result<String> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
        Shell::Zsh => &Zsh,
    };
    let mut text = vec![];
    let written = completer.write_registration(ASK, "docklet", "docklet", "docklet", &mut text);
    written.map_err(|e| Error::bug(format!("the completion script cannot be made: {e}")))?;
    String::from_utf8(text).map_err(|e| Error::bug(e.to_string()))
}
