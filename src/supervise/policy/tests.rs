//! The state machine driven through simulated time: a small world that does what it says and
//! answers truthfully, an oracle beside it that holds the laws, and days that pass in milliseconds.
#![allow(clippy::unwrap_used)]

mod engine_away;
mod histories;
mod lifetime;
mod other_commands;
mod restarts;

use super::*;

const S: Duration = Duration::from_secs(1);
const MIN: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits::contract(Duration::from_secs(120))
}

/// What the container really is.
#[derive(Debug, Clone, PartialEq)]
enum Truth {
    Gone,
    Ended(i64),
    Running { answers: bool },
}

/// A world with one container, and the laws.
struct World {
    policy: Policy,
    now: Duration,
    truth: Truth,
    run: i128,
    engine: bool,
    locked: bool,
    desired: DesiredState,
    /// A start fails while this holds.
    broken: bool,
    /// A start fails while somebody has the port; who.
    port_taken: Option<String>,
    port_attempts: Vec<Duration>,
    /// It dies so long after each start.
    dies_after: Option<Duration>,
    started_at: Duration,
    // The oracle's own books.
    restarts: Vec<(Duration, RestartReason)>,
    in_a_row: u32,
    last_act: Option<Duration>,
    healthy_since: Option<Duration>,
    gave_up: bool,
    told: Vec<LogEntry>,
    adopted: Vec<Outside>,
    /// Restarts that something else made.
    others: Vec<RestartReason>,
    set_back: Vec<String>,
}

impl World {
    fn new(mode: RestartPolicy) -> Self {
        World::with(mode, Truth::Running { answers: true })
    }

    /// As the supervisor finds it when it begins.
    fn with(mode: RestartPolicy, truth: Truth) -> Self {
        let now = 1000 * S;
        let policy = Policy::new(limits(), mode, DesiredState::Running, &Past::default(), now, 7);
        let mut world = World {
            policy,
            now,
            truth,
            run: 1,
            engine: true,
            locked: false,
            desired: DesiredState::Running,
            broken: false,
            port_taken: None,
            port_attempts: vec![],
            dies_after: None,
            started_at: now,
            restarts: vec![],
            in_a_row: 0,
            last_act: None,
            healthy_since: None,
            gave_up: false,
            told: vec![],
            adopted: vec![],
            others: vec![],
            set_back: vec![],
        };
        world.feed(Input::EngineBack);
        world
    }

