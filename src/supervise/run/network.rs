//! The network rules of a running container: loaded when it starts, also past docklet, and again every few minutes,
//! because names get other addresses. Each time it is read what was refused.

use std::time::{Duration, Instant};

use super::Supervisor;
use crate::{
    desired::{label, labels},
    engine::{Engine, docker::Detail, task::TaskSpec},
    error::{Error, Result},
    sandbox::network_rules::{self, Loaded, Rules},
    settings::Settings,
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
        let Some((rules, helper)) = self.rules_for(detail)? else { return Ok(()) };
        network_rules::load(engine, helper, &rules, self.tools.appliance).await?;
        Loaded::keep(self.tools.files, &rules, None);
        Ok(())
    }

    /// Loads them again, if it is time.
    pub(super) async fn refresh_rules(&mut self) {
        if self.rules_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        let (Some(_lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else {
            self.rules_at = Some(Instant::now() + TRY_AGAIN);
            return;
        };
        let pause = match self.refresh(&engine).await {
            Ok(true) => Some(REFRESH_EVERY),
            Ok(false) => None,
            Err(Error::EngineGone { .. } | Error::EngineTimeout { .. }) => Some(TRY_AGAIN),
            Err(error) => {
                let causes = error.causes().join("; ");
                self.decided("rules_not_loaded", format!("{error}: {causes}"));
                Some(FAILED_AGAIN)
            }
        };
        self.rules_at = pause.map(|pause| Instant::now() + pause);
    }

    /// Whether there is a container with rules.
    async fn refresh(&mut self, engine: &Engine) -> Result<bool> {
        let Some(detail) = engine.container(&self.container).await? else { return Ok(false) };
        if !self.is_ours(&detail) || !detail.running {
            return Ok(false);
        }
        let Some((rules, helper)) = self.rules_for(&detail)? else { return Ok(false) };
        let refusals = network_rules::refresh(engine, helper, &rules, self.tools.appliance).await?;
        Loaded::keep(self.tools.files, &rules, Some(refusals));
        Ok(true)
    }

    fn rules_for(&self, detail: &Detail) -> Result<Option<(Rules, TaskSpec)>> {
        let tools = self.tools;
        // The mode is the container's: its entrypoint waits for rules, or doesn't.
        let mode = detail.live.egress;
        let Some(settings) = Settings::load(&tools.files.settings())?.filter(|_| mode.has_rules()) else {
            return Ok(None);
        };
        let proxies = network_rules::proxies(tools.files)?;
        let rules = Rules::new(&settings, proxies.iter().map(String::as_str)).for_mode(mode);
        let name = tools.instance.helper_container(&tools.appliance.name);
        let mut labels = labels(tools.appliance, tools.instance);
        labels.extend(detail.labels.get(label::FOLDER).map(|folder| (label::FOLDER.to_owned(), folder.clone())));
        let helper = network_rules::helper(&name, &detail.image_id, &labels, "network-rules", Some(&detail.id));
        Ok(Some((rules, helper)))
    }
}
