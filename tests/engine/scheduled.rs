//! Backups that nobody has to think of: on a schedule, by the supervisor, and the last one before the volumes go.
//! And what becomes of a backup that is killed while a supervisor looks on.

use std::time::Duration;

use serde_json::json;

use crate::data::error;
use crate::proxy::{Action, At, Fault, Proxy, is};
use crate::supervise::usage;
use crate::support::*;

const WHILE_LOOKING: Duration = Duration::from_secs(60);

fn backups(world: &World) -> Vec<serde_json::Value> {
    let report = json(&world.run(&["backup", "list", "--json"]));
    report["backups"].as_array().unwrap().clone()
}

fn of_reason(world: &World, reason: &str) -> usize {
    backups(world).iter().filter(|b| b["reason"] == reason).count()
}

fn decided(world: &World, what: &str) -> bool {
    let status = world.status();
    status["supervisor"]["decisions"].as_array().unwrap().iter().any(|d| d["decision"] == what)
}

/// Waits until the last scheduled backup is written down, too.
fn is_done(world: &World) {
    let newest = || backups(world).into_iter().find(|b| b["reason"] == "scheduled").map(|b| b["file"].clone());
    wait_until(SOON, "the last one is written down", || Some(world.status()["backup"]["file"].clone()) == newest());
}

