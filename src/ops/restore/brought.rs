//! The settings that a backup brings: whoever made it is not whoever restores it.

use std::{collections::BTreeMap, path::Path};

use crate::{
    clean,
    data::archive::read::Contents,
    error::{Error, Result},
    host::ports,
    mounts,
    observe::Snapshot,
    observed::PortState,
    ops::{self, Instance},
    paths::shown,
    secrets::Secret,
    settings::{Port, Settings, keys},
};

/// The settings that shall hold: those that are there, or after a question those of the backup, where there are none or
/// `replaces` is set.
///
/// # Errors
/// When they do not parse, and as [`confirm`].
pub fn chosen(
    instance: &Instance,
    replaces: bool,
    snapshot: &Snapshot,
    file: &Path,
    contents: &Contents,
    before: Option<&Settings>,
) -> Result<Settings> {
    if let Some(before) = before.filter(|_| !replaces) {
        return Ok(before.clone());
    }
    let chosen = settings(instance, snapshot, file, contents, before)?;
    confirm(instance, &chosen, before)?;
    Ok(chosen)
}

/// The settings in the backup, without what belongs to the machine that it was made on.
///
/// # Errors
/// When they do not parse.
pub fn settings(
    instance: &Instance,
    snapshot: &Snapshot,
    file: &Path,
    contents: &Contents,
    before: Option<&Settings>,
) -> Result<Settings> {
    let warn = |text: String| instance.warn(clean::line(&text, false));
    let mut settings = match &contents.settings {
        Some(text) => Settings::parse(&String::from_utf8_lossy(text), &Path::new(&shown(file)).join("settings.toml"))
            .map_err(cleaned)?,
        None => before.cloned().unwrap_or_default(),
    };
    settings.engine = before.map(|b| b.engine.clone()).unwrap_or_default();
    let around = ops::mounts::surroundings(instance);
    settings.mounts.retain(|mount| {
        let refusal = mounts::refusal(std::slice::from_ref(mount), 0, &around);
        if let Some(reason) = &refusal {
            warn(format!("{} is left out: {reason}", mount.host.display()));
        }
        refusal.is_none()
    });
    if !settings.trust.ca_file.is_empty() && !Path::new(&settings.trust.ca_file).is_file() {
        warn(format!("the CA file {} does not exist; it is left out", settings.trust.ca_file));
        settings.trust.ca_file.clear();
    }
    let own = instance.own_container(snapshot);
    let holds = own.is_some_and(|c| c.ports.iter().any(|p| p.port == settings.network.port.0));
    let taken_here = snapshot.containers.iter().any(|c| c.ports.iter().any(|p| p.port == settings.network.port.0));
    let state = ports::state(settings.network.bind.0, settings.network.port.0);
    if !holds && (taken_here || state != PortState::Available) {
        let free = ports::next_free(settings.network.bind.0, settings.network.port.0);
        if let Some(free) = free {
            instance.note(format!("port {} is taken here; {free} is used", settings.network.port.0));
            settings.network.port = Port(free);
        }
    }
    Ok(settings)
}

/// Settings from a backup can open this machine, or run a stranger's image: whoever made it is not whoever restores
/// it. Asks before anything is taken over that is not so already; the port is nobody's danger.
///
/// # Errors
/// When the answer is no, or nobody is there to give one.
fn confirm(instance: &Instance, settings: &Settings, before: Option<&Settings>) -> Result<()> {
    let mut list = differences(settings, before)?;
    list.retain(|setting| !setting.starts_with("network.port = "));
    if list.is_empty() {
        return Ok(());
    }
    let mut text = format!("the backup contains these settings: {}", list.join(", "));
    if let Some(exposure) = ops::exposure(settings) {
        text.push_str(&format!(" ({exposure})"));
    }
    if instance.questions.says_yes() {
        instance.note(text);
        return Ok(());
    }
    instance.confirm(&format!("{text}; apply them?"))
}

/// The settings that are not as they are now, or as they are by default where there are none.
///
/// # Errors
/// When settings do not serialise, which is a bug.
pub fn differences(settings: &Settings, before: Option<&Settings>) -> Result<Vec<String>> {
    let now = keys::values(before.unwrap_or(&Settings::default()))?;
    let other = keys::values(settings)?.into_iter().filter(|setting| !now.contains(setting));
    Ok(other.map(|(key, value)| clean::line(&format!("{key} = {value}"), false)).collect())
}

/// What a first setup takes from this machine: its certificates, where the backup names none that are here, and its proxies.
pub fn add_machine(instance: &Instance, settings: &mut Settings, secrets: &mut BTreeMap<String, Secret>) {
    if let (true, Some(file)) =
        (settings.trust.ca_file.is_empty(), instance.options.ca_file.as_ref().filter(|f| f.is_file()))
    {
        settings.trust.ca_file = std::path::absolute(file).unwrap_or(file.clone()).display().to_string();
    }
    for (name, value) in &instance.options.proxies {
        secrets.insert(name.clone(), Secret::new(value.clone()));
    }
}

/// An error in settings from a backup quotes them.
fn cleaned(error: Error) -> Error {
    let cleaned = |text: String| clean::line(&text, false);
    match error {
        Error::SettingsInvalid { path, line, column, reason, suggestion } => {
            Error::SettingsInvalid { path, line, column, reason: cleaned(reason), suggestion: suggestion.map(cleaned) }
        }
        other => other,
    }
}
