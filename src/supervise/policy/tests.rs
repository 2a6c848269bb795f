//! The state machine driven through simulated time: a small world that does what it says and
//! answers truthfully, an oracle beside it that holds the laws, and days that pass in milliseconds.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

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
    wish: Wish,
    /// A start fails while this holds.
    broken: bool,
    /// It dies so long after each start.
    dies_after: Option<Duration>,
    started_at: Duration,
    // The oracle's own books.
    restarts: Vec<(Duration, Why)>,
    in_a_row: u32,
    last_act: Option<Duration>,
    healthy_since: Option<Duration>,
    gave_up: bool,
    told: Vec<Note>,
    adopted: Vec<Outside>,
    set_back: Vec<String>,
}

impl World {
    fn new(mode: RestartPolicy) -> Self {
        World::with(mode, Truth::Running { answers: true })
    }

    /// As the supervisor finds it when it begins.
    fn with(mode: RestartPolicy, truth: Truth) -> Self {
        let now = 1000 * S;
        let policy = Policy::new(limits(), mode, Wish::Running, &Past::default(), now, 7);
        let mut world = World {
            policy,
            now,
            truth,
            run: 1,
            engine: true,
            locked: false,
            wish: Wish::Running,
            broken: false,
            dies_after: None,
            started_at: now,
            restarts: vec![],
            in_a_row: 0,
            last_act: None,
            healthy_since: None,
            gave_up: false,
            told: vec![],
            adopted: vec![],
            set_back: vec![],
        };
        world.feed(Input::EngineBack);
        world
    }

