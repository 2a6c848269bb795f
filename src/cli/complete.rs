//! `docklet completions`, and the answers to what the shells ask then: commands, flags, and what is
//! known only at that moment, such as the names of instances. The scripts of all shells ask this
//! program, so they never get out of date.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap_complete::{
    CompleteEnv,
    engine::{CompletionCandidate, PathCompleter, ValueCompleter as _},
    env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh},
};
use serde_json::json;

use super::{args::Shell, context::Context, usage};
use crate::{
    data::store,
    error::{Error, Result},
    instance_name::InstanceName,
    paths::{InstancePaths, Paths},
    settings::{Settings, keys},
};

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

fn paths() -> Option<Paths> {
    let home = std::env::var_os("DOCKLET_HOME").filter(|value| !value.is_empty());
    Paths::find(home.as_deref().map(Path::new)).ok()
}

fn beginning_with(current: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return vec![] };
    names.into_iter().filter(|name| name.starts_with(current)).map(CompletionCandidate::new).collect()
}

/// Instances that have files here.
pub fn instances(current: &OsStr) -> Vec<CompletionCandidate> {
    let folder = paths().map(|paths| paths.bases()[0].to_owned());
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.parse::<InstanceName>().is_ok()).collect();
    names.sort();
    beginning_with(current, names)
}

/// Keys of the settings.
pub fn keys(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning_with(current, keys::names().map(str::to_owned))
}

/// The files of the instance that the line or the environment names.
fn files() -> Option<InstancePaths> {
    // The words of the line follow the first `--`.
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let instance: InstanceName = usage::instance(&words).parse().ok()?;
    Some(paths()?.instance(&instance))
}

/// Secrets of the instance.
pub fn secrets(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = files().and_then(|files| crate::secrets::names(&files.secrets()).ok());
    beginning_with(current, names.unwrap_or_default())
}

/// Where the instance's mounts are in the container.
pub fn mounts(current: &OsStr) -> Vec<CompletionCandidate> {
    let settings = files().and_then(|files| Settings::load(&files.settings()).ok().flatten());
    let mounts = settings.map(|settings| settings.mounts).unwrap_or_default();
    beginning_with(current, mounts.into_iter().map(|mount| mount.container))
}

/// The instance's backups, the newest first, and files.
pub fn backups(current: &OsStr) -> Vec<CompletionCandidate> {
    let stored = files().and_then(|files| store::list(&files.backups()).ok()).unwrap_or_default();
    let stored = stored.into_iter().filter_map(|backup| backup.file.into_os_string().into_string().ok());
    let mut found = beginning_with(current, stored);
    found.extend(PathCompleter::file().complete(current));
    found
}
