//! Single keys of a settings file, named by their dotted paths: look up, set, unset; and its
//! mounts. Works on the file's text, so that every comment and the order of what is not touched
//! survive. Pure: reads and writes no file.

use std::path::Path;

use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value};

use super::{Keep, Mount, Settings, VariableName};
use crate::{
    age_key::PRIVATE_BEGINS,
    error::{Error, Result},
};

/// The keys, and what each allows; the test below holds it complete.
const KEYS: [(&str, &str); 33] = [
    ("version", "1"),
    ("network.bind", "an IP address; any other than 127.0.0.1 gives other machines access"),
    ("network.port", "1 to 65535"),
    ("network.egress", "internet, listed or all"),
    ("network.allow", "hosts, addresses and ranges, separated by commas, such as host:11434"),
    ("engine.endpoint", "an address such as unix:///run/user/1000/docker.sock; empty: the first that answers"),
    ("image.source", "build, pull or load"),
    ("image.reference", "the name of an image"),
    ("image.base", "the name of an image to build on, such as debian:trixie-slim"),
    ("image.extra_packages", "names of Debian packages, separated by commas"),
    ("resources.memory", "a size of at least 64MiB, such as 4GiB"),
    ("resources.cpus", "a number of CPUs such as 2 or 1.5; 0: all"),
    ("resources.pids", "a whole number of at least 64"),
    (
        "resources.disk",
        "a size of at least 1MiB, such as 50GiB; empty: warn only when the engine's disk is nearly full",
    ),
    ("restart.policy", "always, on-failure or never"),
    ("restart.autostart", "true or false"),
    ("trust.ca_file", "the path of a PEM file; empty: none"),
    (ENVIRONMENT, "set one by one: docklet config set environment.NAME VALUE"),
    ("git.name", "a name such as Ada Lovelace; empty: none"),
    ("git.email", "an e-mail address; empty: none"),
    ("git.ssh_agent", "true or false"),
    ("update.min_age", "a time such as 24h or 3d; 0: any age"),
    ("update.check_every", "a time such as 24h; empty: never"),
    ("backup.every", "a time such as 24h; empty: never"),
    ("backup.keep", "a number of backups, or the newest of each of so many h, d, w, m, y: 7d 4w 6m"),
    ("backup.keep_changes", "a whole number of at least 1"),
    ("backup.recipients", "age public keys, separated by commas, such as age1…; empty: none"),
    ("backup.encrypt", "true or false"),
    ("backup.exclude", "patterns of paths, separated by commas, such as **/node_modules or projects/app/data"),
    ("backup.copy", "a command such as rclone copyto {file} remote:docklet/{name}; empty: none"),
    ("backup.test_every", "a time such as 30d; empty: never"),
    ("notify.command", "a command that gets one JSON object on standard input; empty: none"),
    (MOUNTS, "set with docklet mount"),
];

/// A key that is no single value: a list of tables.
const MOUNTS: &str = "mounts";

/// The other one: a table with names of the user's own.
pub const ENVIRONMENT: &str = "environment";

/// The dotted paths of all keys, in the order of the file.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(name, _)| *name)
}

/// What a key allows, in words.
pub fn allowed(key: &str) -> &'static str {
    let allowed = |wanted: &str| KEYS.iter().find(|(name, _)| *name == wanted).map_or("", |(_, allowed)| allowed);
    if variable(key).is_some() { "any text" } else { allowed(key) }
}

/// The variable that a key such as `environment.LOG_LEVEL` names.
pub fn variable(key: &str) -> Option<&str> {
    key.strip_prefix(ENVIRONMENT)?.strip_prefix('.')
}

