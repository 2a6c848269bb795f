//! `backup test`: a good backup passes, a damaged one and one that does not work fail; what runs goes on as it does, and
//! nothing is left, wherever docklet is killed.

use serde_json::json as object;

use super::*;
use std::sync::Arc;

use crate::proxy::{Action, At, Call, Fault, Proxy, is};
use crate::sweep::moments;

/// What carries the label of the throwaway instance.
fn thrown_away(world: &World) -> Vec<String> {
    let label = format!("label=docklet.instance={}.test", world.name);
    let containers = docker(&["ps", "--all", "--format", "{{.Names}}", "--filter", &label]);
    let volumes = docker(&["volume", "ls", "--quiet", "--filter", &label]);
    containers.lines().chain(volumes.lines()).map(str::to_owned).collect()
}

/// What tells that the user's container was stopped, paused or restarted. Its id and since when it runs; events say the rest.
struct Untouched<'a> {
    world: &'a World,
    state: Value,
    since: String,
}

impl<'a> Untouched<'a> {
    fn from_now(world: &'a World) -> Self {
        let state = world.inspect().unwrap();
        let since = now();
        Untouched { world, state: object!([state["Id"], state["State"]["StartedAt"]]), since }
    }

    fn assert(&self, when: &str) {
        let state = self.world.inspect().unwrap();
        assert_eq!(object!([state["Id"], state["State"]["StartedAt"]]), self.state, "{when}");
        assert_eq!(state["State"]["Status"], "running", "{when}");
        let format = ["--filter", "type=container", "--format", "{{.Actor.Attributes.name}} {{.Action}}"];
        let events = docker(&[&["events", "--since", &self.since, "--until", &now()], &format[..]].concat());
        // The engine's own filter takes the beginning of a name for the name.
        let own = events.lines().filter_map(|event| event.strip_prefix(&format!("{} ", self.world.container())));
        let touched: Vec<&str> =
            own.filter(|event| !event.starts_with("exec_") && !event.starts_with("health_")).collect();
        assert_eq!(touched, Vec::<&str>::new(), "{when}: events of the user's container");
        assert_eq!(thrown_away(self.world), Vec::<String>::new(), "{when}: nothing is left");
        self.world.assert_nothing_else(when);
    }
}