/// The last scheduled backup was an hour ago, and the supervisor reads its settings again.
fn an_hour_goes_by(world: &World, disk: &str) {
    let file = world.home.join("state").join(&world.name).join("backup.json");
    let mut last: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    last["attempt"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(&file, last.to_string()).unwrap();
    world.ok(&["config", "set", "resources.disk", disk]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_supervisor_makes_scheduled_backups_and_keeps_a_few() {
    let world = World::supervised();
    world.setup();
    world.ok(&["backup"]);
    assert!(world.status()["backup"].is_null());
    world.ok(&["config", "set", "backup.keep", "1"]);
    let public = "age1dw2n70lww7wsfev8wf0459rcvd95nnh75zk7364jl2xfatd8q92sgx5amu";
    world.ok(&["config", "set", "backup.recipients", public]);
    world.ok(&["config", "set", "backup.every", "1h"]);
    wait_until(WHILE_LOOKING, "a scheduled backup", || of_reason(&world, "scheduled") == 1);
    let first = backups(&world).iter().find(|b| b["reason"] == "scheduled").unwrap()["file"].clone();
    is_done(&world);
    let verified = json(&world.run(&["backup", "verify", first.as_str().unwrap(), "--json"]));
    assert_eq!(verified["secrets"], true, "encrypted for the key");
    an_hour_goes_by(&world, "40GiB");
    wait_until(WHILE_LOOKING, "another in its place", || {
        of_reason(&world, "scheduled") == 1 && !backups(&world).iter().any(|b| b["file"] == first)
    });
    let pid = world.status()["supervisor"]["pid"].as_u64().unwrap().try_into().unwrap();
    wait_until(SOON, "the memory of a backup is given back", || usage(pid).1 < 6 << 10);
    assert_eq!(of_reason(&world, "manual"), 1, "one that somebody asked for stays");
    let status = world.status();
    assert_eq!(status["backup"]["every"], "1h");
    assert!(status["backup"]["last"].is_string() && status["backup"]["error"].is_null(), "{status}");

    // One that fails is told loudly. Nobody can write into a folder that is a file.
    let folder = world.home.join("data").join(&world.name).join("backups");
    is_done(&world);
    wait_until(SOON, "no backup is being made", || world.run(&["backup", "prune", "--keep", "9"]).status.success());
    let aside = folder.with_file_name("aside");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    an_hour_goes_by(&world, "50GiB");
    wait_until(WHILE_LOOKING, "the failure is told", || world.status()["backup"]["error"].is_string());
    assert!(world.ok(&["status"]).contains("the last attempt failed"));
    wait_until(SOON, "the supervisor says so", || decided(&world, "backup_failed"));
    assert_eq!(world.status()["state"], "running", "and it runs");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn backups_are_copied_elsewhere_and_a_command_that_fails_or_hangs_is_no_loss() {
    let world = World::supervised();
    world.setup();
    // One that moves it away leaves nothing to restore here, and is told so.
    world.ok(&["config", "set", "backup.copy", &format!("mv {{file}} '{}'", world.folder().display())]);
    let moved = error(&world, &["backup"], 11, "COPY_FAILED");
    assert!(moved["causes"][0].as_str().unwrap().contains("took"), "{moved}");
    assert!(moved["hint"].as_str().unwrap().contains("copy instead of moving"), "{moved}");
    assert_eq!(backups(&world).len(), 0);
    // Nothing is copied of what is no file here.
    let sent = world.run(&["backup", "-"]);
    assert!(sent.status.success() && String::from_utf8_lossy(&sent.stderr).contains("backup.copy does not run"));

    let elsewhere = world.folder().join("a store; with $(id)");
    let copy = format!("cp {{file}} '{}/{{name}}'", elsewhere.display());
    world.ok(&["config", "set", "backup.copy", &copy]);
    let failed = error(&world, &["backup"], 11, "COPY_FAILED");
    let reason = failed["causes"][0].as_str().unwrap();
    assert!(reason.contains("cp:"), "{failed}");
    let file = backups(&world)[0]["file"].as_str().unwrap().to_owned();
    assert!(failed["hint"].as_str().unwrap().contains(&file), "{failed}");
    world.ok(&["backup", "verify", &file]);
    assert_eq!(world.status()["copy"]["error"], reason);
    let doctor = json(&world.run(&["doctor", "--json"]));
    assert!(
        doctor["checks"].as_array().unwrap().iter().any(|c| c["id"] == "backups" && c["level"] == "warning"),
        "{doctor}"
    );

    // The store is back, and a minute is over.
    std::fs::create_dir(&elsewhere).unwrap();
    let state = world.home.join("state").join(&world.name).join("copies.json");
    let mut copies: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    copies["attempt"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(&state, copies.to_string()).unwrap();
    world.ok(&["config", "set", "resources.disk", "40GiB"]);
    wait_until(WHILE_LOOKING, "it is copied", || world.status()["copy"]["error"].is_null());
    let file = std::path::PathBuf::from(file);
    let copied = std::fs::read(elsewhere.join(file.file_name().unwrap())).unwrap();
    assert_eq!(copied, std::fs::read(&file).unwrap());
    assert_eq!(world.status()["copy"]["file"], file.to_str().unwrap());
    wait_until(SOON, "the supervisor says so", || decided(&world, "copied"));
    let made = json(&world.run(&["backup", "--json"]));
    assert_eq!(made["copied"], true, "the first attempt");

    // One that hangs keeps the supervisor from nothing.
    let hangs = world.folder().join("hangs");
    world.ok(&["config", "set", "backup.copy", &format!("echo $$ >'{}'; sleep 600", hangs.display())]);
    world.ok(&["config", "set", "backup.every", "1h"]);
    wait_until(WHILE_LOOKING, "a scheduled backup is being copied", || hangs.exists());
    docker(&["kill", &world.container()]);
    wait_until(SOON, "it is restarted meanwhile", || world.status()["supervisor"]["restarts"] == 1);
    assert_eq!(of_reason(&world, "scheduled"), 1, "and the backup is there");
    let pid = std::fs::read_to_string(&hangs).unwrap();
    world.ok(&["uninstall", "--yes"]);
    wait_until(SOON, "the command ends with the supervisor", || {
        !std::path::Path::new(&format!("/proc/{}/cmdline", pid.trim())).exists()
    });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn ctrl_c_while_a_backup_is_copied_says_that_the_backup_is_there() {
    let world = World::new();
    world.setup();
    let copies = world.folder().join("copies");
    world.ok(&["config", "set", "backup.copy", &format!("touch '{}'; sleep 600", copies.display())]);
    let child = world.spawn(&["backup", "--json"]);
    wait_until(SOON, "it is being copied", || copies.exists());
    signal(child.id(), rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", shown(&output));
    let hint = json(&output)["error"]["hint"].as_str().unwrap().to_owned();
    let made = backups(&world);
    assert_eq!(made.len(), 1);
    let file = made[0]["file"].as_str().unwrap();
    assert!(hint.contains(file) && hint.contains("only its copy was interrupted"), "{hint}");
    world.ok(&["backup", "verify", file]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn killed_backups_are_put_right_by_the_supervisor_and_apply_no_settings() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    let container = || {
        let found = world.inspect().unwrap();
        (found["Id"].clone(), found["State"]["StartedAt"].clone())
    };
    let before = container();
    // For the next `start`, and for nothing else.
    world.ok(&["config", "set", "resources.memory", "1GiB"]);
    world.ok(&["config", "set", "network.egress", "all"]);
    for _ in 0..2 {
        let proxy = Proxy::start(&engine_host());
        proxy.fault(Fault { at: At::first("POST", "/containers/*/unpause"), action: Action::Hang });
        let mut command = world.docklet();
        command.env("DOCKER_HOST", proxy.host()).args(["backup"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        wait_until(SOON, "it is paused, and to go on", || {
            proxy.fired() && world.inspect().unwrap()["State"]["Paused"] == true
        });
        child.kill().unwrap();
        child.wait().unwrap();
        // Each within seconds, however soon after the one before.
        wait_until(SOON, "it goes on", || world.inspect().unwrap()["State"]["Paused"] == false);
        wait_until(SOON, "it answers", || world.http_get("/global/health", Some(&password)).0 == 200);
        wait_until(SOON, "the task is gone", || {
            docker(&["ps", "-aq", "--filter", &format!("name=^{}.task$", world.container())]).is_empty()
        });
    }
    wait_until(SOON, "the supervisor says so", || decided(&world, "recovered"));
    assert_eq!(container(), before, "it was neither restarted nor replaced for that");
    world.ok(&["backup"]);
    assert_eq!(container(), before, "nor by a backup");
    world.ok(&["start"]);
    assert_ne!(container(), before, "but by a start");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_pause_that_the_engine_does_not_end_is_ended_by_the_supervisor() {
    let world = World::supervised();
    world.setup();
    let before = world.inspect().unwrap()["State"]["StartedAt"].clone();
    let proxy = Proxy::start(&engine_host());
    let action = Action::error(500, "cannot resume");
    proxy.fault(Fault { at: At::Every(is("POST", "/containers/*/unpause")), action });
    let failed = world.docklet().env("DOCKER_HOST", proxy.host()).args(["backup"]).output().unwrap();
    assert!(!failed.status.success() && proxy.fired(), "{}", shown(&failed));
    assert_eq!(world.inspect().unwrap()["State"]["Paused"], true);
    wait_until(SOON, "it goes on", || world.inspect().unwrap()["State"]["Paused"] == false);
    assert_eq!(world.inspect().unwrap()["State"]["StartedAt"], before, "it was not restarted for that");
    wait_until(SOON, "the task is gone", || {
        docker(&["ps", "-aq", "--filter", &format!("name=^{}.task$", world.container())]).is_empty()
    });
    world.ok(&["backup"]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn volumes_go_only_behind_a_last_backup() {
    let world = World::new();
    let port = world.port.to_string();
    world.ok(&["setup", "--yes", "--image", &world.registry_image(), "--port", &port]);
    let password = world.password();
    let (code, made) = world.http_post("/session", Some(&password), &json!({"title": "to be kept"}));
    assert_eq!(code, 200, "{made}");
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let report = json(&world.run(&["uninstall", "--volumes", "--yes", "--json"]));
    assert_eq!(report["left"], json!([]), "{report}");
    let routes: Vec<String> = proxy.writing_calls().iter().map(|call| call.route().to_owned()).collect();
    let at = |what: &str| routes.iter().position(|route| route.ends_with(what));
    assert!(at("/stop") < at("/containers/create") && at("/pause").is_none(), "stopped first\n{}", proxy.report());
    let file = report["backup"].as_str().unwrap().to_owned();
    assert!(report["kept"].as_array().unwrap().iter().any(|k| k["kind"] == "backups"), "{report}");
    // Everything is gone, the image too, and comes back.
    world.ok(&["restore", &file, "--yes"]);
    let (_, sessions) = world.http_get("/session", Some(&world.password()));
    assert!(sessions.contains("to be kept"), "{sessions}");

    let report = json(&world.run(&["uninstall", "--volumes", "--no-backup", "--yes", "--json"]));
    assert!(report["backup"].is_null(), "{report}");
    assert!(std::fs::metadata(&file).is_ok(), "earlier backups stay");
    let report = json(&world.run(&["uninstall", "--purge", "--yes", "--json"]));
    assert!(report["backup"].is_null() && std::fs::metadata(&file).is_err(), "{report}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn without_a_last_backup_nothing_is_removed() {
    let world = World::new();
    world.setup();
    let folder = world.home.join("data").join(&world.name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("backups"), "in the way").unwrap();
    let failed = world.run(&["uninstall", "--volumes", "--yes"]);
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("--no-backup"), "{}", shown(&failed));
    assert_eq!(world.status()["state"], "running");
    std::fs::remove_file(folder.join("backups")).unwrap();
}
