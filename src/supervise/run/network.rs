//! The network rules of a running container: loaded when it starts, also past docklet, and again every few minutes,
//! because names get other addresses. Each time it is read what was refused.

use std::time::{Duration, Instant};

use super::{Message, Supervisor};
use crate::{
    appliance::Appliance,
    desired::{label, labels},
    engine::{Engine, docker::Detail, helper::HelperSpec},
    error::{Error, Result},
    instance_name::InstanceName,
    observed::Ownership,
    ops::Instance,
    paths::InstancePaths,
    sandbox::network_rules::{self, Loaded, Rules},
    settings::Settings,
    supervise::policy::Input,
};

/// Time between two loadings.
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// Time until the next try, while another command is at work.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Time until the next try after one that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(60);

impl Supervisor<'_> {
    /// Loads the rules of a container that was just started.
    pub(super) async fn load_rules(&mut self, engine: &Engine, detail: &Detail) -> Result<()> {
        let Instance { appliance, name, files, .. } = self.instance;
        let Some((rules, helper)) = rules_for(detail, appliance, name, files)? else { return Ok(()) };
        network_rules::load(engine, helper, &rules, appliance).await?;
        Loaded::keep(files, &rules, None);
        Ok(())
    }

    /// Begins to load them again, if it is time. The loop goes on meanwhile: the user's next stop or start is not missed.
    pub(super) fn refresh_rules(&mut self) {
        if self.rules_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let (Some(lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else {
            self.rules_at = Some(Instant::now() + TRY_AGAIN);
            return;
        };
        (self.rules_at, self.loading_rules) = (None, true);
        let (files, instance) = (self.instance.files.clone(), self.instance.name.clone());
        let (appliance, sender) = (self.instance.appliance.clone(), self.sender.clone());
        tokio::spawn(async move {
            let done = refresh(&engine, &appliance, &instance, &files).await;
            drop(lock);
            let _ = sender.send(Message::RulesLoaded(done));
        });
    }

    /// They were loaded, or not.
    pub(super) async fn rules_loaded(&mut self, done: Result<bool>) {
        self.loading_rules = false;
        self.plan_refresh(done);
        // A restart may have had to wait.
        self.feed(Input::Touched).await;
    }

    fn plan_refresh(&mut self, done: Result<bool>) {
        let pause = match done {
            Ok(true) => REFRESH_EVERY,
            // Nothing runs. The next start asks for it.
            Ok(false) => return,
            Err(Error::EngineGone { .. } | Error::EngineTimeout { .. }) => TRY_AGAIN,
            Err(error) => {
                let causes = error.causes().join("; ");
                self.decided("rules_not_loaded", format!("{error}: {causes}"));
                FAILED_AGAIN
            }
        };
        // One that was started meanwhile is not made to wait.
        self.rules_at.get_or_insert(Instant::now() + pause);
    }
}

/// Loads the rules of the container that runs; whether there is one with rules.
async fn refresh(
    engine: &Engine,
    appliance: &Appliance,
    instance: &InstanceName,
    files: &InstancePaths,
) -> Result<bool> {
    let Some(detail) = engine.container(&instance.container(&appliance.name)).await? else { return Ok(false) };
    if Ownership::of(&detail.labels, &labels(appliance, instance)) != Ownership::Ours || !detail.running {
        return Ok(false);
    }
    let Some((rules, helper)) = rules_for(&detail, appliance, instance, files)? else { return Ok(false) };
    match network_rules::refresh(engine, helper, &rules, appliance).await {
        Ok(refusals) => Loaded::keep(files, &rules, Some(refusals)),
        // One that has ended meanwhile has no network to load rules into; its end is news of its own.
        Err(_) if matches!(engine.container(&detail.id).await, Ok(Some(found)) if !found.running) => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

fn rules_for(
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
