//! `docklet secret`: set, list and remove. A value is never an argument and never shown.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{args::SecretAction, change, context::Context};
use crate::{
    error::{Error, Result},
    event::Event,
    secrets::{self, Secret},
    wizard,
};

/// Runs one of them.
pub async fn run(context: &Context, action: &SecretAction) -> Result<()> {
    match action {
        SecretAction::Set { name, from_file } => set(context, name, from_file.as_deref()).await,
        SecretAction::List => list(context),
        SecretAction::Remove { name } => remove(context, name).await,
    }
}

async fn set(context: &Context, name: &str, from_file: Option<&Path>) -> Result<()> {
    secrets::check_name(name).map_err(Error::usage)?;
    refuse_password(context, name, "set your own: docklet setup --password-file FILE")?;
    context.settings()?;
    let value = read(context, name, from_file)?;
    secrets::check_value(name, value.reveal()).map_err(Error::usage)?;
    let changed = {
        let _lock = context.lock("secret set")?;
        secrets::write(&context.files.secrets(), name, &value)?
    };
    if crate::ops::setup::PROXIES.contains(&name) {
        let text = format!(
            "{name} is also used to build the image; the next setup takes it from the environment if set there"
        );
        context.reporter.report(&Event::Note { text });
    }
    let effect = if changed { change::secret(context).await? } else { change::Effect::default() };
    let report = json!({"instance": context.name, "name": name, "changed": changed, "effect": effect});
    context
        .output
        .result(&report, |_| format!("{name} is {}", if changed { "set" } else { "set already, to the same value" }));
    Ok(())
}

/// The value: from the file, from a prompt that shows nothing, or from standard input.
fn read(context: &Context, name: &str, from_file: Option<&Path>) -> Result<Secret> {
    if let Some(file) = from_file {
        return read_file(file);
    }
    if context.environment.interactive {
        return wizard::ask_secret(&context.prompt("nothing was changed"), &format!("Value of {name}"), |text| {
            secrets::check_value(name, text).map(|()| Secret::new(text))
        });
    }
    if context.environment.stdin_is_terminal {
        // It would be shown while it is typed.
        return Err(Error::ConfirmationRequired {
            question: format!("the value of {name}"),
            flag: "--from-file PATH".to_owned(),
        });
    }
    read_file(&PathBuf::from("-"))
}

/// A secret from a file, or from standard input when the file is `-`; one line end is no part of it.
pub fn read_file(file: &Path) -> Result<Secret> {
    let mut bytes = vec![];
    // More than any secret may have, and no more: it might be a device that never ends.
    let limit = secrets::LONGEST as u64 + 2;
    if file == Path::new("-") {
        let read = std::io::stdin().take(limit).read_to_end(&mut bytes);
        read.map_err(|e| Error::file("read", Path::new("standard input"), &e))?;
    } else {
        let opened = std::fs::File::open(file).map_err(|e| Error::file("read", file, &e))?;
        opened.take(limit).read_to_end(&mut bytes).map_err(|e| Error::file("read", file, &e))?;
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::usage(format!("{} is not UTF-8 text", file.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

fn list(context: &Context) -> Result<()> {
    let names = secrets::names(&context.files.secrets())?;
    let password = &context.appliance.login.password_secret;
    let report = json!({"instance": context.name, "secrets": names});
    context.output.result(&report, |style| {
        if names.is_empty() {
            return style.dim("no secrets");
        }
        let note = |name: &String| {
            let provider = context.appliance.providers.iter().find(|p| p.secret == *name);
            match provider {
                _ if name == password => style.dim("  the password of the page"),
                Some(provider) => style.dim(&format!("  the key for {}", provider.title)),
                None => String::new(),
            }
        };
        names.iter().map(|name| format!("{name}{}", note(name))).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

async fn remove(context: &Context, name: &str) -> Result<()> {
    secrets::check_name(name).map_err(Error::usage)?;
    refuse_password(context, name, "without it any page in your browser could drive the agent")?;
    context.settings()?;
    let removed = {
        let _lock = context.lock("secret remove")?;
        secrets::remove(&context.files.secrets(), name)?
    };
    if !removed {
        return Err(Error::Missing {
            what: format!("secret {name}"),
            reason: None,
            hint: format!("docklet{} secret list", context.name.flag()),
        });
    }
    let effect = change::secret(context).await?;
    let report = json!({"instance": context.name, "name": name, "changed": true, "effect": effect});
    context.output.result(&report, |_| format!("{name} is removed"));
    Ok(())
}

/// The password of the page has its own command, which restarts what has to know it.
fn refuse_password(context: &Context, name: &str, hint: &str) -> Result<()> {
    if name != context.appliance.login.password_secret {
        return Ok(());
    }
    let flag = context.name.flag();
    Err(Error::Usage {
        message: format!("{name} is the password of the page"),
        hint: Some(format!("generate a new one: docklet{flag} password --rotate\n{hint}")),
    })
}
