//! When to restart, when to wait, when to give up: a state machine fed with what happened and the
//! time, which says what to do. Pure: no I/O, no clock, no randomness but the seed that it is given.
//! Whoever runs it (`run`) does what it says and reports back what came of it.
//!
//! Times are durations since any fixed moment; they must not run while the machine sleeps.

use std::{collections::VecDeque, time::Duration};

use crate::{error::ExitReport, settings::RestartPolicy, units::Elapsed, wish::Wish};

#[cfg(test)]
mod tests;

/// The numbers (contract, section 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Time between two probes of the page.
    pub probe_every: Duration,
    /// The same while a start has not been answered yet.
    pub probe_starting: Duration,
    /// So many misses in a row make a restart.
    pub misses: u32,
    /// How long after a start misses do not count, unless the page has answered before.
    pub start_period: Duration,
    /// The pause before the second restart; it doubles with each.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_most: Duration,
    /// After so long healthy, the next restart is a first one again.
    pub healthy_after: Duration,
    /// So many restarts …
    pub most_restarts: usize,
    /// … within this time are enough.
    pub within: Duration,
    /// How long to wait for the engine to say whether somebody asked for an end, and whether a
    /// start follows it.
    pub settle: Duration,
    /// After the machine slept, misses do not count for this long.
    pub awake_grace: Duration,
    /// Time between two looks at the container when nothing happens: finds what no event told.
    pub inspect_every: Duration,
}

impl Limits {
    /// The contract's numbers, and how long this appliance may take to start.
    pub fn contract(ready_timeout: Duration) -> Self {
        let seconds = Duration::from_secs;
        Limits {
            probe_every: seconds(10),
            probe_starting: seconds(1),
            misses: 3,
            start_period: ready_timeout,
            backoff_first: seconds(1),
            backoff_most: seconds(60),
            healthy_after: seconds(300),
            most_restarts: 5,
            within: seconds(600),
            settle: seconds(2),
            awake_grace: seconds(15),
            inspect_every: seconds(300),
        }
    }

    /// The shortest pause after so many restarts in a row.
    pub fn backoff(&self, restarts: u32) -> Duration {
        match restarts {
            0 => Duration::ZERO,
            n => self.backoff_first.saturating_mul(1 << (n - 1).min(20)).min(self.backoff_most),
        }
    }
}

/// What is seen of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// There is none of that name.
    Missing,
    /// There is one, and it is not ours.
    Foreign,
    /// It is paused.
    Paused,
    /// It runs.
    Running {
        /// Tells one run from another: when it began, by the engine's clock.
        run: i128,
    },
    /// It ended, or has never run.
    Ended(Ending),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Exit code; `None` when it never ran.
    pub code: Option<i64>,
    /// The engine's out-of-memory flag.
    pub out_of_memory: bool,
}

impl Ending {
    /// As the program ends by itself when it is asked to or everything around it goes down; says
    /// nothing about a fault of its own.
    fn is_quiet(&self) -> bool {
        !self.out_of_memory && matches!(self.code, None | Some(0 | 137 | 143 | 255))
    }
}

/// What the page said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Good,
    /// It does not, or not as it should; how.
    Bad(String),
    /// It refuses our own password: a restart does not heal that.
    Refused,
}

