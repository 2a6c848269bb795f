//! `docklet config`: show, get, set, unset, edit and path.

use std::{io::Write as _, path::Path, process::Stdio};

use serde_json::json;

use super::{
    args::ConfigAction,
    change::{self, Effect},
    context::Context,
};
use crate::{
    error::{Error, Result, io_reason},
    host::system::which,
    ops, paths,
    present::{error, style::Style},
    settings::{Settings, keys},
    wizard,
};

/// Runs one of them.
pub async fn run(context: &Context, action: &ConfigAction) -> Result<()> {
    match action {
        ConfigAction::Show => show(context),
        ConfigAction::Get { key } => get(context, key),
        ConfigAction::Set { key, value, dry_run } => {
            change(context, "config set", key, *dry_run, |text, path| keys::set(text, path, key, value)).await
        }
        ConfigAction::Unset { key, dry_run } => {
            change(context, "config unset", key, *dry_run, |text, path| keys::unset(text, path, key)).await
        }
        ConfigAction::Edit => edit(context).await,
        ConfigAction::Path => {
            let path = context.files.settings().display().to_string();
            context.output.result(&json!({"instance": context.name, "path": path}), |_| path.clone());
            Ok(())
        }
    }
}

/// All settings, as lines that are TOML themselves; those that are defaults are marked.
fn show(context: &Context) -> Result<()> {
    let settings = Settings::load(&context.files.settings())?;
    let is_set_up = settings.is_some();
    let settings = settings.unwrap_or_default();
    let defaults = keys::values(&Settings::default())?;
    let mut values = keys::values(&settings)?;
    // Of variables, only the names are shown: people put secrets there, too.
    values.retain(|(name, _)| keys::variable(name).is_none());
    let variables: Vec<String> = settings.environment.keys().map(ToString::to_string).collect();
    let secrets = context.secret_names()?;
    let mut report = json!({
        "instance": context.name, "path": context.files.settings().display().to_string(),
        "set_up": is_set_up, "settings": settings, "environment": variables, "secrets": secrets,
    });
    report["settings"].as_object_mut().map(|settings| settings.remove(keys::ENVIRONMENT));
    context.output.result(&report, |style| {
        let line = |setting: &(String, toml::Value)| {
            let mark = if defaults.contains(setting) { style.dim("  # default") } else { String::new() };
            format!("{} = {}{mark}", setting.0, setting.1)
        };
        let names = [(keys::ENVIRONMENT, &variables), ("secrets", &secrets)];
        let names = names.into_iter().filter(|(_, names)| !names.is_empty());
        let names = names.map(|(what, names)| format!("# {what}: {}", names.join(", ")));
        values.iter().map(line).chain(names).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

fn get(context: &Context, key: &str) -> Result<()> {
    let settings = Settings::load(&context.files.settings())?.unwrap_or_default();
    let value = keys::get(&settings, key)?;
    if let (None, Some(name)) = (&value, keys::variable(key)) {
        return Err(Error::Missing {
            what: format!("variable {name} in the settings"),
            reason: None,
            hint: format!("docklet{} config set {key} VALUE", context.name.flag()),
        });
    }
    let report = json!({"instance": context.name, "key": key, "value": value});
    context.output.result(&report, |_| value.as_ref().map(plain).unwrap_or_default());
    Ok(())
}

/// A value as `config set` takes it.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Changes the file's text; nothing is written when the result would not be valid.
async fn change(
    context: &Context,
    command: &str,
    key: &str,
    dry_run: bool,
    edit: impl Fn(&str, &Path) -> Result<String>,
) -> Result<()> {
    keys::find(key)?;
    let path = context.files.settings();
    if !path.exists() {
        // A line that is wrong is so in any case.
        Settings::parse(&edit("", &path)?, &path)?;
    }
    let before = context.settings().await?;
    let lock = if dry_run { None } else { Some(context.lock(command)?) };
    let text = paths::read_text(&path)?.unwrap_or_default();
    let new = edit(&text, &path)?;
    let changed = new != text;
    let after = Settings::parse(&new, &path)?;
    ops::check_settings(&context.appliance, Some(&before), &after)?;
    let effect = if dry_run {
        change::would_be(context, &before, &after)
    } else {
        change::confirm_exposure(context, &before, &after)?;
        if changed {
            paths::write_file(&path, new.as_bytes(), 0o600)?;
        }
        drop(lock);
        change::settings(context, &before, &after).await?
    };
    let value = keys::get(&after, key)?;
    let report = json!({
        "instance": context.name, "key": key, "before": keys::get(&before, key)?, "value": value,
        "changed": changed && !dry_run, "dry_run": dry_run, "effect": effect,
    });
    context.output.result(&report, |_| {
        let value = value.as_ref().map(ToString::to_string).unwrap_or_default();
        let rest = match (changed, dry_run) {
            (false, _) => " (as before)".to_owned(),
            (true, false) => String::new(),
            (true, true) if effect.differences.is_empty() => " would be saved".to_owned(),
            (true, true) => format!(
                " would be saved, and the container replaced ({}); your data is kept",
                effect.differences.join(", ")
            ),
        };
        format!("{key} = {value}{rest}")
    });
    Ok(())
}

/// Opens the editor on a copy, and takes the copy over once it is valid.
async fn edit(context: &Context) -> Result<()> {
    let before = context.settings().await?;
    if !context.environment.interactive {
        // An editor asks, and nobody is there to answer.
        return Err(Error::ConfirmationRequired {
            question: "config edit needs a terminal".to_owned(),
            flag: format!("docklet{} config set KEY VALUE", context.name.flag()),
        });
    }
    let path = context.files.settings();
    let text = paths::read_text(&path)?.unwrap_or_default();
    let mut copy = tempfile::Builder::new()
        .prefix("docklet-edit-")
        .suffix(".toml")
        .tempfile()
        .map_err(|e| Error::file("make a file in", &std::env::temp_dir(), &e))?;
    let failed = |e: std::io::Error| Error::file("edit a copy of", &path, &e);
    copy.write_all(text.as_bytes()).map_err(failed)?;
    let (new, after) = loop {
        run_editor(context, copy.path()).await?;
        // Editors replace the file, so it is read by its name.
        let new = fs_err::read_to_string(copy.path()).map_err(failed)?;
        match Settings::parse(&new, copy.path()) {
            Ok(after) => break (new, after),
            Err(error) => {
                if let Err(error) = again(context, error) {
                    let kept = copy.keep().map_err(|e| failed(e.error))?.1;
                    context.note(format!("the settings are unchanged; your text is in {}", kept.display()));
                    return Err(error);
                }
            }
        }
    };
    let changed = new != text;
    if changed {
        ops::check_settings(&context.appliance, Some(&before), &after)?;
        change::confirm_exposure(context, &before, &after)?;
        let _lock = context.lock("config edit")?;
        if paths::read_text(&path)?.unwrap_or_default() != text {
            let kept = copy.keep().map_err(|e| failed(e.error))?.1;
            return Err(Error::Usage {
                message: "the settings file was changed while you edited it, so your changes were not saved".to_owned(),
                hint: Some(format!("your text is in {}", kept.display())),
            });
        }
        paths::write_file(&path, new.as_bytes(), 0o600)?;
    }
    let effect = if changed { change::settings(context, &before, &after).await? } else { Effect::default() };
    let report = json!({"instance": context.name, "changed": changed, "effect": effect});
    context.output.result(&report, |_| {
        if changed { "the settings are saved".to_owned() } else { "nothing was changed".to_owned() }
    });
    Ok(())
}

/// Shows what is wrong and asks whether to edit again; without anybody to ask, that is the error.
fn again(context: &Context, error: Error) -> Result<()> {
    if !context.environment.interactive || context.global.yes {
        return Err(error);
    }
    let style: Style = context.output.streams().stderr_style();
    context.output.message(&error::text(&error, Some(context.name.as_str()), style));
    if wizard::confirm(&context.prompt("nothing was changed"), "Edit it again?", true)? {
        Ok(())
    } else {
        Err(Error::Cancelled)
    }
}

async fn run_editor(context: &Context, file: &Path) -> Result<()> {
    let none = || Error::Usage {
        message: "no editor is set".to_owned(),
        hint: Some("set EDITOR, or use docklet config set KEY VALUE".to_owned()),
    };
    let found = || ["editor", "nano", "vi"].into_iter().find(|name| which(name).is_some()).map(str::to_owned);
    let editor = context.environment.editor.clone().or_else(found).ok_or_else(none)?;
    let mut words = shell_words::split(&editor).unwrap_or_default().into_iter();
    let program = words.next().ok_or_else(none)?;
    let failed = |reason: String| Error::Usage {
        message: format!("the editor {program} failed: {reason}"),
        hint: Some("nothing was changed; set EDITOR to another editor".to_owned()),
    };
    let mut command = tokio::process::Command::new(&program);
    command.args(words).arg(file).stdin(Stdio::inherit());
    if context.global.json {
        // Standard output is for the one JSON object.
        command.stdout(std::io::stderr());
    }
    let status = command.status().await.map_err(|e| failed(io_reason(&e)))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}
