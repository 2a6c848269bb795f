//! Getting an image: pull from a registry, with and without a password, load from a file.

use std::sync::Arc;

use crate::proxy::{Action, At, Call, Fault, Proxy};
use crate::support::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_is_pulled_with_progress() {
    let world = World::new();
    let image = world.registry_image();
    let output = world.run(&["setup", "--yes", "--json", "--image", &image, "--port", &world.port.to_string()]);
    assert!(output.status.success(), "{}", shown(&output));
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in progress.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    assert!(progress.contains("\"transfer\""), "{progress}");
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    assert!(!docker_try(&["image", "inspect", &image]).status.success(), "the pulled image goes too");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_registry_with_a_password_wants_it() {
    let world = World::new();
    let image = world.registry_image_auth();
    let port = world.port.to_string();
    let args = ["setup", "--yes", "--json", "--image", &image, "--port", &port];
    let output = world.fails(&args, 7);
    assert_eq!(json(&output)["error"]["code"], "PULL_FAILED");
    assert!(json(&output)["error"]["hint"].as_str().unwrap().contains("docker login"), "{}", shown(&output));
    let config = world.folder().join("docker config");
    world.docker_config(&config);
    let output = world.docklet().args(args).env("DOCKER_CONFIG", &config).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
}

/// An engine with the containerd image store counts packed layers, and describes some images without theirs.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_that_is_described_in_another_way_is_understood() {
    let world = World::new();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let described = |call: &Call| call.route().starts_with("/images/") && call.route().ends_with("/json");
    let at = At::Every(Arc::new(move |call| described(call) && call.route() != "/images/json"));
    proxy.fault(Fault { at, action: Action::Rewrite(r#""Type":"layers""#, r#""Typo":"layers""#) });
    world.setup();
    assert!(proxy.fired(), "{}", proxy.report());
    proxy.reset();
    let packed = docker(&["info", "--format", "{{.DriverStatus}}"]).contains("containerd.snapshotter");
    assert_eq!(world.status()["image"]["compressed"], packed);
    assert_eq!(world.ok(&["status"]).contains(" compressed)"), packed);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_that_is_not_there_is_pull_failed() {
    let world = World::new();
    let image = format!("{}/no-such-image:1", variable("DOCKLET_TEST_REGISTRY"));
    let output = world.fails(&["setup", "--yes", "--json", "--image", &image, "--port", &world.port.to_string()], 7);
    assert_eq!(json(&output)["error"]["code"], "PULL_FAILED");
    assert_eq!(world.left(), Vec::<String>::new(), "nothing is made before the image is there");
    world.fails(&["setup", "--yes", "--image", "Not A Reference"], 2);
}

/// An image that cannot be had, or that was not had yet when setup was killed, is not asked for again by the next command.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn what_a_setup_without_its_image_asked_for_is_not_kept() {
    let world = World::new();
    let settings = world.home.join("config").join(&world.name).join("settings.toml");
    // Nothing listens there.
    let typo = ["setup", "--yes", "--image", "127.0.0.1:1/typo:1", "--memory", "512MiB"];
    assert!(!world.run(&typo).status.success());
    assert!(!settings.exists(), "a first setup");
    world.fails(&["start"], 4);

    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    proxy.fault(Fault { at: At::first("POST", "/images/create"), action: Action::KillBefore });
    let child = world.spawn(&typo);
    proxy.kill_target(child.id());
    child.wait_with_output().unwrap();
    assert!(proxy.fired() && !settings.exists(), "one that was killed");
    proxy.reset();

    world.setup();
    let before = std::fs::read(&settings).unwrap();
    for running in [true, false] {
        if !running {
            world.ok(&["stop"]);
        }
        let output = world.run(&typo);
        assert!(!output.status.success(), "{}", shown(&output));
        assert_eq!(std::fs::read(&settings).unwrap(), before, "running: {running}");
        assert_eq!(world.status()["desired"], if running { "running" } else { "stopped" });
    }
    let plan = world.ok(&["setup", "--dry-run", "--memory", "256MiB"]);
    assert!(!plan.contains("pull"), "{plan}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_image_is_loaded_from_a_file() {
    let world = World::new();
    let (tar, reference) = world.image_tar();
    let port = world.port.to_string();
    let file = tar.to_str().unwrap();
    world.ok(&["setup", "--yes", "--image-file", file, "--port", &port]);
    // Podman puts in front where an image is from.
    let status = world.status();
    assert!(status["image"]["reference"].as_str().unwrap().ends_with(&reference), "{status}");
    let again = world.ok(&["setup", "--yes", "--image-file", file, "--port", &port]);
    assert!(again.contains("nothing to do"), "{again}");
    let wrong = world.folder().join("wrong.tar");
    std::fs::write(&wrong, "this is no archive").unwrap();
    let output = world.fails(&["setup", "--yes", "--json", "--image-file", wrong.to_str().unwrap()], 7);
    assert_eq!(json(&output)["error"]["code"], "LOAD_FAILED");
    world.fails(&["setup", "--yes", "--image-file", "/no/such/file"], 2);
    assert_eq!(world.status()["state"], "running", "the one that works is untouched");
}
