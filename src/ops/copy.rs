//! `backup.copy`: runs the user's command that takes a backup elsewhere. Not under the instance's lock, so a command that
//! hangs keeps nothing else from its work; one of its own sees to it that only one runs.

use std::{path::Path, time::Duration};

use super::Instance;
use crate::{
    data::{
        copies::{Copies, script},
        store,
    },
    error::{Error, Result},
    event::begin_step,
    host::shell,
    lock::Lock,
    settings::Settings,
};

/// How long a command may take: 20 GiB at 10 Mbit/s take five hours.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);

/// What the lock's holder is called.
const NAME: &str = "backup copy";

/// Copies a backup that was just made, once; whether a command is set.
///
/// # Errors
/// [`Error::CopyFailed`], and [`Error::Interrupted`].
pub async fn just_made(instance: &Instance, settings: &Settings, file: &Path) -> Result<bool> {
    let Some(command) = command(settings) else { return Ok(false) };
    let tried = match Lock::take(&instance.files.copy_lock(), &instance.name, NAME) {
        Ok(_lock) => {
            let step = format!("copy {} with backup.copy", file.display());
            let done = begin_step(instance.reporter.as_ref(), 1, 1, step);
            attempt(instance, command, file).await.inspect(|()| done())
        }
        Err(Error::Locked { .. }) => Err("an earlier backup is being copied".to_owned()),
        Err(error) => Err(error.with_causes(": ")),
    };
    let shown = file.display();
    match tried {
        Ok(()) => Ok(true),
        Err(_) if instance.interrupt.is_raised() => {
            Err(Error::Interrupted { next: format!("the backup is whole: {shown}\nonly its copy was interrupted") })
        }
        Err(reason) => Err(Error::CopyFailed { file: file.exists().then(|| shown.to_string()), reason }),
    }
}

/// Copies the oldest backup that is still to be copied; its path. `None`: there is none, or another process copies.
///
/// # Errors
/// In words, when the command fails.
pub async fn next(instance: &Instance) -> std::result::Result<Option<String>, String> {
    let told = |error: Error| error.with_causes(": ");
    let Some(settings) = Settings::load(&instance.files.settings()).map_err(told)? else { return Ok(None) };
    let Some(command) = command(&settings) else { return Ok(None) };
    let _lock = match Lock::take(&instance.files.copy_lock(), &instance.name, NAME) {
        Err(Error::Locked { .. }) => return Ok(None),
        lock => lock.map_err(told)?,
    };
    let backups = store::list(&instance.files.backups()).map_err(told)?;
    let pending = Copies::load(&instance.files.copies()).pending(&backups).first().map(|backup| backup.file.clone());
    let Some(file) = pending else { return Ok(None) };
    attempt(instance, command, &file).await?;
    Ok(Some(file.display().to_string()))
}

/// Whether any backup is still to be copied.
pub fn is_pending(instance: &Instance, settings: &Settings, copies: &Copies) -> bool {
    let backups = || store::list(&instance.files.backups()).unwrap_or_default();
    command(settings).is_some() && !copies.pending(&backups()).is_empty()
}

fn command(settings: &Settings) -> Option<&str> {
    Some(settings.backup.copy.as_str()).filter(|command| !command.is_empty())
}

/// Runs the command, and remembers what came of it.
async fn attempt(instance: &Instance, command: &str, file: &Path) -> std::result::Result<(), String> {
    let name = file.file_name().unwrap_or_default();
    let script = script(command);
    let arguments = [file.as_os_str(), name];
    let run = shell::run(&script, &arguments, String::new(), DEADLINE);
    let outcome = tokio::select! {
        biased;
        () = instance.interrupt.wait() => Err("it was interrupted".to_owned()),
        // What is gone is no backup of this machine: nothing lists it, keeps it or restores it.
        done = run => done.map(drop).and_then(|()| match file.exists() {
            true => Ok(()),
            false => Err(format!("the command succeeded, and took {} away", file.display())),
        }),
    };
    let path = instance.files.copies();
    let copies = Copies::load(&path);
    let backups = store::list(&instance.files.backups()).unwrap_or_default();
    // Older ones that wait are not skipped.
    let first = copies.pending(&backups).first().copied().filter(|backup| backup.file == file);
    let up_to = first.and_then(|backup| Some(backup.header.as_ref().ok()?.created.clone()));
    // That it cannot be remembered, as on a full disk, makes no copy undone.
    let _ = copies.after(file, up_to, &outcome).save(&path);
    outcome
}