/// How somebody ended it past docklet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// `docker stop`
    Stopped,
    /// `docker rm`
    Removed,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Nothing but that time went by.
    Tick,
    /// The user said, just now or before the supervisor began, what is wanted. Begins afresh.
    Asked(Wish),
    /// The setting.
    Mode(RestartPolicy),
    /// Another docklet command took (`true`) or released the instance's lock.
    Lock(bool),
    /// The engine cannot be reached.
    EngineLost,
    /// It can.
    EngineBack,
    /// The engine was asked for the container.
    Look(Sight),
    /// The engine says that the container's restart policy is this.
    EnginePolicy(String),
    /// The engine tells that the container ended.
    Died(Ending),
    /// Somebody sent it the signal that asks it to end.
    AskedToEnd,
    /// Somebody stopped or removed it.
    EndedOutside(Outside),
    /// It was started, not by us.
    Started,
    /// Something else happened to it: paused, renamed, changed.
    Touched,
    /// The page was probed.
    Probed(Health),
    /// The machine slept.
    Slept(Duration),
    /// [`Action::Restart`] was done.
    Restarted {
        /// The new run.
        run: i128,
    },
    /// It was tried and failed.
    RestartFailed(String),
    /// It was not even tried: something came in between.
    RestartCancelled,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the engine for the container, and hand in [`Input::Look`].
    Inspect,
    /// Probe the page, and hand in [`Input::Probed`].
    Probe,
    /// Start the container, after stopping it when it runs; hand in what came of it.
    Restart(Why),
    /// Remember that it is of no use.
    GiveUp(Why),
    /// Set the engine's restart policy to `no` again.
    SetPolicyBack {
        /// What somebody made it.
        from: String,
    },
    /// Somebody ended it past docklet: take that as the user's wish.
    AdoptStop(Outside),
    /// Somebody started it past docklet: take that as the user's wish.
    AdoptStart,
    /// Say so.
    Tell(Note),
}

/// Why a restart is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It ended.
    Ended(Ending),
    /// The page did not answer so many times in a row; what was seen last.
    Hung(u32, String),
    /// The engine was away for so long, and the container with it.
    EngineAway(Duration),
    /// It was not running when it was looked for.
    NotRunning(Ending),
}

impl Why {
    /// Whether such a restart counts towards giving up. That the engine was away says nothing
    /// about the appliance.
    pub fn counts(&self) -> bool {
        !matches!(self, Why::EngineAway(_))
    }

    /// The reason for people; `exit` knows more about an end than the state machine.
    pub fn text(&self, exit: Option<&ExitReport>) -> String {
        let cause = |ending: &Ending| match exit {
            Some(report) => report.cause(),
            None => match ending {
                Ending { out_of_memory: true, .. } => "killed: out of memory".to_owned(),
                Ending { code: Some(code), .. } => format!("exited with code {code}"),
                Ending { code: None, .. } => "never ran".to_owned(),
            },
        };
        match self {
            Why::Ended(ending) => cause(ending),
            Why::Hung(times, seen) => format!("page did not answer {times} times ({seen})"),
            Why::EngineAway(time) => format!("engine was away for {}", Elapsed(*time)),
            Why::NotRunning(Ending { code: None, .. }) => "was not running".to_owned(),
            Why::NotRunning(ending) => format!("was not running ({})", cause(ending)),
        }
    }
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The page answers, so long after the start.
    Answers(Duration),
    /// The page answers again after misses.
    AnswersAgain,
    /// A miss that counts: how many in a row, and what was seen.
    Missed(u32, String),
    /// The page refuses our password.
    Refused,
    /// A restart has to wait.
    Waiting(Why, Duration),
    /// It ended and is left so, by the setting.
    LeftEnded(Ending, RestartPolicy),
    /// The restart failed.
    RestartFailed(String),
    /// The engine cannot be reached.
    EngineLost,
    /// It can again, after so long.
    EngineBack(Duration),
    /// There is no container.
    Missing,
    /// A container with our name is not ours.
    Foreign,
    /// It is paused.
    Paused,
    /// The machine slept.
    Slept(Duration),
    /// Another command is at work, or has ended.
    Locked(bool),
    /// The user wants this.
    Asked(Wish),
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Unknown,
    Missing,
    Foreign,
    Paused,
    Running(Run),
    Ended,
}

#[derive(Debug, Clone, PartialEq)]
struct Run {
    id: i128,
    since: Duration,
    answered: bool,
    misses: u32,
    healthy_since: Option<Duration>,
    refused: bool,
}

