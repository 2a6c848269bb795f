//! `docklet secret`: set, import, list and remove. A value is never an argument and never shown.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{args::SecretAction, change, context::Context};
use crate::{
    clean, env_file,
    error::{Error, Result},
    secrets::{self, Secret},
    wizard,
};

/// Runs one of them.
pub async fn run(context: &Context, action: &SecretAction) -> Result<()> {
    match action {
        SecretAction::Set { name, from_file } => set(context, name, from_file.as_deref()).await,
        SecretAction::Import { file } => import(context, file).await,
        SecretAction::List => list(context),
        SecretAction::Remove { name, dry_run } => remove(context, name, *dry_run).await,
    }
}

async fn set(context: &Context, name: &str, from_file: Option<&Path>) -> Result<()> {
    secrets::check_name(name).map_err(Error::usage)?;
    refuse_password(context, name, &own_password(context))?;
    context.settings().await?;
    let value = read(context, name, from_file)?;
    secrets::check_value(name, value.reveal()).map_err(Error::usage)?;
    let changed = {
        let _lock = context.lock("secret set")?;
        secrets::write(&context.files.secrets(), name, &value)?
    };
    if crate::ops::build_surroundings::PROXIES.contains(&name) {
        context.note(format!(
            "{name} is also used to build the image; the next setup takes it from the environment if set there"
        ));
    }
    let effect = if changed { change::secret(context).await? } else { change::Effect::default() };
    let report = json!({"instance": context.name, "name": name, "changed": changed, "effect": effect});
    context
        .output
        .result(&report, |_| format!("{name} is {}", if changed { "set" } else { "set already, to the same value" }));
    Ok(())
}

