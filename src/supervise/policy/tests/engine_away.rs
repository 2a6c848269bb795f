//! An engine that goes away and comes back, with or without its containers.

use super::*;

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