/// As the engine takes it, to the nanosecond.
fn now() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_that_works_passes_beside_what_runs() {
    let world = World::new();
    world.setup();
    let variables = world.folder().join("env");
    std::fs::write(&variables, "SOME_KEY=hidden\n").unwrap();
    world.ok(&["secret", "import", variables.to_str().unwrap()]);
    world.ok(&["start"]);
    let id = session(&world, "kept");
    tree(&world.volumes()[1], &["make"]);
    let key = world.folder().join("key.txt");
    let key = key.to_str().unwrap();
    let public = json(&world.run(&["backup", "key", "--output", key, "--json"]))["public_key"].clone();
    error(&world, &["backup", "test"], 4, "NOT_FOUND");
    world.ok(&["config", "set", "backup.recipients", public.as_str().unwrap()]);
    world.ok(&["start"]);
    let file = json(&world.run(&["backup", "--json"]))["file"].as_str().unwrap().to_owned();
    let before = listing(&world);
    let settings = world.ok(&["config", "show"]);
    let untouched = Untouched::from_now(&world);

    let report = json(&world.run(&["backup", "test", "--json"]));
    assert_eq!(
        (&report["works"], &report["file"], &report["left"]),
        (&true.into(), &file.clone().into(), &object!([]))
    );
    assert_eq!(report["records"], object!([{"path": "/session", "expected": 1, "listed": [id]}]), "{report}");
    assert_eq!((&report["secrets"], &report["secrets_in_it"]), (&false.into(), &true.into()), "{report}");
    untouched.assert("after a test");
    let text = world.ok(&["backup", "test", &file, "--identity", key]);
    assert!(text.contains("works") && text.contains("secrets    opened"), "{text}");
    untouched.assert("after a test of a file that was named");
    assert_eq!(world.ok(&["config", "show"]), settings);
    assert_same(&before, &listing(&world), "after two tests");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn only_one_runs_and_an_interrupted_one_removes_what_it_made() {
    let world = World::new();
    world.setup();
    // Noticed at its start alone: the one that runs goes on, the throwaway one lets wait.
    world.misbehave("slow:300");
    world.ok(&["backup"]);
    let untouched = Untouched::from_now(&world);
    let mut first = world.spawn(&["backup", "test"]);
    let container = format!("{}.test", world.container());
    wait_until(SOON, "the first is at work", || thrown_away(&world).contains(&container));
    error(&world, &["backup", "test"], 9, "LOCKED");
    error(&world, &["uninstall", "--yes"], 9, "LOCKED");
    // What runs is not locked meanwhile.
    world.ok(&["start"]);
    signal(first.id(), rustix::process::Signal::INT);
    assert_eq!(first.wait().unwrap().code(), Some(130));
    untouched.assert("after one that was interrupted");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_that_is_damaged_or_does_not_work_fails() {
    let world = World::new();
    world.setup();
    session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let path = file.to_str().unwrap();
    world.ok(&["backup", path]);
    let untouched = Untouched::from_now(&world);
    let good = std::fs::read(&file).unwrap();
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    std::fs::write(&file, altered).unwrap();
    error(&world, &["backup", "test", path], 11, "BACKUP_INVALID");
    untouched.assert("after one with a byte that was altered");

    let in_it = |words: &str| {
        let words =
            format!("printf %s '{words}' >/workspace/.stand-in.new; mv /workspace/.stand-in.new /workspace/.stand-in");
        docker(&["exec", &world.container(), "sh", "-c", &words]);
        std::fs::remove_file(&file).unwrap();
        world.ok(&["backup", path]);
        Untouched::from_now(&world)
    };
    let untouched = in_it("page-404");
    let failed = error(&world, &["backup", "test", path, "--timeout", "10"], 11, "BACKUP_INVALID");
    assert!(failed.to_string().contains("did not answer within 10 s: / answers with HTTP 404"), "{failed}");
    untouched.assert("after one whose page does not work");
    // The one that runs does it once, now; the throwaway one does it at its start.
    in_it("spoil");
    let sessions = || world.http_get("/session", Some(&world.password())).1;
    wait_until(SOON, "it has lost its session", || sessions() == "[]");
    session(&world, "to be lost");
    let untouched = in_it("spoil");
    let failed = error(&world, &["backup", "test", path], 11, "BACKUP_INVALID");
    assert!(failed.to_string().contains("of /session is missing"), "{failed}");
    untouched.assert("after one that loses a session");
}

/// Killed at every call, and put right by whatever comes next: another test, or an uninstall.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn killed_anywhere_nothing_stays() {
    let world = World::new();
    world.setup();
    session(&world, "kept");
    world.ok(&["backup"]);
    let untouched = Untouched::from_now(&world);
    let proxy = Proxy::start(&engine_host());
    let (mut killed, mut left) = (0, 0);
    // Commands that are run inside change nothing that stays.
    let work = |call: &Call| call.writes && !call.path.contains("/exec");
    for (n, action) in moments(6, &[Action::KillAfter]) {
        world.use_engine(&proxy.host());
        proxy.reset();
        proxy.fault(Fault { at: At::NthOf(n, Arc::new(work)), action });
        let child = world.spawn(&["backup", "test"]);
        proxy.kill_target(child.id());
        let output = child.wait_with_output().unwrap();
        let fired = proxy.fired_at();
        world.use_engine(&engine_host());
        proxy.reset();
        if fired.is_empty() {
            assert!(output.status.success(), "{}", shown(&output));
            break;
        }
        killed += 1;
        left += usize::from(!thrown_away(&world).is_empty());
        if killed % 2 == 1 {
            world.ok(&["backup", "test"]);
            untouched.assert(&format!("killed at {fired:?}, and tested again"));
        }
    }
    assert!(killed >= 4 && left >= 2, "killed {killed} times, {left} times with something left");
    untouched.assert("after all those");
    proxy.reset();
    world.use_engine(&proxy.host());
    proxy.fault(Fault { at: At::NthOf(2, is("POST", "/containers/*/start")), action: Action::KillAfter });
    let child = world.spawn(&["backup", "test"]);
    proxy.kill_target(child.id());
    child.wait_with_output().unwrap();
    world.use_engine(&engine_host());
    assert!(!thrown_away(&world).is_empty());
    world.ok(&["uninstall", "--volumes", "--no-backup", "--yes"]);
    assert_eq!((thrown_away(&world), world.left()), (vec![], vec![]));
}

/// An answer that is lost, before or behind what the engine did, ends the test or not: nothing stays in either case, or the
/// next test removes it, and no test passes whose instance could not be asked.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_lost_answer_leaves_nothing() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    world.ok(&["backup"]);
    let untouched = Untouched::from_now(&world);
    let proxy = Proxy::start(&engine_host());
    let (mut failed, mut passed) = (0, 0);
    for (n, action) in moments(6, &[Action::Cut, Action::CutBefore]) {
        world.use_engine(&proxy.host());
        proxy.reset();
        proxy.fault(Fault { at: At::work(n), action: action.clone() });
        let output = world.run(&["backup", "test", "--json"]);
        let fired = proxy.fired_at();
        proxy.reset();
        world.use_engine(&engine_host());
        if fired.is_empty() {
            assert!(output.status.success(), "{}", shown(&output));
            break;
        }
        let when = format!("{action:?} at {}\n{}", fired[0], shown(&output));
        if output.status.success() {
            passed += 1;
            let report = json(&output);
            assert_eq!(report["records"][0]["listed"], object!([id]), "{when}");
        } else {
            failed += 1;
            assert!(matches!(output.status.code(), Some(5 | 10 | 11)), "{when}");
            if !thrown_away(&world).is_empty() {
                world.ok(&["backup", "test"]);
            }
        }
        untouched.assert(&when);
    }
    assert!(failed >= 2, "{failed} failed, {passed} passed");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_supervisor_tests_backups_and_removes_what_a_killed_test_left() {
    let world = World::supervised();
    world.setup();
    session(&world, "kept");
    // The supervisor waits for an idle machine, which this one may never be: the last test is long ago.
    let state = world.home.join("state").join(&world.name).join("backup-test.json");
    let long_ago = |file: &str| {
        let last = object!({"attempt": "2026-01-01T00:00:00Z", "success": null, "file": file, "error": null});
        std::fs::write(&state, last.to_string()).unwrap();
    };
    long_ago("none yet");
    let file = json(&world.run(&["backup", "--json"]))["file"].as_str().unwrap().to_owned();
    let untouched = Untouched::from_now(&world);
    assert!(world.status()["backup_test"].is_null());
    world.ok(&["config", "set", "backup.test_every", "1d"]);
    wait_until(Duration::from_secs(60), "a test", || world.status()["backup_test"]["last"].is_string());
    let status = world.status();
    assert_eq!((&status["backup_test"]["file"], &status["backup_test"]["error"]), (&file.clone().into(), &Value::Null));
    untouched.assert("after a scheduled test");
    assert!(world.ok(&["status"]).contains("every 1d, the last at"));

    // Damaged: told everywhere.
    let told = world.folder().join("told");
    world.ok(&["config", "set", "notify.command", &format!("cat >>'{}'", told.display())]);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    long_ago(&file);
    world.ok(&["config", "set", "resources.disk", "40GiB"]);
    wait_until(Duration::from_secs(60), "a failure", || world.status()["backup_test"]["error"].is_string());
    assert!(world.ok(&["status"]).contains("the last attempt failed"));
    let doctor = json(&world.run(&["doctor", "--json"]));
    let backups = doctor["checks"].as_array().unwrap().iter().find(|check| check["id"] == "backups").unwrap();
    assert_eq!(backups["level"], "problem", "{backups}");
    wait_until(SOON, "the command is told", || {
        std::fs::read_to_string(&told).unwrap_or_default().contains("backup_test_failed")
    });

    let proxy = Proxy::start(&engine_host());
    proxy.fault(Fault { at: At::first("POST", "/volumes/create"), action: Action::KillAfter });
    std::fs::remove_file(&file).unwrap();
    world.ok(&["backup", &file]);
    world.use_engine(&proxy.host());
    let child = world.spawn(&["backup", "test"]);
    proxy.kill_target(child.id());
    child.wait_with_output().unwrap();
    world.use_engine(&engine_host());
    wait_until(Duration::from_secs(60), "the supervisor removes it", || thrown_away(&world).is_empty());
    wait_until(SOON, "and says so", || {
        let status = world.status();
        status["supervisor"]["decisions"].as_array().unwrap().iter().any(|d| d["decision"] == "recovered")
    });
}
