//! What is to be done about what the policy knows, and when: restart, wait, give up, probe, look again.
//! Learns nothing here; it only remembers what it decided.

use std::time::Duration;

use super::{
    EngineConnection, Policy, Tracked,
    action::{Action, LogEntry, RestartReason},
};
use crate::{desired_state::DesiredState, settings::RestartPolicy};

impl Policy {
    /// When it wants to be fed [`Input::Tick`](super::Input::Tick) at the latest.
    pub fn wake_at(&self) -> Duration {
        let mut at = Duration::MAX;
        if let Some((due, _)) = self.outside {
            at = at.min(due);
        }
        if self.may_restart() && self.need.as_ref().is_some_and(|reason| self.heals(reason)) {
            at = at.min(self.not_before.max(self.hold_until));
        }
        if self.may_probe() {
            at = at.min(self.next_probe);
        }
        if self.connection == EngineConnection::Up && !self.locked {
            at = at.min(self.next_inspect);
        }
        at
    }

    pub(super) fn decide(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some((due, how)) = self.outside
            && now >= due
            && !self.locked
            && self.connection == EngineConnection::Up
        {
            self.outside = None;
            self.confirming = Some(how);
            actions.push(Action::Inspect);
        }
        if self.may_restart()
            && let Some(reason) = self.need.clone().filter(|reason| self.heals(reason))
            && now >= self.hold_until
        {
            self.recent.retain(|at| now.saturating_sub(*at) < self.limits.within);
            if reason.counts() && self.recent.len() >= self.limits.most_restarts {
                self.gave_up = true;
                self.need = None;
                actions.push(Action::GiveUp(reason));
            } else if now >= self.not_before {
                self.acting = Some(reason.clone());
                actions.push(Action::Restart(reason));
            } else if !self.announced {
                self.announced = true;
                actions.push(Action::Log(LogEntry::Waiting(reason, self.not_before - now)));
            }
        }
        if self.may_probe() && now >= self.next_probe {
            self.probing = true;
            actions.push(Action::Probe);
        }
        if self.connection == EngineConnection::Up && !self.locked && now >= self.next_inspect {
            self.next_inspect = now + self.limits.inspect_every;
            actions.push(Action::Inspect);
        }
    }

    /// Whether a restart of this kind is wanted by the setting.
    pub(super) fn heals(&self, reason: &RestartReason) -> bool {
        match (self.mode, reason) {
            (RestartPolicy::Always, _) => true,
            (RestartPolicy::Never, _) => false,
            // What went down with the engine or the machine did not end by its own decision.
            (
                RestartPolicy::OnFailure,
                RestartReason::Hung(..) | RestartReason::EngineAway(_) | RestartReason::NotRunning(_),
            ) => true,
            (RestartPolicy::OnFailure, RestartReason::Ended(status)) => status.code != Some(0) || status.out_of_memory,
        }
    }

    fn may_restart(&self) -> bool {
        self.acting.is_none()
            && self.desired == DesiredState::Running
            && !self.locked
            && !self.gave_up
            && self.connection == EngineConnection::Up
            && self.outside.is_none()
            && self.confirming.is_none()
    }

    /// A probe carries the password: none is sent while it is not known whether the container still runs, for
    /// somebody else may have its port by now.
    fn may_probe(&self) -> bool {
        matches!(self.container, Tracked::Running(_)) && self.may_restart() && !self.probing && !self.looking
    }
}
