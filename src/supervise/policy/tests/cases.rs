//! Histories that are known to go wrong, one by one: what comes of each.

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
            told += usize::from(action == Action::Log(LogEntry::Refused));
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
fn a_stop_while_the_engine_is_away_is_done_when_it_is_back() {
    let mut world = World::new(RestartPolicy::Always);
    world.pass(MIN);
    world.engine(false);
    world.ask(DesiredState::Stopped);
    world.pass(MIN);
    assert!(world.policy.owes_stop());
    // The engine went without its containers, and a command is at work when it is back.
    world.lock(true);
    world.engine(true);
    assert!(matches!(world.truth, Truth::Running { .. }));
    world.lock(false);
    assert_eq!(world.truth, Truth::Ended(143));
    world.pass(60 * MIN);
    assert!(!world.policy.owes_stop() && world.restarts.is_empty());

    for words in ["it ended with the engine", "the user wants it to run", "somebody started it"] {
        let mut world = World::new(RestartPolicy::Always);
        world.engine(false);
        world.ask(DesiredState::Stopped);
        match words {
            "it ended with the engine" => world.truth = Truth::Ended(0),
            "the user wants it to run" => world.ask(DesiredState::Running),
            _ => world.feed(Input::Started),
        }
        let before = world.truth.clone();
        world.engine(true);
        world.pass(MIN);
        assert_eq!(world.truth, before, "{words}");
        assert!(!world.policy.owes_stop(), "{words}");
    }
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
    assert_eq!(world.desired, DesiredState::Running);
    world.pass(MIN);
    // `docker restart`
    world.docker_stop();
    world.pass(S / 2);
    world.truth = Truth::Running { answers: true };
    world.run += 1;
    world.feed(Input::Started);
    world.pass(10 * MIN);
    assert_eq!((world.desired, world.restarts.len()), (DesiredState::Running, 0));
    // Only a signal, as of `docker kill -s TERM`: nobody stopped it.
    world.feed(Input::AskedToEnd);
    world.dies(143);
    assert!(world.restarts.is_empty(), "not before it is known who asked");
    world.pass(3 * S);
    assert_eq!(world.restarts.len(), 1);
}

#[test]
fn a_look_that_overtakes_the_events_of_an_end_waits_for_them() {
    let ended = |code| ExitStatus { code: Some(code), out_of_memory: false };
    // `docker stop`, of which only the signal was told when the look saw the end, or not even that.
    for signal_first in [true, false] {
        let mut world = World::new(RestartPolicy::Always);
        world.pass(MIN);
        if signal_first {
            world.feed(Input::AskedToEnd);
        }
        world.truth = Truth::Ended(0);
        world.feed(Input::Touched);
        if !signal_first {
            world.feed(Input::AskedToEnd);
        }
        world.feed(Input::Died(ended(0)));
        world.feed(Input::EndedOutside(Outside::Stopped));
        world.pass(MIN);
        assert_eq!((world.restarts.len(), world.adopted.as_slice()), (0, &[Outside::Stopped][..]));
    }
    // Nobody asked for this one: it is restarted as soon as the engine has told, else a little later.
    let mut world = World::new(RestartPolicy::Always);
    for told in [true, false] {
        world.pass(6 * MIN);
        let (before, now) = (world.restarts.len(), world.now);
        world.truth = Truth::Ended(3);
        world.feed(Input::Touched);
        assert_eq!(world.restarts.len(), before, "not before it is known who asked");
        match told {
            true => world.feed(Input::Died(ended(3))),
            false => world.pass(3 * S),
        }
        assert_eq!(world.restarts.len(), before + 1);
        assert_eq!(world.restarts[before].0 - now, if told { Duration::ZERO } else { limits().settle });
    }
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
    // One that is missing without anybody having removed it is not taken for a request.
    let mut world = World::new(RestartPolicy::Always);
    world.engine(false);
    world.truth = Truth::Gone;
    world.engine(true);
    world.pass(60 * MIN);
    assert!(world.adopted.is_empty() && world.restarts.is_empty());
    assert_eq!(world.told.iter().filter(|entry| **entry == LogEntry::Missing).count(), 1);
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
        policy.handle(now, Input::Probed(Health::Good));
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
        policy.handle(now + MIN + S, Input::Probed(Health::Good));
    }
}