async fn import(context: &Context, file: &Path) -> Result<()> {
    context.settings().await?;
    let secrets = from_env_file(context, file)?;
    let mut changed = vec![];
    {
        let _lock = context.lock("secret import")?;
        for (name, value) in &secrets {
            if secrets::write(&context.files.secrets(), name, value)? {
                changed.push(name);
            }
        }
    }
    let effect = if changed.is_empty() { change::Effect::default() } else { change::secret(context).await? };
    let report = json!({
        "instance": context.name, "names": secrets.keys().collect::<Vec<_>>(), "set": changed,
        "changed": !changed.is_empty(), "effect": effect,
    });
    context.output.result(&report, |_| {
        let lines = secrets.keys().map(|name| {
            format!("{name} is {}", if changed.contains(&name) { "set" } else { "set already, to the same value" })
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

/// Longest file of secrets in bytes: a longer one is something else.
const LONGEST_ENV_FILE: u64 = 4 << 20;

/// The secrets in a file of `NAME=VALUE` lines, or in standard input when the file is `-`. What cannot be a secret, such as a
/// variable with a lower-case name, is left out, and told. None where a line cannot be read: it may go on over the next ones.
///
/// # Errors
/// [`Error::Usage`] with the number of each line that is wrong, and nothing of its value; or when no secret is left.
pub fn from_env_file(context: &Context, file: &Path) -> Result<BTreeMap<String, Secret>> {
    let text = read_text(file, LONGEST_ENV_FILE + 1)?;
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    if text.len() as u64 > LONGEST_ENV_FILE {
        return Err(Error::usage(format!("{name} is too long for a file of secrets")));
    }
    let lines = |bad: &[env_file::BadLine]| {
        let lines: Vec<String> = bad.iter().map(|bad| format!("line {}: {}", bad.line, bad.reason)).collect();
        lines.join("; ")
    };
    let wrong = |message: String| Error::Usage {
        message,
        hint: Some("a line is written like ANTHROPIC_API_KEY=value; # begins a comment".to_owned()),
    };
    let entries = env_file::parse(&text)
        .map_err(|bad| wrong(format!("no secret was set, because {name} has wrong lines: {}", lines(&bad))))?;
    let (mut secrets, mut left_out) = (BTreeMap::new(), vec![]);
    for entry in entries {
        match check_entry(context, &entry) {
            // As everywhere, the last line counts.
            Ok(()) => drop(secrets.insert(entry.name, Secret::new(entry.value))),
            Err(reason) => left_out.push(env_file::BadLine { line: entry.line, reason }),
        }
    }
    if secrets.is_empty() && !left_out.is_empty() {
        return Err(wrong(format!("no secret was set, because {name} has none: {}", lines(&left_out))));
    }
    if !left_out.is_empty() {
        let text = format!("left out of the secrets in {name}: {}", lines(&left_out));
        context.warn(clean::line(&text, false));
    }
    Ok(secrets)
}

/// Why a line is no secret. Of other names only plain lower-case ones are told: the others may be parts of a value.
fn check_entry(context: &Context, entry: &env_file::EnvEntry) -> Result<(), String> {
    let name = &entry.name;
    if !secrets::is_name(name) {
        let is_told = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !entry.value.starts_with('=');
        let named = if is_told { name } else { "its name" };
        return Err(format!("{named} is not a name for a secret; names are like ANTHROPIC_API_KEY"));
    }
    secrets::check_name(name)?;
    if *name == context.appliance.login.password_secret {
        return Err(format!("{name} is the password of the page; {}", own_password(context)));
    }
    secrets::check_value(name, &entry.value)
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

/// A secret from a file, or from standard input when the file is `-`; a byte order mark and one line end are no part of
/// it.
pub fn read_file(file: &Path) -> Result<Secret> {
    // More than any secret may have, and no more: it might be a device that never ends.
    let text = read_text(file, secrets::LONGEST as u64 + 5)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

/// At most so many bytes of a file, or of standard input when the file is `-`.
fn read_text(file: &Path, limit: u64) -> Result<String> {
    let mut bytes = vec![];
    if file == Path::new("-") {
        let read = std::io::stdin().take(limit).read_to_end(&mut bytes);
        read.map_err(|e| Error::file("read", Path::new("standard input"), &e))?;
    } else {
        let opened = std::fs::File::open(file).map_err(|e| Error::file("read", file, &e))?;
        opened.take(limit).read_to_end(&mut bytes).map_err(|e| Error::file("read", file, &e))?;
    }
    let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    String::from_utf8(bytes).map_err(|_| Error::Usage {
        message: format!("{} is not UTF-8 text{}", file.display(), if is_utf16 { ", but UTF-16" } else { "" }),
        hint: is_utf16.then(|| "save it as UTF-8, in PowerShell: Set-Content -Encoding utf8".to_owned()),
    })
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
            let token = context.appliance.tokens.iter().find(|t| t.name == *name);
            match (provider, token) {
                _ if name == password => style.dim("  the password of the page"),
                (Some(provider), _) => style.dim(&format!("  the key for {}", provider.title)),
                (_, Some(token)) => style.dim(&format!("  the token for {}", token.title)),
                (None, None) => String::new(),
            }
        };
        names.iter().map(|name| format!("{name}{}", note(name))).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

async fn remove(context: &Context, name: &str, dry_run: bool) -> Result<()> {
    secrets::check_name(name).map_err(Error::usage)?;
    refuse_password(context, name, "without it any page in your browser could drive the agent")?;
    context.settings().await?;
    let folder = context.files.secrets();
    let removed = match dry_run {
        true => secrets::read(&folder, name)?.is_some(),
        false => {
            let _lock = context.lock("secret remove")?;
            secrets::remove(&folder, name)?
        }
    };
    if !removed {
        return Err(Error::Missing {
            what: format!("secret {name}"),
            reason: None,
            hint: format!("docklet{} secret list", context.name.flag()),
        });
    }
    if dry_run {
        let report = json!({"instance": context.name, "name": name, "changed": false, "dry_run": true});
        context.output.result(&report, |_| format!("{name} would be removed"));
        return Ok(());
    }
    let effect = change::secret(context).await?;
    let report = json!({"instance": context.name, "name": name, "changed": true, "effect": effect});
    context.output.result(&report, |_| format!("{name} is removed"));
    Ok(())
}

/// How to set a password of one's own.
pub fn own_password(context: &Context) -> String {
    format!("set your own: docklet{} setup --password-file FILE", context.name.flag())
}

/// The password of the page has its own command, which restarts what has to know it.
pub fn refuse_password(context: &Context, name: &str, hint: &str) -> Result<()> {
    if name != context.appliance.login.password_secret {
        return Ok(());
    }
    let flag = context.name.flag();
    Err(Error::Usage {
        message: format!("{name} is the password of the page"),
        hint: Some(format!("generate a new one: docklet{flag} password --rotate\n{hint}")),
    })
}
