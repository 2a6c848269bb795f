//! What the caller of the doctor knows, and how long one inquiry may take.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::facts::SupervisorFacts;
use crate::{appliance::Appliance, engine::connect::Selection, instance_name::InstanceName, paths::InstancePaths};

/// Longest time for a request that leaves this machine. Short calls to the engine have their own deadline.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);

/// What the caller knows: the instance, environment and flags.
pub struct GatherInput<'a> {
    pub appliance: &'a Appliance,
    pub instance: &'a InstanceName,
    pub files: &'a InstancePaths,
    pub selection: Selection,
    /// The host's proxy variables, under their upper-case names.
    pub proxies: &'a BTreeMap<String, String>,
    /// Names of the variables that are kept for the appliance.
    pub proxy_names: &'a [&'a str],
    /// The host's own CA bundle.
    pub ca_file: Option<&'a Path>,
    pub docker_config: &'a Path,
    /// `None` with `--no-supervisor`.
    pub supervisor: Option<SupervisorFacts>,
}
