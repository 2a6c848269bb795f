//! Deaths, hangs and failed starts: when the container is restarted, and when that is given up.

use super::*;

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
    world.ask(DesiredState::Running);
    assert!(!world.policy.gave_up(), "docklet start begins afresh");
    world.dies(3);
    assert_eq!(world.restarts.len(), 1, "and at once again");
}

/// On Podman, a helper that shares its network starts a container that has just ended.
#[test]
fn a_start_by_something_else_while_a_restart_waits_is_told_as_one() {
    let mut world = World::new(RestartPolicy::Always);
    world.dies(1);
    assert_eq!(world.restarts.len(), 1);
    world.dies(3);
    assert!(matches!(world.told.last(), Some(LogEntry::Waiting(..))), "{:?}", world.told);
    world.truth = Truth::Running { answers: true };
    world.run += 1;
    world.feed(Input::Started);
    world.pass(MIN);
    let told = RestartReason::Ended(ExitStatus { code: Some(3), out_of_memory: false });
    assert_eq!((world.restarts.len(), &world.others[..]), (1, &[told][..]));
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
        for action in policy.handle(world.now + n * 10 * S, Input::Probed(PageHealth::Refused)) {
            assert!(!matches!(action, Action::Restart(_)));
            told += usize::from(action == Action::Log(LogEntry::Refused));
        }
    }
    assert_eq!(told, 1, "said once");
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
    assert!(world.told.iter().any(|entry| matches!(entry, LogEntry::LeftEnded(..))));
    world.ask(DesiredState::Running);
    world.pass(S);
    world.dies(2);
    world.pass(3 * S);
    assert!(matches!(world.restarts.last().unwrap().1, RestartReason::Ended(_)));
    world.pass(MIN);
    world.hangs();
    world.pass(MIN);
    assert!(matches!(world.restarts.last().unwrap().1, RestartReason::Hung(..)), "to hang is a failure");
}

#[test]
fn a_taken_port_is_waited_for_as_long_as_it_takes() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.port_taken = Some("port 3000 on 127.0.0.1 is taken by node (pid 4711)".into());
    world.dies(137);
    world.pass(7 * 24 * 60 * MIN);
    assert!(!world.gave_up && world.restarts.is_empty(), "for a week");
    let attempts = world.port_attempts.clone();
    let gaps: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let least = limits().backoff(n as u32 + 1);
        assert!((least..=least * 5 / 4 + S).contains(gap) && *gap <= 61 * S, "pause {n}: {gap:?}");
    }
    assert!(gaps.len() > 7 * 24 * 60 - 60, "{} attempts", gaps.len());
    let told = |world: &World| world.told.iter().filter(|entry| matches!(entry, LogEntry::PortTaken(_))).count();
    assert_eq!(told(&world), 1, "said once");
    assert!(!world.told.iter().any(|entry| matches!(entry, LogEntry::Waiting(..))), "{:?}", world.told);
    world.port_taken = Some("port 3000 on 127.0.0.1 is taken by ruby (pid 4712)".into());
    world.pass(3 * MIN);
    assert_eq!(told(&world), 2, "and when another one has it");
    world.port_taken = None;
    world.pass(61 * S);
    assert_eq!(world.restarts.len(), 1, "back within the pause");
    world.pass(MIN);
    // What counts towards giving up is as if the port had never been taken.
    world.dies_after = Some(S / 2);
    world.dies(1);
    world.pass(5 * MIN);
    assert!(world.gave_up);
    assert_eq!(world.restarts.len(), 5);
}

#[test]
fn a_page_that_hung_comes_back_though_its_start_failed_at_first() {
    for mode in [RestartPolicy::Always, RestartPolicy::OnFailure] {
        for port in [true, false] {
            let mut world = World::new(mode);
            world.pass(MIN);
            (world.broken, world.port_taken) = (!port, port.then(|| "taken".to_owned()));
            world.hangs();
            while world.port_attempts.is_empty() && world.restarts.is_empty() {
                world.pass(S / 4);
            }
            (world.broken, world.port_taken) = (false, None);
            world.pass(5 * S);
            assert_eq!(world.adopted, [], "our own stop is not the user's request");
            assert_eq!(world.truth, Truth::Running { answers: true }, "{mode:?}");
            // A stop by somebody else still is one.
            world.pass(MIN);
            world.docker_stop();
            world.pass(MIN);
            assert_eq!(world.adopted, [Outside::Stopped]);
        }
    }
}
