//! The main path with the real opencode: a session lives on in a backup alone.

use super::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_opencode_reads_its_sessions_back_from_a_backup() {
    let world = World::new();
    let port = world.port.to_string();
    let output = world.docklet_online().args(["setup", "--yes", "--install-engine", "--port", &port]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let id = session(&world, "kept");
    docker(&["exec", "--user", "opencode", &world.container(), "sh", "-c", "git init -q /workspace/app"]);
    let version = world.status()["image"]["appliance_version"].clone();
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    let made = json(&world.run(&["backup", file, "--json"]));
    assert!(made["paused_seconds"].is_f64(), "it was backed up while it ran: {made}");
    assert_session(&world, &id, "kept", "after a backup");
    let tested = json(&world.run(&["backup", "test", file, "--json"]));
    assert_eq!((&tested["works"], &tested["records"][0]["listed"][0]), (&true.into(), &id.clone().into()), "{tested}");
    let later = session(&world, "later");

    world.ok(&["uninstall", "--volumes", "--yes", "--no-backup"]);
    let output = world.docklet_online().args(["restore", file, "--yes"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_whole(&world, "restored");
    assert_session(&world, &id, "kept", "restored");
    let (_, sessions) = world.http_get("/session", Some(&world.password()));
    assert!(!sessions.contains(&later), "what came after the backup is not in it\n{sessions}");
    assert_eq!(world.status()["image"]["appliance_version"], version);
    docker(&["exec", "--user", "opencode", &world.container(), "git", "-C", "/workspace/app", "status", "--short"]);
}

/// Another release than the one that docklet brings.
const OTHER: &str = "1.18.34";

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_opencode_keeps_its_sessions_over_updates_that_work_and_that_do_not() {
    let world = World::new();
    let port = world.port.to_string();
    let online = |args: &[&str], code: i32| {
        let output = world.docklet_online().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
        output
    };
    online(&["setup", "--yes", "--install-engine", "--port", &port], 0);
    let id = session(&world, "kept");
    let version = || world.status()["image"]["appliance_version"].as_str().unwrap().to_owned();
    let own = version();
    let whole = |when: &str, expected: &str| {
        assert_eq!(version(), expected, "{when}");
        assert_session(&world, &id, "kept", when);
        assert_whole(&world, when);
    };

    let check = json(&online(&["update", "--check", "--json"], 0));
    assert_eq!(check["current"], own.as_str(), "{check}");
    assert!(check["latest"].is_string(), "{check}");
    // It is not ready that fast.
    let failed = online(&["update", "--to", OTHER, "--timeout", "1"], 11);
    assert!(
        shown(&failed).contains(&format!("the change to {OTHER} failed and was rolled back")),
        "{}",
        shown(&failed)
    );
    whole("taken back", &own);
    let names = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(!names.contains(&format!(":{OTHER}-")), "what was built for it is gone\n{names}");
    let older = world.build(
        &stand_in(),
        &[
            "LABEL docklet.managed=true docklet.appliance=opencode-cloud",
            &format!("LABEL docklet.instance={}", world.name),
        ],
    );
    let updated = json(&online(&["update", "--to", OTHER, "--json"], 0));
    assert!(!docker_try(&["image", "inspect", &older]).status.success(), "what was built before the last release goes");
    assert_eq!((&updated["from"], &updated["to"]), (&own.as_str().into(), &OTHER.into()), "{updated}");
    whole("updated", OTHER);
    // Without a container the backup still knows which release wrote the data.
    docker(&["rm", "--force", &world.container()]);
    let file = world.folder().join("without a container.tar.zst");
    world.ok(&["backup", file.to_str().unwrap()]);
    let told = json(&world.run(&["backup", "verify", file.to_str().unwrap(), "--json"]));
    assert_eq!(told["appliance_version"], OTHER, "{told}");
    world.ok(&["start"]);
    whole("started again", OTHER);
    let later = session(&world, "later");
    online(&["rollback", "--yes"], 0);
    whole("rolled back", &own);
    assert_session(&world, &later, "later", "rolled back, the data stays");
    online(&["update", "--to", OTHER], 0);
    online(&["rollback", "--data", "--yes"], 0);
    whole("rolled back with the data", &own);
    let missing = online(&["update", "--to", "1.0.99999"], 4);
    assert!(shown(&missing).contains("release 1.0.99999"), "{}", shown(&missing));
    whole("no such release", &own);
}
