//! The network rules of a container that runs: which they are by now, and loading them again.

use crate::{
    appliance::Appliance,
    desired::{label, labels},
    engine::{Engine, container::Detail, helper::HelperSpec},
    error::Result,
    instance_name::InstanceName,
    observed::Ownership,
    paths::InstancePaths,
    sandbox::network_rules::{self, Loaded, Rules},
    settings::Settings,
};

/// Loads the rules of the container that runs, with the settings as they are now; whether there is one with rules.
///
/// # Errors
/// What reading the settings and the helper find.
pub async fn refresh(
    engine: &Engine,
    appliance: &Appliance,
    instance: &InstanceName,
    files: &InstancePaths,
) -> Result<bool> {
    let Some(detail) = engine.container(&instance.container(&appliance.name)).await? else { return Ok(false) };
    if Ownership::of(&detail.labels, &labels(appliance, instance)) != Ownership::Ours || !detail.running {
        return Ok(false);
    }
    let Some((rules, helper)) = of(&detail, appliance, instance, files)? else { return Ok(false) };
    match network_rules::refresh(engine, helper, &rules, appliance).await {
        Ok(refusals) => Loaded::keep(files, &rules, Some(refusals)),
        // One that has ended meanwhile has no network to load rules into; its end is news of its own.
        Err(_) if matches!(engine.container(&detail.id).await, Ok(Some(found)) if !found.running) => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// The rules for a container, and the helper that loads them; `None` where it has none.
///
/// # Errors
/// When settings or proxies cannot be read.
pub fn of(
    detail: &Detail,
    appliance: &Appliance,
    instance: &InstanceName,
    files: &InstancePaths,
) -> Result<Option<(Rules, HelperSpec)>> {
    // The mode is the container's: its entrypoint waits for rules, or doesn't.
    let mode = detail.live.egress;
    let Some(settings) = Settings::load(&files.settings())?.filter(|_| mode.has_rules()) else {
        return Ok(None);
    };
    let proxies = network_rules::proxies(files)?;
    let rules = Rules::new(&settings, proxies.iter().map(String::as_str)).for_mode(mode);
    let mut labels = labels(appliance, instance);
    labels.extend(detail.labels.get(label::FOLDER).map(|folder| (label::FOLDER.to_owned(), folder.clone())));
    let name = instance.helper_container(&appliance.name);
    let helper = network_rules::helper(&name, &detail.image_id, &labels, "network-rules", Some(&detail.id));
    Ok(Some((rules, helper)))
}