/// Checks that there is such a key.
///
/// # Errors
/// [`Error::SettingUnknown`] with the nearest one, and [`Error::SettingRefused`] for a variable with a wrong name.
pub fn find(key: &str) -> Result<()> {
    if let Some(name) = variable(key) {
        return name.parse::<VariableName>().map(|_| ()).map_err(|reason| Error::SettingRefused {
            key: key.to_owned(),
            value: "set".to_owned(),
            reason,
            hint: "allowed: names such as LOG_LEVEL that neither docklet nor the image uses".to_owned(),
        });
    }
    if names().any(|name| name == key) {
        return Ok(());
    }
    // A user may know only the last part.
    let last = key.rsplit('.').next().unwrap_or(key);
    let near = |name: &&str| {
        let short = name.rsplit('.').next().unwrap_or(name);
        let distance = strsim::damerau_levenshtein(key, name).min(strsim::damerau_levenshtein(last, short));
        // A section that is right does not make its key likelier.
        Some(distance).filter(|distance| *distance <= super::most_differences(last, short))
    };
    let suggestion = match names().filter(|name| near(name).is_some()).min_by_key(near) {
        Some(nearest) => format!("did you mean {nearest}?\nto list all: docklet config show"),
        None => "to list all: docklet config show".to_owned(),
    };
    Err(Error::SettingUnknown { key: key.to_owned(), suggestion })
}

/// All settings as values, in the order of the file; each variable is one of its own.
///
/// # Errors
/// When settings do not serialise, which is a bug.
pub fn values(settings: &Settings) -> Result<Vec<(String, toml::Value)>> {
    let table = table(settings)?;
    let mut values = vec![];
    for name in names() {
        match lookup(&table, name) {
            Some(toml::Value::Table(variables)) if name == ENVIRONMENT => {
                values.extend(variables.into_iter().map(|(name, value)| (format!("{ENVIRONMENT}.{name}"), value)));
            }
            Some(value) => values.push((name.to_owned(), value)),
            None => {}
        }
    }
    Ok(values)
}

fn table(settings: &Settings) -> Result<toml::Table> {
    toml::Table::try_from(settings).map_err(|e| Error::bug(format!("settings do not serialise: {e}")))
}

/// What a dotted path leads to.
fn lookup(table: &toml::Table, key: &str) -> Option<toml::Value> {
    let mut parts = key.split('.');
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part)).cloned()
}

/// One setting; `None` for mounts where there are none, and for a variable that is not set.
///
/// # Errors
/// As [`find`].
pub fn get(settings: &Settings, key: &str) -> Result<Option<toml::Value>> {
    find(key)?;
    Ok(lookup(&table(settings)?, key))
}

/// The file's text with a key set. Nothing else in it changes.
///
/// # Errors
/// [`Error::SettingUnknown`]; [`Error::SettingRefused`] with what is allowed; and
/// [`Error::SettingsInvalid`] when the text was wrong before.
pub fn set(text: &str, path: &Path, key: &str, value: &str) -> Result<String> {
    single(key)?;
    let before = Settings::parse(text, path)?;
    let refuse = |reason: String| Error::SettingRefused {
        key: key.to_owned(),
        value: match value {
            "" => "empty".to_owned(),
            _ if value.to_ascii_uppercase().contains(PRIVATE_BEGINS) => "a private key".to_owned(),
            _ => value.to_owned(),
        },
        reason,
        hint: format!("allowed: {}", allowed(key)),
    };
    // A variable has no default; it is a text.
    let default = get(&Settings::default(), key)?.unwrap_or_else(|| toml::Value::String(String::new()));
    let new = typed(key, &default, value).map_err(&refuse)?;
    let after = put(text, key, &new)?;
    match Settings::parse(&after, path) {
        Ok(settings) if settings == before => Ok(text.to_owned()),
        Ok(_) => Ok(after),
        Err(Error::SettingsInvalid { reason, .. }) => Err(refuse(reason)),
        Err(error) => Err(error),
    }
}

/// The file's text without a key, so that its default counts. A comment beside it stays.
///
/// # Errors
/// As [`set`].
pub fn unset(text: &str, path: &Path, key: &str) -> Result<String> {
    single(key)?;
    Settings::parse(text, path)?;
    let after = remove(text, key)?;
    match Settings::parse(&after, path) {
        Ok(_) => Ok(after),
        Err(Error::SettingsInvalid { reason, .. }) => Err(Error::SettingRefused {
            key: key.to_owned(),
            value: "unset".to_owned(),
            reason,
            hint: format!("allowed: {}", allowed(key)),
        }),
        Err(error) => Err(error),
    }
}

