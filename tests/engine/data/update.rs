//! An update that fails, in whatever way, leaves image and data as they were; one that works can be taken back.

use std::time::Duration;

use rustix::process::Signal;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy};
use crate::sweep::{places, share};

/// A world that pulled the first version, with a session and files of all kinds.
fn pulled() -> (World, String) {
    let world = World::new();
    publish(&world, &stand_in(), &["LABEL docklet-test.version=1"]);
    setup_pulled(&world);
    let id = session(&world, "kept");
    // First a file of the agent's: Podman gives an empty volume to the user of whoever mounts it next.
    world.ok(&["exec", "--", "sh", "-c", "echo mine > /workspace/notes"]);
    tree(&world.volumes()[1], &["make"]);
    (world, id)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_update_that_fails_leaves_image_and_data_as_they_were() {
    let (world, id) = pulled();
    let image = runs(&world, "before");
    let before = listing(&world);
    let bad: [(&str, &[&str], &str); 5] = [
        ("exit:3", &[], "exited with code 3"),
        ("spoil exit:3", &[], "exited with code 3"),
        ("spoil", &[], "the only record of /session is missing"),
        ("hang", &["--timeout", "3"], ""),
        ("status:500", &["--timeout", "3"], "500"),
    ];
    for (words, more, reason) in bad {
        publish(&world, &stand_in_2(), &[&format!("ENV STAND_IN=\"{words}\"")]);
        let output = world.fails(&[&["update"], more].concat(), 11);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(reason), "`{reason}` is the reason for {words}\n{text}");
        assert!(!words.contains("exit") || text.contains("fatal: told to exit"), "the log is shown\n{text}");
        assert_eq!(runs(&world, words), image, "{words}: the image of before runs again");
        assert_whole(&world, words);
        assert_same(&before, &listing(&world), words);
        assert_session(&world, &id, "kept", words);
    }
    publish(&world, &stand_in_2(), &["ENV STAND_IN=status:500"]);
    let error = error(&world, &["update", "--timeout", "3"], 11, "UPDATE_ROLLED_BACK");
    assert!(error["hint"].is_string(), "{error}");
    assert_eq!(world.status()["image"]["appliance_version"], "1.0.1");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_update_keeps_the_data_and_can_be_taken_back_with_it() {
    let (world, id) = pulled();
    // More changes follow than are kept.
    world.ok(&["config", "set", "backup.keep_changes", "9"]);
    let old = runs(&world, "before");
    publish(&world, &stand_in_2(), &[]);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let before = listing(&world);
    let report = json(&world.run(&["update", "--json"]));
    assert_eq!((&report["changed"], &report["from"], &report["to"]), (&true.into(), &"1.0.1".into(), &"1.0.2".into()));
    let backup = report["backup"].as_str().unwrap().to_owned();
    assert_ne!(runs(&world, "updated"), old);
    assert_same(&before, &listing(&world), "updated");
    assert_session(&world, &id, "kept", "updated");
    assert_whole(&world, "updated");

    proxy.reset();
    let again = json(&world.run(&["update", "--json"]));
    assert_eq!(again["changed"], false, "{again}");
    // The registry is asked by pulling, which brings nothing; that is all.
    let others: Vec<_> = proxy.writing_calls().into_iter().filter(|c| c.route() != "/images/create").collect();
    assert!(others.is_empty(), "{others:?}");

    // As after a kill just before its last start: nothing to do is said of what runs.
    docker(&["stop", &world.container()]);
    assert_eq!(json(&world.run(&["update", "--json"]))["running"], true);
    assert_whole(&world, "nothing to do");

    let later = session(&world, "later");
    world.fails(&["rollback"], 6);
    let report = json(&world.run(&["rollback", "--yes", "--json"]));
    assert_eq!((&report["to"], &report["data"]), (&"1.0.1".into(), &false.into()), "{report}");
    assert_eq!(runs(&world, "rolled back"), old);
    for (session, title) in [(&id, "kept"), (&later, "later")] {
        assert_session(&world, session, title, "rolled back, the data stays");
    }
    assert_whole(&world, "rolled back");
    // Also after one more try that was taken back: there is one way back, and it has been gone.
    publish(&world, &stand_in_2(), &["ENV STAND_IN=exit:3"]);
    world.fails(&["update"], 11);
    assert_eq!(json(&world.run(&["rollback", "--yes", "--json"]))["changed"], false);
    let nothing = error(&world, &["rollback", "--data", "--yes"], 4, "NOT_FOUND");
    assert!(nothing["causes"][0].as_str().unwrap().contains("already rolled back"), "{nothing}");
    assert!(nothing["hint"].as_str().unwrap().contains(" restore "), "its data can be had: {nothing}");
    publish(&world, &stand_in_2(), &[]);

    json(&world.run(&["update", "--json"]));
    assert_session(&world, &later, "later", "updated again");
    world.ok(&["backup", "verify", &backup]);
    let last = session(&world, "last");
    world.ok(&["rollback", "--data", "--yes"]);
    assert_eq!(runs(&world, "rolled back with the data"), old);
    assert_session(&world, &later, "later", "rolled back with the data");
    assert!(!world.http_get("/session", Some(&world.password())).1.contains(&last), "the data is that of before");
    assert_whole(&world, "rolled back with the data");

    // What the way back was named by is docklet's own, and goes.
    let way_back = format!("{}:previous", world.container());
    assert!(docker_try(&["image", "inspect", &way_back]).status.success());
    world.ok(&["uninstall", "--purge", "--no-backup", "--yes"]);
    assert!(!docker_try(&["image", "inspect", &way_back]).status.success());
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn update_check_looks_and_changes_nothing() {
    let world = World::new();
    publish(&world, &stand_in(), &["LABEL docklet-test.version=1"]);
    setup_pulled(&world);
    let check = || json(&world.run(&["update", "--check", "--json"]));
    let nothing = check();
    assert_eq!((&nothing["update_available"], &nothing["current"]), (&false.into(), &"1.0.1".into()), "{nothing}");
    publish(&world, &stand_in_2(), &[]);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    assert_eq!(check()["update_available"], true);
    assert_eq!(proxy.writing_calls().len(), 0, "{}", proxy.report());
    json(&world.run(&["update", "--json"]));
    assert_eq!(check()["update_available"], false);
}

/// Interrupts a command while its writing calls are under way, at a third of them; how often it was taken back.
fn interrupted(world: &World, id: &str, args: &[&str], prepare: impl Fn(), as_before: &str) -> usize {
    let proxy = Proxy::start(&engine_host());
    let mut taken_back = 0;
    let before = listing(world);
    prepare();
    world.use_engine(&proxy.host());
    world.ok(args);
    for n in share(places(&proxy.writing_calls())) {
        world.use_engine(&engine_host());
        prepare();
        let image = runs(world, "before");
        world.use_engine(&proxy.host());
        proxy.reset();
        proxy.fault(Fault { at: At::writing(n), action: Action::Delay(Duration::from_millis(400)) });
        let mut child = world.spawn(args);
        let a_while = SOON * 2;
        wait_until(a_while, "the call, or the end", || proxy.fired() || child.try_wait().unwrap().is_some());
        let fired = proxy.fired();
        if fired {
            signal(child.id(), Signal::INT);
        }
        let output = child.wait_with_output().unwrap();
        let when = format!("interrupted at writing call {n} {:?}\n{}", proxy.fired_at(), shown(&output));
        world.use_engine(&engine_host());
        match output.status.code() {
            Some(0) => {}
            Some(11) => taken_back += 1,
            Some(130) => {
                assert_eq!(runs(world, &when), image, "{when}: before anything was touched");
                world.ok(&["start"]);
            }
            _ => panic!("{when}"),
        }
        if output.status.code() == Some(11) {
            assert!(shown(&output).contains(as_before), "{when}");
            assert_eq!(runs(world, &when), image, "{when}");
        }
        assert_session(world, id, "kept", &when);
        assert_whole(world, &when);
    }
    assert_same(&before, &listing(world), "after all those interruptions");
    taken_back
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_update_that_is_interrupted_leaves_image_and_data_as_they_were() {
    let (world, id) = pulled();
    let turn = std::cell::Cell::new(0);
    let taken_back = interrupted(
        &world,
        &id,
        &["update"],
        || {
            turn.set(turn.get() + 1);
            publish(&world, &stand_in_2(), &[&format!("LABEL docklet-test.turn={}", turn.get())]);
        },
        "interrupted",
    );
    assert!(taken_back >= 2, "taken back only {taken_back} times");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_was_stopped_stays_stopped() {
    let (world, id) = pulled();
    let old = runs(&world, "before");
    let stopped = |when: &str| {
        let status = json(&world.fails(&["status", "--json"], 3));
        assert_eq!((&status["state"], &status["desired"]), (&"stopped".into(), &"stopped".into()), "{when}: {status}");
    };
    world.ok(&["stop"]);
    let before = listing(&world);
    let file = world.folder().join("stopped.tar.zst");
    let file = file.to_str().unwrap();
    assert_eq!(json(&world.run(&["backup", file, "--json"]))["paused_seconds"], serde_json::Value::Null);
    stopped("backed up");
    publish(&world, &stand_in_2(), &["ENV STAND_IN=exit:3"]);
    world.fails(&["update"], 11);
    assert_eq!(runs(&world, "taken back"), old);
    stopped("taken back");
    publish(&world, &stand_in_2(), &[]);
    let report = json(&world.run(&["update", "--json"]));
    assert_eq!((&report["changed"], &report["running"]), (&true.into(), &false.into()), "{report}");
    assert_ne!(runs(&world, "updated"), old);
    stopped("updated");
    assert_eq!(json(&world.run(&["restore", file, "--yes", "--json"]))["running"], false);
    stopped("restored");
    world.ok(&["rollback", "--yes"]);
    assert_eq!(runs(&world, "rolled back"), old);
    stopped("rolled back");
    assert_same(&before, &listing(&world), "after all that");
    world.ok(&["start"]);
    assert_session(&world, &id, "kept", "started");
    assert_whole(&world, "started");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_supervisor_tells_once_of_an_update() {
    let world = World::supervised();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let told = world.folder().join("told");
    world.ok(&["config", "set", "notify.command", &format!("cat >>'{}'", told.display())]);
    world.ok(&["config", "set", "update.check_every", "1h"]);
    let update = || world.status()["update"].clone();
    wait_until(SOON, "it has looked", || update()["last"].is_string());
    assert_eq!((&update()["available"], &update()["error"]), (&Value::Null, &Value::Null));
    publish(&world, &stand_in_2(), &[]);
    let state = world.home.join("state").join(&world.name).join("update.json");
    // As if an hour had gone by; a setting that changes has the supervisor read it.
    let look_again = |keep: u32| {
        let mut looked: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
        looked["attempt"] = "2026-01-01T00:00:00Z".into();
        looked["success"] = "2026-01-01T00:00:00Z".into();
        std::fs::write(&state, looked.to_string()).unwrap();
        world.ok(&["config", "set", "backup.keep", &keep.to_string()]);
        wait_until(SOON, "it has looked again", || update()["last"] != "2026-01-01T00:00:00Z");
    };
    look_again(8);
    assert_eq!(update()["available"], "another image of the same name", "{}", world.status());
    wait_until(SOON, "the command was told", || std::fs::read_to_string(&told).is_ok_and(|text| text.ends_with('\n')));
    look_again(9);
    let told = std::fs::read_to_string(&told).unwrap();
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("\"update_available\"") && told.contains("docklet --instance"), "{told}");
    world.ok(&["update"]);
    assert_eq!(update()["available"], Value::Null);
}
