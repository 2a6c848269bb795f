//! Runs plans, with all that their steps need of an instance.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    Instance,
    build_surroundings::{PROXIES, build_surroundings},
};
use crate::{
    appliance::Appliance,
    apply::{self, Sandbox, Tools},
    data::archive::read::Contents,
    desired::{Publish, labels_in_home},
    engine::Engine,
    error::Result,
    interrupt::Interrupt,
    plan::Plan,
    probe::Probe,
    sandbox::{
        self,
        network_rules::{self, Rules},
        ssh_agent,
    },
    secrets::Secret,
    settings::Settings,
};

/// How a plan is run.
pub struct PlanRun<'a> {
    /// The settings that hold.
    pub settings: &'a Settings,
    /// What is installed.
    pub appliance: &'a Appliance,
    /// A backup that was read whole already, and what is in it.
    pub verified: Option<(&'a Path, &'a Contents)>,
    /// How long the page may take to answer; `None`: as long as the appliance usually may.
    pub timeout: Option<Duration>,
    /// What interrupts it; `None`: the user's Ctrl-C.
    pub interrupt: Option<&'a Interrupt>,
}

impl<'a> PlanRun<'a> {
    /// With these settings, and all else as usual.
    pub fn with(settings: &'a Settings, appliance: &'a Appliance) -> Self {
        PlanRun { settings, appliance, verified: None, timeout: None, interrupt: None }
    }

    /// So that a Ctrl-C does not end it.
    pub fn interrupted_by(self, interrupt: &'a Interrupt) -> Self {
        PlanRun { interrupt: Some(interrupt), ..self }
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// The first step's that failed.
    pub async fn run(self, instance: &Instance, engine: &Engine, plan: &Plan) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        let probe = probe(instance, self.settings);
        let sandbox = sandbox(instance, engine, self.appliance, self.settings)?;
        let tools = self.tools(instance, engine, &sandbox, &probe)?;
        apply::apply(plan, &tools).await
    }

    /// All that the steps of a plan need.
    ///
    /// # Errors
    /// When the ssh agent, the CA bundle or a proxy cannot be read.
    pub fn tools<'t>(
        &self,
        instance: &'t Instance,
        engine: &'t Engine,
        sandbox: &'t Sandbox,
        probe: &'t Probe,
    ) -> Result<Tools<'t>>
    where
        'a: 't,
    {
        if self.settings.git.ssh_agent {
            ssh_agent::prepare(&instance.files, instance.options.ssh_agent.as_deref())?;
        }
        Ok(Tools {
            engine,
            appliance: self.appliance,
            sandbox,
            probe,
            docker_config: &instance.options.docker_config,
            build: build_surroundings(instance, self.settings)?,
            ready_timeout: self.timeout.unwrap_or(instance.appliance.health.ready_timeout()),
            verified: self.verified,
            reporter: instance.reporter.as_ref(),
            interrupt: self.interrupt.unwrap_or(&instance.interrupt),
        })
    }
}

/// A probe of the page; of an instance without a password, one that is refused.
pub fn probe(instance: &Instance, settings: &Settings) -> Probe {
    let password = instance.password().unwrap_or_else(|_| Secret::new(""));
    let publish = Publish::of(&instance.appliance, settings);
    Probe::of(&instance.appliance, &instance.files, &instance.selection(), &publish, &password)
}

fn sandbox(instance: &Instance, engine: &Engine, appliance: &Appliance, settings: &Settings) -> Result<Sandbox> {
    let (given, secrets) = sandbox::given_at_least(engine, appliance, settings, &instance.files, 0);
    Ok(Sandbox {
        helper: instance.name.helper_container(&appliance.name),
        labels: labels_in_home(appliance, &instance.name, &instance.files),
        ids: given.ids,
        secrets,
        rules: rules(instance, settings, &BTreeMap::new())?,
        files: instance.files.clone(),
        mounts: settings.mounts.clone(),
    })
}

/// The network rules of these settings; the proxies are those of the appliance, with `new` ones.
///
/// # Errors
/// When a proxy that was kept cannot be read.
pub fn rules(instance: &Instance, settings: &Settings, new: &BTreeMap<String, Secret>) -> Result<Rules> {
    let new = new.iter().filter(|(name, _)| PROXIES.contains(&name.as_str()) && *name != "NO_PROXY");
    let kept = network_rules::proxies(&instance.files)?;
    Ok(Rules::new(settings, kept.iter().map(String::as_str).chain(new.map(|(_, value)| value.reveal()))))
}
