//! What the engine is asked, how often, and what happens when it, or docklet, breaks off anywhere.

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::proxy::{Action, At, Call, Fault, Proxy, works};
use crate::support::*;
use crate::sweep::{PARTS, every, part, places, share};

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

/// A helper that the engine is just removing is no work of a killed command; one that nobody removes is.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_helper_that_has_ended_is_nobodys_interrupted_command() {
    let world = World::new();
    world.setup();
    let helper = format!("{}.helper", world.container());
    let labels = world.inspect().unwrap()["Config"]["Labels"].clone();
    let labels = labels.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("docklet."));
    let labels = labels.map(|(key, value)| format!("--label={key}={}", value.as_str().unwrap()));
    let labels: Vec<String> = labels.chain(["--label=docklet.task=network-rules".to_owned()]).collect();
    for (more, left) in [("--label=docklet.auto-remove=true", false), ("--label=more", true)] {
        wait_until(SOON, "its own helper is removed", || engine_get(&format!("/containers/{helper}/json")).is_none());
        let run = ["run", "--name", &helper, "--network=none", "--entrypoint=true", more];
        let labels = labels.iter().map(String::as_str);
        docker(&run.into_iter().chain(labels).chain([world.image().as_str()]).collect::<Vec<_>>());
        let output = world.setup();
        let said = shown(&output);
        assert_eq!(said.contains("interrupted"), left, "{said}");
        assert_eq!(engine_get(&format!("/containers/{helper}/json")).is_none(), left, "{said}");
        docker_try(&["rm", &helper]);
    }
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
        calls
    };
    // Docker runs other programs to answer the first two; the others cost the more the more is on the engine.
    let cheap = |what: &str, most: usize| {
        for call in within(what, most) {
            let dear = matches!(call.route(), "/version" | "/info" | "/volumes" | "/system/df");
            let all = call.route() == "/containers/json" && !call.path.contains("filters=");
            assert!(!dear && !all, "{what}: {call:?}");
        }
    };
    let image = world.image();
    proxy.reset();
    world.ok(&["setup", "--yes", "--image", &image, "--port", &world.port.to_string(), "--json"]);
    // Eleven, four to write the secrets into their volume, two to load the network rules, and one to an old engine, which lets
    // two networks have one name.
    within("create and start", 18);
    world.ok(&["start"]);
    cheap("start with nothing to do", 2);
    world.setup();
    cheap("setup with nothing to do", 2);
    world.ok(&["stop"]);
    // One of them looks for what a killed command left.
    cheap("stop", 4);
    world.ok(&["start"]);
    // Four that look and one that starts, two to load the network rules, and one to say how it is.
    cheap("start", 8);
    world.ok(&["status"]);
    cheap("status", 3);
    world.ok(&["list"]);
    cheap("list", 2);
}

/// The calls of a setup that nothing disturbs.
fn calls_of_a_setup(image: &str) -> Vec<Call> {
    let (world, proxy) = behind_proxy();
    world.take_image(image);
    world.setup();
    proxy.calls()
}