    fn feed(&mut self, input: Input) {
        if let Input::Requested(_) = input {
            (self.in_a_row, self.gave_up, self.last_act) = (0, false, None);
            self.restarts.clear();
        }
        for action in self.policy.handle(self.now, input) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Inspect if self.engine => {
                let seen = match self.truth {
                    Truth::Gone => ContainerState::Missing,
                    Truth::Ended(code) => ContainerState::Ended(ExitStatus { code: Some(code), out_of_memory: false }),
                    Truth::Running { .. } => ContainerState::Running { run: self.run },
                };
                self.feed(Input::Inspected(seen));
            }
            Action::Inspect => {}
            Action::Probe => {
                assert!(self.engine, "probed without an engine");
                let good = self.truth == Truth::Running { answers: true };
                if good {
                    let since = *self.healthy_since.get_or_insert(self.now);
                    if self.now - since >= limits().healthy_after {
                        (self.in_a_row, self.last_act) = (0, None);
                    }
                } else {
                    self.healthy_since = None;
                }
                self.feed(Input::Probed(if good {
                    PageHealth::Good
                } else {
                    PageHealth::Bad("nothing within 3 s".into())
                }));
            }
            Action::Restart(reason) => self.restart(reason),
            Action::TellRestart(reason) => self.others.push(reason),
            Action::Stop => {
                assert!(
                    self.engine && !self.locked,
                    "stopped without an engine, or while another command held the lock"
                );
                assert_eq!(self.desired, DesiredState::Stopped, "stopped against the user's request");
                self.feed(Input::Stopping);
                self.truth = Truth::Ended(143);
                self.tells_of_the_stop(true);
                self.feed(Input::Touched);
            }
            Action::GiveUp(_) => {
                let recent = self.restarts.iter().filter(|(at, _)| self.now - *at < limits().within).count();
                assert!(recent >= 5, "gave up after {recent} restarts");
                self.gave_up = true;
            }
            Action::SetPolicyBack { from } => self.set_back.push(from),
            Action::AdoptStop(how) => {
                self.adopted.push(how);
                self.desired = DesiredState::Stopped;
                self.feed(Input::Requested(DesiredState::Stopped));
            }
            Action::AdoptStart => {
                self.desired = DesiredState::Running;
                self.feed(Input::Requested(DesiredState::Running));
            }
            Action::Log(entry) => self.told.push(entry),
        }
    }

    /// The laws.
    fn restart(&mut self, reason: RestartReason) {
        assert!(!self.locked, "restarted while another command held the lock");
        assert_eq!(self.desired, DesiredState::Running, "restarted against the user's request");
        assert!(!self.gave_up, "restarted after giving up");
        assert!(self.engine, "restarted without an engine");
        if let Some(last) = self.last_act {
            let least = limits().backoff(self.in_a_row);
            assert!(self.now - last >= least, "{:?} after restart {}", self.now - last, self.in_a_row);
        }
        if reason.counts() {
            let recent =
                self.restarts.iter().filter(|(at, reason)| reason.counts() && self.now - *at < limits().within).count();
            assert!(recent < 5, "restart {} within ten minutes", recent + 1);
        }
        self.healthy_since = None;
        let hung = matches!(self.truth, Truth::Running { .. });
        if hung {
            self.feed(Input::Stopping);
        }
        if let Some(holder) = self.port_taken.clone() {
            self.port_attempts.push(self.now);
            self.truth = Truth::Ended(143);
            self.feed(Input::PortTaken(holder));
            return self.tells_of_the_stop(hung);
        }
        self.restarts.push((self.now, reason));
        self.in_a_row += 1;
        self.last_act = Some(self.now);
        if self.broken {
            self.truth = Truth::Ended(1);
            self.feed(Input::RestartFailed("no such luck".into()));
            self.tells_of_the_stop(hung);
        } else {
            self.run += 1;
            self.started_at = self.now;
            self.truth = Truth::Running { answers: true };
            self.feed(Input::Restarted { run: self.run });
        }
    }

    /// What the engine tells of a stop that was the supervisor's own, once that reads on.
    fn tells_of_the_stop(&mut self, stopped: bool) {
        if stopped {
            self.feed(Input::AskedToEnd);
            self.feed(Input::Died(ExitStatus { code: Some(0), out_of_memory: false }));
            self.feed(Input::EndedOutside(Outside::Stopped));
        }
    }

    /// Lets time go by, waking the policy when it wants.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0u64;
        while self.now < end {
            let mut next = self.policy.wake_at().max(self.now).min(end);
            let death = self.dies_after.map(|after| self.started_at + after).filter(|at| *at > self.now);
            if let Some(death) = death {
                next = next.min(death);
            }
            let before = self.now;
            self.now = next;
            if Some(self.now) == death && matches!(self.truth, Truth::Running { .. }) {
                self.dies(1);
            }
            self.feed(Input::Tick);
            wakes += u64::from(self.now == before);
            assert!(wakes < 1000, "it wakes for nothing");
            if self.now == before {
                self.now += Duration::from_millis(1);
            }
        }
        self.now = end;
    }

    fn dies(&mut self, code: i64) {
        if !matches!(self.truth, Truth::Running { .. }) {
            return;
        }
        self.truth = Truth::Ended(code);
        self.healthy_since = None;
        if self.engine {
            self.feed(Input::Died(ExitStatus { code: Some(code), out_of_memory: false }));
        }
    }

    fn hangs(&mut self) {
        if matches!(self.truth, Truth::Running { .. }) {
            self.truth = Truth::Running { answers: false };
        }
    }

    fn engine(&mut self, there: bool) {
        if self.engine != there {
            self.engine = there;
            self.feed(if there { Input::EngineBack } else { Input::EngineLost });
        }
    }

    fn lock(&mut self, held: bool) {
        self.locked = held;
        self.feed(Input::Lock(held));
    }

    fn ask(&mut self, desired: DesiredState) {
        self.desired = desired;
        self.feed(Input::Requested(desired));
    }

    fn docker_stop(&mut self) {
        if matches!(self.truth, Truth::Running { .. }) {
            self.feed(Input::AskedToEnd);
            self.dies(143);
            self.feed(Input::EndedOutside(Outside::Stopped));
        }
    }

    fn gaps(&self) -> Vec<u64> {
        self.restarts.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs()).collect()
    }
}
