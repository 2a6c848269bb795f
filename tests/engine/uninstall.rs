//! Uninstall: what goes, what stays, and the proof.

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
    let before = world.left();
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
    let image = world.image();
    world.setup();
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
