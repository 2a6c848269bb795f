//! How it ends: by itself, by `stop`, by the kernel, and what each says of it. The action names of the seed projects are in
//! the tests' names.

use std::time::{Duration, Instant};

use crate::proxy::{Action, At, Fault, Proxy, is};
use crate::support::*;

fn health(world: &World) -> u16 {
    world.http_get("/global/health", Some(&world.password())).0
}

fn error_code(output: &std::process::Output) -> String {
    json(output)["error"]["code"].as_str().unwrap_or_else(|| panic!("no error\n{}", shown(output))).to_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_whose_process_exits_at_once_fails_the_start_and_leaves_nothing() {
    let world = World::new();
    let image = world.image_with("exit:3");
    let began = Instant::now();
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &world.port.to_string()]);
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
    assert!(began.elapsed() < Duration::from_secs(20), "it does not wait for the time-out");
    assert_eq!(error_code(&output), "START_FAILED");
    let causes = json(&output)["error"]["causes"].to_string();
    assert!(causes.contains("exited with code 3"), "{causes}");
    assert!(causes.contains("stand-in: "), "the log's last lines are shown\n{causes}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("http://"), "no address before it answered");
    assert_eq!(world.status()["state"], "failed");
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn out_of_memory_is_told_apart() {
    let world = World::new();
    let image = world.image_with("oom");
    let port = world.port.to_string();
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &port, "--memory", "128MiB"]);
    // Not every engine is told by its kernel that a limit was hit: its flag is what counts.
    let flag = world.inspect().unwrap()["State"]["OOMKilled"].as_bool().unwrap();
    told_out_of_memory(&output, flag);
    assert_eq!(world.status()["container"]["oom_killed"], flag);

    // One that does say so, and one that does not.
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let says = |flag: bool| {
        proxy.reset();
        let (from, to) = if flag {
            ("\"OOMKilled\":false", "\"OOMKilled\":true ")
        } else {
            ("\"OOMKilled\":true", "\"OOMKilled\":null")
        };
        let at = At::every("GET", "/containers/*/json");
        proxy.fault(Fault { at, action: Action::Rewrite(from, to) });
    };
    for flag in [true, false] {
        says(flag);
        let output = world.run(&["start", "--json"]);
        told_out_of_memory(&output, flag);
        assert_eq!(world.status()["container"]["oom_killed"], flag);
        assert!(proxy.fired());
    }
    world.ok(&["setup", "--yes", "--image", &world.image()]);
    says(true);
    let stopped = json(&world.run(&["stop", "--json"]));
    // An inner process that was killed earlier sets the flag, too.
    assert_eq!((&stopped["oom_killed"], &stopped["graceful_shutdown"]), (&false.into(), &true.into()), "{stopped}");
    assert_eq!(world.status()["container"]["oom_killed"], false);
}

