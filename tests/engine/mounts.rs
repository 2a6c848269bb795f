//! Folders and files of the host inside the container: what was swapped for something else is not mounted, what must
//! not be mounted is refused, what needs a yes is asked about, and what runs goes on running meanwhile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::*;

fn error(world: &World, args: &[&str], code: i32) -> Value {
    json(&world.fails(&[args, &["--json"]].concat(), code))["error"].clone()
}

/// A folder of this world, with a file in it that has its name.
fn folder(world: &World, name: &str) -> PathBuf {
    let path = world.folder().join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("name"), name).unwrap();
    path
}

fn inside(world: &World, path: &str) -> String {
    docker(&["exec", &world.container(), "cat", path])
}

fn started_at(world: &World) -> Value {
    let state = world.inspect().unwrap()["State"].clone();
    assert_eq!(state["Running"], true, "{state}");
    state["StartedAt"].clone()
}

/// The text of the settings file with one more mount, as somebody edits it.
fn edit_in(world: &World, host: &str, container: &str) -> String {
    let path = world.home.join("config").join(&world.name).join("settings.toml");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{before}\n[[mounts]]\nhost = '{host}'\ncontainer = '{container}'\n")).unwrap();
    before
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_source_that_was_swapped_is_refused_before_anything_is_stopped() {
    let world = World::new();
    world.setup();
    let code = folder(&world, "code");
    let argument = format!("{}:/workspace/code", code.display());
    let output = world.run(&["--yes", "mount", "add", &argument]);
    assert!(output.status.success(), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("hooks and scripts"), "{said}");
    assert_eq!(inside(&world, "/workspace/code/name"), "code");
    let started = started_at(&world);

    // As the agent could through a folder above it.
    let away = world.folder().join("away");
    fs::rename(&code, &away).unwrap();
    symlink("/", &code).unwrap();
    for _ in 0..2 {
        let error = error(&world, &["restart"], 10);
        assert_eq!(error["code"], "START_FAILED", "{error}");
        let causes = error["causes"].to_string();
        assert!(causes.contains("/code (inode") && causes.contains("the folder / (inode"), "{error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("mount remove /workspace/code") && hint.contains("mount add"), "{error}");
        assert_eq!(started_at(&world), started);
    }
    for args in [&["password", "--rotate", "--yes"][..], &["setup", "--yes", "--memory", "512MiB"]] {
        assert_eq!(error(&world, args, 10)["code"], "START_FAILED", "{args:?}");
    }
    assert_eq!(started_at(&world), started);
    world.ok(&["stop"]);
    assert_eq!(error(&world, &["start"], 10)["code"], "START_FAILED");
    // Not even the one who names it again gets the system's folder.
    assert_eq!(error(&world, &["--yes", "mount", "add", &argument], 2)["code"], "USAGE");
    // Another folder is another one, until the user accepts it.
    fs::remove_file(&code).unwrap();
    folder(&world, "code");
    assert_eq!(error(&world, &["start"], 10)["code"], "START_FAILED");
    world.ok(&["mount", "add", &argument]);
    world.ok(&["start"]);
    assert_eq!(inside(&world, "/workspace/code/name"), "code");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_supervisor_does_not_start_what_was_swapped() {
    let world = World::supervised();
    world.setup();
    let code = folder(&world, "code");
    world.ok(&["--yes", "mount", "add", &format!("{}:/workspace/code:ro", code.display())]);
    fs::rename(&code, world.folder().join("away")).unwrap();
    symlink("away", &code).unwrap();
    docker(&["kill", &world.container()]);
    let log = world.home.join("state").join(&world.name).join("supervisor.log");
    let says = |text: &str| fs::read_to_string(&log).unwrap_or_default().contains(text);
    wait_until(SOON, "the supervisor says why it does not restart it", || says("is not what was mounted at"));
    assert_eq!(world.inspect().unwrap()["State"]["Running"], false);
    fs::remove_file(&code).unwrap();
    fs::rename(world.folder().join("away"), &code).unwrap();
    wait_until(SOON, "it runs again with the folder from before", || {
        world.inspect().unwrap()["State"]["Running"] == true
    });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_single_file_is_mounted_and_may_be_replaced() {
    let world = World::new();
    world.setup();
    let key = folder(&world, "keys").join("id_ed25519");
    fs::write(&key, "first").unwrap();
    world.ok(&["--yes", "mount", "add", &format!("{}:/workspace/id_ed25519:ro", key.display())]);
    assert_eq!(inside(&world, "/workspace/id_ed25519"), "first");
    let rw = world.inspect().unwrap()["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|mount| (mount["Destination"] == "/workspace/id_ed25519").then(|| mount["RW"].clone()));
    assert_eq!(rw, Some(false.into()));
    // As editors do.
    let new = key.with_extension("new");
    fs::write(&new, "second").unwrap();
    fs::rename(&new, &key).unwrap();
    world.ok(&["restart"]);
    assert_eq!(inside(&world, "/workspace/id_ed25519"), "second");
    let started = started_at(&world);
    fs::remove_file(&key).unwrap();
    symlink("/etc/shadow", &key).unwrap();
    assert_eq!(error(&world, &["restart"], 10)["code"], "START_FAILED");
    assert_eq!(started_at(&world), started);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_must_not_be_mounted_is_refused_however_it_is_named() {
    let world = World::new();
    world.setup();
    let started = started_at(&world);
    symlink("/etc", world.folder().join("harmless")).unwrap();
    folder(&world, "code/app");
    let settings = world.home.join("config").join(&world.name).join("settings.toml");
    let before = fs::read_to_string(&settings).unwrap();
    for (mount, reason) in [
        ("/etc:/workspace/x:ro", "system"),
        ("harmless:/workspace/x:ro", "/etc belongs"),
        ("harmless/passwd:/workspace/x:ro", "/etc/passwd belongs"),
        ("code:/etc/skel", "read-only"),
    ] {
        for args in [&["--yes", "mount", "add", mount][..], &["--yes", "setup", "--mount", mount]] {
            let error = error(&world, args, 2);
            assert!(error["message"].as_str().unwrap().contains(reason), "{args:?}: {error}");
        }
    }
    let socket = engine_host().trim_start_matches("unix://").to_owned();
    let holds_socket = format!("{}:/workspace/x", std::path::Path::new(&socket).parent().unwrap().display());
    error(&world, &["--yes", "mount", "add", &holds_socket], 2);
    let both = ["--yes", "setup", "--mount", "code:/workspace/code,code/app:/workspace/app:ro"];
    assert!(error(&world, &both, 2)["message"].as_str().unwrap().contains("the agent can change"));
    assert_eq!(fs::read_to_string(&settings).unwrap(), before);
    // Edited into the file: what runs goes on, and does not get it.
    let before = edit_in(&world, "/var/lib", "/workspace/x");
    for command in ["start", "restart"] {
        assert_eq!(error(&world, &[command, "--yes"][..], 2)["code"], "USAGE");
    }
    fs::write(&settings, before).unwrap();
    assert_eq!(started_at(&world), started);
    // What another instance's agent can change.
    world.ok(&["--yes", "mount", "add", "code:/workspace/code"]);
    let other = world.sibling();
    other.setup();
    let error = error(
        &other,
        &["--yes", "mount", "add", &format!("{}/code/app:/workspace/app:ro", world.folder().display())],
        2,
    );
    assert!(error["message"].as_str().unwrap().contains(&format!("instance {} has", world.name)), "{error}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn keys_in_the_home_folder_are_asked_about() {
    let world = World::new();
    world.setup();
    let started = started_at(&world);
    let keys = folder(&world, "user/.ssh");
    let mount = format!("{}:/workspace/keys:ro", keys.display());
    let error_of = |args: &[&str]| error(&world, args, 6);
    let refused = error_of(&["mount", "add", &mount]);
    assert_eq!(refused["code"], "CONFIRMATION_REQUIRED", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains(".ssh"), "{refused}");
    assert_eq!(json(&world.run(&["mount", "list", "--json"]))["mounts"], serde_json::json!([]));
    world.ok(&["--yes", "mount", "add", "~/.ssh:/workspace/keys:ro"]);
    assert_eq!(inside(&world, "/workspace/keys/name"), "user/.ssh");
    world.ok(&["restart"]);
    assert_ne!(started_at(&world), started);
    // Edited into the file: asked once, by the first start that sees it.
    let started = started_at(&world);
    let cloud = folder(&world, "user/.aws");
    edit_in(&world, cloud.to_str().unwrap(), "/workspace/cloud");
    for command in ["start", "restart"] {
        assert_eq!(error_of(&[command])["code"], "CONFIRMATION_REQUIRED");
        assert_eq!(started_at(&world), started);
    }
    world.ok(&["start", "--yes"]);
    world.ok(&["restart"]);
    assert_eq!(inside(&world, "/workspace/cloud/name"), "user/.aws");
}

/// What the agent leads the place of a mount to.
const PROGRAMS: &str = "/usr/local/bin";

fn with_mount(world: &World) -> String {
    world.setup();
    let folder = folder(world, "m2");
    world.ok(&["mount", "add", "--yes", &format!("{}:/workspace/m2", folder.display())]);
    assert_eq!(inside(world, "/workspace/m2/name"), "m2");
    format!("rmdir /workspace/m2 && ln -s {PROGRAMS} /workspace/m2")
}

/// As another container that has the volume, without what is mounted in it.
fn in_volume(world: &World, script: &str) {
    let volume = format!("{}:/workspace", world.volumes()[1]);
    let image = stand_in();
    docker(&["run", "--rm", "--user", "0", "--volume", &volume, "--entrypoint", "sh", &image, "-c", script]);
}

fn last_start(world: &World) -> Value {
    world.inspect().unwrap()["State"]["StartedAt"].clone()
}

/// Whether anything ran in the container with the folder over its programs.
fn is_covered(world: &World) -> bool {
    let state = world.inspect().unwrap()["State"].clone();
    let pid = state["Pid"].as_i64().unwrap();
    state["Running"] == true && fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().contains(PROGRAMS)
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_place_that_was_led_elsewhere_while_nothing_ran_keeps_the_container_from_starting() {
    let world = World::new();
    let swap = with_mount(&world);
    world.ok(&["stop"]);
    let before = last_start(&world);
    in_volume(&world, &swap);
    let refused = error(&world, &["start"], 10);
    assert!(refused.to_string().contains("/workspace/m2 is a symbolic link in the volume"), "{refused}");
    assert_eq!(last_start(&world), before, "nothing has run");
    in_volume(&world, "rm /workspace/m2");
    world.ok(&["start"]);
    assert!(!is_covered(&world));

    // Before the supervisor's eyes, too.
    let world = World::supervised();
    let swap = with_mount(&world);
    let supervisor = || world.status()["supervisor"]["pid"].as_u64().unwrap() as u32;
    wait_until(SOON, "it is supervised", || world.status()["supervisor"]["pid"].is_u64());
    let pid = supervisor();
    signal(pid, rustix::process::Signal::STOP);
    docker(&["kill", &world.container()]);
    let before = last_start(&world);
    in_volume(&world, &swap);
    signal(pid, rustix::process::Signal::CONT);
    let log = || fs::read_to_string(world.home.join("state").join(&world.name).join("supervisor.log")).unwrap();
    wait_until(SOON, "it is told", || log().contains("/workspace/m2 is a symbolic link in the volume"));
    assert_eq!(last_start(&world), before, "nothing has run");
}

/// The backup holds a link where a folder is mounted now, and what is put back has that mount.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_restore_that_fails_starts_nothing_whose_places_lead_elsewhere() {
    let world = World::new();
    world.setup();
    let backup = world.folder().join("b.tar.zst");
    let backup = backup.to_str().unwrap();
    world.ok(&["exec", "--", "ln", "-s", PROGRAMS, "/workspace/m2"]);
    world.ok(&["backup", backup]);
    world.ok(&["exec", "--", "rm", "/workspace/m2"]);
    let folder = folder(&world, "m2");
    world.ok(&["mount", "add", "--yes", &format!("{}:/workspace/m2", folder.display())]);
    let refused = error(&world, &["restore", backup, "--no-backup", "--yes"], 10);
    assert!(refused.to_string().contains("is a symbolic link in the volume"), "{refused}");
    assert!(!is_covered(&world));
    error(&world, &["start"], 10);
    assert!(!is_covered(&world));
    // The way out.
    world.ok(&["mount", "remove", "/workspace/m2", "--yes"]);
    world.ok(&["start"]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
}
