//! A restore that fails leaves everything as it was; what is no whole backup of ours is refused before anything is
//! touched.

use std::path::Path;

use super::*;
use crate::proxy::{Action, At, Fault, Proxy, is};

/// A tar in a zstd stream, as text and bytes that can be changed.
fn unpacked(file: &Path) -> Vec<u8> {
    zstd::stream::decode_all(std::fs::File::open(file).unwrap()).unwrap()
}

fn packed(tar: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(tar, 1).unwrap()
}

fn replaced(tar: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = tar.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("{from}"));
    let mut tar = tar.to_vec();
    tar[at..at + to.len()].copy_from_slice(to.as_bytes());
    tar
}

/// An entry put in before the digests, where volumes end.
fn with_entry(tar: &[u8], kind: tar::EntryType, path: &str, link: &str) -> Vec<u8> {
    let at = tar.windows(11).position(|w| w == b"SHA256SUMS\0").unwrap();
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    [&tar[..at], header.as_bytes(), &tar[at..]].concat()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_is_no_whole_backup_of_ours_is_refused_and_nothing_is_written() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let good = world.folder().join("good.tar.zst");
    world.ok(&["backup", good.to_str().unwrap()]);
    let file = std::fs::read(&good).unwrap();
    let tar = unpacked(&good);
    let kind = tar::EntryType::Regular;
    let mut altered = file.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "does not begin like"),
        ("something else", b"PK\x03\x04 a zip".to_vec(), "does not begin like"),
        ("cut off", file[..file.len() - 7].to_vec(), ""),
        ("cut in half", file[..middle].to_vec(), ""),
        ("a byte altered", altered, ""),
        ("content altered", packed(&replaced(&tar, "\"title\":\"kept\"", "\"title\":\"lost\"")), "is not what it was"),
        ("another appliance", packed(&replaced(&tar, "\"opencode-cloud\"", "\"somebody-else!\"")), "somebody-else!"),
        ("a later format", packed(&replaced(&tar, "\"format\": 1", "\"format\": 9")), "newer docklet"),
        ("an absolute path", packed(&with_entry(&tar, kind, "/etc/passwd", "")), "/etc/passwd"),
        ("a path upwards", packed(&with_entry(&tar, kind, "volumes/session/../../etc/x", "")), ".."),
        ("no volume of ours", packed(&with_entry(&tar, kind, "volumes/other/x", "")), "volumes/other/x"),
        ("a device", packed(&with_entry(&tar, tar::EntryType::Char, "volumes/session/tty", "")), "device"),
        (
            "a hard link outside",
            packed(&with_entry(&tar, tar::EntryType::Link, "volumes/session/x", "/etc/shadow")),
            "hard link leads outside",
        ),
        (
            "a hard link upwards",
            packed(&with_entry(&tar, tar::EntryType::Link, "volumes/session/x", "volumes/session/../../x")),
            "hard link leads outside",
        ),
        ("one more file", packed(&with_entry(&tar, kind, "volumes/session/unasked", "")), ""),
    ];
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let before = listing(&world);
    let bad = world.folder().join("bad.tar.zst");
    let bad_path = bad.to_str().unwrap();
    for (what, bytes, reason) in cases {
        std::fs::write(&bad, bytes).unwrap();
        proxy.reset();
        let refused = error(&world, &["restore", bad_path, "--yes"], 11, "BACKUP_INVALID");
        assert!(refused.to_string().contains(reason), "{what}: `{reason}` in {refused}");
        assert!(refused["hint"].is_string(), "{what}: {refused}");
        let newer = what == "a later format";
        assert_eq!(refused["hint"].to_string().contains("update docklet"), newer, "{what}: {refused}");
        assert_eq!(refused["hint"].to_string().contains("--force"), !newer, "{what}: {refused}");
        assert_eq!(proxy.writing_calls().len(), 0, "{what}\n{}", proxy.report());
        if what != "another appliance" {
            error(&world, &["backup", "verify", bad_path], 11, "BACKUP_INVALID");
        }
    }
    error(&world, &["restore", world.folder().to_str().unwrap(), "--yes"], 11, "BACKUP_INVALID");
    error(&world, &["restore", "/nowhere.tar.zst", "--yes"], 4, "NOT_FOUND");
    let question = error(&world, &["restore", good.to_str().unwrap()], 6, "CONFIRMATION_REQUIRED");
    assert!(question.to_string().contains("--yes"), "{question}");
    assert_eq!(proxy.writing_calls().len(), 0, "{}", proxy.report());
    assert_same(&before, &listing(&world), "after all those");
    assert_session(&world, &id, "kept", "after all those");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn data_that_it_cannot_run_with_is_taken_back() {
    let world = World::new();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let [_, projects, _] = world.volumes();
    let bad = world.folder().join("bad.tar.zst");
    let bad = bad.to_str().unwrap();
    world.misbehave("exit:3");
    wait_until(SOON, "it ended", || world.inspect().unwrap()["State"]["Status"] == "exited");
    world.ok(&["backup", bad]);
    let mount = format!("{projects}:/v");
    docker(&["run", "--rm", "--volume", &mount, "--entrypoint", "rm", &stand_in(), "/v/.stand-in"]);
    world.ok(&["start"]);
    let id = session(&world, "kept");
    tree(&projects, &["make"]);
    let before = listing(&world);
    let container = world.inspect().unwrap()["Id"].clone();
    let failed = error(&world, &["restore", bad, "--yes"], 11, "RESTORE_FAILED");
    assert!(failed.to_string().contains("exited with code 3"), "{failed}");
    assert_eq!(world.inspect().unwrap()["Id"], container, "the container of before");
    assert_whole(&world, "after a restore that failed");
    assert_same(&before, &listing(&world), "after a restore that failed");
    assert_session(&world, &id, "kept", "after a restore that failed");

    let fresh = world.sibling();
    error(&fresh, &["restore", bad, "--yes", "--timeout", "30"], 11, "RESTORE_FAILED");
    assert_eq!(fresh.left(), Vec::<String>::new(), "of an instance that was not there nothing stays");
    assert_eq!(fresh.status()["state"], "not_set_up");

    // The same with volumes that an uninstall left: they stay, and hold what they held.
    world.ok(&["uninstall", "--yes"]);
    error(&world, &["restore", bad, "--yes"], 11, "RESTORE_FAILED");
    assert_same(&before, &listing(&world), "after an uninstall and a restore that failed");
    assert_eq!(world.left().len(), 3, "{:?}", world.left());
}

