//! Histories that nobody thought of: the laws hold in each of them.

use proptest::prelude::*;

use super::*;

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
    PortTaken(bool),
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
        1 => any::<bool>().prop_map(Op::PortTaken),
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
        Op::Ask(true) => world.ask(DesiredState::Running),
        Op::Ask(false) => world.ask(DesiredState::Stopped),
        Op::DockerStop if world.engine => world.docker_stop(),
        Op::DockerStart if world.engine && !matches!(world.truth, Truth::Running { .. }) => {
            world.truth = Truth::Running { answers: true };
            world.run += 1;
            world.feed(Input::Started);
        }
        Op::DockerStop | Op::DockerStart => {}
        Op::Sleep(time) => world.feed(Input::Slept(ms(*time))),
        Op::Broken(broken) => world.broken = *broken,
        Op::PortTaken(taken) => world.port_taken = taken.then(|| "port 3000 is taken".to_owned()),
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
        (world.broken, world.dies_after, world.port_taken) = (false, None, None);
        world.engine(true);
        world.lock(false);
        if world.truth == Truth::Gone {
            return Ok(());
        }
        world.ask(DesiredState::Running);
        world.pass(S * 5);
        world.dies(code);
        world.pass(5 * MIN);
        prop_assert_eq!(&world.truth, &Truth::Running { answers: true });
        world.hangs();
        world.pass(5 * MIN);
        prop_assert_eq!(&world.truth, &Truth::Running { answers: true });
    }
}
