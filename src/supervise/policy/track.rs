//! How what happened changes what the policy knows. Says at most what is worth telling and what must be
//! looked at again; whether anything is done about it is decided elsewhere (`decide`).

use std::time::Duration;

use super::{
    EngineConnection, Policy, Tracked, TrackedRun,
    action::{Action, LogEntry, RestartReason},
    input::{ContainerState, ExitStatus, Input, Outside, PageHealth},
};
use crate::desired_state::DesiredState;

impl Policy {
    pub(super) fn take(&mut self, now: Duration, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Requested(desired) => self.requested(desired, actions),
            Input::Mode(mode) => {
                if self.mode != mode {
                    self.mode = mode;
                    self.inspect_again(actions);
                }
            }
            Input::Lock(held) => self.lock(held, actions),
            Input::EngineLost => {
                if !matches!(self.connection, EngineConnection::Down { .. }) {
                    self.connection = EngineConnection::Down { since: now };
                    // An engine that goes down stops its containers first, as if somebody had asked
                    // for it: what was about to settle was the engine's own end.
                    let settling = self.outside.is_some() || self.confirming.is_some() || now < self.hold_until;
                    if settling && matches!(self.container, Tracked::Ended) {
                        self.container = Tracked::Running(TrackedRun::new(0, now));
                        self.need = None;
                    }
                    self.forget_outside();
                    actions.push(Action::Log(LogEntry::EngineLost));
                }
            }
            Input::EngineBack => {
                if let EngineConnection::Down { since } = self.connection {
                    let away = now.saturating_sub(since);
                    self.was_away = Some(away);
                    actions.push(Action::Log(LogEntry::EngineBack(away)));
                }
                self.connection = EngineConnection::Up;
                if let Tracked::Running(run) = &mut self.container {
                    run.misses = 0;
                }
                self.next_inspect = now + self.limits.inspect_every;
                actions.push(Action::Inspect);
            }
            Input::Inspected(state) => self.inspected(now, state, actions),
            Input::EnginePolicy(policy) => {
                if policy != "no" && !self.locked {
                    actions.push(Action::SetPolicyBack { from: policy });
                }
            }
            Input::Died(status) => self.died(now, status, actions),
            Input::AskedToEnd => {
                self.asked_to_end = !self.locked && self.desired == DesiredState::Running && !self.stopped_by_us;
            }
            Input::EndedOutside(how) => {
                let by_us = self.stopped_by_us && how == Outside::Stopped;
                if !by_us && !self.locked && self.desired == DesiredState::Running && self.acting.is_none() {
                    self.outside = Some((now + self.limits.settle, how));
                }
            }
            Input::Started => self.started(now, actions),
            Input::Touched => actions.push(Action::Inspect),
            Input::Probed(health) => self.probed(now, health, actions),
            Input::Slept(time) => {
                self.grace_until = now + self.limits.awake_grace;
                if let Tracked::Running(run) = &mut self.container {
                    run.misses = 0;
                }
                if matches!(self.need, Some(RestartReason::Hung(..))) {
                    self.need = None;
                }
                actions.push(Action::Log(LogEntry::Slept(time)));
                actions.push(Action::Inspect);
            }
            Input::Stopping => self.stopped_by_us = true,
            Input::Restarted { run } => {
                self.count(now);
                self.runs_again();
                self.need = None;
                self.asked_to_end = false;
                self.container = Tracked::Running(TrackedRun::new(run, now));
                self.next_probe = now + self.limits.probe_starting;
            }
            Input::RestartFailed(reason) => {
                self.count(now);
                self.announced = false;
                actions.push(Action::Log(LogEntry::RestartFailed(reason)));
                actions.push(Action::Inspect);
            }
            Input::PortTaken(holder) => self.port_taken(now, holder, actions),
            Input::RestartCancelled => {
                self.acting = None;
                self.not_before = self.not_before.max(now + self.limits.backoff_first);
                actions.push(Action::Inspect);
            }
        }
    }

    fn requested(&mut self, desired: DesiredState, actions: &mut Vec<Action>) {
        if desired != self.desired || self.gave_up {
            actions.push(Action::Log(LogEntry::Requested(desired)));
        }
        self.desired = desired;
        self.owes_stop = desired == DesiredState::Stopped && self.connection != EngineConnection::Up;
        self.gave_up = false;
        self.attempts = 0;
        self.port_attempts = 0;
        self.port_holder = None;
        self.recent.clear();
        self.not_before = Duration::ZERO;
        self.forget_outside();
        self.need = None;
        self.inspect_again(actions);
    }

    fn lock(&mut self, held: bool, actions: &mut Vec<Action>) {
        if self.locked == held {
            return;
        }
        self.locked = held;
        actions.push(Action::Log(LogEntry::Locked(held)));
        self.forget_outside();
        if !held {
            // Whatever the command did, it is done: begin with a fresh look.
            self.need = None;
            if let Tracked::Running(run) = &mut self.container {
                run.misses = 0;
            }
            self.inspect_again(actions);
        }
    }

    /// What was known of an ended container may not hold any more.
    fn inspect_again(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.container, Tracked::Running(_)) {
            self.container = Tracked::Unknown;
        }
        actions.push(Action::Inspect);
    }

    fn forget_outside(&mut self) {
        self.outside = None;
        self.confirming = None;
        self.asked_to_end = false;
    }

    fn inspected(&mut self, now: Duration, state: ContainerState, actions: &mut Vec<Action>) {
        self.looking = false;
        self.next_inspect = now + self.limits.inspect_every;
        let away = self.was_away.take();
        let confirming = self.confirming.take();
        let before = self.container.clone();
        match state {
            ContainerState::Running { .. } | ContainerState::Paused if !self.owes_stop => {}
            ContainerState::Running { .. } | ContainerState::Paused if self.locked => {}
            ContainerState::Running { .. } | ContainerState::Paused => actions.push(Action::Stop),
            _ => self.owes_stop = false,
        }
        match state {
            ContainerState::Missing | ContainerState::Foreign | ContainerState::Paused => {
                let (found, entry) = match state {
                    ContainerState::Missing => (Tracked::Missing, LogEntry::Missing),
                    ContainerState::Foreign => (Tracked::Foreign, LogEntry::Foreign),
                    _ => (Tracked::Paused, LogEntry::Paused),
                };
                if before != found && confirming.is_none() && !self.locked && self.desired == DesiredState::Running {
                    actions.push(Action::Log(entry));
                }
                self.container = found;
                self.need = None;
            }
            ContainerState::Running { run } => {
                if !matches!(&before, Tracked::Running(known) if known.id == run) {
                    self.container = Tracked::Running(TrackedRun::new(run, now));
                    self.next_probe = now;
                    self.overtaken(actions);
                    self.runs_again();
                }
                if !matches!(self.need, Some(RestartReason::Hung(..))) {
                    self.need = None;
                }
            }
            ContainerState::Ended(status) => {
                self.container = Tracked::Ended;
                let reason = match (&before, away) {
                    (Tracked::Ended, _) if self.need.is_some() => None,
                    (Tracked::Running(_), Some(away)) if away >= Duration::from_secs(1) && status.is_quiet() => {
                        Some(RestartReason::EngineAway(away))
                    }
                    (Tracked::Running(_), Some(_)) => Some(self.why_ended(&status)),
                    (Tracked::Running(_), None) => {
                        // The look overtook the events of this end: they say whether somebody asked for it.
                        self.hold_until = now + self.limits.settle;
                        Some(self.why_ended(&status))
                    }
                    // It ended before, and that was judged then.
                    (Tracked::Ended, _) => None,
                    _ => Some(RestartReason::NotRunning(status.clone())),
                };
                if let Some(reason) = reason {
                    self.needs(reason, &status, actions);
                }
            }
        }
        let is_down = matches!(self.container, Tracked::Ended | Tracked::Missing);
        if let (Some(how), true, false) = (confirming, is_down, self.locked)
            && self.desired == DesiredState::Running
        {
            self.need = None;
            actions.push(Action::AdoptStop(how));
        }
    }

    fn needs(&mut self, reason: RestartReason, status: &ExitStatus, actions: &mut Vec<Action>) {
        if self.desired == DesiredState::Running && !self.locked && !self.gave_up && !self.heals(&reason) {
            actions.push(Action::Log(LogEntry::LeftEnded(status.clone(), self.mode)));
        }
        self.need = Some(reason);
        self.announced = false;
    }

    fn died(&mut self, now: Duration, status: ExitStatus, actions: &mut Vec<Action>) {
        // An end that a look has just seen is judged now.
        let just_seen = self.container == Tracked::Ended && now < self.hold_until;
        if self.acting.is_some()
            || !(just_seen || matches!(self.container, Tracked::Running(_) | Tracked::Unknown | Tracked::Paused))
        {
            return;
        }
        self.container = Tracked::Ended;
        // Whether that was `docker stop` is known only when the engine says so, right after.
        self.hold_until = if self.asked_to_end { now + self.limits.settle } else { now };
        self.asked_to_end = false;
        self.needs(self.why_ended(&status), &status, actions);
    }

    /// An end that we asked for says nothing about what the setting lets be.
    fn why_ended(&self, status: &ExitStatus) -> RestartReason {
        if self.stopped_by_us {
            RestartReason::NotRunning(status.clone())
        } else {
            RestartReason::Ended(status.clone())
        }
    }

    /// What waits for a restart, and was told, runs: something else has started it.
    fn overtaken(&mut self, actions: &mut Vec<Action>) {
        if let Some(reason) = self.need.take()
            && self.announced
            && !self.locked
        {
            actions.push(Action::TellRestart(reason));
        }
    }

    fn runs_again(&mut self) {
        self.stopped_by_us = false;
        self.port_attempts = 0;
        self.port_holder = None;
    }

    fn started(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.acting.is_some() {
            return;
        }
        let known =
            matches!(&self.container, Tracked::Running(run) if now.saturating_sub(run.since) < self.limits.settle);
        self.forget_outside();
        self.overtaken(actions);
        self.runs_again();
        self.owes_stop = false;
        if !known {
            self.container = Tracked::Running(TrackedRun::new(0, now));
            self.next_probe = now + self.limits.probe_starting;
            // Its run is not known yet.
            actions.push(Action::Inspect);
        }
        if !self.locked && (self.desired == DesiredState::Stopped || self.gave_up) {
            actions.push(Action::AdoptStart);
        }
    }

    fn probed(&mut self, now: Duration, health: PageHealth, actions: &mut Vec<Action>) {
        self.probing = false;
        let limits = self.limits;
        let counts = !self.locked && self.connection == EngineConnection::Up && now >= self.grace_until;
        let Tracked::Running(run) = &mut self.container else { return };
        match health {
            PageHealth::Good => {
                if !run.answered {
                    actions.push(Action::Log(LogEntry::Answers(now.saturating_sub(run.since))));
                } else if run.misses > 0 || run.refused {
                    actions.push(Action::Log(LogEntry::AnswersAgain));
                }
                run.answered = true;
                run.misses = 0;
                run.refused = false;
                let since = *run.healthy_since.get_or_insert(now);
                if now.saturating_sub(since) >= limits.healthy_after {
                    self.attempts = 0;
                    self.not_before = Duration::ZERO;
                }
                if matches!(self.need, Some(RestartReason::Hung(..))) {
                    self.need = None;
                }
            }
            PageHealth::Refused => {
                run.healthy_since = None;
                run.misses = 0;
                run.answered = true;
                if !run.refused {
                    actions.push(Action::Log(LogEntry::Refused));
                }
                run.refused = true;
            }
            PageHealth::Bad(seen) => {
                run.healthy_since = None;
                if counts && (run.answered || now.saturating_sub(run.since) >= limits.start_period) {
                    run.misses += 1;
                    actions.push(Action::Log(LogEntry::Missed(run.misses, seen.clone())));
                    if run.misses >= limits.misses && !matches!(self.need, Some(RestartReason::Hung(..))) {
                        self.need = Some(RestartReason::Hung(run.misses, seen));
                        self.announced = false;
                    }
                }
            }
        }
        let starting = !run.answered && now.saturating_sub(run.since) < limits.start_period;
        self.next_probe = now + if starting { limits.probe_starting } else { limits.probe_every };
    }

    /// A restart was done or tried.
    fn count(&mut self, now: Duration) {
        if self.acting.take().is_some_and(|reason| reason.counts()) {
            self.recent.push_back(now);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.wait(now, self.attempts);
    }

    /// The port is somebody else's. That says nothing about the appliance: it is tried for as long as it takes, and does
    /// not count towards giving up.
    fn port_taken(&mut self, now: Duration, holder: String, actions: &mut Vec<Action>) {
        self.acting = None;
        self.port_attempts = self.port_attempts.saturating_add(1);
        self.wait(now, self.port_attempts);
        // The note below says it, once for each holder.
        self.announced = true;
        if self.port_holder.as_ref() != Some(&holder) {
            actions.push(Action::Log(LogEntry::PortTaken(holder.clone())));
            self.port_holder = Some(holder);
        }
        actions.push(Action::Inspect);
    }

    /// Lets the pause begin that follows so many attempts in a row.
    fn wait(&mut self, now: Duration, attempts: u32) {
        let pause = self.limits.backoff(attempts);
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        // Up to a quarter longer, so that many machines do not all come at the same moment.
        let jitter = pause.mul_f64((self.dice % 1000) as f64 / 4000.0);
        self.not_before = now + (pause + jitter).min(self.limits.backoff_most);
    }
}
