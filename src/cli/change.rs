//! What commands that change settings, secrets or mounts do afterwards: say whether a new container
//! or a restart is needed, and offer it.

use super::context::Context;
use crate::{
    desired::{Desired, Given},
    desired_state::{self, DesiredState},
    error::Result,
    ops::{
        autostart,
        converge::{self, ConvergeOptions},
        exposure, mounts, rules,
        start::{self, Exposure},
    },
    sandbox::ssh_agent,
    settings::Settings,
    wizard,
};

/// What came of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Effect {
    /// What is different in the container that these settings want.
    pub differences: Vec<String>,
    /// Whether it takes a `docklet start` (or restart) to put the change into effect.
    pub pending: bool,
}

/// Before settings are saved that let other machines in, where they did not before: says so and
/// asks.
///
/// # Errors
/// When the answer is no, or nobody is there to give one.
pub fn confirm_exposure(context: &Context, before: &Settings, after: &Settings) -> Result<()> {
    match exposure(after) {
        Some(text) if before.network.bind != after.network.bind => context.confirm(&format!("{text}; continue?")),
        _ => Ok(()),
    }
}

/// Says what it means to offer the host's ssh agent, where that is new.
pub fn tell_of_ssh_agent(context: &Context, before: &Settings, after: &Settings) {
    if after.git.ssh_agent && !before.git.ssh_agent {
        context.note(ssh_agent::MEANING.to_owned());
    }
}

/// After changed settings were saved, confirmed by [`confirm_exposure`]: brings autostart in line, and
/// offers a new container where one is needed. No lock may be held.
///
/// # Errors
/// What `docklet start` finds, when it was wanted.
pub async fn settings(context: &Context, before: &Settings, after: &Settings) -> Result<Effect> {
    if before.restart.autostart != after.restart.autostart {
        autostart::apply(context, after).await?;
    }
    tell_of_ssh_agent(context, before, after);
    let differences = differences(context, before, after);
    if before.network.allow != after.network.allow {
        allow(context).await?;
    }
    if differences.is_empty() || is_already_so(context, after).await {
        return Ok(Effect::default());
    }
    let what = format!("this needs a new container ({})", differences.join(", "));
    let wanted = offer(context, &what, "start", "Replace the container now? Your data is kept.")?;
    if wanted {
        let _lock = context.lock("start")?;
        let engine = context.engine().await?;
        let asked = before.network.bind != after.network.bind;
        let exposure = if asked { Exposure::Confirmed } else { Exposure::Ask };
        start::start_with(context, &engine, after, context.appliance.health.ready_timeout(), exposure).await?;
    }
    Ok(Effect { differences, pending: !wanted })
}

/// What [`settings`] would find different; for `--dry-run`.
pub fn would_be(context: &Context, before: &Settings, after: &Settings) -> Effect {
    let differences = differences(context, before, after);
    Effect { pending: !differences.is_empty(), differences }
}

/// Loads the network rules of a running container with another `network.allow`, which needs no new container. Where
/// that fails, the supervisor tries again.
async fn allow(context: &Context) -> Result<()> {
    let loaded = async {
        let _lock = context.lock("config set")?;
        let engine = context.engine().await?;
        rules::refresh(&engine, &context.appliance, &context.name, &context.files).await
    };
    if let Err(error) = loaded.await {
        context.warn(format!("the change is saved, but not in effect yet: {error}"));
    }
    Ok(())
}

/// After a secret changed: offers a new container when it runs. No lock may be held.
///
/// # Errors
/// What `docklet start` finds, when it was wanted.
pub async fn secret(context: &Context) -> Result<Effect> {
    let what = "a new container is needed for it to take effect";
    let wanted = offer(context, what, "start", "Replace the container now? Your data is kept.")?;
    if wanted {
        let settings = context.settings().await?;
        let _lock = context.lock("start")?;
        mounts::admit(context, &settings.mounts)?;
        let engine = context.engine().await?;
        start::start(context, &engine, &settings, context.appliance.health.ready_timeout()).await?;
    }
    Ok(Effect { differences: vec![], pending: !wanted })
}

/// What is different in the container that the settings want, in words.
fn differences(context: &Context, before: &Settings, after: &Settings) -> Vec<String> {
    let desired = |settings: &Settings| {
        let given = Given { memory: 0, ids: context.appliance.container.ids(), secrets: String::new(), remote: false };
        Desired::new(&context.appliance, settings, &context.name, &context.files, &given, None)
    };
    desired(before).container.differences(&desired(after).container)
}

/// Whether the container that is there has these settings already, as after a change that was taken
/// back before it took effect. An engine that cannot be asked says no.
async fn is_already_so(context: &Context, settings: &Settings) -> bool {
    let Ok(engine) = context.engine().await else { return false };
    // What only runs or not is no difference; what shall run would need a new one where they differ.
    let how = ConvergeOptions { running: true, ..ConvergeOptions::default() };
    let Ok(planned) = converge::plan(context, &engine, settings, &how).await else { return false };
    planned.recovery.is_empty() && !planned.plan.creates()
}

/// Asks, or takes `--yes` for an answer; else says what to run. What shall be stopped stays so.
fn offer(context: &Context, what: &str, command: &str, question: &str) -> Result<bool> {
    let note = |text: String| context.note(text);
    let running =
        context.files.settings().exists() && desired_state::read(&context.files.desired())? == DesiredState::Running;
    let flag = context.name.flag();
    if !running {
        note(format!("{what}; it is stopped: docklet{flag} start"));
        return Ok(false);
    }
    if context.global.yes {
        return Ok(true);
    }
    if !context.environment.interactive {
        note(format!("{what}: docklet{flag} {command}"));
        return Ok(false);
    }
    note(what.to_owned());
    let wanted = wizard::confirm(&context.prompt("the change is saved"), question, true)?;
    if !wanted {
        note(format!("later: docklet{flag} {command}"));
    }
    Ok(wanted)
}
