//! The network rules of a running container: loaded when it starts, also past docklet, and again every few minutes,
//! because names get other addresses, and at once when this machine is in another network. Each time it is read what was
//! refused.

use std::time::{Duration, Instant};

use super::{Supervisor, SupervisorMessage};
use crate::{
    engine::{Engine, container::Detail},
    error::{Error, Result},
    ops::{Instance, rules},
    sandbox::{
        network_rules::{self, Loaded},
        own_networks,
    },
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
        let Some((wanted, helper)) = rules::of(detail, appliance, name, files)? else { return Ok(()) };
        network_rules::load(engine, helper, &wanted, appliance).await?;
        Loaded::keep(files, &wanted, None);
        Ok(())
    }

    /// Begins to load them again, if it is time or this machine has come into another network with public addresses, of
    /// which they know nothing. The loop goes on meanwhile: the user's next stop or start is not missed.
    pub(super) fn refresh_rules(&mut self) {
        let Some(at) = self.rules_at else { return };
        let own_networks = own_networks::here().unwrap_or_default();
        if Instant::now() < at && own_networks == self.own_networks {
            return;
        }
        let (Some(lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else {
            self.rules_at = Some(Instant::now() + TRY_AGAIN);
            return;
        };
        (self.rules_at, self.loading_rules, self.own_networks) = (None, true, own_networks);
        let (files, instance) = (self.instance.files.clone(), self.instance.name.clone());
        let (appliance, sender) = (self.instance.appliance.clone(), self.sender.clone());
        tokio::spawn(async move {
            let done = rules::refresh(&engine, &appliance, &instance, &files).await;
            drop(lock);
            let _ = sender.send(SupervisorMessage::RulesLoaded(done));
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
