//! What is known only when a shell asks: the names of instances, settings, secrets, mounts and backups.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter as _};

use super::usage;
use crate::{
    data::store,
    instance_name::InstanceName,
    paths::{InstancePaths, Paths},
    settings::{Settings, keys},
};

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
