//! When to restart, when to wait, when to give up: a state machine fed with what happened and the
//! time, which says what to do. Pure: no I/O, no clock, no randomness but the seed that it is given.
//! Whoever runs it (`run`) does what it says and reports back what came of it.
//!
//! Times are durations since any fixed moment; they must not run while the machine sleeps.
//!
//! - `input`: what it is told; `action`: what it says; `limits`: the numbers
//! - `track`: how what happened changes what it knows; `decide`: what follows from that, and when

mod action;
mod decide;
mod input;
mod limits;
#[cfg(test)]
mod tests;
mod track;

use std::{collections::VecDeque, time::Duration};

pub use action::{Action, LogEntry, RestartReason};
pub use input::{ContainerState, ExitStatus, Input, Outside, PageHealth};
pub use limits::Limits;

use crate::{desired_state::DesiredState, settings::RestartPolicy};

#[derive(Debug, Clone, PartialEq)]
enum Tracked {
    Unknown,
    Missing,
    Foreign,
    Paused,
    Running(TrackedRun),
    Ended,
}

#[derive(Debug, Clone, PartialEq)]
struct TrackedRun {
    id: i128,
    since: Duration,
    answered: bool,
    misses: u32,
    healthy_since: Option<Duration>,
    refused: bool,
}

impl TrackedRun {
    fn new(id: i128, since: Duration) -> Self {
        TrackedRun { id, since, answered: false, misses: 0, healthy_since: None, refused: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum EngineConnection {
    /// Not reached yet.
    New,
    Up,
    Down {
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
    desired: DesiredState,
    locked: bool,
    connection: EngineConnection,
    was_away: Option<Duration>,
    container: Tracked,
    need: Option<RestartReason>,
    /// The need was said to be waiting.
    announced: bool,
    /// A restart is under way.
    acting: Option<RestartReason>,
    attempts: u32,
    /// So many attempts in a row found the port taken; who had it last.
    port_attempts: u32,
    port_holder: Option<String>,
    /// We asked it to end, because its page hung, and it has not run again since.
    stopped_by_us: bool,
    /// It is being looked at: until the answer is there, nobody knows whether it still runs.
    looking: bool,
    not_before: Duration,
    recent: VecDeque<Duration>,
    gave_up: bool,
    asked_to_end: bool,
    /// The user wanted it stopped while the engine was away: it may still run when the engine is back (live-restore).
    owes_stop: bool,
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
    /// A new one. Feed it [`Input::Requested`] only when the user says something new: `desired` is what held
    /// before.
    pub fn new(
        limits: Limits,
        mode: RestartPolicy,
        desired: DesiredState,
        past: &Past,
        now: Duration,
        seed: u64,
    ) -> Self {
        let recent: VecDeque<Duration> =
            past.restarts.iter().filter(|ago| **ago < limits.within).map(|ago| now.saturating_sub(*ago)).collect();
        let attempts = u32::try_from(recent.len()).unwrap_or(u32::MAX);
        let last = past.restarts.last().map_or(Duration::ZERO, |ago| now.saturating_sub(*ago));
        Policy {
            not_before: last + limits.backoff(attempts),
            attempts,
            port_attempts: 0,
            port_holder: None,
            stopped_by_us: false,
            looking: false,
            recent,
            gave_up: past.gave_up,
            limits,
            mode,
            desired,
            locked: false,
            connection: EngineConnection::New,
            was_away: None,
            container: Tracked::Unknown,
            need: None,
            announced: false,
            acting: None,
            asked_to_end: false,
            owes_stop: false,
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
    pub fn desired(&self) -> DesiredState {
        self.desired
    }

    /// Whether it gave up.
    #[cfg(test)]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether it is still to look whether it has to stop the container.
    pub fn owes_stop(&self) -> bool {
        self.owes_stop
    }

    /// Whether it believes that another command holds the lock.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Takes note of what happened, and says what to do about it, in order.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Action> {
        let mut actions = vec![];
        self.take(now, input, &mut actions);
        self.looking |= actions.contains(&Action::Inspect);
        self.decide(now, &mut actions);
        self.looking |= actions.contains(&Action::Inspect);
        let mut inspects = 0;
        actions.retain(|action| {
            inspects += usize::from(*action == Action::Inspect);
            *action != Action::Inspect || inspects == 1
        });
        actions
    }
}
