//! Looks at the container and at its page, when the policy asks for it. Changes neither; the one thing
//! that it may begin is the job that finishes what a killed command left behind.

use std::{collections::VecDeque, time::Instant};

use super::{INSPECT_AGAIN, Supervisor, SupervisorMessage};
use crate::{
    desired::label,
    desired_state::DesiredState,
    engine::{Engine, container::Detail},
    host::tunnel::Tunnel,
    ops::Instance,
    probe::{self, Probe, Seen},
    secrets,
    supervise::{
        jobs::{self, Job},
        policy::{ContainerState, ExitStatus, Input},
    },
};

impl Supervisor<'_> {
    pub(super) async fn inspect(&mut self, inputs: &mut VecDeque<Input>) {
        self.inspect_at = None;
        let Some(engine) = &self.engine else { return };
        match engine.container(&self.container).await {
            Ok(detail) => {
                if self.recovers(&engine.clone(), detail.as_ref()).await {
                    return;
                }
                if let Some(detail) = &detail {
                    self.remember(detail);
                    if self.is_ours(detail) {
                        inputs.push_back(Input::EnginePolicy(detail.restart_policy.clone()));
                    }
                }
                inputs.push_back(Input::Inspected(self.container_state(detail.as_ref())));
            }
            // Should the engine be gone, the watcher says so; should it only be busy, ask again.
            Err(_) => self.inspect_at = Some(Instant::now() + INSPECT_AGAIN),
        }
    }

    /// Whether a killed command's work is being finished now, or will be. Nothing else is decided until it is.
    async fn recovers(&mut self, engine: &Engine, detail: Option<&Detail>) -> bool {
        let as_usual = detail.is_some_and(|d| !d.paused && !d.labels.contains_key(label::UNDO));
        if as_usual || self.policy.desired() != DesiredState::Running || self.command_at_work() {
            return false;
        }
        if !self.jobs.may_recover() {
            // What runs on data that is half taken back would lose what it writes, and a paused container is to stay as it is.
            self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
            return detail.is_some();
        }
        match jobs::left_behind(self.instance, engine, detail).await {
            Ok(true) => {
                self.run_job(Job::Recover);
                true
            }
            Ok(false) => false,
            Err(_) => {
                self.inspect_at = Some(Instant::now() + INSPECT_AGAIN);
                true
            }
        }
    }

    pub(super) fn is_ours(&self, detail: &Detail) -> bool {
        self.instance.owns(&detail.labels)
    }

    pub(super) fn remember(&mut self, detail: &Detail) {
        let run = detail.run.unwrap_or(0);
        if detail.running && run != self.run {
            self.run = run;
            // Whoever started it may not have loaded its rules.
            self.rules_at = Some(Instant::now()).filter(|_| detail.live.egress.has_rules() && self.is_ours(detail));
        }
        if detail.running && self.state.port_taken.take().is_some() {
            self.save();
        }
        self.publish = Some(detail.live.publish).filter(|publish| publish.port > 0);
    }

    fn container_state(&self, detail: Option<&Detail>) -> ContainerState {
        match detail {
            None => ContainerState::Missing,
            Some(detail) if !self.is_ours(detail) => ContainerState::Foreign,
            Some(detail) if detail.paused => ContainerState::Paused,
            Some(detail) if detail.running => ContainerState::Running { run: detail.run.unwrap_or(0) },
            Some(detail) => {
                ContainerState::Ended(ExitStatus { code: detail.exit_code, out_of_memory: detail.oom_killed })
            }
        }
    }

    /// Looks at the page beside everything else: a page that hangs takes its time.
    pub(super) fn probe(&self) {
        let sender = self.sender.clone();
        let login = &self.instance.appliance.login;
        // Read anew each time: it may have been rotated.
        let password = secrets::read(&self.instance.files.secrets(), &login.password_secret).ok().flatten();
        match (&self.publish, password) {
            (Some(publish), Some(password)) => {
                let Instance { appliance, files, .. } = self.instance;
                let selection = self.instance.selection();
                let probe = Probe::of(appliance, files, &selection, publish, &password).keeping_open();
                let remote = probe::tunnel(files, &selection, publish)
                    .zip(self.engine.as_ref())
                    .map(|(tunnel, engine)| (tunnel, Probe::inside(appliance, engine, &self.container, &password)));
                tokio::spawn(async move {
                    let seen = match remote {
                        Some((tunnel, inside)) => {
                            let (seen, fault) = check_tunnel(&tunnel, &probe, &inside).await;
                            let _ = sender.send(SupervisorMessage::Tunnel(fault));
                            seen
                        }
                        None => probe.check().await,
                    };
                    let _ = sender.send(SupervisorMessage::Probed(seen));
                });
            }
            // Nothing that a restart would heal.
            _ => drop(sender.send(SupervisorMessage::Probed(Seen::Unauthorized))),
        }
    }
}

/// Looks at a page behind a tunnel, and keeps that open; what is wrong with it. Only what is seen inside says how the page
/// is: no restart mends a network.
async fn check_tunnel(tunnel: &Tunnel, probe: &Probe, inside: &Probe) -> (Seen, Option<String>) {
    if tunnel.is_unwanted() {
        return (inside.check().await, None);
    }
    if probe.check().await == Seen::Works {
        return (Seen::Works, None);
    }
    if let seen @ (Seen::Silent { .. } | Seen::Wrong { .. } | Seen::Unauthorized) = inside.check().await {
        return (seen, None);
    }
    let fault = match probe.check().await {
        Seen::Works => None,
        seen => {
            // Whatever it leads to, it is not the page: the next look opens it anew.
            tunnel.close().await;
            Some(seen.to_string())
        }
    };
    (Seen::Works, fault)
}
