//! What is backed up comes back the same, in the same instance and in another; and what there is besides: lists,
//! checks, secrets, names that are taken.

use std::path::Path;

use super::*;
use crate::proxy::Proxy;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_file_that_cannot_be_made_is_refused_before_anything_is_paused() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    for name in ["no-such-folder/", &"n".repeat(260)] {
        let output = world.run(&["backup", name]);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert_eq!(proxy.writing_calls().len(), 0, "{name}\n{}", proxy.report());
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn everything_comes_back_as_it_was() {
    let world = World::new();
    world.setup();
    let id = session(&world, "kept");
    let [own, projects, config] = world.volumes();
    tree(&projects, &["make"]);
    tree(&own, &["make"]);
    let before = listing(&world);
    assert!(before.len() > 100, "{before:#?}");
    assert_eq!(
        before.iter().filter(|line| line.contains(&config.replace(&world.name, "…"))).count(),
        1,
        "an empty one"
    );
    let file = world.folder().join("all of it.tar.zst");
    let made = json(&world.run(&["backup", text(&file), "--json"]));
    assert_eq!(made["file"], text(&file));
    assert_eq!(made["secrets"], false);
    assert_eq!(made["left_out"], serde_json::json!([]), "{made}");
    assert!(made["paused_seconds"].as_f64().is_some_and(|seconds| seconds < 30.0), "{made}");
    assert_eq!(made["size"].as_u64(), Some(file.metadata().unwrap().len()));
    assert_same(&before, &listing(&world), "a backup changes nothing");
    assert_whole(&world, "after a backup");

    // All of it is destroyed, so that nothing is the same because it was never touched.
    as_root(&world, "rm -rf /workspace/* && echo x > /workspace/new");
    world.ok(&["restore", text(&file), "--yes"]);
    assert_same(&before, &listing(&world), "restored into the same instance");
    assert_session(&world, &id, "kept", "restored");
    assert_whole(&world, "after a restore");

    let copy = world.sibling();
    let restored = json(&copy.run(&["restore", text(&file), "--yes", "--json"]));
    assert_eq!((&restored["from_instance"], &restored["before"]), (&world.name.as_str().into(), &Value::Null));
    assert_same(&before, &listing(&copy), "restored into another instance");
    let status = copy.status();
    assert_eq!(status["state"], "running");
    assert_ne!(status["url"], world.status()["url"], "the port is taken, so it has another");
    let port: u16 = status["url"].as_str().unwrap().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    assert!(http(port, "GET", "/session", Some(&copy.password()), None).1.contains(&id));
    assert_ne!(copy.password(), world.password(), "without secrets it gets a password of its own");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_backup_has_its_name_only_once_and_only_when_it_is_whole() {
    let world = World::new();
    assert_eq!(error(&world, &["backup"], 4, "NOT_FOUND")["instance"], world.name.as_str());
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let taken = world.folder().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    error(&world, &["backup", text(&taken)], 8, "ALREADY_EXISTS");
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    assert_eq!(proxy.writing_calls().len(), 0, "{}", proxy.report());
    error(&world, &["backup", "/nowhere/at/all"], 2, "USAGE");

    let shelf = world.folder().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    let made = json(&world.run(&["backup", text(&shelf), "--json"]));
    let file = PathBuf::from(made["file"].as_str().unwrap());
    assert_eq!(file.parent(), Some(shelf.as_path()), "a folder gets a file");
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("{}-2", world.container())) && name.ends_with(".tar.zst"), "{name}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    world.ok(&["stop"]);
    let of_stopped = json(&world.run(&["backup", "--json"]));
    assert_eq!(of_stopped["paused_seconds"], Value::Null, "one that does not run is not paused");
    assert_eq!(world.status()["state"], "stopped");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn backups_are_listed_checked_and_the_oldest_removed() {
    let world = World::new();
    world.setup();
    let made: Vec<String> =
        (0..3).map(|_| json(&world.run(&["backup", "--json"]))["file"].as_str().unwrap().to_owned()).collect();
    let checked = json(&world.run(&["backup", "verify", &made[0], "--json"]));
    assert_eq!((&checked["valid"], &checked["instance"]), (&true.into(), &world.name.as_str().into()));
    let listed = |world: &World| -> Vec<String> {
        let list = json(&world.run(&["backup", "list", "--json"]));
        list["backups"].as_array().unwrap().iter().map(|b| b["file"].as_str().unwrap().to_owned()).collect()
    };
    // What is no file is no backup, and nothing waits for it.
    let pipe = backups(&world).join("pipe.tar.zst");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let refused = error(&world, &["backup", "verify", text(&pipe)], 11, "BACKUP_INVALID");
    assert!(refused["causes"][0].as_str().unwrap().contains("regular file"), "{refused}");
    assert_eq!(listed(&world).len(), 4);
    std::fs::remove_file(&pipe).unwrap();
    let newest_first: Vec<String> = made.iter().rev().cloned().collect();
    assert_eq!(listed(&world), newest_first);
    let dry = json(&world.run(&["backup", "prune", "--keep", "1", "--dry-run", "--json"]));
    assert_eq!(dry["removed"].as_array().unwrap().len(), 2);
    assert_eq!(dry["kept"], serde_json::json!([{"file": made[2], "reason": "the newest"}]));
    let by_settings = json(&world.run(&["backup", "prune", "--json"]));
    assert_eq!(by_settings["removed"], serde_json::json!([]), "what somebody asked for stays by itself");
    assert_eq!(listed(&world).len(), 3, "a dry run removes nothing");
    world.ok(&["backup", "prune", "--keep", "1"]);
    assert_eq!(listed(&world), newest_first[..1]);
    error(&world, &["backup", "prune", "--keep", "0"], 6, "CONFIRMATION_REQUIRED");
    world.ok(&["backup", "prune", "--keep", "0", "--yes"]);
    assert!(listed(&world).is_empty());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn backups_from_before_changes_have_a_rule_of_their_own() {
    let world = World::new();
    world.setup();
    world.ok(&["config", "set", "backup.keep_changes", "1"]);
    world.ok(&["stop"]);
    let file = json(&world.run(&["backup", "--json"]))["file"].as_str().unwrap().to_owned();
    let list = |world: &World| json(&world.run(&["backup", "list", "--json"]))["backups"].as_array().unwrap().clone();
    let changes = |world: &World| -> Vec<String> {
        let ruled = list(world).into_iter().filter(|b| b["kept_by"] == "backup.keep_changes");
        ruled.map(|b| b["file"].as_str().unwrap().to_owned()).collect()
    };
    world.ok(&["restore", &file, "--yes"]);
    let first = changes(&world)[0].clone();
    // A change removes the one's from before, unless that is what it was about.
    world.ok(&["restore", &first, "--yes"]);
    assert_eq!(changes(&world).len(), 2);
    world.ok(&["restore", &file, "--yes"]);
    let left = changes(&world);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(!left.contains(&first));
    world.ok(&["backup", "prune", "--keep", "0", "--yes"]);
    assert_eq!(changes(&world), left, "a rule for the others does not touch them");
    world.ok(&["backup", "prune", "--keep-changes", "0", "--yes"]);
    assert!(list(&world).is_empty());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_is_excluded_is_told_and_never_missing_from_a_way_back() {
    let world = World::new();
    world.setup();
    let folders = "mkdir -p /workspace/app/node_modules/x /workspace/app/src /workspace/node_modules.txt";
    as_root(
        &world,
        &format!(
            "{folders}; cd /workspace/app; echo 1 >src/kept; head -c 12000000 /dev/zero >node_modules/x/y; \
        echo 2 >src/a.log; ln src/a.log src/twin"
        ),
    );
    let told = world.run(&["backup", "--json"]);
    let made = json(&told);
    assert_eq!(made["caches"], serde_json::json!([{"path": "projects/app/node_modules", "bytes": 12_000_000}]));
    assert!(String::from_utf8_lossy(&told.stderr).contains("**/node_modules"), "{}", shown(&told));
    assert!(!shown(&world.run(&["backup"])).contains("look like caches"), "once");

    world.ok(&["config", "set", "backup.exclude", "**/node_modules"]);
    let made = json(&world.run(&["backup", "--exclude", "projects/*/src/*.log", "--json"]));
    let patterns = serde_json::json!(["**/node_modules", "projects/*/src/*.log"]);
    assert_eq!((&made["exclude"], &made["caches"]), (&patterns, &serde_json::json!([])));
    let file = made["file"].as_str().unwrap();
    assert_eq!(json(&world.run(&["backup", "verify", file, "--json"]))["exclude"], patterns);
    assert_eq!(json(&world.run(&["backup", "list", "--json"]))["backups"][0]["exclude"], patterns);
    assert!(shown(&world.run(&["restore", file, "--dry-run"])).contains("**/node_modules"));

    let restored = json(&world.run(&["restore", file, "--yes", "--json"]));
    assert_eq!(restored["exclude"], patterns);
    let found = || world.ok(&["exec", "--", "find", "/workspace", "-mindepth", "1", "-printf", "%P "]);
    let sorted = || {
        let all = found();
        let mut all: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(), ["app", "app/src", "app/src/kept", "app/src/twin", "node_modules.txt"]);
    // What was there before comes back whole: the patterns are not for that.
    world.ok(&["restore", restored["before"].as_str().unwrap(), "--yes"]);
    assert!(found().contains("app/node_modules/x/y") && found().contains("app/src/a.log"), "{}", found());
    for wrong in ["/workspace/app", "**", "a/../b"] {
        error(&world, &["backup", "--exclude", wrong], 2, "USAGE");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn secrets_come_back_only_with_the_passphrase() {
    let world = World::new();
    world.setup();
    let key = world.folder().join("key");
    std::fs::write(&key, "s3cret-of-the-provider").unwrap();
    world.ok(&["secret", "set", "ANTHROPIC_API_KEY", "--from-file", text(&key)]);
    let password = world.password();
    let (right, wrong) = (world.folder().join("right"), world.folder().join("wrong"));
    std::fs::write(&right, "correct horse\n").unwrap();
    std::fs::write(&wrong, "battery staple\n").unwrap();
    let (with, without) = (world.folder().join("with.tar.zst"), world.folder().join("without.tar.zst"));
    let made = json(&world.run(&["backup", text(&with), "--passphrase-file", text(&right), "--json"]));
    assert_eq!(made["secrets"], true);
    let output = world.run(&["backup", text(&without)]);
    assert!(shown(&output).contains("secrets"), "that they are left out is said\n{}", shown(&output));
    for file in [&with, &without] {
        let unpacked = zstd::stream::decode_all(std::fs::File::open(file).unwrap()).unwrap();
        for secret in ["s3cret-of-the-provider", &password] {
            assert!(!unpacked.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} in {}", file.display());
        }
    }
    world.ok(&["password", "--rotate", "--yes"]);
    let rotated = world.password();
    world.ok(&["secret", "remove", "ANTHROPIC_API_KEY", "--yes"]);
    assert_ne!(rotated, password);

    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let restore = ["restore", text(&with), "--yes", "--passphrase-file"];
    let refused = error(&world, &[&restore[..], &[text(&wrong)]].concat(), 11, "BACKUP_INVALID");
    assert!(refused.to_string().contains("passphrase"), "{refused}");
    assert_eq!(proxy.writing_calls().len(), 0, "{}", proxy.report());
    assert_eq!(world.password(), rotated);

    std::fs::write(&wrong, "").unwrap();
    error(&world, &[&restore[..], &[text(&wrong)]].concat(), 2, "USAGE");
    let output = world.run(&["restore", text(&with), "--yes"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert!(shown(&output).contains("not restored"), "{}", shown(&output));
    assert_eq!(world.password(), rotated, "without the passphrase what is here stays");
    world.ok(&[&restore[..], &[text(&right)]].concat());
    assert_eq!(world.password(), password);
    assert_eq!(world.ok(&["secret", "list"]).matches("ANTHROPIC_API_KEY").count(), 1);
    assert_eq!(
        docker(&["exec", &world.container(), "cat", "/run/secrets/ANTHROPIC_API_KEY"]),
        "s3cret-of-the-provider"
    );
    assert_whole(&world, "after a restore with secrets");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_mounted_folder_is_not_in_a_backup_and_that_is_said() {
    let world = World::new();
    world.setup();
    world.ok(&["backup"]);
    let list = |args: &[&str]| world.ok(&[&["backup", "list"], args].concat());
    assert!(!list(&[]).contains("mounted"), "{}", list(&[]));
    let folder = world.folder().join("code");
    std::fs::create_dir(&folder).unwrap();
    world.ok(&["mount", "add", &format!("{}:/workspace/app", folder.display()), "--yes"]);
    world.ok(&["start"]);
    let text = world.ok(&["backup"]);
    assert!(text.contains("without mounted folders: /workspace/app"), "{text}");
    assert!(list(&[]).contains("backups do not contain mounted folders: /workspace/app"), "{}", list(&[]));
    let made = json(&world.run(&["backup", "--json"]));
    assert_eq!(made["mounts_not_included"], serde_json::json!(["/workspace/app"]));
    let listed: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    assert_eq!(listed["mounts_not_included"], serde_json::json!(["/workspace/app"]));
}