    fn feed(&mut self, input: Input) {
        if let Input::Asked(_) = input {
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
                let sight = match self.truth {
                    Truth::Gone => Sight::Missing,
                    Truth::Ended(code) => Sight::Ended(Ending { code: Some(code), out_of_memory: false }),
                    Truth::Running { .. } => Sight::Running { run: self.run },
                };
                self.feed(Input::Look(sight));
            }
            Action::Inspect => {}
            Action::Probe => {
                let good = self.truth == Truth::Running { answers: true };
                if good {
                    let since = *self.healthy_since.get_or_insert(self.now);
                    if self.now - since >= limits().healthy_after {
                        (self.in_a_row, self.last_act) = (0, None);
                    }
                } else {
                    self.healthy_since = None;
                }
                self.feed(Input::Probed(if good { Health::Good } else { Health::Bad("nothing within 3 s".into()) }));
            }
            Action::Restart(why) => self.restart(why),
            Action::GiveUp(_) => {
                let recent = self.restarts.iter().filter(|(at, _)| self.now - *at < limits().within).count();
                assert!(recent >= 5, "gave up after {recent} restarts");
                self.gave_up = true;
            }
            Action::SetPolicyBack { from } => self.set_back.push(from),
            Action::AdoptStop(how) => {
                self.adopted.push(how);
                self.wish = Wish::Stopped;
                self.feed(Input::Asked(Wish::Stopped));
            }
            Action::AdoptStart => {
                self.wish = Wish::Running;
                self.feed(Input::Asked(Wish::Running));
            }
            Action::Tell(note) => self.told.push(note),
        }
    }

    /// The laws.
    fn restart(&mut self, why: Why) {
        assert!(!self.locked, "restarted while another command held the lock");
        assert_eq!(self.wish, Wish::Running, "restarted against the user's wish");
        assert!(!self.gave_up, "restarted after giving up");
        assert!(self.engine, "restarted without an engine");
        if let Some(last) = self.last_act {
            let least = limits().backoff(self.in_a_row);
            assert!(self.now - last >= least, "{:?} after restart {}", self.now - last, self.in_a_row);
        }
        if why.counts() {
            let recent =
                self.restarts.iter().filter(|(at, why)| why.counts() && self.now - *at < limits().within).count();
            assert!(recent < 5, "restart {} within ten minutes", recent + 1);
        }
        self.restarts.push((self.now, why));
        self.in_a_row += 1;
        self.last_act = Some(self.now);
        self.healthy_since = None;
        if self.broken {
            self.truth = Truth::Ended(1);
            self.feed(Input::RestartFailed("no such luck".into()));
        } else {
            self.run += 1;
            self.started_at = self.now;
            self.truth = Truth::Running { answers: true };
            self.feed(Input::Restarted { run: self.run });
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
            self.feed(Input::Died(Ending { code: Some(code), out_of_memory: false }));
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

    fn ask(&mut self, wish: Wish) {
        self.wish = wish;
        self.feed(Input::Asked(wish));
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

#[test]
fn the_numbers_of_the_contract() {
    let limits = limits();
    assert_eq!((limits.probe_every, limits.misses), (10 * S, 3));
    assert_eq!((limits.most_restarts, limits.within), (5, 10 * MIN));
    assert_eq!(limits.healthy_after, 5 * MIN);
    let pauses: Vec<u64> = (0..9).map(|n| limits.backoff(n).as_secs()).collect();
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(limits.backoff(u32::MAX), 60 * S);
}

#[test]
fn a_death_is_answered_at_once_and_each_further_one_later_until_it_gives_up() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    assert!(world.restarts.is_empty());
    world.dies_after = Some(S / 2);
    world.dies(3);
    assert_eq!(world.restarts.len(), 1, "the first at once, without time going by");
    world.pass(MIN);
    assert_eq!(world.restarts.len(), 5);
    assert!(world.gaps().iter().zip([1, 2, 4, 8]).all(|(gap, least)| *gap >= least && *gap <= least * 5 / 4 + 1));
    assert!(world.gave_up && world.policy.gave_up());
    world.pass(100 * 60 * MIN);
    assert_eq!(world.restarts.len(), 5, "nothing after giving up");

    world.dies_after = None;
    world.truth = Truth::Running { answers: true };
    world.ask(Wish::Running);
    assert!(!world.policy.gave_up(), "docklet start begins afresh");
    world.dies(3);
    assert_eq!(world.restarts.len(), 1, "and at once again");
}

#[test]
fn five_healthy_minutes_make_the_next_restart_a_first_one() {
    let mut world = World::new(RestartPolicy::Always);
    for _ in 0..3 {
        world.dies(1);
        world.pass(30 * S);
    }
    assert_eq!(world.restarts.len(), 3);
    world.pass(6 * MIN);
    let before = world.now;
    world.dies(1);
    assert_eq!(world.restarts.last().unwrap().0, before, "without a pause");
    world.dies(1);
    world.pass(2 * S);
    assert_eq!(world.gaps().last(), Some(&1), "and the second after a second");
    world.pass(6 * MIN);
    // For days it dies every six minutes: never a reason to give up.
    world.dies_after = Some(6 * MIN);
    world.dies(1);
    world.pass(3 * 24 * 60 * MIN);
    assert!(!world.gave_up);
    assert!(world.restarts.len() > 700, "{}", world.restarts.len());
}

#[test]
fn a_page_that_hangs_is_restarted_after_three_misses() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.hangs();
    world.pass(19 * S);
    assert!(world.restarts.is_empty(), "not before the third miss");
    world.pass(12 * S);
    assert_eq!(world.restarts.len(), 1);
    assert_eq!(world.restarts[0].1.text(None), "page did not answer 3 times (nothing within 3 s)");
    world.hangs();
    world.pass(25 * S);
    assert_eq!(world.restarts.len(), 1, "a start has its time: it has not answered yet");
}

#[test]
fn a_start_that_never_answers_is_restarted_after_the_start_period() {
    let mut world = World::with(RestartPolicy::Always, Truth::Running { answers: false });
    world.pass(119 * S);
    assert!(world.restarts.is_empty());
    world.pass(40 * S);
    assert_eq!(world.restarts.len(), 1);
    // A slow start is none.
    let mut world = World::with(RestartPolicy::Always, Truth::Running { answers: false });
    world.pass(110 * S);
    world.truth = Truth::Running { answers: true };
    world.pass(60 * MIN);
    assert!(world.restarts.is_empty());
}

#[test]
fn two_misses_are_forgiven_and_a_refused_password_is_not_healed() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    for _ in 0..100 {
        world.hangs();
        world.pass(20 * S);
        world.truth = Truth::Running { answers: true };
        world.pass(20 * S);
    }
    assert!(world.restarts.is_empty());
    let mut policy = world.policy;
    let mut told = 0;
    for n in 1..1000 {
        for action in policy.handle(world.now + n * 10 * S, Input::Probed(Health::Refused)) {
            assert!(!matches!(action, Action::Restart(_)));
            told += usize::from(action == Action::Tell(Note::Refused));
        }
    }
    assert_eq!(told, 1, "said once");
}