/// What goes wrong while a restore is undone is undone by the next command: the backup from before stays at hand.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_undo_that_fails_is_finished_by_the_next_command() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    tree(&world.volumes()[1], &["make"]);
    let before = listing(&world);
    let container = world.inspect().unwrap()["Id"].clone();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    // Tasks: the free space is measured, the backup is made, the archive is unpacked, and the backup again.
    let task = format!("/containers/{}.task/start", world.container());
    let no_space = || Action::error(500, "write /x: no space left on device");
    proxy.fault(Fault { at: At::NthOf(3, is("POST", &task)), action: no_space() });
    proxy.fault(Fault { at: At::NthOf(4, is("POST", &task)), action: no_space() });
    let failed = world.run(&["restore", file, "--yes"]);
    assert_eq!(failed.status.code(), Some(10), "{}", shown(&failed));
    assert!(shown(&failed).contains("reverting failed"), "{}", shown(&failed));
    assert_eq!(proxy.fired_at().len(), 2, "{}", proxy.report());
    assert!(world.left().iter().any(|thing| thing.ends_with(".previous")), "{:?}", world.left());
    world.ok(&["start"]);
    assert_whole(&world, "the next command goes on");
    assert_eq!(world.inspect().unwrap()["Id"], container, "the container of before");
    assert_session(&world, &id, "kept", "the next command goes on");
    assert_same(&before, &listing(&world), "the next command goes on");
}

