//! docklet is killed at each of its calls to the engine. Whatever command comes next finishes the work or undoes it: one
//! container, three volumes, nothing else, and the sessions are there.
//!
//! Killed is at the calls of [`At::work`] that [`places`] chooses, a third of them in each run ([`share`]). `KillAfter` shows
//! the engine every state that there is. `KillBefore` comes with it where there are few calls, for what docklet writes to its
//! own files between.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use super::*;
use crate::proxy::{Action, At, Call, Fault, Proxy};
use crate::sweep::{places, share};

const AFTER: &[Action] = &[Action::KillAfter];
const BOTH: &[Action] = &[Action::KillBefore, Action::KillAfter];

/// The calls that a command makes when nothing disturbs it: those to kill it at.
fn undisturbed(world: &World, proxy: &Proxy, args: &[&str]) -> Vec<usize> {
    world.use_engine(&proxy.host());
    proxy.reset();
    world.ok(args);
    places(&proxy.working_calls())
}

/// Runs a command that is killed at its n-th such call; whether it really was, and when, for a message.
fn killed_at(world: &World, proxy: &Proxy, n: usize, action: &Action, args: &[&str]) -> (bool, String) {
    world.use_engine(&proxy.host());
    proxy.reset();
    proxy.fault(Fault { at: At::work(n), action: action.clone() });
    let child = world.spawn(args);
    proxy.kill_target(child.id());
    let output = child.wait_with_output().unwrap();
    let fired = proxy.fired_at();
    assert!(!fired.is_empty() || output.status.success(), "{}", shown(&output));
    proxy.reset();
    (output.status.signal() == Some(9), format!("{} killed ({action:?}) at {n}: {fired:?}", args[0]))
}

/// Kills a command at its calls, lets another one follow, and looks. `prepare` brings the state that the command starts from,
/// however the one before ended.
fn killed_at_any_call(world: &World, id: &str, ways: &[Action], args: &[&str], prepare: impl Fn()) {
    let proxy = Proxy::start(&engine_host());
    let nameless_before = nameless();
    prepare();
    let places = undisturbed(world, &proxy, args);
    let cases = share(places.into_iter().flat_map(|n| ways.iter().map(move |way| (n, way))));
    let mut killed = 0;
    for (turn, (n, action)) in cases.iter().enumerate() {
        world.use_engine(&engine_host());
        prepare();
        let (really, when) = killed_at(world, &proxy, *n, action, args);
        killed += usize::from(really);
        match turn % 3 {
            0 => {}
            1 => {
                let stopped = world.run(&["stop"]);
                assert!(stopped.status.success(), "{when}\n{}", shown(&stopped));
                world.assert_nothing_else(&format!("{when}, and stopped"));
            }
            _ => {
                let again = world.run(args);
                let taken = args[0] == "backup" && again.status.code() == Some(8);
                assert!(again.status.success() || taken, "{when}\n{}", shown(&again));
            }
        }
        let started = world.run(&["start"]);
        assert!(started.status.success(), "{when}\n{}", shown(&started));
        assert_whole(world, &when);
        assert_session(world, id, "kept", &when);
        proxy.reset();
        world.ok(&["start"]);
        // A supervisor's helper may just be loading the network rules.
        let writes = proxy.writing_calls().into_iter().filter(|call| !call.path.contains(".helper")).count();
        assert_eq!(writes, 0, "{when}: a second start\n{}", proxy.report());
    }
    world.use_engine(&engine_host());
    assert!(killed >= 3 && killed * 2 > cases.len(), "only {killed} of {} runs were really killed", cases.len());
    // Those of other tests' containers come and go.
    wait_until(SOON, "no volume without a name is left", || nameless().is_subset(&nameless_before));
}

/// An image that declares a volume which docklet does not give it: every container of it gets one without a name.
const SCRATCH: &str = "VOLUME /scratch";