#[test]
fn the_engine_may_go_and_come_back() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    for _ in 0..8 {
        world.engine(false);
        world.truth = Truth::Ended(143);
        world.pass(12 * S);
        world.engine(true);
        world.pass(70 * S);
    }
    assert_eq!(world.restarts.len(), 8, "an engine that goes eight times is no fault of the appliance");
    assert_eq!(world.restarts[0].1.text(None), "engine was away for 12 s");
    assert!(!world.gave_up);
    // It crashed while nobody could tell.
    world.engine(false);
    world.truth = Truth::Ended(3);
    world.pass(12 * S);
    world.engine(true);
    assert_eq!(world.restarts.last().unwrap().1.text(None), "exited with code 3");
    // It goes on running (live restore): nothing to do.
    let count = world.restarts.len();
    world.pass(MIN);
    world.engine(false);
    world.pass(3 * MIN);
    world.engine(true);
    world.pass(3 * MIN);
    assert_eq!(world.restarts.len(), count);
}

#[test]
fn an_engine_that_stops_its_containers_is_no_user_who_stops_one() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.docker_stop();
    world.pass(S);
    world.engine(false);
    world.pass(20 * S);
    world.engine(true);
    world.pass(S * 5);
    assert!(world.adopted.is_empty());
    assert_eq!(world.restarts.len(), 1);
    assert_eq!(world.restarts[0].1.text(None), "engine was away for 20 s");

    // Its other containers take their time, and it does not answer meanwhile.
    let mut world = World::new(RestartPolicy::OnFailure);
    world.pass(MIN);
    world.feed(Input::AskedToEnd);
    world.dies(0);
    world.feed(Input::EndedOutside(Outside::Stopped));
    world.engine = false;
    world.pass(15 * S);
    world.feed(Input::EngineLost);
    world.pass(20 * S);
    world.engine(true);
    assert!(world.adopted.is_empty());
    assert_eq!(world.restarts[0].1.text(None), "engine was away for 20 s");
}

#[test]
fn docker_stop_is_a_wish_and_docker_restart_is_none() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.docker_stop();
    world.pass(60 * MIN);
    assert_eq!(world.adopted, [Outside::Stopped]);
    assert!(world.restarts.is_empty());
    // `docker start` takes it back.
    world.truth = Truth::Running { answers: true };
    world.run += 1;
    world.feed(Input::Started);
    assert_eq!(world.wish, Wish::Running);
    world.pass(MIN);
    // `docker restart`
    world.docker_stop();
    world.pass(S / 2);
    world.truth = Truth::Running { answers: true };
    world.run += 1;
    world.feed(Input::Started);
    world.pass(10 * MIN);
    assert_eq!((world.wish, world.restarts.len()), (Wish::Running, 0));
    // Only a signal, as of `docker kill -s TERM`: nobody stopped it.
    world.feed(Input::AskedToEnd);
    world.dies(143);
    assert!(world.restarts.is_empty(), "not before it is known who asked");
    world.pass(3 * S);
    assert_eq!(world.restarts.len(), 1);
}

