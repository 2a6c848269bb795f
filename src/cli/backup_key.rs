//! `docklet backup key`: makes a key pair for backups. The public half goes into the settings, the private half off this
//! machine.

use std::{
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde_json::json;

use super::{args, context::Context};
use crate::{
    age_key::Identity,
    clock,
    error::{Error, Result},
    present::data::quoted,
    settings::Settings,
};

/// Makes one.
pub fn run(context: &Context, args: &args::BackupKey) -> Result<()> {
    let identity = Identity::generate()?;
    let public = identity.recipient().to_string();
    let file = identity.file(&clock::now_rfc3339());
    let recipients = Settings::load(&context.files.settings())?.map(|s| s.backup.recipients).unwrap_or_default();
    let all: Vec<String> = recipients.iter().map(ToString::to_string).chain([public.clone()]).collect();
    let set = format!("docklet{} config set backup.recipients {}", context.name.flag(), all.join(","));
    let keep = "keep the private key off this machine, in a password manager or on paper: without it, nobody can decrypt \
                the backups";
    let Some(output) = &args.output else {
        let note = |text: String| context.note(text);
        let report = json!({"public_key": public, "private_key": file.lines().last(), "file": null, "setting": set});
        context.output.result(&report, |_| file.trim_end().to_owned());
        note(keep.to_owned());
        note(format!("to encrypt the secrets in backups for it: {set}"));
        return Ok(());
    };
    write_new(output, &file)?;
    let path = std::path::absolute(output).map_err(|e| Error::file("find", output, &e))?.display().to_string();
    let report = json!({"public_key": public, "private_key": null, "file": path, "setting": set});
    context.output.result(&report, |style| {
        format!(
            "the private key is in {}\n{} {keep}\n\nto encrypt the secrets in backups for it:\n    {set}\nto restore them:\n    \
             docklet{} restore FILE --identity {}",
            style.strong(&path),
            style.warning("important:"),
            context.name.flag(),
            quoted(&path),
        )
    });
    Ok(())
}

/// Writes a file that only its owner can read, and that was not there before.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::FileExists { path: path.display().to_string() },
        _ => Error::file("write", path, &e),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|e| {
        // Half a key is none.
        let _ = std::fs::remove_file(path);
        Error::file("write", path, &e)
    })
}