fn set_up(world: World) -> (World, String) {
    publish(&world, &stand_in(), &[SCRATCH]);
    setup_pulled(&world);
    let id = session(&world, "kept");
    (world, id)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn backup() {
    let (world, id) = set_up(World::new());
    let before = listing(&world);
    killed_at_any_call(&world, &id, BOTH, &["backup"], || {});
    assert_same(&before, &listing(&world), "after all those backups");
    let listed = json(&world.run(&["backup", "list", "--json"]));
    for backup in listed["backups"].as_array().unwrap() {
        assert_eq!(backup["error"], Value::Null, "what has the name is whole");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn restore() {
    let (world, id) = set_up(World::new());
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    killed_at_any_call(&world, &id, AFTER, &["restore", file, "--yes"], || {});
}

/// Into an instance that is not there yet. What was begun is not lost either: restoring again takes it from there.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn restore_into_a_fresh_instance() {
    let (world, id) = set_up(World::new());
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    world.ok(&["uninstall", "--purge", "--volumes", "--yes", "--no-backup"]);
    let proxy = Proxy::start(&engine_host());
    let restore = ["restore", file, "--yes"];
    let places = undisturbed(&world, &proxy, &restore);
    let mut killed = 0;
    for (turn, n) in share(places).into_iter().enumerate() {
        world.use_engine(&engine_host());
        world.ok(&["uninstall", "--purge", "--volumes", "--yes", "--no-backup"]);
        assert_eq!(world.left(), Vec::<String>::new(), "before a kill at {n}");
        let (really, when) = killed_at(&world, &proxy, n, &Action::KillAfter, &restore);
        killed += usize::from(really);
        if turn % 2 == 0 {
            // Not set up yet, or with its data: never half of it, and never empty.
            let started = world.run(&["start"]);
            assert!([Some(0), Some(4)].contains(&started.status.code()), "{when}\n{}", shown(&started));
            if started.status.success() {
                assert_session(&world, &id, "kept", &when);
            }
        }
        let again = world.run(&restore);
        assert!(again.status.success(), "{when}\n{}", shown(&again));
        assert_whole(&world, &when);
        assert_session(&world, &id, "kept", &when);
        proxy.reset();
        world.ok(&["start"]);
        assert_eq!(proxy.writing_calls().len(), 0, "{when}: a start\n{}", proxy.report());
    }
    assert!(killed >= 3, "only {killed} runs were really killed");
    world.use_engine(&engine_host());
    world.ok(&["uninstall", "--purge", "--volumes", "--yes", "--no-backup"]);
    assert_eq!(world.left(), Vec::<String>::new());
}

/// From one image to another under the same name, and back in the next turn.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn update() {
    let (world, id) = set_up(World::new());
    let turn = std::cell::Cell::new(0);
    killed_at_any_call(&world, &id, AFTER, &["update"], || publish_another(&world, &turn));
    runs(&world, "after all those updates");
}

/// With a supervisor, which must not interfere.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn rollback_before_a_supervisors_eyes() {
    let (world, id) = set_up(World::supervised());
    let turn = std::cell::Cell::new(0);
    killed_at_any_call(&world, &id, AFTER, &["rollback", "--yes"], || {
        publish_another(&world, &turn);
        world.ok(&["update"]);
    });
}

/// An image that was not there before.
fn publish_another(world: &World, turn: &std::cell::Cell<u32>) {
    turn.set(turn.get() + 1);
    publish(world, &stand_in_2(), &[SCRATCH, &format!("LABEL docklet-test.turn={}", turn.get())]);
}

/// The helper that fills the secrets volume starts, and whoever was to send the secrets is gone: what is there stays, and the
/// container that is put back has its password.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn secrets_that_are_never_sent_are_not_removed() {
    let (world, id) = set_up(World::new());
    let file = world.folder().join("kept.tar.zst");
    world.ok(&["backup", file.to_str().unwrap()]);
    let proxy = Proxy::start(&engine_host());
    let helper = format!("/containers/{}.helper", world.container());
    let secrets = format!("{}-secrets", world.container());
    let password = || tree(&secrets, &["list"]).lines().filter(|line| line.contains("PASSWORD")).collect::<String>();
    let before = password();
    world.use_engine(&proxy.host());
    let starts = {
        let path = format!("{helper}/start");
        move |call: &Call| call.path.ends_with(&path)
    };
    proxy.fault(Fault { at: At::NthOf(1, Arc::new(starts)), action: Action::KillAfter });
    let child = world.spawn(&["restore", file.to_str().unwrap(), "--yes"]);
    proxy.kill_target(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!((proxy.fired_at().len(), output.status.signal()), (1, Some(9)), "{}", shown(&output));
    proxy.reset();
    world.use_engine(&engine_host());
    wait_until(SOON, "the helper has ended", || {
        engine_get(&format!("{helper}/json")).is_none_or(|helper| helper["State"]["Status"] == "exited")
    });
    assert_eq!(password(), before);
    world.ok(&["start"]);
    assert_whole(&world, "without secrets that were sent");
    assert_session(&world, &id, "kept", "without secrets that were sent");
}

