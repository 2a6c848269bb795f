//! Uninstall: what goes, what stays, and the proof.

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn by_default_the_data_stays_and_is_named_with_its_size() {
    let world = World::new();
    world.setup();
    docker(&["exec", &world.container(), "sh", "-c", "head -c 2000000 /dev/zero > /workspace/file"]);
    let report = json(&world.run(&["uninstall", "--yes", "--json"]));
    let kept = report["kept"].as_array().unwrap();
    for volume in world.volumes() {
        let entry =
            kept.iter().find(|k| k["name"] == volume.as_str()).unwrap_or_else(|| panic!("{volume} in {report}"));
        assert!(entry["size"].is_u64(), "{entry}");
        assert!(entry["how_to_remove"].as_str().unwrap().contains("uninstall --volumes"), "{entry}");
    }
    let projects = &world.volumes()[1];
    let size = kept.iter().find(|k| k["name"] == projects.as_str()).unwrap()["size"].as_u64().unwrap();
    assert!((2_000_000..3_000_000).contains(&size), "{size}");
    assert_eq!(report["left"], serde_json::json!([]));
    assert!(world.inspect().is_none());
    assert_eq!(world.left().len(), 3, "{:?}", world.left());
    let again = world.run(&["uninstall", "--yes"]);
    assert!(again.status.success(), "a second run succeeds\n{}", shown(&again));
    let text = world.ok(&["uninstall", "--yes", "--volumes", "--no-backup"]);
    assert!(text.contains("nothing"), "{text}");
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn exactly_this_instances_volumes_are_removed() {
    let world = World::new();
    let other = world.sibling();
    world.setup();
    other.setup();
    // Names that begin like ours and are not ours.
    let foreign = format!("{}-session-of-somebody", world.container());
    docker(&["volume", "create", &foreign]);
    let all = || -> std::collections::BTreeSet<String> {
        docker(&["volume", "ls", "--quiet"])
            .lines()
            .filter(|v| v.contains(&world.name) || v.contains(&other.name))
            .map(str::to_owned)
            .collect()
    };
    let before = all();
    world.ok(&["uninstall", "--yes", "--volumes", "--no-backup"]);
    let gone: std::collections::BTreeSet<String> = before.difference(&all()).cloned().collect();
    let secrets = format!("{}-secrets", world.container());
    assert_eq!(gone, world.volumes().into_iter().chain([secrets]).collect());
    assert_eq!(other.http_get("/global/health", Some(&other.password())).0, 200, "the other instance still runs");
    assert_eq!(other.status()["state"], "running");
    docker(&["volume", "rm", &foreign]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_dry_run_says_the_same_and_removes_nothing() {
    let world = World::new();
    world.setup();
    // The engine removes a helper by itself, soon after it has ended.
    let settled = || Some(world.left()).filter(|left| !left.iter().any(|name| name.ends_with(".helper")));
    let before = wait_for(SOON, "the helper to be removed", settled);
    let text = world.ok(&["uninstall", "--dry-run", "--volumes"]);
    for name in world.volumes().iter().chain([&world.container()]) {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    assert_eq!(world.left(), before);
    assert_eq!(world.status()["state"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_that_another_instance_uses_is_kept() {
    let world = World::new();
    let other = world.sibling();
    let (tar, image) = world.image_tar();
    world.ok(&["setup", "--yes", "--image-file", tar.to_str().unwrap(), "--port", &world.port.to_string()]);
    other.ok(&["setup", "--yes", "--image", &image, "--port", &other.port.to_string()]);
    for args in [&["uninstall", "--dry-run", "--json"][..], &["uninstall", "--yes", "--json"]] {
        let report = json(&world.run(args));
        let kept = report["kept"].as_array().unwrap().iter().find(|k| k["name"] == image.as_str());
        let why = kept.unwrap_or_else(|| panic!("{report}"))["how_to_remove"].as_str().unwrap();
        assert!(why.contains(&other.container()), "{why}");
    }
    other.ok(&["restart"]);
    let report = json(&other.run(&["uninstall", "--yes", "--json"]));
    assert!(report["removed"].as_array().unwrap().iter().any(|k| k["name"] == image.as_str()), "{report}");
    assert!(!docker_try(&["image", "inspect", &image]).status.success());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_of_the_users_own_stays_and_one_that_docklet_loaded_goes() {
    let world = World::new();
    let (tar, loaded) = world.image_tar();
    let own = world.image();
    world.ok(&["setup", "--yes", "--image-file", tar.to_str().unwrap(), "--port", &world.port.to_string()]);
    world.setup();
    for args in [&["uninstall", "--dry-run", "--json"][..], &["uninstall", "--yes", "--purge", "--no-backup", "--json"]]
    {
        let report = json(&world.run(args));
        let named = |list: &str, name: &str| report[list].as_array().unwrap().iter().any(|thing| thing["name"] == name);
        assert!(named("kept", &own) && !named("removed", &own), "{report}");
        assert!(named("removed", &loaded) && !named("kept", &loaded), "{report}");
        assert_eq!(report["left"], serde_json::json!([]));
    }
    assert!(docker_try(&["image", "inspect", &own]).status.success());
    assert!(!docker_try(&["image", "inspect", &loaded]).status.success());
    assert!(!world.home.exists(), "nothing of docklet's own is left");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_volume_in_use_by_somebody_else_is_an_error_that_names_it() {
    let world = World::new();
    world.setup();
    let [session, ..] = world.volumes();
    let squatter = format!("{}-squatter", world.name);
    docker(&[
        "create",
        "--name",
        &squatter,
        "--label",
        &format!("docklet.instance={}", world.name),
        "--volume",
        &format!("{session}:/data"),
        &stand_in(),
    ]);
    let output = world.run(&["uninstall", "--yes", "--volumes", "--no-backup", "--json"]);
    assert_eq!(output.status.code(), Some(8), "{}", shown(&output));
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains(&session));
    docker(&["rm", &squatter]);
    world.ok(&["uninstall", "--yes", "--volumes", "--no-backup"]);
    assert_eq!(world.left(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn two_instances_side_by_side_are_isolated() {
    let world = World::new();
    let other = world.sibling();
    world.setup();
    other.setup();
    let (first, second) = (world.password(), other.password());
    assert_ne!(first, second);
    world.http_post("/session", Some(&first), &serde_json::json!({"title": "only in the first"}));
    assert!(world.http_get("/session", Some(&first)).1.contains("only in the first"));
    assert!(!other.http_get("/session", Some(&second)).1.contains("only in the first"));
    assert_eq!(other.http_get("/session", Some(&first)).0, 401);
    let mounts = |w: &World| w.inspect().unwrap()["Mounts"].to_string();
    assert!(!mounts(&world).contains(&other.name) && !mounts(&other).contains(&world.name));
    // Neither reaches the other behind docklet's back; the same try from inside reaches itself.
    let reaches = |from: &World, to: &World| {
        let networks = to.inspect().unwrap()["NetworkSettings"]["Networks"].clone();
        let address = networks.as_object().unwrap().values().next().unwrap()["IPAddress"].as_str().unwrap().to_owned();
        let script = "exit(IO::Socket::INET->new(PeerAddr => shift, PeerPort => 3000, Timeout => 2) ? 0 : 1)";
        let args = ["exec", &from.container(), "perl", "-MIO::Socket::INET", "-e", script, &address];
        docker_try(&args).status.success()
    };
    assert!(reaches(&world, &world) && reaches(&other, &other));
    // Docker takes its rule away and puts it back whenever a network is made, as other tests do: for some milliseconds
    // every network reaches every other.
    wait_until(SOON, "neither reaches the other", || !reaches(&world, &other) && !reaches(&other, &world));
    world.ok(&["stop"]);
    assert_eq!(other.http_get("/global/health", Some(&second)).0, 200);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn two_instances_write_into_one_folder_and_no_line_is_lost_or_torn() {
    let world = World::new();
    // Another user's. Two of one user do not get the same folder.
    let other = World::new();
    let folder = world.folder().join("shared");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(1000), Some(1000)).unwrap();
    for instance in [&world, &other] {
        instance.setup();
        instance.ok(&["mount", "add", &format!("{}:/workspace/shared", folder.display()), "--yes"]);
        instance.ok(&["start"]);
    }
    let third = world.sibling();
    third.setup();
    third.fails(&["mount", "add", &format!("{}:/workspace/shared", folder.display()), "--yes"], 2);
    // All begin when the file is there. A line is longer than a page, so that a torn one would show.
    let script = "select undef, undef, undef, 0.01 until -e 'lines';
        open my $file, '>>', 'lines' or die $!;
        for my $n (0 .. 499) {
            my $line = \"$ARGV[0] $n \" . ($ARGV[0] x 5000) . qq(\\n);
            syswrite($file, $line) == length $line or die $!;
        }";
    let writers: Vec<_> = [(&world, "a"), (&other, "b"), (&world, "c"), (&other, "d")]
        .into_iter()
        .map(|(instance, letter)| {
            let container = instance.container();
            let exec = ["exec", "--user", "opencode", "--workdir", "/workspace/shared", &container];
            let mut command = docker_command();
            command.args(exec).args(["perl", "-e", script, letter]).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    std::fs::write(folder.join("new"), "").unwrap();
    std::os::unix::fs::chown(folder.join("new"), Some(1000), Some(1000)).unwrap();
    std::fs::rename(folder.join("new"), folder.join("lines")).unwrap();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
    }
    let text = std::fs::read_to_string(folder.join("lines")).unwrap();
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!((text.lines().count(), lines.len()), (2000, 2000));
    for letter in ["a", "b", "c", "d"] {
        for n in 0..500 {
            assert!(lines.contains(format!("{letter} {n} {}", letter.repeat(5000)).as_str()), "line {n} of {letter}");
        }
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn of_two_instances_with_one_password_the_stopped_one_stays_stopped() {
    let world = World::new();
    let other = world.sibling();
    let password = "one password for both";
    let file = world.folder().join("password");
    std::fs::write(&file, password).unwrap();
    for instance in [&world, &other] {
        let mut args = instance.setup_args();
        args.extend(["--password-file".to_owned(), file.display().to_string()]);
        instance.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(instance.password(), password);
    }
    world.ok(&["stop"]);
    assert_eq!(json(&world.fails(&["status", "--json"], 3))["state"], "stopped");
    assert_eq!(other.status()["state"], "running");
    assert_eq!(world.http_get("/", Some(password)).0, 0, "nothing answers in its place");
    assert_eq!(other.http_get("/", Some(password)).0, 200);
    let listed = json(&world.run(&["list", "--json"]));
    let state = |world: &World| {
        let mut instances = listed["instances"].as_array().unwrap().iter();
        instances.find(|i| i["instance"] == world.name.as_str()).unwrap()["state"].clone()
    };
    assert_eq!((state(&world), state(&other)), ("exited".into(), "running".into()), "{listed}");
    // What is done to the one that runs does not wake the other.
    other.ok(&["restart"]);
    let new = other.ok(&["password", "--rotate", "--yes"]).trim().to_owned();
    assert_eq!(world.inspect().unwrap()["State"]["Running"], false);
    world.ok(&["start"]);
    assert_eq!((world.http_get("/", Some(password)).0, world.http_get("/", Some(&new)).0), (200, 401));
    assert_eq!((other.http_get("/", Some(password)).0, other.http_get("/", Some(&new)).0), (401, 200));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_name_that_somebody_else_gave_the_image_stays() {
    let world = World::new();
    world.setup();
    let image = world.image();
    let mine = image.replace(":1", ":mine");
    docker(&["tag", &image, &mine]);
    // From now on the container's image is known by its id alone.
    docker(&["tag", &stand_in_2(), &image]);
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert!(world.inspect().is_none());
    let there = docker_try(&["image", "inspect", &mine]).status.success();
    assert!(there, "{mine} is not docklet's");
    docker(&["rmi", &mine]);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_last_backup_that_lacks_what_a_killed_uninstall_removed_says_so_and_names_the_whole_one() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let session = format!("/volumes/{}", world.volumes()[0]);
    proxy.fault(Fault { at: At::first("DELETE", &session), action: Action::KillAfter });
    let child = world.spawn(&["uninstall", "--volumes", "--yes"]);
    proxy.kill_target(child.id());
    child.wait_with_output().unwrap();
    assert!(proxy.fired(), "{}", proxy.report());
    world.use_engine(&engine_host());
    let whole = json(&world.run(&["backup", "list", "--json"]))["backups"][0]["file"].clone();
    let start = world.ok(&["start", "--dry-run"]);
    assert!(start.contains("-session is gone and begins empty; backups that may have it: docklet"), "{start}");
    let text = world.ok(&["uninstall", "--volumes", "--yes"]);
    let last = json(&world.run(&["backup", "list", "--json"]))["backups"][0].clone();
    assert_eq!(last["missing_volumes"], serde_json::json!(["session"]), "{last}");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("`{what}` in {text}"));
    assert!(at("the backup has no session volume") < at(last["file"].as_str().unwrap()), "{text}");
    assert!(at("with all volumes") < at(whole.as_str().unwrap()), "{text}");
}
