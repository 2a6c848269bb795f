//! How what happened changes what the policy knows. Says at most what is worth telling and what must be
//! looked at again; whether anything is done about it is decided elsewhere (`decide`).

use std::time::Duration;

use super::{
    Body, Link, Policy, Run,
    action::{Action, Note, Why},
    input::{Ending, Health, Input, Outside, Sight},
};
use crate::desired_state::DesiredState;

impl Policy {
    pub(super) fn take(&mut self, now: Duration, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Asked(wish) => self.asked(wish, actions),
            Input::Mode(mode) => {
                if self.mode != mode {
                    self.mode = mode;
                    self.look_again(actions);
                }
            }
            Input::Lock(held) => self.lock(held, actions),
            Input::EngineLost => {
                if !matches!(self.link, Link::Away { .. }) {
                    self.link = Link::Away { since: now };
                    // An engine that goes down stops its containers first, as if somebody had asked
                    // for it: what was about to settle was the engine's own end.
                    let settling = self.outside.is_some() || self.confirming.is_some() || now < self.hold_until;
                    if settling && matches!(self.body, Body::Ended) {
                        self.body = Body::Running(Run::new(0, now));
                        self.need = None;
                    }
                    self.forget_outside();
                    actions.push(Action::Tell(Note::EngineLost));
                }
            }
            Input::EngineBack => {
                if let Link::Away { since } = self.link {
                    let away = now.saturating_sub(since);
                    self.was_away = Some(away);
                    actions.push(Action::Tell(Note::EngineBack(away)));
                }
                self.link = Link::Here;
                if let Body::Running(run) = &mut self.body {
                    run.misses = 0;
                }
                self.next_inspect = now + self.limits.inspect_every;
                actions.push(Action::Inspect);
            }
            Input::Look(sight) => self.look(now, sight, actions),
            Input::EnginePolicy(policy) => {
                if policy != "no" && !self.locked {
                    actions.push(Action::SetPolicyBack { from: policy });
                }
            }
            Input::Died(ending) => self.died(now, ending, actions),
            Input::AskedToEnd => {
                self.asked_to_end = !self.locked && self.wish == DesiredState::Running && !self.stopped_by_us;
            }
            Input::EndedOutside(how) => {
                let by_us = self.stopped_by_us && how == Outside::Stopped;
                if !by_us && !self.locked && self.wish == DesiredState::Running && self.acting.is_none() {
                    self.outside = Some((now + self.limits.settle, how));
                }
            }
            Input::Started => self.started(now, actions),
            Input::Touched => actions.push(Action::Inspect),
            Input::Probed(health) => self.probed(now, health, actions),
            Input::Slept(time) => {
                self.grace_until = now + self.limits.awake_grace;
                if let Body::Running(run) = &mut self.body {
                    run.misses = 0;
                }
                if matches!(self.need, Some(Why::Hung(..))) {
                    self.need = None;
                }
                actions.push(Action::Tell(Note::Slept(time)));
                actions.push(Action::Inspect);
            }
            Input::Stopping => self.stopped_by_us = true,
            Input::Restarted { run } => {
                self.count(now);
                self.runs_again();
                self.need = None;
                self.asked_to_end = false;
                self.body = Body::Running(Run::new(run, now));
                self.next_probe = now + self.limits.probe_starting;
            }
            Input::RestartFailed(reason) => {
                self.count(now);
                self.announced = false;
                actions.push(Action::Tell(Note::RestartFailed(reason)));
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

    fn asked(&mut self, wish: DesiredState, actions: &mut Vec<Action>) {
        if wish != self.wish || self.gave_up {
            actions.push(Action::Tell(Note::Asked(wish)));
        }
        self.wish = wish;
        self.gave_up = false;
        self.attempts = 0;
        self.port_attempts = 0;
        self.port_holder = None;
        self.recent.clear();
        self.not_before = Duration::ZERO;
        self.forget_outside();
        self.need = None;
        self.look_again(actions);
    }

    fn lock(&mut self, held: bool, actions: &mut Vec<Action>) {
        if self.locked == held {
            return;
        }
        self.locked = held;
        actions.push(Action::Tell(Note::Locked(held)));
        self.forget_outside();
        if !held {
            // Whatever the command did, it is done: begin with a fresh look.
            self.need = None;
            if let Body::Running(run) = &mut self.body {
                run.misses = 0;
            }
            self.look_again(actions);
        }
    }

    /// What was known of an ended container may not hold any more.
    fn look_again(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.body, Body::Running(_)) {
            self.body = Body::Unknown;
        }
        actions.push(Action::Inspect);
    }

    fn forget_outside(&mut self) {
        self.outside = None;
        self.confirming = None;
        self.asked_to_end = false;
    }

    fn look(&mut self, now: Duration, sight: Sight, actions: &mut Vec<Action>) {
        self.looking = false;
        self.next_inspect = now + self.limits.inspect_every;
        let away = self.was_away.take();
        let confirming = self.confirming.take();
        let before = self.body.clone();
        match sight {
            Sight::Missing | Sight::Foreign | Sight::Paused => {
                let (body, note) = match sight {
                    Sight::Missing => (Body::Missing, Note::Missing),
                    Sight::Foreign => (Body::Foreign, Note::Foreign),
                    _ => (Body::Paused, Note::Paused),
                };
                if before != body && confirming.is_none() && !self.locked && self.wish == DesiredState::Running {
                    actions.push(Action::Tell(note));
                }
                self.body = body;
                self.need = None;
            }
            Sight::Running { run } => {
                if !matches!(&before, Body::Running(known) if known.id == run) {
                    self.body = Body::Running(Run::new(run, now));
                    self.next_probe = now;
                    self.need = None;
                    self.runs_again();
                }
                if !matches!(self.need, Some(Why::Hung(..))) {
                    self.need = None;
                }
            }
            Sight::Ended(ending) => {
                self.body = Body::Ended;
                let why = match (&before, away) {
                    (Body::Ended, _) if self.need.is_some() => None,
                    (Body::Running(_), Some(away)) if away >= Duration::from_secs(1) && ending.is_quiet() => {
                        Some(Why::EngineAway(away))
                    }
                    (Body::Running(_), Some(_)) => Some(self.why_ended(&ending)),
                    (Body::Running(_), None) => {
                        // The look overtook the events of this end: they say whether somebody asked for it.
                        self.hold_until = now + self.limits.settle;
                        Some(self.why_ended(&ending))
                    }
                    // It ended before, and that was judged then.
                    (Body::Ended, _) => None,
                    _ => Some(Why::NotRunning(ending.clone())),
                };
                if let Some(why) = why {
                    self.needs(why, &ending, actions);
                }
            }
        }
        let is_down = matches!(self.body, Body::Ended | Body::Missing);
        if let (Some(how), true, false) = (confirming, is_down, self.locked)
            && self.wish == DesiredState::Running
        {
            self.need = None;
            actions.push(Action::AdoptStop(how));
        }
    }

    fn needs(&mut self, why: Why, ending: &Ending, actions: &mut Vec<Action>) {
        if self.wish == DesiredState::Running && !self.locked && !self.gave_up && !self.heals(&why) {
            actions.push(Action::Tell(Note::LeftEnded(ending.clone(), self.mode)));
        }
        self.need = Some(why);
        self.announced = false;
    }

    fn died(&mut self, now: Duration, ending: Ending, actions: &mut Vec<Action>) {
        // An end that a look has just seen is judged now.
        let just_seen = self.body == Body::Ended && now < self.hold_until;
        if self.acting.is_some() || !(just_seen || matches!(self.body, Body::Running(_) | Body::Unknown | Body::Paused))
        {
            return;
        }
        self.body = Body::Ended;
        // Whether that was `docker stop` is known only when the engine says so, right after.
        self.hold_until = if self.asked_to_end { now + self.limits.settle } else { now };
        self.asked_to_end = false;
        self.needs(self.why_ended(&ending), &ending, actions);
    }

    /// An end that we asked for says nothing about what the setting lets be.
    fn why_ended(&self, ending: &Ending) -> Why {
        if self.stopped_by_us { Why::NotRunning(ending.clone()) } else { Why::Ended(ending.clone()) }
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
        let known = matches!(&self.body, Body::Running(run) if now.saturating_sub(run.since) < self.limits.settle);
        self.forget_outside();
        self.runs_again();
        self.need = None;
        if !known {
            self.body = Body::Running(Run::new(0, now));
            self.next_probe = now + self.limits.probe_starting;
            // Its run is not known yet.
            actions.push(Action::Inspect);
        }
        if !self.locked && (self.wish == DesiredState::Stopped || self.gave_up) {
            actions.push(Action::AdoptStart);
        }
    }

    fn probed(&mut self, now: Duration, health: Health, actions: &mut Vec<Action>) {
        self.probing = false;
        let limits = self.limits;
        let counts = !self.locked && self.link == Link::Here && now >= self.grace_until;
        let Body::Running(run) = &mut self.body else { return };
        match health {
            Health::Good => {
                if !run.answered {
                    actions.push(Action::Tell(Note::Answers(now.saturating_sub(run.since))));
                } else if run.misses > 0 || run.refused {
                    actions.push(Action::Tell(Note::AnswersAgain));
                }
                run.answered = true;
                run.misses = 0;
                run.refused = false;
                let since = *run.healthy_since.get_or_insert(now);
                if now.saturating_sub(since) >= limits.healthy_after {
                    self.attempts = 0;
                    self.not_before = Duration::ZERO;
                }
                if matches!(self.need, Some(Why::Hung(..))) {
                    self.need = None;
                }
            }
            Health::Refused => {
                run.healthy_since = None;
                run.misses = 0;
                run.answered = true;
                if !run.refused {
                    actions.push(Action::Tell(Note::Refused));
                }
                run.refused = true;
            }
            Health::Bad(seen) => {
                run.healthy_since = None;
                if counts && (run.answered || now.saturating_sub(run.since) >= limits.start_period) {
                    run.misses += 1;
                    actions.push(Action::Tell(Note::Missed(run.misses, seen.clone())));
                    if run.misses >= limits.misses && !matches!(self.need, Some(Why::Hung(..))) {
                        self.need = Some(Why::Hung(run.misses, seen));
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
        if self.acting.take().is_some_and(|why| why.counts()) {
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
            actions.push(Action::Tell(Note::PortTaken(holder.clone())));
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