/// Data, settings and secrets of a backup come together, or not at all.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn restore_with_secrets_and_settings() {
    let (world, _) = set_up(World::new());
    let phrase = world.folder().join("phrase");
    std::fs::write(&phrase, "one that is long enough").unwrap();
    let key = world.folder().join("key");
    let (file, phrase) = (world.folder().join("backup.tar.zst"), phrase.to_str().unwrap());
    let args = ["restore", file.to_str().unwrap(), "--passphrase-file", phrase, "--settings", "--yes"];
    let becomes = |what: &str| {
        std::fs::write(&key, what).unwrap();
        world.ok(&["secret", "set", "MY_KEY", "--from-file", key.to_str().unwrap()]);
        world.ok(&["config", "set", "git.name", what]);
        world.ok(&["start"]);
        world.ok(&["exec", "--", "sh", "-c", &format!("echo {what} >/workspace/what")]);
    };
    let is = || {
        let secret = world.home.join("config").join(&world.name).join("secrets/MY_KEY");
        let data = docker(&["exec", &world.container(), "cat", "/workspace/what"]);
        let inside = docker(&["exec", &world.container(), "cat", "/run/secrets/MY_KEY"]);
        let name = world.ok(&["config", "get", "git.name"]).trim().to_owned();
        [data, std::fs::read_to_string(secret).unwrap().trim().to_owned(), inside, name]
    };
    becomes("old");
    world.ok(&["backup", args[1], "--passphrase-file", phrase]);
    let previous = format!("/containers/opencode-cloud-{}.previous", world.name);
    let proxy = Proxy::start(&engine_host());
    for action in [Action::KillBefore, Action::KillAfter] {
        becomes("new");
        world.use_engine(&proxy.host());
        proxy.reset();
        let at = At::first("DELETE", &previous);
        proxy.fault(Fault { at, action: action.clone() });
        let child = world.spawn(&args);
        proxy.kill_target(child.id());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.signal(), proxy.fired()), (Some(9), true), "{action:?}\n{}", shown(&output));
        world.use_engine(&engine_host());
        world.ok(&["start"]);
        let found = is();
        assert!(found.iter().all(|one| *one == found[0]), "{action:?}: {found:?}");
    }
}

/// The backup that undoes a killed restore may be the only copy of the data. Without it there is a way out all the same.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_restore_whose_undoing_is_lost() {
    let (world, id) = set_up(World::new());
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let previous = format!("/containers/opencode-cloud-{}.previous", world.name);
    let proxy = Proxy::start(&engine_host());
    let kill = || {
        world.use_engine(&proxy.host());
        proxy.reset();
        proxy.fault(Fault { at: At::first("DELETE", &previous), action: Action::KillBefore });
        let child = world.spawn(&["restore", file, "--yes"]);
        proxy.kill_target(child.id());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.signal(), proxy.fired()), (Some(9), true), "{}", shown(&output));
        world.use_engine(&engine_host());
        let listed = json(&world.run(&["backup", "prune", "--keep-changes", "0", "--yes", "--json"]));
        let kept = listed["kept"].as_array().unwrap().iter();
        let kept = kept.filter(|kept| kept["reason"].as_str().unwrap().contains("interrupted change"));
        let [undo] = kept.collect::<Vec<_>>()[..] else { panic!("{listed}") };
        std::path::PathBuf::from(undo["file"].as_str().unwrap())
    };
    std::fs::remove_file(kill()).unwrap();
    for command in [&["start"][..], &["restore", file, "--yes"], &["uninstall", "--yes"]] {
        let output = world.fails(command, 4);
        assert!(shown(&output).contains("restore FILE --no-backup"), "{}", shown(&output));
    }
    world.ok(&["restore", file, "--no-backup", "--yes"]);
    world.assert_whole("after the second restore");
    assert!(world.http_get("/session", Some(&world.password())).1.contains(&id));
    std::fs::remove_file(kill()).unwrap();
    world.ok(&["uninstall", "--purge", "--yes"]);
    assert_eq!(world.left(), Vec::<String>::new());
}