#[test]
fn docker_rm_is_a_wish_too() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.broken = true; // an engine does not start what it is removing
    world.dies(137);
    world.truth = Truth::Gone;
    world.feed(Input::EndedOutside(Outside::Removed));
    world.pass(60 * MIN);
    assert_eq!(world.adopted, [Outside::Removed]);
    assert!(world.restarts.len() <= 1);
    // One that is missing without anybody having removed it is not taken for a wish.
    let mut world = World::new(RestartPolicy::Always);
    world.engine(false);
    world.truth = Truth::Gone;
    world.engine(true);
    world.pass(60 * MIN);
    assert!(world.adopted.is_empty() && world.restarts.is_empty());
    assert_eq!(world.told.iter().filter(|note| **note == Note::Missing).count(), 1);
}

#[test]
fn never_and_on_failure() {
    let mut world = World::new(RestartPolicy::Never);
    world.pass(MIN);
    world.dies(1);
    world.pass(60 * MIN);
    assert!(world.restarts.is_empty());
    world.feed(Input::Mode(RestartPolicy::Always));
    assert_eq!(world.restarts.len(), 1, "the setting changed");

    let mut world = World::new(RestartPolicy::OnFailure);
    world.pass(MIN);
    world.dies(0);
    world.pass(60 * MIN);
    assert!(world.restarts.is_empty());
    assert!(world.told.iter().any(|note| matches!(note, Note::LeftEnded(..))));
    world.ask(Wish::Running);
    world.pass(S);
    world.dies(2);
    world.pass(3 * S);
    assert!(matches!(world.restarts.last().unwrap().1, Why::Ended(_)));
    world.pass(MIN);
    world.hangs();
    world.pass(MIN);
    assert!(matches!(world.restarts.last().unwrap().1, Why::Hung(..)), "to hang is a failure");
}

#[test]
fn nothing_while_another_command_works_and_a_fresh_look_after_it() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.lock(true);
    world.dies(1);
    world.pass(60 * MIN);
    assert!(world.restarts.is_empty());
    world.lock(false);
    assert_eq!(world.restarts.len(), 1);
    // It replaced the container meanwhile: nothing to do.
    world.lock(true);
    world.dies(143);
    world.truth = Truth::Running { answers: true };
    world.run += 1;
    world.lock(false);
    world.pass(60 * MIN);
    assert_eq!(world.restarts.len(), 1);
    assert!(world.adopted.is_empty());
}

#[test]
fn a_machine_that_slept_is_given_time() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.hangs();
    world.pass(20 * S);
    world.feed(Input::Slept(8 * 60 * MIN));
    world.pass(14 * S);
    world.truth = Truth::Running { answers: true };
    world.pass(60 * MIN);
    assert!(world.restarts.is_empty());
}

#[test]
fn a_restart_policy_of_somebody_else_is_set_back() {
    let mut world = World::new(RestartPolicy::Always);
    world.feed(Input::EnginePolicy("no".into()));
    world.feed(Input::EnginePolicy("always".into()));
    assert_eq!(world.set_back, ["always"]);
    world.lock(true);
    world.feed(Input::EnginePolicy("always".into()));
    assert_eq!(world.set_back.len(), 1, "not while another command works");
}

#[test]
fn the_next_supervisor_goes_on_where_the_last_one_ended() {
    let now = 5000 * S;
    let past = Past { restarts: vec![500 * S, 9 * S, 7 * S, 5 * S, 2 * S], gave_up: false };
    let mut policy = Policy::new(limits(), RestartPolicy::Always, Wish::Running, &past, now, 7);
    policy.handle(now, Input::EngineBack);
    let ended = Sight::Ended(Ending { code: Some(1), out_of_memory: false });
    let actions = policy.handle(now, Input::Look(ended.clone()));
    assert!(actions.iter().any(|action| matches!(action, Action::GiveUp(_))), "{actions:?}");
    let past = Past { gave_up: true, ..Past::default() };
    let mut policy = Policy::new(limits(), RestartPolicy::Always, Wish::Running, &past, now, 7);
    policy.handle(now, Input::EngineBack);
    assert_eq!(policy.handle(now, Input::Look(ended)), [], "it has given up, also across a reboot");
}