/// Runs the cases. Several at the same time: each has an instance of its own, and mostly waits.
fn side_by_side<T: Sync>(workers: usize, cases: &[T], case: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(one) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
            case(one);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_killed_at_any_call_is_finished_by_the_next() {
    let shared = World::new();
    let image = shared.image();
    let calls: Vec<Call> = calls_of_a_setup(&image).into_iter().filter(works).collect();
    // After each of them the engine is in another state. Before one it is as after the last, but for docklet's own files.
    let after = (1..=calls.len()).map(|n| (n, Action::KillAfter));
    let before = places(&calls).into_iter().map(|n| (n, Action::KillBefore));
    assert!(calls.len() >= 7, "{calls:?}");
    let cases = share(after.chain(before));
    let kills = AtomicUsize::new(0);
    side_by_side(2, &cases, |(n, action)| {
        let (world, proxy) = behind_proxy();
        world.take_image(&image);
        let args = world.setup_args();
        proxy.fault(Fault { at: At::work(*n), action: action.clone() });
        let child = world.spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        proxy.kill_target(child.id());
        let output = child.wait_with_output().unwrap();
        let fired = proxy.fired_at();
        let when = format!("{action:?} at {fired:?}");
        // It may have ended a moment before it was killed for an answer that nobody waits for.
        let killed = !fired.is_empty() && output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{when}\n{}", shown(&output));
        kills.fetch_add(usize::from(killed), Ordering::SeqCst);
        proxy.reset();
        world.setup();
        world.assert_whole(&when);
    });
    let kills = kills.into_inner();
    assert!(kills * 4 > cases.len() * 3, "only {kills} of {} runs were really killed", cases.len());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_replacement_killed_at_any_call_keeps_the_data_and_is_finished_by_the_next() {
    let (world, proxy) = behind_proxy();
    world.setup();
    let password = world.password();
    world.http_post("/session", Some(&password), &serde_json::json!({"title": "kept"}));
    // Undisturbed first: its calls are those to kill it at.
    proxy.reset();
    world.ok(&["setup", "--yes", "--memory", "384MiB"]);
    let places = share(places(&proxy.working_calls()));
    let mut killed = 0;
    for (turn, n) in places.iter().enumerate() {
        let megabytes: u64 = if turn % 2 == 1 { 256 } else { 512 };
        let memory = format!("{megabytes}MiB");
        let replace = ["setup", "--yes", "--memory", &memory];
        proxy.reset();
        proxy.fault(Fault { at: At::work(*n), action: Action::KillAfter });
        let child = world.spawn(&replace);
        proxy.kill_target(child.id());
        let output = child.wait_with_output().unwrap();
        let fired = proxy.fired_at();
        let when = format!("killed at {fired:?}");
        assert!(!fired.is_empty() || output.status.success(), "{}", shown(&output));
        killed += usize::from(output.status.signal() == Some(9));
        proxy.reset();
        let output = world.run(&replace);
        assert!(output.status.success(), "{when}\n{}", shown(&output));
        world.assert_whole(&when);
        assert_eq!(world.inspect().unwrap()["HostConfig"]["Memory"], megabytes << 20, "{when}");
        assert!(world.http_get("/session", Some(&password)).1.contains("kept"), "{when}");
    }
    assert!(killed >= 2 && killed * 2 > places.len(), "only {killed} of {} runs were really killed", places.len());
}

/// Calls of a setup broken in one way: what comes of it is for `judge` to say, and the next run converges. There are three such
/// ways: in each run a call has one of them, this one where it is its `turn`, and in three runs all. With
/// DOCKLET_TEST_EVERY, each has every call.
fn broken(turn: usize, action: &Action, judge: impl Fn(&Call, Duration, &Output, &str) + Sync) {
    let shared = World::new();
    let image = shared.image();
    let mut calls = calls_of_a_setup(&image);
    // How often it looks at a container that begins to work depends on the machine.
    calls.dedup_by(|call, before| (&call.method, &call.path) == (&before.method, &before.path));
    let all = calls.len();
    assert!(all >= 12, "a setup makes {all} calls?");
    let first = 1 + (turn + part()) % PARTS;
    let cases: Vec<usize> = if every() { (1..=all).collect() } else { (first..=all).step_by(PARTS).collect() };
    let judged = AtomicUsize::new(0);
    side_by_side(3, &cases, |n| {
        let (world, proxy) = behind_proxy();
        world.take_image(&image);
        let mut args = world.setup_args();
        args.push("--json".to_owned());
        proxy.fault(Fault { at: At::Nth(*n), action: action.clone() });
        let began = Instant::now();
        let output = world.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let (took, fired) = (began.elapsed(), proxy.fired_at());
        let when = format!("{action:?} at {fired:?}");
        match fired.first() {
            Some(call) => {
                judge(call, took, &output, &format!("{when}\n{}\n{}", shown(&output), proxy.report()));
                judged.fetch_add(1, Ordering::SeqCst);
            }
            None => assert!(output.status.success(), "{}", shown(&output)),
        }
        proxy.reset();
        world.setup();
        world.assert_whole(&when);
    });
    let judged = judged.into_inner();
    assert!(judged * 4 > cases.len() * 3, "only {judged} of {} faults happened", cases.len());
}

/// A clear error with one of these exit codes, or success.
fn clear(output: &Output, codes: &[i32], when: &str) {
    if !output.status.success() {
        assert!(output.status.code().is_some_and(|code| codes.contains(&code)), "{when}");
        let error = &json(output)["error"];
        assert_ne!(error["code"], "BUG", "{when}");
        assert!(error["hint"].is_string(), "{when}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_answer_cut_at_any_call_is_finished_by_the_next() {
    broken(0, &Action::Cut, |_, _, output, when| clear(output, &[5, 7, 10], when));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_engine_error_at_any_call_is_finished_by_the_next() {
    let action = Action::error(500, "something broke inside the engine");
    broken(1, &action, |_, _, output, when| clear(output, &[5, 7, 10], when));
}

/// Calls that look have six seconds. Those that work have more, and eight are not too many.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn setup_with_an_answer_beyond_the_deadline_at_any_call_is_finished_by_the_next() {
    let late = Duration::from_secs(8);
    broken(2, &Action::Delay(late), |call, took, output, when| {
        let works = call.writes || call.route().ends_with("/wait") || call.route() == "/volumes";
        clear(output, &[5], when);
        assert_eq!(output.status.success(), works, "{when}");
        if works {
            assert!(took >= late, "{took:?}: {when}");
        } else {
            assert_eq!(json(output)["error"]["code"], "NETWORK_ERROR", "{when}");
        }
    });
}

/// Podman carries a start out and leaves it without an answer now and then: the container itself is asked.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_start_without_an_answer_is_seen_in_the_container() {
    let (world, proxy) = behind_proxy();
    world.setup();
    world.ok(&["stop"]);
    proxy.reset();
    let late = Duration::from_secs(55);
    proxy.fault(Fault { at: At::every("POST", "/containers/*/start"), action: Action::Delay(late) });
    let began = Instant::now();
    world.ok(&["start"]);
    assert!(began.elapsed() < late, "{:?}", began.elapsed());
    let main = format!("/containers/{}/start", world.container());
    let fired = proxy.fired_at();
    assert!(fired.iter().any(|call| call.route() == main) && fired.len() > 1, "a helper and the container: {fired:?}");
}

/// Not only the first call has a deadline.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_hanging_engine_is_a_network_error_within_the_deadline() {
    let hangs = |world: &World, proxy: &Proxy, at: At, command: &str| {
        proxy.reset();
        proxy.fault(Fault { at, action: Action::Hang });
        let began = Instant::now();
        let output = world.run(&[command, "--json"]);
        let when = format!("{command} at {:?}", proxy.fired_at());
        if proxy.fired() {
            assert_eq!(output.status.code(), Some(5), "{when}\n{}", shown(&output));
            if command != "status" {
                assert_eq!(json(&output)["error"]["code"], "NETWORK_ERROR", "{when}");
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{when} took {:?}", began.elapsed());
        }
        (proxy.fired(), output)
    };
    std::thread::scope(|scope| {
        for command in ["start", "list", "stop"] {
            scope.spawn(move || {
                let (world, proxy) = behind_proxy();
                world.setup();
                // Volumes may be listed late, see below.
                let looks = |nth| At::NthOf(nth, Arc::new(|call| !call.writes && call.route() != "/volumes"));
                let calls = (1..).take_while(|n| {
                    let (fired, _) = hangs(&world, &proxy, looks(*n), command);
                    // What `stop` has stopped.
                    proxy.reset();
                    world.ok(&["start"]);
                    fired
                });
                let calls = calls.count();
                assert!(calls >= 2, "{command} makes {calls} calls?");
                assert!(hangs(&world, &proxy, At::all(), command).0);
                if command == "start" {
                    let (_, status) = hangs(&world, &proxy, At::all(), "status");
                    assert_eq!(json(&status)["state"], "engine_unreachable");
                }
            });
        }
    });
}

/// Docker lists no volumes while a large one is being removed.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn volumes_that_are_listed_late_are_waited_for() {
    let (world, proxy) = behind_proxy();
    world.setup();
    // Only who creates a container asks for them.
    docker(&["rm", "--force", &world.container()]);
    proxy.fault(Fault { at: At::every("GET", "/volumes"), action: Action::Delay(Duration::from_secs(8)) });
    world.ok(&["start"]);
    assert!(proxy.fired(), "{}", proxy.report());
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
    assert!(said.contains("the settings still contain the change that failed (image"), "{said}");
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
