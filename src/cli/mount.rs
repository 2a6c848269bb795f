//! `docklet mount`: add, list and remove folders of the host.

use std::path::Path;

use serde_json::json;

use super::{args::MountAction, change, context::Context};
use crate::{
    engine::exec::ExecRequest,
    error::{Error, Result},
    event::Event,
    mounts, paths,
    settings::{Mount, Settings, keys},
};

/// Runs one of them.
pub async fn run(context: &Context, action: MountAction) -> Result<()> {
    match action {
        MountAction::Add { mount } => add(context, &mount).await,
        MountAction::List => list(context),
        MountAction::Remove { place } => remove(context, &place).await,
    }
}

async fn add(context: &Context, mount: &Mount) -> Result<()> {
    let before = context.settings()?;
    let mount = mounts::absolute(mount, &context.environment.home)?;
    let is_there = before.mounts.contains(&mount);
    if !is_there {
        let all: Vec<Mount> = before.mounts.iter().chain([&mount]).cloned().collect();
        mounts::check(&all, &context.appliance, context.paths.bases())?;
        write(context, "mount add", |text| keys::add_mount(text, &mount))?;
    }
    for text in mounts::advice(&mount, context.appliance.container.uid) {
        context.reporter.report(&Event::Warning { text });
    }
    finish(context, &before, &mount, !is_there, if is_there { "is mounted already" } else { "is added" }).await
}

async fn remove(context: &Context, place: &str) -> Result<()> {
    let before = context.settings()?;
    let host = mounts::absolute(
        &Mount { host: place.into(), container: String::new(), read_only: false },
        &context.environment.home,
    )?;
    let inside = place.trim_end_matches('/');
    let found: Vec<usize> = (0..before.mounts.len())
        .filter(|index| before.mounts[*index].container == inside || before.mounts[*index].host == host.host)
        .collect();
    let index = match found[..] {
        [index] => index,
        [] => {
            return Err(Error::Missing {
                what: format!("mount at or of {place}"),
                reason: None,
                hint: format!("docklet{} mount list", context.instance.flag()),
            });
        }
        _ => {
            return Err(Error::Usage {
                message: format!("{place} is mounted more than once"),
                hint: Some("name its place inside, as in docklet mount list".to_owned()),
            });
        }
    };
    let mount = before.mounts[index].clone();
    write(context, "mount remove", |text| keys::remove_mount(text, index))?;
    finish(context, &before, &mount, true, "is removed; the folder itself stays").await
}

/// Changes the settings file.
fn write(context: &Context, command: &str, edit: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let _lock = context.lock(command)?;
    let path = context.files.settings();
    let new = edit(&paths::read_text(&path)?.unwrap_or_default())?;
    Settings::parse(&new, &path)?;
    paths::write_file(&path, new.as_bytes(), 0o600)
}

async fn finish(context: &Context, before: &Settings, mount: &Mount, changed: bool, what: &str) -> Result<()> {
    let after = context.settings()?;
    let effect = if changed { change::settings(context, before, &after).await? } else { change::Effect::default() };
    let here = after.mounts.contains(mount) && !mount.read_only;
    if here && changed && !effect.pending {
        check_inside(context, mount).await?;
    }
    let report =
        json!({"schema": 1, "instance": context.instance, "mount": mount, "changed": changed, "effect": effect});
    context.output.result(&report, |_| format!("{mount} {what}"));
    Ok(())
}

/// Tries for real: rootless engines and those in a virtual machine map owners in their own ways.
async fn check_inside(context: &Context, mount: &Mount) -> Result<()> {
    let request = ExecRequest {
        command: ["test", "-w", &mount.container].map(str::to_owned).to_vec(),
        user: context.appliance.container.user.clone(),
        ..ExecRequest::default()
    };
    let engine = context.engine().await?;
    if engine.exec_quietly(&context.container_name(), &request).await? != 0 {
        let text = format!(
            "{} cannot write in {}: see who owns it with ls -ldn",
            context.appliance.title,
            mount.host.display()
        );
        context.reporter.report(&Event::Warning { text });
    }
    Ok(())
}

fn list(context: &Context) -> Result<()> {
    let settings = context.settings()?;
    let entry = |mount: &Mount| {
        json!({
            "host": mount.host, "container": mount.container, "read_only": mount.read_only,
            "exists": Path::new(&mount.host).is_dir(),
        })
    };
    let entries: Vec<_> = settings.mounts.iter().map(entry).collect();
    let report = json!({"schema": 1, "instance": context.instance, "mounts": entries});
    context.output.result(&report, |style| {
        let line = |mount: &Mount| {
            let gone = if mount.host.is_dir() { String::new() } else { style.warning("  (the folder is not there)") };
            format!("{mount}{gone}")
        };
        let lines: Vec<String> = settings.mounts.iter().map(line).collect();
        if lines.is_empty() { style.dim("no folders are mounted") } else { lines.join("\n") }
    });
    Ok(())
}