impl Run {
    fn new(id: i128, since: Duration) -> Self {
        Run { id, since, answered: false, misses: 0, healthy_since: None, refused: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    /// Not reached yet.
    New,
    Here,
    Away {
        since: Duration,
    },
}

/// What was before this supervisor, from its state file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// How long ago each counted restart was, oldest first.
    pub restarts: Vec<Duration>,
    /// Whether it gave up.
    pub gave_up: bool,
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Policy {
    limits: Limits,
    mode: RestartPolicy,
    wish: Wish,
    locked: bool,
    link: Link,
    was_away: Option<Duration>,
    body: Body,
    need: Option<Why>,
    /// The need was said to be waiting.
    announced: bool,
    /// A restart is under way.
    acting: Option<Why>,
    attempts: u32,
    not_before: Duration,
    recent: VecDeque<Duration>,
    gave_up: bool,
    asked_to_end: bool,
    hold_until: Duration,
    outside: Option<(Duration, Outside)>,
    confirming: Option<Outside>,
    probing: bool,
    next_probe: Duration,
    grace_until: Duration,
    next_inspect: Duration,
    dice: u64,
}

impl Policy {
    /// A new one. Feed it [`Input::Asked`] only when the user says something new: `wish` is what
    /// held before.
    pub fn new(limits: Limits, mode: RestartPolicy, wish: Wish, past: &Past, now: Duration, seed: u64) -> Self {
        let recent: VecDeque<Duration> =
            past.restarts.iter().filter(|ago| **ago < limits.within).map(|ago| now.saturating_sub(*ago)).collect();
        let attempts = u32::try_from(recent.len()).unwrap_or(u32::MAX);
        let last = past.restarts.last().map_or(Duration::ZERO, |ago| now.saturating_sub(*ago));
        Policy {
            not_before: last + limits.backoff(attempts),
            attempts,
            recent,
            gave_up: past.gave_up,
            limits,
            mode,
            wish,
            locked: false,
            link: Link::New,
            was_away: None,
            body: Body::Unknown,
            need: None,
            announced: false,
            acting: None,
            asked_to_end: false,
            hold_until: Duration::ZERO,
            outside: None,
            confirming: None,
            probing: false,
            next_probe: Duration::ZERO,
            grace_until: Duration::ZERO,
            next_inspect: Duration::MAX,
            dice: seed | 1,
        }
    }

    /// What is wanted, as far as it knows.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    /// Whether it gave up.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether it believes that another command holds the lock.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// When it wants to be fed [`Input::Tick`] at the latest.
    pub fn wake_at(&self) -> Duration {
        let mut at = Duration::MAX;
        if let Some((due, _)) = self.outside {
            at = at.min(due);
        }
        if self.may_restart() && self.need.as_ref().is_some_and(|why| self.heals(why)) {
            at = at.min(self.not_before.max(self.hold_until));
        }
        if self.may_probe() {
            at = at.min(self.next_probe);
        }
        if self.link == Link::Here && !self.locked {
            at = at.min(self.next_inspect);
        }
        at
    }

    /// Takes note of what happened, and says what to do about it, in order.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Action> {
        let mut actions = vec![];
        self.take(now, input, &mut actions);
        self.decide(now, &mut actions);
        let mut inspects = 0;
        actions.retain(|action| {
            inspects += usize::from(*action == Action::Inspect);
            *action != Action::Inspect || inspects == 1
        });
        actions
    }

    fn take(&mut self, now: Duration, input: Input, actions: &mut Vec<Action>) {
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
                self.asked_to_end = !self.locked && self.wish == Wish::Running && self.acting.is_none();
            }
            Input::EndedOutside(how) => {
                if !self.locked && self.wish == Wish::Running && self.acting.is_none() {
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
            Input::Restarted { run } => {
                self.count(now);
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
            Input::RestartCancelled => {
                self.acting = None;
                self.not_before = self.not_before.max(now + self.limits.backoff_first);
                actions.push(Action::Inspect);
            }
        }
    }

    fn asked(&mut self, wish: Wish, actions: &mut Vec<Action>) {
        if wish != self.wish || self.gave_up {
            actions.push(Action::Tell(Note::Asked(wish)));
        }
        self.wish = wish;
        self.gave_up = false;
        self.attempts = 0;
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
                if before != body && confirming.is_none() && !self.locked && self.wish == Wish::Running {
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
                    (Body::Running(_), _) => Some(Why::Ended(ending.clone())),
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
            && self.wish == Wish::Running
        {
            self.need = None;
            actions.push(Action::AdoptStop(how));
        }
    }

    fn needs(&mut self, why: Why, ending: &Ending, actions: &mut Vec<Action>) {
        if self.wish == Wish::Running && !self.locked && !self.gave_up && !self.heals(&why) {
            actions.push(Action::Tell(Note::LeftEnded(ending.clone(), self.mode)));
        }
        self.need = Some(why);
        self.announced = false;
    }

    fn died(&mut self, now: Duration, ending: Ending, actions: &mut Vec<Action>) {
        if self.acting.is_some() || !matches!(self.body, Body::Running(_) | Body::Unknown | Body::Paused) {
            return;
        }
        self.body = Body::Ended;
        // Whether that was `docker stop` is known only when the engine says so, right after.
        self.hold_until = if self.asked_to_end { now + self.limits.settle } else { now };
        self.asked_to_end = false;
        self.needs(Why::Ended(ending.clone()), &ending, actions);
    }

    fn started(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.acting.is_some() {
            return;
        }
        let known = matches!(&self.body, Body::Running(run) if now.saturating_sub(run.since) < self.limits.settle);
        self.forget_outside();
        self.need = None;
        if !known {
            self.body = Body::Running(Run::new(0, now));
            self.next_probe = now + self.limits.probe_starting;
            // Its run is not known yet.
            actions.push(Action::Inspect);
        }
        if !self.locked && (self.wish == Wish::Stopped || self.gave_up) {
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

    /// Whether a restart of this kind is wanted by the setting.
    fn heals(&self, why: &Why) -> bool {
        match (self.mode, why) {
            (RestartPolicy::Always, _) => true,
            (RestartPolicy::Never, _) => false,
            // What went down with the engine or the machine did not end by its own decision.
            (RestartPolicy::OnFailure, Why::Hung(..) | Why::EngineAway(_) | Why::NotRunning(_)) => true,
            (RestartPolicy::OnFailure, Why::Ended(ending)) => ending.code != Some(0) || ending.out_of_memory,
        }
    }

    fn may_restart(&self) -> bool {
        self.acting.is_none()
            && self.wish == Wish::Running
            && !self.locked
            && !self.gave_up
            && self.link == Link::Here
            && self.outside.is_none()
            && self.confirming.is_none()
    }

    fn may_probe(&self) -> bool {
        matches!(self.body, Body::Running(_)) && self.may_restart() && !self.probing
    }

    /// A restart was done or tried.
    fn count(&mut self, now: Duration) {
        if self.acting.take().is_some_and(|why| why.counts()) {
            self.recent.push_back(now);
        }
        self.attempts = self.attempts.saturating_add(1);
        let pause = self.limits.backoff(self.attempts);
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        // Up to a quarter longer, so that many machines do not all come at the same moment.
        let jitter = pause.mul_f64((self.dice % 1000) as f64 / 4000.0);
        self.not_before = now + (pause + jitter).min(self.limits.backoff_most);
    }

    fn decide(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some((due, how)) = self.outside
            && now >= due
            && !self.locked
            && self.link == Link::Here
        {
            self.outside = None;
            self.confirming = Some(how);
            actions.push(Action::Inspect);
        }
        if self.may_restart()
            && let Some(why) = self.need.clone().filter(|why| self.heals(why))
            && now >= self.hold_until
        {
            self.recent.retain(|at| now.saturating_sub(*at) < self.limits.within);
            if why.counts() && self.recent.len() >= self.limits.most_restarts {
                self.gave_up = true;
                self.need = None;
                actions.push(Action::GiveUp(why));
            } else if now >= self.not_before {
                self.acting = Some(why.clone());
                actions.push(Action::Restart(why));
            } else if !self.announced {
                self.announced = true;
                actions.push(Action::Tell(Note::Waiting(why, self.not_before - now)));
            }
        }
        if self.may_probe() && now >= self.next_probe {
            self.probing = true;
            actions.push(Action::Probe);
        }
        if self.link == Link::Here && !self.locked && now >= self.next_inspect {
            self.next_inspect = now + self.limits.inspect_every;
            actions.push(Action::Inspect);
        }
    }
}
