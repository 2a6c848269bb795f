//! A part of a backup comes back, and the rest stays as it is.

use std::time::Duration;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy};

/// The lines of a listing that are about one volume.
fn of(listing: &[String], world: &World, volume: &str) -> Vec<String> {
    let begin = format!("{} ", volume.replace(&world.name, "…"));
    let found: Vec<String> =
        listing.iter().filter(|line| line.replace(&world.name, "…").starts_with(&begin)).cloned().collect();
    assert!(!found.is_empty(), "{begin}\n{listing:#?}");
    found
}

/// What is deleted between the question what there is and the stop is not lost by the change.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_session_that_is_deleted_while_it_stops_takes_no_change_back() {
    let world = World::new();
    world.setup();
    let (kept, deleted) = (session(&world, "kept"), session(&world, "deleted"));
    let file = world.folder().join("b.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let at = At::first("POST", &format!("/containers/{}/stop", world.container()));
    // It has its grace to end in.
    world.misbehave("ignore-term");
    proxy.fault(Fault { at, action: Action::Delay(Duration::from_millis(1)) });
    let child = world.spawn(&["restore", file, "--only", "projects", "--yes"]);
    wait_until(SOON, "it is being stopped", || proxy.fired());
    let store = "/home/opencode/.opencode/stand-in";
    docker(&["exec", &world.container(), "sh", "-c", &format!("rm -r {store}/{deleted}")]);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_session(&world, &kept, "kept", "after the change");
    assert_whole(&world, "after the change");
    assert!(!world.home.join("state").join(&world.name).join("backup-test.lock").exists());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn only_the_volumes_that_are_named_come_back() {
    let world = World::new();
    world.setup();
    let [own, projects, config] = world.volumes();
    let old = session(&world, "old");
    tree(&projects, &["make"]);
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let before = of(&listing(&world), &world, &projects);

    as_root(&world, "rm -rf /workspace/* && echo x > /workspace/new && echo y > /home/opencode/.config/mine");
    let new = session(&world, "new");
    world.ok(&["config", "set", "resources.pids", "512"]);
    let settings = listing(&world);
    let plan = world.ok(&["restore", file, "--only", "projects", "--dry-run"]);
    assert!(plan.contains("only the data of projects") && plan.contains("session, config"), "{plan}");
    let report = json(&world.run(&["restore", file, "--only", "projects", "--yes", "--json"]));
    assert_eq!((&report["only"], &report["settings"]), (&serde_json::json!(["projects"]), &false.into()), "{report}");
    let now = listing(&world);
    assert_same(&before, &of(&now, &world, &projects), "the projects are as they were");
    assert_same(&of(&settings, &world, &config), &of(&now, &world, &config), "the rest was not touched");
    for (id, title) in [(&old, "old"), (&new, "new")] {
        assert_session(&world, id, title, "sessions stay");
    }
    assert_whole(&world, "after a part of a restore");

    let report = json(&world.run(&["restore", file, "--only", "session,config", "--yes", "--json"]));
    assert_eq!(report["only"], serde_json::json!(["session", "config"]));
    assert_session(&world, &old, "old", "as in the backup");
    let (_, all) = world.http_get("/session", Some(&world.password()));
    assert!(!all.contains(&new), "{all}");
    let now = listing(&world);
    assert_same(&before, &of(&now, &world, &projects), "the projects were not touched");
    assert!(!of(&now, &world, &own).is_empty());
    error(&world, &["restore", file, "--only", "secrets", "--yes"], 2, "USAGE");
    error(&world.sibling(), &["restore", file, "--only", "projects", "--yes"], 4, "NOT_FOUND");
}
