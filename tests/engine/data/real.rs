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