#[test]
fn idle_days_cost_next_to_nothing() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    let mut wakes = 0;
    let mut inspects = 0;
    let end = world.now + 24 * 60 * MIN;
    while world.now < end {
        world.now = world.policy.wake_at();
        wakes += 1;
        for action in world.policy.handle(world.now, Input::Tick) {
            inspects += usize::from(action == Action::Inspect);
            world.act(action);
        }
    }
    assert!(inspects <= 24 * 60, "{inspects} engine calls in a day");
    assert!(wakes <= 24 * 60 * 6 + inspects + 10, "{wakes} wakes in a day");
}

#[derive(Debug, Clone)]
enum Op {
    Pass(u64),
    Die(i64),
    Hang,
    Heal,
    Engine(bool),
    Lock(bool),
    Ask(bool),
    DockerStop,
    DockerStart,
    Sleep(u64),
    Broken(bool),
    DiesAfter(Option<u64>),
    Cancelled,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u64..20_000).prop_map(Op::Pass),
        3 => (20_000u64..2_000_000).prop_map(Op::Pass),
        4 => prop_oneof![Just(0i64), Just(1), Just(137), Just(143)].prop_map(Op::Die),
        2 => Just(Op::Hang),
        2 => Just(Op::Heal),
        2 => any::<bool>().prop_map(Op::Engine),
        2 => any::<bool>().prop_map(Op::Lock),
        1 => any::<bool>().prop_map(Op::Ask),
        1 => Just(Op::DockerStop),
        1 => Just(Op::DockerStart),
        1 => (1u64..100_000).prop_map(Op::Sleep),
        1 => any::<bool>().prop_map(Op::Broken),
        1 => proptest::option::of(1u64..400_000).prop_map(Op::DiesAfter),
        1 => Just(Op::Cancelled),
    ]
}

fn perform(world: &mut World, op: &Op) {
    let ms = Duration::from_millis;
    match op {
        Op::Pass(time) => world.pass(ms(*time)),
        Op::Die(code) => world.dies(*code),
        Op::Hang => world.hangs(),
        Op::Heal => {
            if matches!(world.truth, Truth::Running { .. }) {
                world.truth = Truth::Running { answers: true };
            }
        }
        Op::Engine(there) => world.engine(*there),
        Op::Lock(held) => world.lock(*held),
        Op::Ask(true) => world.ask(Wish::Running),
        Op::Ask(false) => world.ask(Wish::Stopped),
        Op::DockerStop if world.engine => world.docker_stop(),
        Op::DockerStart if world.engine && !matches!(world.truth, Truth::Running { .. }) => {
            world.truth = Truth::Running { answers: true };
            world.run += 1;
            world.feed(Input::Started);
        }
        Op::DockerStop | Op::DockerStart => {}
        Op::Sleep(time) => world.feed(Input::Slept(ms(*time))),
        Op::Broken(broken) => world.broken = *broken,
        Op::DiesAfter(after) => world.dies_after = after.map(ms),
        Op::Cancelled => world.feed(Input::RestartCancelled),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The laws are asserted in [`World::restart`], at every restart of every history.
    #[test]
    fn the_laws_hold_in_every_history(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new(RestartPolicy::Always);
        for op in &ops {
            perform(&mut world, op);
        }
    }

    /// Whatever was: when nothing is in the way any more and the user wants it, it comes back.
    #[test]
    fn it_always_comes_back_when_it_should(ops in prop::collection::vec(op(), 1..60), code in 1i64..200) {
        let mut world = World::new(RestartPolicy::Always);
        for op in &ops {
            perform(&mut world, op);
        }
        (world.broken, world.dies_after) = (false, None);
        world.engine(true);
        world.lock(false);
        if world.truth == Truth::Gone {
            return Ok(());
        }
        world.ask(Wish::Running);
        world.pass(S * 5);
        world.dies(code);
        world.pass(5 * MIN);
        prop_assert_eq!(&world.truth, &Truth::Running { answers: true });
        world.hangs();
        world.pass(5 * MIN);
        prop_assert_eq!(&world.truth, &Truth::Running { answers: true });
    }
}
