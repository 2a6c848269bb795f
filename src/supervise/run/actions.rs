//! What the supervisor does once the policy has decided: restarts, gives up, adopts a desired state. Says so
//! by way of `decisions`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{INSPECT_AGAIN, Supervisor, poll::Stamp};
use crate::{
    clock,
    desired_state::{self, DesiredState},
    engine::{Engine, container::Detail},
    error::{Error, ExitReport},
    host::{ports, tunnel},
    mounts,
    observed::PortState,
    ops::{Instance, stop, supervisor::state::GaveUp, volume_users},
    ready,
    report::{LastRestart, PortTaken},
    sandbox::{
        network_rules::{self, Loaded},
        ownership,
    },
    supervise::policy::{Action, Input, Limits, Outside, RestartReason},
    units::Elapsed,
};

/// Grace for a container whose page hangs.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Lines of the container's log that are kept when it gives up.
const LOG_LINES: usize = ready::LOG_LINES;

impl Supervisor<'_> {
    pub(super) async fn act(&mut self, action: Action, inputs: &mut VecDeque<Input>) {
        match action {
            Action::Inspect => self.inspect(inputs).await,
            Action::Probe => self.probe(),
            Action::Restart(reason) => {
                let done = self.restart(reason, inputs).await;
                if done == Input::RestartCancelled && self.command_at_work() {
                    inputs.push_back(Input::Lock(true));
                }
                inputs.push_back(done);
            }
            Action::TellRestart(reason) => {
                let cause = reason.text(None);
                let text = format!("restarted by something else: {cause} (restart {})", self.state.restarts + 1);
                self.count_restart(cause);
                self.decided("restarted", text);
            }
            Action::Stop => self.stop(inputs).await,
            Action::GiveUp(reason) => self.give_up(&reason).await,
            Action::SetPolicyBack { from } => self.set_policy_back(&from).await,
            Action::AdoptStop(how) => {
                let how = match how {
                    Outside::Stopped => "stopped outside docklet (docker stop)",
                    Outside::Removed => "removed outside docklet (docker rm), the volumes are kept",
                };
                let text = format!("{how}; desired state is now stopped; to start it again: docklet start");
                self.adopt(DesiredState::Stopped, text, inputs);
            }
            Action::AdoptStart => {
                self.adopt(
                    DesiredState::Running,
                    "started outside docklet; desired state is now running".to_owned(),
                    inputs,
                );
            }
            Action::Log(entry) => self.record(entry),
        }
    }

    /// Restarts, if that is still right now that the lock is held.
    async fn restart(&mut self, reason: RestartReason, inputs: &mut VecDeque<Input>) -> Input {
        let Some(_lock) = self.instance_lock() else { return Input::RestartCancelled };
        let recorded = desired_state::recorded(&self.instance.files.desired());
        let Some(engine) = self.engine.clone() else { return Input::RestartCancelled };
        if !recorded.is_ok_and(|recorded| recorded == self.recorded) {
            return Input::RestartCancelled;
        }
        let Ok(Some(detail)) = engine.container(&self.container).await else { return Input::RestartCancelled };
        let hung = matches!(reason, RestartReason::Hung(..));
        if !self.is_ours(&detail) || detail.paused || detail.running != hung {
            return Input::RestartCancelled;
        }
        // After a start that failed, the engine's own report is about that.
        let cause_text = match &self.state.port_taken {
            Some(taken) => format!("{}; its port was taken by {}", reason.text(None), taken.who()),
            None => reason.text(Some(&exit_report(&detail))),
        };
        let began = Instant::now();
        let done = async {
            let known = self.instance.files.mounts();
            let places = || detail.live.binds.iter().map(|bind| bind.container.as_str());
            mounts::verify_places(places(), &known)?;
            if hung {
                inputs.push_back(Input::Stopping);
                engine.stop_container(&self.container, STOP_GRACE).await?;
                // Until now a program of the agent's could swap what is mounted.
                mounts::verify_places(places(), &known)?;
            }
            volume_users::refuse(self.instance, &engine, true).await?;
            if !engine.is_behind_ssh() {
                // A move that was killed leaves a tunnel, which has the port.
                tunnel::close_all(&self.instance.files.state).await;
            }
            // Its network has its name.
            if detail.running && !detail.networks.contains(&self.container) {
                // Somebody disconnected it, which is why its page does not answer.
                engine.connect_network(&self.container, &self.container).await?;
            }
            let Instance { appliance, name, .. } = self.instance;
            let task = name.helper_container(&appliance.name);
            let helper = network_rules::helper(&task, &detail.image_id, &detail.labels, "mounts", None);
            ownership::prepare_again(&engine, helper, &detail.live).await?;
            Loaded::forget(&self.instance.files);
            engine.start_container(&self.container).await?;
            // Nothing runs in it before its rules are there.
            if let Err(error) = self.load_rules(&engine, &detail).await {
                // One that ended at once has no network to load rules into: its end is news of its own.
                if matches!(engine.container(&self.container).await, Ok(Some(found)) if !found.running) {
                    return engine.container(&self.container).await;
                }
                inputs.push_back(Input::Stopping);
                let _ = engine.stop_container(&self.container, STOP_GRACE).await;
                return Err(error);
            }
            engine.container(&self.container).await
        };
        match done.await {
            Ok(after) => {
                if let Some(after) = &after {
                    self.remember(after);
                }
                self.out_of_memory = false;
                self.state.port_taken = None;
                self.count_restart(cause_text.clone());
                if reason.counts() {
                    self.state.recent.push(clock::now_rfc3339());
                }
                let text = format!(
                    "restarted within {}: {cause_text} (restart {})",
                    Elapsed(began.elapsed()),
                    self.state.restarts
                );
                self.decided("restarted", text);
                Input::Restarted { run: self.run }
            }
            Err(Error::EngineGone { .. } | Error::EngineTimeout { .. } | Error::NoSuchObject { .. }) => {
                Input::RestartCancelled
            }
            Err(Error::PortInUse { address, port, .. }) => {
                let taken = self.who_has(&engine, address, port);
                let text = taken.to_string();
                self.state.port_taken = Some(taken);
                self.save();
                Input::PortTaken(text)
            }
            Err(error) => {
                if reason.counts() {
                    self.state.recent.push(clock::now_rfc3339());
                }
                Input::RestartFailed(error.with_causes(": "))
            }
        }
    }

    fn count_restart(&mut self, reason: String) {
        self.state.restarts += 1;
        self.state.last_restart = Some(LastRestart { at: clock::now_rfc3339(), reason });
    }

    /// Does what the user asked for while the engine was away. Tried again until a look finds that it does not run.
    async fn stop(&mut self, inputs: &mut VecDeque<Input>) {
        self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
        let (Some(_lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else { return };
        let recorded = desired_state::recorded(&self.instance.files.desired());
        let Ok(Some(detail)) = engine.container(&self.container).await else { return };
        if !recorded.is_ok_and(|recorded| recorded == self.recorded) || !self.is_ours(&detail) {
            return;
        }
        inputs.push_back(Input::Stopping);
        match stop::stop(self.instance, &engine, detail, STOP_GRACE).await {
            Ok(_) => self.decided("stopped", "stopped, as asked for while the engine was away".to_owned()),
            Err(error) => self.decided("stop_failed", error.with_causes(": ")),
        }
        inputs.push_back(Input::Touched);
    }

    /// Who has a port that the engine could not publish; an engine in another machine has its ports there.
    fn who_has(&self, engine: &Engine, address: String, port: u16) -> PortTaken {
        let port = self.publish.map_or(port, |publish| publish.port);
        let ip = address.parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
        let (holder, free_port) = match ports::state(ip, port) {
            PortState::Taken { holder, free_port } if engine.is_local() => (holder, free_port),
            _ => (None, ports::next_free(ip, port)),
        };
        PortTaken { address, port, holder, free_port }
    }

    async fn give_up(&mut self, reason: &RestartReason) {
        let (mut cause, mut log) = (reason.text(None), vec![]);
        if let Some(engine) = self.engine.clone() {
            if let Ok(Some(detail)) = engine.container(&self.container).await {
                cause = reason.text(Some(&exit_report(&detail)));
            }
            log = engine.log_tail(&self.container, LOG_LINES).await;
        }
        let limits = Limits::contract(self.instance.appliance.health.ready_timeout());
        let gave_up = GaveUp {
            at: clock::now_rfc3339(),
            cause,
            restarts: u32::try_from(limits.most_restarts).unwrap_or(u32::MAX),
            minutes: limits.within.as_secs() / 60,
            log,
        };
        let error = gave_up.error(&self.container);
        let text = format!("{error}: {}", gave_up.cause);
        self.state.gave_up = Some(gave_up);
        self.decided("gave_up", text);
    }

    async fn set_policy_back(&mut self, from: &str) {
        let (Some(_lock), Some(engine)) = (self.instance_lock(), self.engine.clone()) else {
            self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
            return;
        };
        let text = match engine.set_policy_back(&self.container).await {
            Ok(()) => format!("the engine's restart policy was set to `{from}` outside docklet; it is `no` again"),
            Err(error) => format!(
                "the engine's restart policy was set to `{from}` outside docklet and could not be set back: {error}"
            ),
        };
        self.decided("policy_set_back", text);
    }

    fn adopt(&mut self, desired: DesiredState, text: String, inputs: &mut VecDeque<Input>) {
        let path = self.instance.files.desired();
        let lock = self.instance_lock();
        if lock.is_none() && !self.loading_rules {
            // Whatever that command is about, it knows better.
            inputs.push_back(Input::Lock(true));
            return;
        }
        if !desired_state::recorded(&path).is_ok_and(|recorded| recorded == self.recorded) {
            return;
        }
        if let Err(error) = desired_state::write(&path, desired) {
            self.decided("desired_not_kept", format!("{text}; it could not be written down: {error}"));
            return;
        }
        self.state_stamp = Stamp::of(&path);
        self.adopted = true;
        self.decided("adopted", text);
        if let Ok(recorded) = desired_state::recorded(&path) {
            self.state.begin_afresh(&recorded);
            self.recorded = recorded;
            self.save();
        }
        inputs.push_back(Input::Requested(desired));
    }
}

fn exit_report(detail: &Detail) -> ExitReport {
    ready::exit_report(detail, vec![])
}
