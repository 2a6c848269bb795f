//! `docklet mount`: add, list and remove folders and files of the host; and what `setup`, `start` and `restart` do
//! about mounts.

use serde_json::json;

use super::{
    args::MountAction,
    change::{self, Effect},
    context::Context,
};
use crate::{
    engine::exec::ExecRequest,
    error::{Error, Result},
    mounts, ops, paths,
    settings::{Mount, Settings, keys},
};

/// Runs one of them.
pub async fn run(context: &Context, action: MountAction) -> Result<()> {
    match action {
        MountAction::Add { mount } => add(context, &mount).await,
        MountAction::List => list(context).await,
        MountAction::Remove { place, dry_run } => remove(context, &place, dry_run).await,
    }
}

async fn add(context: &Context, mount: &Mount) -> Result<()> {
    let before = context.settings().await?;
    let mount = mounts::absolute(mount, &context.options.home)?;
    let is_there = before.mounts.contains(&mount);
    let all: Vec<Mount> = before.mounts.iter().filter(|other| **other != mount).chain([&mount]).cloned().collect();
    mounts::check(&all, &ops::mounts::surroundings(context))?;
    if let Some(question) = mounts::question(&mount, &context.options.home) {
        context.confirm(&format!("{question}; mount it?"))?;
    }
    {
        let _lock = context.lock("mount add")?;
        // Who names it accepts it as it is now.
        mounts::accept(&mount, &context.files.mounts())?;
        if !is_there {
            write(context, |text| keys::add_mount(text, &mount))?;
        }
    }
    let (ids, users) = ops::mounts::agent(context, &before).await;
    let told = ops::mounts::tell(context, &mount, ids, users);
    let effect =
        finish(context, &before, &mount, !is_there, if is_there { "is mounted already" } else { "is added" }).await?;
    if !is_there && !told && !effect.pending { check_inside(context, &mount).await } else { Ok(()) }
}

async fn remove(context: &Context, place: &str, dry_run: bool) -> Result<()> {
    let before = context.settings().await?;
    let host = mounts::absolute(
        &Mount { host: place.into(), container: String::new(), read_only: false },
        &context.options.home,
    )?;
    let inside = place.trim_end_matches('/');
    let found: Vec<usize> = (0..before.mounts.len())
        .filter(|index| before.mounts[*index].container == inside || before.mounts[*index].host == host.host)
        .collect();
    let index = match found[..] {
        [index] => index,
        [] => {
            return Err(Error::Missing {
                what: format!("mount at {place}, and no mount of it"),
                reason: None,
                hint: format!("docklet{} mount list", context.name.flag()),
            });
        }
        _ => {
            return Err(Error::Usage {
                message: format!("{place} is mounted more than once"),
                hint: Some("use the path in the container, as shown by docklet mount list".to_owned()),
            });
        }
    };
    let mount = before.mounts[index].clone();
    if dry_run {
        let report = json!({"instance": context.name, "mount": mount, "changed": false, "dry_run": true});
        context.output.result(&report, |_| {
            format!("{mount} would be removed, and the container replaced at the next start; your files are kept")
        });
        return Ok(());
    }
    {
        let _lock = context.lock("mount remove")?;
        write(context, |text| keys::remove_mount(text, index))?;
    }
    finish(context, &before, &mount, true, "is removed; your files are kept").await.map(drop)
}

/// Changes the settings file. Call it with the lock held.
fn write(context: &Context, edit: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let path = context.files.settings();
    let new = edit(&paths::read_text(&path)?.unwrap_or_default())?;
    Settings::parse(&new, &path)?;
    paths::write_file(&path, new.as_bytes(), 0o600)
}

async fn finish(context: &Context, before: &Settings, mount: &Mount, changed: bool, what: &str) -> Result<Effect> {
    let after = context.settings().await?;
    let effect = if changed { change::settings(context, before, &after).await? } else { Effect::default() };
    let report = json!({"instance": context.name, "mount": mount, "changed": changed, "effect": effect});
    context.output.result(&report, |_| format!("{mount} {what}"));
    Ok(effect)
}

/// Tries for real: rootless engines and those in a virtual machine map owners in their own ways.
async fn check_inside(context: &Context, mount: &Mount) -> Result<()> {
    let (test, what) = if mount.read_only { ("-r", "read") } else { ("-w", "write in") };
    let request = ExecRequest {
        command: ["/usr/bin/test", test, &mount.container].map(str::to_owned).to_vec(),
        user: context.appliance.container.user.clone(),
        ..ExecRequest::default()
    };
    let engine = context.engine().await?;
    if engine.exec_quietly(&context.container_name(), &request).await? != 0 {
        context.warn(format!(
            "{} cannot {what} {}: see who owns it with ls -ldn",
            context.appliance.title,
            mount.host.display()
        ));
    }
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let settings = context.settings().await?;
    let entry = |mount: &Mount| {
        json!({
            "host": mount.host, "container": mount.container, "read_only": mount.read_only,
            "exists": mount.host.exists(),
        })
    };
    let entries: Vec<_> = settings.mounts.iter().map(entry).collect();
    let report = json!({"instance": context.name, "mounts": entries});
    context.output.result(&report, |style| {
        let line = |mount: &Mount| {
            let gone = if mount.host.exists() { String::new() } else { style.warning("  (missing)") };
            format!("{mount}{gone}")
        };
        let lines: Vec<String> = settings.mounts.iter().map(line).collect();
        if lines.is_empty() { style.dim("nothing is mounted") } else { lines.join("\n") }
    });
    Ok(())
}
