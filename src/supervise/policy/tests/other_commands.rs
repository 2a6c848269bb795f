//! What other commands do: `docker stop`, `docker rm`, `docker update`, and docklet itself.

use super::*;

#[test]
fn docker_stop_is_the_users_request_and_docker_restart_is_none() {
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
fn an_inspection_that_overtakes_the_events_of_an_end_waits_for_them() {
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
fn docker_rm_is_the_users_request_too() {
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
fn nothing_while_another_command_works_and_an_inspection_after_it() {
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
fn a_restart_policy_of_somebody_else_is_set_back() {
    let mut world = World::new(RestartPolicy::Always);
    world.feed(Input::EnginePolicy("no".into()));
    world.feed(Input::EnginePolicy("always".into()));
    assert_eq!(world.set_back, ["always"]);
    world.lock(true);
    world.feed(Input::EnginePolicy("always".into()));
    assert_eq!(world.set_back.len(), 1, "not while another command works");
}
