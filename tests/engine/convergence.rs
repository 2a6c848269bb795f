//! What the engine is asked, how often, and what happens when it, or docklet, breaks off anywhere.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;

/// A world whose docklet talks to the engine through a proxy.
fn behind_proxy() -> (World, Proxy) {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    (world, proxy)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_second_setup_has_nothing_to_do_and_writes_nothing() {
    let (world, proxy) = behind_proxy();
    world.setup();
    let before = world.inspect().unwrap()["State"]["StartedAt"].clone();
    proxy.reset();
    let output = world.setup();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("nothing to do"), "{text}");
    assert!(!text.contains(&world.password()), "the password is printed only once");
    assert_eq!(proxy.writing_calls().len(), 0, "{}", proxy.report());
    assert_eq!(world.inspect().unwrap()["State"]["StartedAt"], before);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn budgets_of_engine_calls() {
    let (world, proxy) = behind_proxy();
    let within = |what: &str, most: usize| {
        // Looks while waiting for the page are not counted: how many depends on how long it takes. Nor is waiting for a
        // helper to end.
        let mut inspected = false;
        let calls: Vec<_> = proxy
            .calls()
            .into_iter()
            .filter(|call| {
                let waiting = call.route() == format!("/containers/{}/json", world.container());
                !call.route().ends_with("/wait") && (!waiting || !std::mem::replace(&mut inspected, true))
            })
            .collect();
        assert!(calls.len() <= most, "{what} may make {most} calls\n{}", proxy.report());
        proxy.reset();
    };
    let image = world.image();
    proxy.reset();
    world.ok(&["setup", "--yes", "--image", &image, "--port", &world.port.to_string(), "--json"]);
    // Ten, four to write the secrets into their volume, and two to load the network rules.
    within("create and start", 16);
    world.ok(&["start"]);
    within("start with nothing to do", 4);
    world.ok(&["stop"]);
    proxy.reset();
    world.ok(&["start"]);
    // As before, and two to load the network rules.
    within("start", 8);
    world.ok(&["status"]);
    within("status", 3);
    world.ok(&["list"]);
    within("list", 2);
}

/// How many calls a setup of this kind makes when all goes well.
fn calls_of(setup: impl Fn(&World)) -> usize {
    let (world, proxy) = behind_proxy();
    world.image();
    proxy.reset();
    setup(&world);
    proxy.calls().len()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_killed_at_any_call_is_finished_by_the_next() {
    let calls = calls_of(|world| drop(world.setup()));
    assert!(calls >= 8, "a setup makes {calls} calls?");
    let mut killed = 0;
    for n in 1..=calls {
        for action in [Action::KillBefore, Action::KillAfter] {
            let (world, proxy) = behind_proxy();
            let args = world.setup_args();
            proxy.reset();
            proxy.fault(Fault { at: At::Nth(n), action: action.clone() });
            let mut child = world.spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
            proxy.kill_target(child.id());
            let status = child.wait().unwrap();
            killed += usize::from(status.signal() == Some(9));
            proxy.reset();
            world.setup();
            world.assert_whole(&format!("killed at call {n} ({action:?})"));
        }
    }
    assert!(killed >= 2 * calls - 2, "only {killed} of {} runs were really killed", 2 * calls);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_replacement_killed_at_any_call_keeps_the_data_and_is_finished_by_the_next() {
    let replace = |world: &World| world.run(&["setup", "--yes", "--memory", "256MiB"]);
    let calls = {
        let (world, proxy) = behind_proxy();
        world.setup();
        proxy.reset();
        assert!(replace(&world).status.success());
        proxy.calls().len()
    };
    for n in 1..=calls {
        let (world, proxy) = behind_proxy();
        world.setup();
        let password = world.password();
        world.http_post("/session", Some(&password), &serde_json::json!({"title": "kept"}));
        proxy.reset();
        proxy.fault(Fault { at: At::Nth(n), action: Action::KillAfter });
        let mut child = world.spawn(&["setup", "--yes", "--memory", "256MiB"]);
        proxy.kill_target(child.id());
        child.wait().unwrap();
        proxy.reset();
        let output = replace(&world);
        assert!(output.status.success(), "after a kill at call {n}\n{}", shown(&output));
        world.assert_whole(&format!("killed at call {n}"));
        assert_eq!(world.inspect().unwrap()["HostConfig"]["Memory"], 256 << 20, "killed at call {n}");
        assert!(world.http_get("/session", Some(&password)).1.contains("kept"), "killed at call {n}");
    }
}

/// Every call of a setup broken in one way: a clear error or success, and the next run converges.
fn broken(action: &Action, codes: &[i32]) {
    let calls = calls_of(|world| drop(world.setup()));
    for n in 1..=calls {
        let (world, proxy) = behind_proxy();
        let mut args = world.setup_args();
        args.push("--json".to_owned());
        proxy.reset();
        proxy.fault(Fault { at: At::Nth(n), action: action.clone() });
        let output = world.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let when = format!("call {n} with {action:?}");
        if !output.status.success() {
            let code = output.status.code();
            assert!(code.is_some_and(|c| codes.contains(&c)), "{when}\n{}\n{}", shown(&output), proxy.report());
            let error = &json(&output)["error"];
            assert_ne!(error["code"], "BUG", "{when}: {error}");
            assert!(error["hint"].is_string(), "{when}: {error}");
        }
        proxy.reset();
        world.setup();
        world.assert_whole(&when);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_answer_cut_at_any_call_is_finished_by_the_next() {
    broken(&Action::Cut, &[5, 7, 10]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_engine_error_at_any_call_is_finished_by_the_next() {
    broken(&Action::error(500, "something broke inside the engine"), &[5, 7, 10]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_answer_beyond_the_deadline_at_any_call_is_finished_by_the_next() {
    broken(&Action::Delay(Duration::from_secs(8)), &[5]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_hanging_engine_is_a_network_error_within_the_deadline() {
    let (world, proxy) = behind_proxy();
    world.setup();
    proxy.fault(Fault { at: At::all(), action: Action::Hang });
    for command in ["start", "list", "stop"] {
        let began = std::time::Instant::now();
        let output = world.fails(&[command, "--json"], 5);
        assert_eq!(json(&output)["error"]["code"], "NETWORK_ERROR", "{command}");
        assert!(began.elapsed() < Duration::from_secs(10), "{command} took {:?}", began.elapsed());
    }
    let status = world.fails(&["status", "--json"], 5);
    assert_eq!(json(&status)["state"], "engine_unreachable");
}

/// Docker lists no volumes while a large one is being removed.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn volumes_that_are_listed_late_are_waited_for() {
    let (world, proxy) = behind_proxy();
    world.setup();
    proxy.fault(Fault { at: At::every("GET", "/volumes"), action: Action::Delay(Duration::from_secs(8)) });
    world.ok(&["start"]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_engine_that_goes_away_is_told_and_comes_back() {
    let (world, proxy) = behind_proxy();
    world.setup();
    proxy.gone();
    let output = world.fails(&["start", "--json"], 5);
    assert_eq!(json(&output)["error"]["code"], "ENGINE_NOT_RUNNING");
    assert_eq!(json(&world.fails(&["status", "--json"], 5))["state"], "engine_unreachable");
    assert_eq!(world.fails(&["stop"], 5).status.code(), Some(5));
    proxy.back();
    assert_eq!(world.status()["desired"], "stopped", "what was asked for holds when the engine is back");
    world.ok(&["start"]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_new_container_that_does_not_answer_is_taken_back() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap()["Id"].clone();
    let bad = world.image_with("exit:1");
    let output = world.run(&["setup", "--yes", "--image", &bad]);
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("previous container was put back"), "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["Id"], before, "the old container is back under its name");
    world.assert_whole("after a replacement that failed");
    world.ok(&["config", "set", "image.reference", &bad]);
    let output = world.fails(&["start"], 10);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the settings still ask for what did not work (image"), "{said}");
    assert_eq!(world.inspect().unwrap()["Id"], before);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn interrupting_a_replacement_puts_the_old_container_back() {
    let world = World::new();
    world.setup();
    let before = world.inspect().unwrap()["Id"].clone();
    let slow = world.image_with("hang");
    let child = world.spawn(&["setup", "--yes", "--image", &slow]);
    wait_until(SOON, "the new container runs", || {
        world.inspect().is_some_and(|i| i["Id"] != before && i["State"]["Running"] == true)
    });
    signal(child.id(), rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", shown(&output));
    assert_eq!(world.inspect().unwrap()["Id"], before);
    wait_until(SOON, "the old one answers again", || {
        world.http_get("/global/health", Some(&world.password())).0 == 200
    });
}
