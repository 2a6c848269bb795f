//! What keeps the agent inside: who the container runs as, the secrets that it gets, the rules of its network, and
//! what short-lived helper containers do for it as root while none of its programs run.

pub mod ids;
pub mod network_rules;
pub mod own_networks;
pub mod ownership;
pub mod private_names;
pub mod secret_files;
pub mod ssh_agent;

use std::collections::BTreeMap;

use self::secret_files::SecretFiles;
use crate::{
    appliance::Appliance, desired::Given, engine::Engine, error::Result, paths::InstancePaths, secrets::Secret,
    settings::Settings,
};

/// The same where secrets or certificates that cannot be read are no reason to stop: their hash is then none.
pub fn given_at_least(
    engine: &Engine,
    appliance: &Appliance,
    settings: &Settings,
    files: &InstancePaths,
    memory: u64,
) -> (Given, SecretFiles) {
    given(engine, appliance, settings, files, memory, &BTreeMap::new()).unwrap_or_else(|_| {
        let ids = ids::of(engine, settings, appliance.container.ids());
        (Given { memory, ids, secrets: String::new(), remote: engine.is_behind_ssh() }, SecretFiles::default())
    })
}

/// What the wanted container depends on beside the settings, and the secrets that it gets; `new` ones are about to be
/// written. `memory` is the engine's, in bytes.
///
/// # Errors
/// When secrets cannot be read.
pub fn given(
    engine: &Engine,
    appliance: &Appliance,
    settings: &Settings,
    files: &InstancePaths,
    memory: u64,
    new: &BTreeMap<String, Secret>,
) -> Result<(Given, SecretFiles)> {
    let secrets = SecretFiles::read(appliance, settings, files, new)?;
    let ids = ids::of(engine, settings, appliance.container.ids());
    Ok((Given { memory, ids, secrets: secrets.hash(), remote: engine.is_behind_ssh() }, secrets))
}
