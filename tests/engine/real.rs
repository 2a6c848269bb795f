//! The real opencode in the image that docklet builds: the main path.

use serde_json::Value;

use crate::support::*;

/// A world with the real appliance. The build takes minutes the first time, and seconds from the builder's cache.
pub fn real() -> World {
    let world = World::supervised();
    world.commits_as("Ada Lovelace", "ada@example.org");
    let port = world.port.to_string();
    let output = world.docklet_online().args(["setup", "--yes", "--install-engine", "--port", &port]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    world
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_opencode_answers_keeps_its_data_and_has_no_privileges() {
    let world = real();
    let password = world.password();
    let (status, health) = world.http_get("/global/health", Some(&password));
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&health).unwrap()["healthy"], true);
    let (status, page) = world.http_get("/", Some(&password));
    assert_eq!(status, 200);
    assert!(page.to_lowercase().contains("<title>opencode"), "{page}");
    assert_eq!(world.http_get("/", None).0, 401);

    // What the dialog "Add project" lists: the folders of what opencode takes for home.
    let (_, path) = world.http_get("/path", Some(&password));
    assert_eq!(serde_json::from_str::<Value>(&path).unwrap()["home"], "/workspace", "{path}");

    let status = world.status();
    assert_eq!(status["state"], "running");
    let reference = status["image"]["reference"].as_str().unwrap().to_owned();
    let version = status["image"]["appliance_version"].as_str().unwrap();
    assert!(reference.starts_with(&format!("opencode-cloud:{version}-")), "{reference}");
    let size = status["image"]["size"].as_u64().unwrap();
    assert!(size <= 524_288_000, "the image has {size} bytes");

    let ident = |more: &[&str]| {
        let container = world.container();
        let git = ["exec", &container, "/usr/local/bin/entrypoint", "git"];
        docker(&[&git[..], more, &["var", "GIT_AUTHOR_IDENT"]].concat())
    };
    assert!(ident(&[]).starts_with("Ada Lovelace <ada@example.org> "), "{}", ident(&[]));
    // A repository's own wins.
    docker(&["exec", &world.container(), "git", "init", "--quiet", "/workspace/own"]);
    docker(&["exec", &world.container(), "git", "-C", "/workspace/own", "config", "user.name", "Somebody"]);
    assert!(ident(&["-C", "/workspace/own"]).starts_with("Somebody <ada@example.org> "));

    no_privileges(&world);
    nothing_secret(&world, &password, &reference);

    let (_, session) = world.http_post("/session", Some(&password), &serde_json::json!({"title": "kept"}));
    let id = serde_json::from_str::<Value>(&session).unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("/session/{id}/message");
    let message = serde_json::json!({"noReply": true, "parts": [{"type": "text", "text": "do not lose me"}]});
    assert_eq!(world.http_post(&path, Some(&password), &message).0, 200);
    world.ok(&["restart"]);
    assert!(world.http_get(&path, Some(&password)).1.contains("do not lose me"), "lost by a restart");
    docker(&["kill", &world.container()]);
    wait_until(SOON, "the supervisor brings it back", || world.status()["supervisor"]["restarts"] == 1);
    wait_until(SOON, "it answers again", || world.http_get("/", Some(&password)).0 == 200);
    assert!(world.http_get(&path, Some(&password)).1.contains("do not lose me"), "lost by a kill");
    docker(&["rm", "--force", &world.container()]);
    world.ok(&["start"]);
    assert!(world.http_get(&path, Some(&password)).1.contains("do not lose me"), "lost by removing the container");

    for folder in ["/home/opencode/.opencode", "/workspace", "/home/opencode/.config"] {
        docker(&[
            "exec",
            "--user",
            "opencode",
            &world.container(),
            "sh",
            "-c",
            &format!("echo x > {folder}/probe && rm {folder}/probe"),
        ]);
    }
    wait_until(std::time::Duration::from_secs(60), "the engine to call it healthy", || {
        world.inspect().unwrap()["State"]["Health"]["Status"] == "healthy"
    });
    // While its downloads hang, opencode does not always end by itself; it is killed then, and loses nothing.
    let stopped = json(&world.run(&["stop", "--json"]));
    assert_eq!((&stopped["running"], &stopped["changed"]), (&false.into(), &true.into()), "{stopped}");

    let again = world.docklet_online().args(["setup", "--yes"]).output().unwrap();
    assert!(again.status.success(), "{}", shown(&again));
    assert!(world.http_get(&path, Some(&password)).1.contains("do not lose me"), "lost by a stop");
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!text.contains("build image"), "an image that is there is not built again\n{text}");

    // What opencode itself logs is shown.
    let log = world.ok(&["logs", "-n", "1000"]);
    assert!(log.lines().filter(|line| line.contains("level=INFO")).count() > 3, "{log}");
    // ssh's folder is a link into a volume, unless one of the host's is mounted there.
    let keys = world.folder().join("user/keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("config"), "Host here").unwrap();
    world.ok(&["--yes", "mount", "add", "~/keys:/home/opencode/.ssh:ro"]);
    world.ok(&["start"]);
    assert_eq!(docker(&["exec", &world.container(), "cat", "/home/opencode/.ssh/config"]).trim(), "Host here");
}

/// The opencode process has no capability, cannot get one, and is not root.
fn no_privileges(world: &World) {
    let script = r#"for p in /proc/[0-9]*; do
        case "$(tr '\0' ' ' < $p/cmdline)" in *opencode*serve*) grep -E '^(Name|Uid|Cap(Eff|Bnd|Prm|Inh|Amb)|NoNewPrivs):' $p/status; echo;; esac
    done"#;
    let text = docker(&["exec", &world.container(), "sh", "-c", script]);
    let block =
        text.split("\n\n").find(|b| b.contains("CapEff:\t0000000000000000")).unwrap_or_else(|| panic!("{text}"));
    for wanted in
        ["CapBnd:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t1000\t1000\t1000\t1000"]
    {
        assert!(block.contains(wanted), "{wanted} in\n{block}");
    }
}

fn nothing_secret(world: &World, password: &str, reference: &str) {
    let container = world.container();
    for (place, text) in [
        ("inspect", docker(&["inspect", &container])),
        ("history", docker(&["history", "--no-trunc", reference])),
        ("log", docker(&["logs", &container])),
        ("arguments", docker(&["top", &container, "-eo", "pid,args"])),
    ] {
        assert!(!text.contains(password), "the password is in {place}\n{text}");
    }
}