/// The file's text with all settings of `desired`; what is the same in `before`, which it holds, stays as it is written.
///
/// # Errors
/// When the text does not parse.
pub(super) fn change(text: &str, before: &Settings, desired: &Settings) -> Result<String> {
    let mut text = text.to_owned();
    let (old, new) = (values(before)?, values(desired)?);
    for (key, value) in new.iter().filter(|pair| pair.0 != MOUNTS && !old.contains(pair)) {
        let value = value.to_string().parse().map_err(|e| Error::bug(format!("{key} does not parse: {e}")))?;
        text = put(&text, key, &value)?;
    }
    for (key, _) in old.iter().filter(|(key, _)| variable(key).is_some() && !new.iter().any(|pair| pair.0 == *key)) {
        text = remove(&text, key)?;
    }
    let same = before.mounts.iter().zip(&desired.mounts).take_while(|(old, new)| old == new).count();
    for index in (same..before.mounts.len()).rev() {
        text = remove_mount(&text, index)?;
    }
    desired.mounts.iter().skip(same).try_fold(text, |text, mount| add_mount(&text, mount))
}

/// The file's text with one more mount at its end.
///
/// # Errors
/// When the text does not parse.
pub fn add_mount(text: &str, mount: &Mount) -> Result<String> {
    let string = |text: &str| Value::from(text).to_string();
    let host = string(&mount.host.to_string_lossy());
    let container = string(&mount.container);
    let read_only = mount.read_only;
    let mut document = mutable(text)?;
    if let Some(list) = document.get_mut(MOUNTS).and_then(Item::as_array_mut) {
        let entry = format!("{{ host = {host}, container = {container}, read_only = {read_only} }}");
        list.push(entry.parse::<Value>().map_err(|e| Error::bug(format!("a mount does not parse: {e}")))?);
        return Ok(document.to_string());
    }
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("\n[[mounts]]\nhost = {host}\ncontainer = {container}\nread_only = {read_only}\n"));
    Ok(text)
}

/// The file's text without its `index`th mount. Comments stay.
///
/// # Errors
/// When the text does not parse or has no such mount.
pub fn remove_mount(text: &str, index: usize) -> Result<String> {
    let mut document = mutable(text)?;
    if let Some(list) = document.get_mut(MOUNTS).and_then(Item::as_array_mut) {
        list.remove(index);
        return Ok(document.to_string());
    }
    let document = parsed(text)?;
    let tables = document.get(MOUNTS).and_then(Item::as_array_of_tables);
    let table = tables.and_then(|tables| tables.get(index)).ok_or_else(|| lost(MOUNTS))?;
    let header = table.span().ok_or_else(|| lost(MOUNTS))?.start;
    let mut cuts = vec![line_of(text, header, header)];
    for (key, value) in table.iter() {
        let start = table.key(key).and_then(toml_edit::Key::span).ok_or_else(|| lost(key))?.start;
        cuts.push(line_of(text, start, value.span().ok_or_else(|| lost(key))?.end));
    }
    // The header's end is its bracket; what follows on its line is a comment or nothing.
    cuts[0].1 = text[header..].find("]]").map_or(cuts[0].1, |end| line_of(text, header, header + end + 2).1);
    cuts.sort_unstable();
    let mut text = text.to_owned();
    for (start, end) in cuts.into_iter().rev() {
        text.replace_range(start..end, "");
    }
    Ok(text)
}

/// Checks that a key is a single value.
fn single(key: &str) -> Result<()> {
    find(key)?;
    let hint = match key {
        MOUNTS => "docklet mount add HOST:CONTAINER, docklet mount remove CONTAINER",
        ENVIRONMENT => "docklet config set environment.NAME VALUE, docklet config unset environment.NAME",
        _ => return Ok(()),
    };
    Err(Error::Usage { message: format!("{key} can't be set as a single value"), hint: Some(hint.to_owned()) })
}

