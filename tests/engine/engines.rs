//! What is different from engine to engine: whose files the agent writes, which limits hold, and that docklet says so.
//! tests/engines runs these, and some others, on all of them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use crate::egress::{CONNECT, Internet};
use crate::support::*;

fn check(world: &World, id: &str) -> (String, String) {
    let report = json(&world.run(&["doctor", "--json"]));
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    (check["level"].as_str().unwrap().to_owned(), check["message"].as_str().unwrap().to_owned())
}

fn set_up(world: &World, more: &[&str]) -> String {
    let mut args = world.setup_args();
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    let output = world.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_folder_of_the_first_setup_is_written_from_both_sides() {
    let world = World::new();
    let folder = world.folder().join("code");
    fs::create_dir(&folder).unwrap();
    let said = set_up(&world, &["--mount", &format!("{}:/workspace/code", folder.display())]);
    // What setup says about rights is true: without a word it works at once, else after the command.
    if let Some((_, command)) = said.split_once("to let it: ") {
        let command = command.lines().next().unwrap();
        let output = Command::new("sh").args(["-ec", command]).output().unwrap();
        assert!(output.status.success(), "{command}\n{}", shown(&output));
    }
    world.ok(&["exec", "--", "sh", "-c", "echo inside >/workspace/code/ours"]);
    assert_eq!(fs::read_to_string(folder.join("ours")).unwrap(), "inside\n");
    fs::write(folder.join("theirs"), "outside\n").unwrap();
    world.ok(&["exec", "--", "sh", "-c", "echo inside >>/workspace/code/theirs"]);
    assert_eq!(fs::read_to_string(folder.join("theirs")).unwrap(), "outside\ninside\n");
    // All that setup made is docklet's, and as wanted.
    let again = world.ok(&["setup", "--yes"]);
    assert!(again.contains("nothing to do"), "{again}");
    for id in ["volumes", "drift"] {
        let (level, message) = check(&world, id);
        assert_eq!(level, "ok", "{id}: {message}");
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn limits_hold_or_setup_and_doctor_say_so() {
    let world = World::new();
    let said = set_up(&world, &["--memory", "256MiB"]);
    let memory = world.inspect().unwrap()["HostConfig"]["Memory"].as_i64().unwrap();
    // What the engine says is not always what the kernel does.
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    let limit = docker(&["exec", &world.container(), "sh", "-c", &format!("{limit}; true")]);
    let held = memory == 256 << 20 && limit.trim() == memory.to_string();
    assert_eq!(said.contains("does not hold the container to its limits"), !held, "{said}");
    let (level, message) = check(&world, "memory");
    assert_eq!(level == "ok", held, "{message}");
    let (level, message) = check(&world, "drift");
    assert_eq!(level, "ok", "{message}");
    let plan = world.ok(&["setup", "--yes", "--dry-run", "--memory", "512MiB"]);
    assert!(plan.contains("changed") && !plan.contains("another version"), "{plan}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_running_instance_is_backed_up() {
    let world = World::new();
    world.setup();
    let output = world.run(&["backup", "--json"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(world.status()["state"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_stopped_instance_comes_back_in_another() {
    let world = World::new();
    world.setup();
    world.ok(&["exec", "--", "sh", "-c", "echo precious >/workspace/file"]);
    world.ok(&["stop"]);
    let file = world.folder().join("backup.tar.zst");
    let file = file.to_str().unwrap();
    world.ok(&["backup", file]);
    let copy = world.sibling();
    let output = copy.run(&["restore", file, "--yes", "--settings"]);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(copy.ok(&["exec", "--", "cat", "/workspace/file"]), "precious\n");
    assert_eq!(copy.status()["state"], "running");
}

/// Whether a program of the agent's gets a connection to this machine, by one of the names that engines give it inside.
fn reaches_this_machine(world: &World, port: u16) -> bool {
    ["host.docker.internal", "host.containers.internal"].iter().any(|name| {
        let port = port.to_string();
        let done = docker_try(&["exec", &world.container(), "perl", "-MIO::Socket::IP", "-e", CONNECT, name, &port]);
        assert!(matches!(done.status.code(), Some(0 | 1)), "{}", shown(&done));
        done.status.success()
    })
}

/// Needs no root, as `egress` does, so that engines without root have it.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn this_machine_is_reached_only_where_the_rules_let_it() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new();
    set_up(&world, &["--egress", "all"]);
    assert!(reaches_this_machine(&world, port), "without rules");
    world.ok(&["config", "set", "network.egress", "internet", "--yes"]);
    assert!(!reaches_this_machine(&world, port), "internet");
    world.ok(&["config", "set", "network.egress", "listed", "--yes"]);
    assert!(!reaches_this_machine(&world, port), "listed");
    world.ok(&["config", "set", "network.allow", &format!("host:{port}"), "--yes"]);
    assert!(reaches_this_machine(&world, port), "allowed");
    world.ok(&["restart"]);
    assert!(reaches_this_machine(&world, port), "allowed, after a restart");
    world.ok(&["config", "unset", "network.allow", "--yes"]);
    assert!(!reaches_this_machine(&world, port), "not allowed any more");
}

/// An engine without a firewall (`iptables: false`) does not say so, and lets machines of the neighbourhood reach each
/// container.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn doctor_claims_no_more_than_holds_for_the_neighbours() {
    let world = World::new();
    world.setup();
    let neighbour = Internet::new(9);
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", "--format", address, &world.container()]);
    let firewall = Command::new("iptables").args(["-w", "-n", "-L", "DOCKER"]).output().unwrap();
    let reached = neighbour.reaches(&address, 3000);
    // Docker's own rules let neighbours reach what is published, whatever its address, until 28.0.
    let version = world.status()["engine"]["version"].as_str().unwrap().to_owned();
    let major: u32 = version.split('.').next().unwrap().parse().unwrap();
    assert_eq!(reached, !firewall.status.success() || major < 28, "{version}\n{}", shown(&firewall));
    let (level, message) = check(&world, "neighbours");
    let published = "the page is published on this machine's loopback address only";
    assert!(level == "warning" || message == published, "{level}: {message}");
}

/// To an engine without root or in a virtual machine, 127.0.0.1 is its own: no proxy is to blame.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_registry_on_127_0_0_1_is_the_engines_own() {
    let world = World::new();
    let port = world.port.to_string();
    let setup = ["setup", "--yes", "--json", "--image", "127.0.0.1:1/nothing:1", "--port", &port];
    let error = json(&world.fails(&setup, 7))["error"].clone();
    assert_eq!(error["code"], "PULL_FAILED");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("that is the engine's own machine") && !hint.contains("proxy"), "{hint}");
}

/// A base on which the appliance's own Dockerfile is built without a network: what installs and downloads does next to
/// nothing, and opencode is the stand-in. Its digest is of three zeros.
fn base_of_stubs(world: &World, version: &str) -> String {
    let program = |path: &str, script: &str| {
        let script = script.replace('\n', "\\n");
        format!("RUN printf '#!/bin/sh\\n{script}\\n' >{path} && chmod 0755 {path}")
    };
    let apt_get = "case $* in *download*) touch npm_1.deb ;; esac; mkdir -p /etc/ssh/ssh_config.d";
    let dpkg_deb = "echo \"define(@registry@, {
        default: @https://registry.example/@,\" | tr @ \"\\\\047\" >definitions.js
        tar -cO ./definitions.js";
    let jq = format!("case $* in *version*) echo {version} ;; *) echo sha512-AAAA ;; esac");
    let curl = "while [ \"$1\" != --output ]; do shift; done
        mkdir -p package/bin && cp /usr/local/bin/stub package/bin/opencode && tar -czf \"$2\" package";
    let opencode = format!("case $1 in --version) echo {version} ;; *) exec /usr/local/bin/stand-in ;; esac");
    world.build(
        &stand_in(),
        &[
            "USER 0:0",
            &program("/usr/local/sbin/apt-get", apt_get),
            &program("/usr/local/bin/dpkg-deb", dpkg_deb),
            &program("/usr/local/bin/jq", &jq),
            &program("/usr/local/bin/openssl", "head -c 3 /dev/zero"),
            &program("/usr/local/bin/curl", curl),
            &program("/usr/local/bin/git", ":"),
            &program("/usr/local/bin/stub", &opencode),
            &program("/usr/bin/tini", "shift; exec \"$@\""),
        ],
    )
}

/// A locked cache before another in one of its steps stands still for ever on Podman 4.3.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_appliances_own_image_is_built() {
    let world = World::new();
    let appliance = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docker/appliance.toml")).unwrap();
    let (_, version) = appliance.split_once("\nversion = \"").unwrap();
    let (version, _) = version.split_once('"').unwrap();
    let base = base_of_stubs(&world, version);
    world.ok(&["setup", "--yes", "--base-image", &base, "--port", &world.port.to_string()]);
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200);
    assert_eq!(world.status()["image"]["appliance_version"], version);
    world.ok(&["uninstall", "--purge", "--yes"]);
}
