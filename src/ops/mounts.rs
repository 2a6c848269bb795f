//! Mounts as operations see them: whether they may be mounted, what has to be asked first, and what a new one means.

use super::Instance;
use crate::{
    appliance::Ids,
    engine::connect,
    error::Result,
    instance_name::InstanceName,
    mounts::{self, Users},
    paths, sandbox,
    settings::{Mount, Settings},
};

/// What the rules of mounts depend on.
pub fn surroundings(instance: &Instance) -> mounts::Surroundings<'_> {
    let of = |other: &InstanceName| {
        let settings = Settings::load(&instance.paths.instance(other).settings()).ok().flatten().unwrap_or_default();
        settings.mounts.into_iter().map(|mount| (other.to_string(), mount)).collect::<Vec<_>>()
    };
    let others = instance.paths.instances();
    mounts::Surroundings {
        appliance: &instance.appliance,
        own: instance.paths.bases(),
        sockets: connect::sockets(&instance.selection()),
        others: others.iter().filter(|other| **other != instance.name).flat_map(of).collect(),
    }
}

/// Before anything is stopped or started: all mounts must be as the rules say and what they were when they were
/// accepted. New ones, as in settings that were edited, are asked about where that is needed, and accepted. Call it
/// with the lock held.
///
/// # Errors
/// The first that cannot be, and why; a missing yes.
pub fn admit(instance: &Instance, mounts: &[Mount]) -> Result<()> {
    mounts::verify(mounts, &instance.files.mounts())?;
    mounts::check(mounts, &surroundings(instance))?;
    ask(instance, mounts)?;
    mounts::remember(mounts, &instance.files.mounts())
}

/// Asks about those new mounts that need a yes.
///
/// # Errors
/// When the answer is no, or nobody is there to give one.
pub fn ask(instance: &Instance, mounts: &[Mount]) -> Result<()> {
    let home = &instance.options.home;
    let new = mounts::new(mounts, &instance.files.mounts())?;
    new.into_iter()
        .filter_map(|mount| mounts::question(mount, home))
        .try_for_each(|question| instance.confirm(&format!("{question}; mount it?")))
}

/// Says what a new mount means, and what keeps the agent from using it; the latter is the result.
pub fn tell(instance: &Instance, mount: &Mount, ids: Ids, users: Users) -> bool {
    let real = Mount { host: paths::real(&mount.host), ..mount.clone() };
    if real.host != mount.host {
        instance.note(format!("{} leads to {}, which is what is mounted", mount.host.display(), real.host.display()));
    }
    let mount = &real;
    if let Some(text) = mounts::meaning(mount) {
        instance.note(text);
    }
    let advice = mounts::advice(mount, ids, users);
    for advice in &advice {
        instance.warn(advice.to_string());
    }
    !advice.is_empty()
}

/// Who the agent is in its container, and how the engine maps users; as a rootful one, where it cannot be asked.
pub async fn agent(instance: &Instance, settings: &Settings) -> (Ids, Users) {
    let default = instance.appliance.container.ids();
    let Ok(engine) = instance.engine().await else { return (default, Users::Same) };
    let users = engine.host().await;
    let users = users.map_or(Users::Same, |host| Users::of(&engine.about, host.rootless, &host.data_folder));
    (sandbox::ids::of(&engine, settings, default), users)
}
