//! The supervisor over its own lifetime: a machine that sleeps, idle days, and its successor.

use super::*;

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
fn the_next_supervisor_goes_on_where_the_last_one_ended() {
    let now = 5000 * S;
    let past = Past { restarts: vec![500 * S, 9 * S, 7 * S, 5 * S, 2 * S], gave_up: false };
    let mut policy = Policy::new(limits(), RestartPolicy::Always, DesiredState::Running, &past, now, 7);
    policy.handle(now, Input::EngineBack);
    let ended = ContainerState::Ended(ExitStatus { code: Some(1), out_of_memory: false });
    let actions = policy.handle(now, Input::Inspected(ended.clone()));
    assert!(actions.iter().any(|action| matches!(action, Action::GiveUp(_))), "{actions:?}");
    let past = Past { gave_up: true, ..Past::default() };
    let mut policy = Policy::new(limits(), RestartPolicy::Always, DesiredState::Running, &past, now, 7);
    policy.handle(now, Input::EngineBack);
    assert_eq!(policy.handle(now, Input::Inspected(ended)), [], "it has given up, also across a reboot");
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

#[test]
fn no_probe_is_sent_before_it_is_known_that_the_container_runs() {
    let mut policy = World::new(RestartPolicy::Always).policy;
    let now = 5000 * S;
    let ended = ContainerState::Ended(ExitStatus { code: Some(137), out_of_memory: false });
    for (before, after) in [
        (Input::EngineLost, Input::EngineBack),
        (Input::Lock(true), Input::Lock(false)),
        (Input::Tick, Input::Slept(9 * S)),
        (Input::Tick, Input::Touched),
    ] {
        let shown = format!("{after:?}");
        policy.handle(now, Input::Requested(DesiredState::Running));
        policy.handle(now, Input::Inspected(ContainerState::Running { run: 1 }));
        policy.handle(now, Input::Probed(PageHealth::Good));
        policy.handle(now + S, before);
        let actions = policy.handle(now + MIN, after);
        assert!(actions.contains(&Action::Inspect) && !actions.contains(&Action::Probe), "{shown}: {actions:?}");
        // An engine that is busy is asked again later.
        let actions = policy.handle(now + MIN + S, Input::Tick);
        assert!(!actions.contains(&Action::Probe), "{shown}: {actions:?}");
        let mut dead = policy.clone();
        let actions = dead.handle(now + MIN + S, Input::Inspected(ended.clone()));
        assert!(!actions.contains(&Action::Probe), "{shown}: {actions:?}");
        let actions = policy.handle(now + MIN + S, Input::Inspected(ContainerState::Running { run: 1 }));
        assert!(actions.contains(&Action::Probe), "{shown}: {actions:?}");
        policy.handle(now + MIN + S, Input::Probed(PageHealth::Good));
    }
}