/// What was typed, as a value of the same type as the default.
fn typed(key: &str, default: &toml::Value, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    Ok(match default {
        toml::Value::Integer(_) => {
            // A rule for backups is a text beside a plain number.
            match (trimmed.parse::<i64>(), trimmed.parse::<Keep>()) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(rule)) if key == "backup.keep" => Value::from(rule.to_string()),
                _ if key == "backup.keep" => {
                    return Err(format!("`{text}` isn't a valid rule; write it like 7, or 7d 4w 6m"));
                }
                _ => return Err(format!("`{text}` isn't a whole number")),
            }
        }
        toml::Value::Float(_) => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::from(number),
            _ => return Err(format!("`{text}` isn't a number")),
        },
        toml::Value::Boolean(_) => {
            Value::from(trimmed.parse::<bool>().map_err(|_| format!("`{text}` is neither true nor false"))?)
        }
        toml::Value::Array(_) => match trimmed.parse::<Value>() {
            Ok(list @ Value::Array(_)) => list,
            // An address may begin with a bracket, too: [fd00::1]:8080
            _ if trimmed.starts_with('[') && trimmed.contains(['"', '\'']) => {
                return Err(format!("`{text}` isn't a valid list"));
            }
            _ => super::glob::outside_braces(trimmed).map(str::trim).filter(|item| !item.is_empty()).collect(),
        },
        _ => Value::from(text),
    })
}

/// Sets a key's value in a text.
fn put(text: &str, key: &str, value: &Value) -> Result<String> {
    let document = parsed(text)?;
    let (parents, last) = split(key);
    let present = table_at(document.as_table(), &parents).and_then(|table| table.get(last));
    if let Some(old) = present {
        let span = old.span().ok_or_else(|| lost(key))?;
        let mut text = text.to_owned();
        text.replace_range(span, value.clone().decorated("", "").to_string().trim());
        return Ok(text);
    }
    let mut document = mutable(text)?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for parent in parents {
        table = table
            .entry(parent)
            .or_insert(Item::Table(Table::new()))
            .as_table_like_mut()
            .ok_or_else(|| Error::bug(format!("{parent} is no table")))?;
    }
    table.insert(last, Item::Value(value.clone()));
    Ok(document.to_string())
}

/// Removes a key from a text.
fn remove(text: &str, key: &str) -> Result<String> {
    let document = parsed(text)?;
    let (parents, last) = split(key);
    let Some(table) = table_at(document.as_table(), &parents) else { return Ok(text.to_owned()) };
    let Some(value) = table.get(last) else { return Ok(text.to_owned()) };
    let inline = parents.first().and_then(|p| document.get(p)).is_some_and(Item::is_inline_table);
    if inline {
        let mut document = mutable(text)?;
        let table = parents.first().and_then(|p| document.get_mut(p)).and_then(Item::as_inline_table_mut);
        table.and_then(|table| table.remove(last));
        return Ok(document.to_string());
    }
    let start = table.key(last).and_then(toml_edit::Key::span).ok_or_else(|| lost(key))?.start;
    let (start, end) = line_of(text, start, value.span().ok_or_else(|| lost(key))?.end);
    let mut text = text.to_owned();
    text.replace_range(start..end, "");
    Ok(text)
}

/// The part of a text to cut for what begins at `start` and ends at `end`: with its whole line, or
/// up to the comment behind it.
fn line_of(text: &str, start: usize, end: usize) -> (usize, usize) {
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let rest = &text[end..];
    let line_end = rest.find('\n').map_or(text.len(), |at| end + at + 1);
    match text[end..line_end].find('#') {
        Some(comment) => (line_start, end + comment),
        None => (line_start, line_end),
    }
}

fn split(key: &str) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    (parts, last)
}

fn table_at<'a>(root: &'a Table, parents: &[&str]) -> Option<&'a dyn TableLike> {
    let mut table: &dyn TableLike = root;
    for parent in parents {
        table = table.get(parent)?.as_table_like()?;
    }
    Some(table)
}

fn parsed(text: &str) -> Result<Document<&str>> {
    Document::parse(text).map_err(|e| Error::bug(format!("settings do not parse: {e}")))
}

fn mutable(text: &str) -> Result<DocumentMut> {
    text.parse().map_err(|e| Error::bug(format!("settings do not parse: {e}")))
}

fn lost(key: &str) -> Error {
    Error::bug(format!("{key} is not in the settings file"))
}

#[cfg(test)]
mod tests;