/// The files of this instance's configuration, with what is in them.
fn configuration(world: &World) -> Vec<(String, String)> {
    let folder = world.home.join("config").join(&world.name);
    let mut files = vec![];
    for folder in [folder.join("secrets"), folder] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|e| e.path().is_file()) {
            files.push((entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn without_settings_a_restore_that_fails_leaves_the_secrets_and_what_runs() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let settings = world.home.join("config").join(&world.name).join("settings.toml");
    let (file, key, old) = (world.folder().join("b.tar.zst"), world.folder().join("key"), world.folder().join("old"));
    let (file, phrase) = (file.to_str().unwrap(), world.folder().join("phrase"));
    let phrase = phrase.to_str().unwrap();
    std::fs::write(&key, "sk-old\n").unwrap();
    std::fs::write(phrase, "a phrase\n").unwrap();
    let key = key.to_str().unwrap();
    world.ok(&["secret", "set", "OTHER_KEY", "--from-file", key]);
    world.ok(&["backup", file, "--passphrase-file", phrase]);
    std::fs::write(key, "sk-new\n").unwrap();
    world.ok(&["secret", "set", "OTHER_KEY", "--from-file", key]);
    world.ok(&["start"]);
    let (password, container) = (world.password(), world.inspect().unwrap()["Id"].clone());
    std::fs::rename(&settings, &old).unwrap();
    let before = configuration(&world);
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    // Tasks: the free space is measured, and the backup is made.
    let backup = At::NthOf(2, is("POST", &format!("/containers/{}.task/start", world.container())));
    let create =
        At::NthOf(1, std::sync::Arc::new(|call| call.path.contains("/containers/create") && !call.path.contains('.')));
    for (at, action, code) in
        [(backup, Action::Delay(Duration::from_secs(1)), 130), (create, Action::error(500, "something else"), 11)]
    {
        proxy.reset();
        proxy.fault(Fault { at, action });
        let mut child = world.spawn(&["restore", file, "--passphrase-file", phrase, "--yes"]);
        wait_until(SOON * 2, "the call, or the end", || proxy.fired() || child.try_wait().unwrap().is_some());
        if code == 130 {
            signal(child.id(), rustix::process::Signal::TERM);
        }
        let output = child.wait_with_output().unwrap();
        assert!(proxy.fired(), "{}\n{}", proxy.report(), shown(&output));
        assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
        assert!(configuration(&world) == before, "the secrets are as before\n{}", shown(&output));
        let now = world.inspect().unwrap();
        assert_eq!((&now["Id"], &now["State"]["Status"]), (&container, &"running".into()), "{}", shown(&output));
        assert!(world.http_get("/session", Some(&password)).1.contains(&id), "{}", shown(&output));
        assert_eq!(docker(&["exec", &world.container(), "cat", "/run/secrets/OTHER_KEY"]), "sk-new");
    }
    std::fs::rename(&old, &settings).unwrap();
    assert_whole(&world, "with the settings again");
}

/// The engine removed the previous container, and its answer was lost: the data counts, and that is what is said.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_commit_whose_answer_is_lost_is_a_commit() {
    let world = World::new();
    publish(&world, &stand_in(), &[]);
    setup_pulled(&world);
    let id = session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let later = session(&world, "later");
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let removal = format!("/containers/{}.previous", world.container());
    for every in [false, true] {
        let at = || if every { At::every("DELETE", &removal) } else { At::first("DELETE", &removal) };
        proxy.reset();
        proxy.fault(Fault { at: at(), action: Action::Cut });
        let output = world.run(&["restore", file, "--yes", "--json"]);
        assert!(proxy.fired() && output.status.success(), "{}\n{}", proxy.report(), shown(&output));
        assert_eq!(json(&output)["running"], true, "{}", shown(&output));
        assert_whole(&world, "restored");
        assert_session(&world, &id, "kept", "restored");
        assert!(!world.http_get("/session", Some(&world.password())).1.contains(&later), "the data of the backup");

        publish(&world, &stand_in_2(), &[&format!("LABEL docklet-test.turn={every}")]);
        proxy.reset();
        proxy.fault(Fault { at: at(), action: Action::Cut });
        let output = world.run(&["update", "--json"]);
        assert!(proxy.fired() && output.status.success(), "{}\n{}", proxy.report(), shown(&output));
        assert_eq!(json(&output)["to"], "1.0.2", "{}", shown(&output));
        assert_whole(&world, "updated");
        assert_session(&world, &id, "kept", "updated");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stop_reverts_what_a_killed_restore_of_a_stopped_instance_left() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    world.ok(&["stop"]);
    let (before, container) = (world.left(), world.inspect().unwrap()["Id"].clone());
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    // Tasks: the free space is measured, the backup is made, the archive is unpacked.
    let task = is("POST", &format!("/containers/{}.task/start", world.container()));
    proxy.fault(Fault { at: At::NthOf(3, task), action: Action::KillAfter });
    let child = world.spawn(&["restore", file, "--yes"]);
    proxy.kill_target(child.id());
    child.wait_with_output().unwrap();
    assert!(proxy.fired(), "{}", proxy.report());
    assert_ne!(world.left(), before);
    for command in ["stop", "stop"] {
        let stopped = json(&world.run(&[command, "--json"]));
        assert_eq!((&stopped["changed"], &stopped["running"]), (&false.into(), &false.into()), "{stopped}");
        assert_eq!(world.left(), before);
        assert_eq!(world.inspect().unwrap()["Id"], container);
    }
    world.ok(&["start"]);
    assert_session(&world, &id, "kept", "started");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_loaded_image_that_is_gone_is_named_and_nothing_is_left_behind() {
    let world = World::new();
    let (tar, _) = world.image_tar();
    let (tar, port) = (tar.to_str().unwrap(), world.port.to_string());
    world.ok(&["setup", "--yes", "--image-file", tar, "--port", &port]);
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    world.ok(&["uninstall", "--purge", "--yes", "--no-backup"]);
    let output = world.fails(&["restore", file, "--yes", "--json"], 4);
    let error = &json(&output)["error"];
    assert!(error["hint"].as_str().unwrap().contains(" setup --image-file TAR"), "{error}");
    assert!(!shown(&output).contains("new password"), "{}", shown(&output));
    assert!(!world.home.join("config").join(&world.name).exists(), "no folder without anything in it");
    assert_eq!(world.left(), Vec::<String>::new());
    world.ok(&["setup", "--yes", "--image-file", tar, "--port", &port]);
    world.ok(&["restore", file, "--yes"]);
}

/// While a restore is not undone, the supervisor does not run opencode on what is there of the data: what it writes would be
/// gone with the next attempt.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn nothing_runs_on_data_that_is_half_taken_back() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    let id = session(&world, "kept");
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let task = format!("/containers/{}.task/start", world.container());
    proxy.reset();
    // The free space is measured, the backup is made; then nothing fits any more, also for the supervisor.
    for n in 3..30 {
        let action = Action::error(500, "write /x: no space left on device");
        proxy.fault(Fault { at: At::NthOf(n, is("POST", &task)), action });
    }
    let failed = world.run(&["restore", file, "--yes"]);
    assert_eq!(failed.status.code(), Some(10), "{}", shown(&failed));
    let log = world.home.join("state").join(&world.name).join("supervisor.log");
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until(SOON, "the supervisor fails, too", || log().contains("recovery_failed"));
    assert!(proxy.fired_at().len() > 2, "{}", proxy.report());
    holds_for(std::time::Duration::from_secs(8), "nothing runs", || {
        world.inspect().is_none_or(|container| container["State"]["Running"] != true)
    });
    proxy.reset();
    world.ok(&["start"]);
    assert_whole(&world, "when there is room again");
    assert_session(&world, &id, "kept", "when there is room again");
}