/// The error of a container that used up its memory, from an engine that says so or does not.
fn told_out_of_memory(output: &std::process::Output, flag: bool) {
    assert_eq!(output.status.code(), Some(10), "{}", shown(output));
    let error = json(output)["error"].clone();
    let cause = if flag { "out of memory at 128 MiB" } else { "killed by SIGKILL" };
    assert!(error["causes"].to_string().contains(cause), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--memory 512MiB"), "{error}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_page_that_hangs_is_a_timeout_and_not_ready() {
    let world = World::new();
    for (words, seen) in [("hang", "nothing within "), ("page-404", "HTTP 404"), ("status:500", "HTTP 500")] {
        let image = world.image_with(words);
        let port = world.port.to_string();
        // The last look has no time to end; what an earlier one saw is told.
        let args = ["setup", "--yes", "--json", "--image", &image, "--port", &port, "--timeout", "6"];
        let output = world.run(&args);
        assert_eq!(output.status.code(), Some(10), "{words}\n{}", shown(&output));
        assert_eq!(error_code(&output), "TIMEOUT", "{words}");
        let causes = json(&output)["error"]["causes"].to_string();
        assert!(causes.contains(seen), "{words}: {causes}");
        assert!(!causes.contains("within 50 ms"), "later looks get more time: {causes}");
    }
}

/// Both requests of the first look, for health and page, are never answered; the next ones are.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_page_that_loses_its_first_requests_is_asked_again_soon() {
    let world = World::new();
    let image = world.image_with("deaf:2");
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &world.port.to_string()]);
    assert!(output.status.success(), "{}", shown(&output));
    let events = String::from_utf8_lossy(&output.stderr);
    assert!(events.contains("nothing within 50 ms") && !events.contains("nothing within 1 s"), "{events}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_page_that_refuses_our_password_is_unhealthy() {
    let world = World::new();
    let image = world.image_with("unauthorized");
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &world.port.to_string()]);
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
    assert_eq!(error_code(&output), "UNHEALTHY");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stop_success_stop_graceful_exit_stop_already_stopped() {
    let world = World::new();
    world.fails(&["stop"], 4);
    world.setup();
    let stopped = json(&world.run(&["stop", "--json"]));
    assert_eq!(stopped["changed"], true);
    assert_eq!(stopped["running"], false);
    assert_eq!(stopped["graceful_shutdown"], true, "{stopped}");
    assert_eq!(stopped["killed"], false);
    assert_eq!(stopped["oom_killed"], false);
    assert!([0, 143].contains(&stopped["exit_code"].as_i64().unwrap()));
    let status = world.run(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    assert_eq!(json(&status)["state"], "stopped");
    assert_eq!(json(&status)["desired"], "stopped");
    let again = json(&world.run(&["stop", "--json"]));
    assert_eq!(again["changed"], false);
    let restarted = json(&world.run(&["restart", "--json"]));
    for name in ["exit_code", "graceful_shutdown", "killed", "oom_killed"] {
        assert!(again[name].is_null() && restarted[name].is_null(), "{name}: {again} {restarted}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stop_killed_exit() {
    let world = World::new();
    world.setup();
    // "once": it removes the file when it has read it.
    world.misbehave("ignore-term once");
    wait_until(SOON, "the stand-in to know", || {
        !docker_try(&["exec", &world.container(), "test", "-e", "/workspace/.stand-in"]).status.success()
    });
    let stopped = json(&world.run(&["stop", "--timeout", "1", "--json"]));
    assert_eq!(stopped["exit_code"], 137, "{stopped}");
    assert_eq!(stopped["killed"], true);
    assert_eq!(stopped["graceful_shutdown"], false);
    assert_eq!(stopped["oom_killed"], false);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stop_that_the_engine_cannot_do_is_stop_failed() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    proxy.fault(Fault {
        at: At::first("POST", "/containers/*/stop"),
        action: Action::error(500, "cannot stop container: tried to kill container, but did not receive an exit event"),
    });
    let output = world.fails(&["stop", "--json"], 10);
    assert_eq!(error_code(&output), "STOP_FAILED");
    assert!(json(&output)["error"]["causes"].to_string().contains("did not receive an exit event"));
    // The engine says that it did, and it did not.
    proxy.fault(Fault { at: At::first("POST", "/containers/*/stop"), action: Action::Status(204, String::new()) });
    assert_eq!(error_code(&world.fails(&["stop", "--json"], 10)), "STOP_FAILED");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn answer_304_is_success() {
    let world = World::new();
    world.setup();
    world.ok(&["stop"]);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    // Somebody else started it between our look and our call. No helper's start is meant.
    let fault = |what: &str| {
        proxy.reset();
        let at = At::first("POST", &format!("/containers/{}/{what}", world.container()));
        proxy.fault(Fault { at, action: Action::Status(304, String::new()) });
    };
    fault("start");
    let output = world.run(&["start", "--no-wait", "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(proxy.fired(), "{}", proxy.report());
    // Somebody else is just stopping it: it runs when it is looked at, and not any more when it is told to stop.
    proxy.reset();
    world.ok(&["start"]);
    fault("stop");
    let looks = At::NthOf(1, is("GET", &format!("/containers/{}/json", world.container())));
    proxy.fault(Fault { at: looks, action: Action::Delay(Duration::from_secs(2)) });
    let child = world.spawn(&["stop", "--json"]);
    wait_until(SOON, "it looks", || proxy.fired());
    docker(&["stop", &world.container()]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!((&json(&output)["running"], &json(&output)["exit_code"]), (&false.into(), &0.into()));
    assert_eq!(proxy.fired_at().len(), 2, "no stop was asked for\n{}", proxy.report());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_paused_container_goes_on() {
    let world = World::new();
    world.setup();
    pause(&world.container());
    assert_eq!(world.status()["container"]["paused"], true);
    let started = json(&world.run(&["start", "--json"]));
    assert_eq!(started["changed"], true, "{started}");
    assert_eq!(health(&world), 200);
    pause(&world.container());
    let stopped = json(&world.run(&["stop", "--json"]));
    assert_eq!(stopped["graceful_shutdown"], true, "{stopped}");
}
