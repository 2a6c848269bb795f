//! What `docklet export compose` writes, brought up by a real Compose: the page, the data and the walls are those that docklet
//! itself gives.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::*;

/// An exported folder; what Compose made of it is removed at the end.
struct Project<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl Project<'_> {
    fn compose(&self, args: &[&str]) -> Output {
        let file = self.folder.join("compose.yaml");
        let mut command = Command::new("docker-compose");
        command
            .env("DOCKER_HOST", engine_host())
            .args(["-p", &self.world.name, "-f", file.to_str().unwrap()])
            .args(args);
        command.output().expect("docker-compose, which tests/run installs")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.compose(args);
        assert!(output.status.success(), "docker-compose {args:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.compose(&["down", "--timeout", "1"]);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn compose_goes_on_where_docklet_ended_on_docker() {
    let world = World::new();
    world.setup();
    let password = world.password();
    assert_eq!(world.http_post("/session", Some(&password), &json!({"title": "kept"})).0, 200);
    world.ok(&["stop"]);
    let folder = world.folder().join("exported");
    world.ok(&["export", "compose", "--with-secrets", "--output", folder.to_str().unwrap()]);
    let project = Project { world: &world, folder };
    let secrets = project.folder.join("secrets");
    let owned = Command::new("chown").args(["-R", "1000:1000", secrets.to_str().unwrap()]).status().unwrap();
    assert!(owned.success());

    project.ok(&["up", "-d"]);
    let sessions = || world.http_get("/session", Some(&password));
    wait_until(SOON, "the page answers", || sessions().0 == 200);
    assert!(sessions().1.contains("\"title\":\"kept\""), "{}", sessions().1);
    assert_eq!(world.http_get("/session", None).0, 401, "the password is asked for");

    let id = project.ok(&["ps", "-q", &world.container()]);
    let inside = |script: &str| {
        let output = docker_try(&["exec", id.trim(), "/bin/sh", "-c", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    let status = inside("id -u; cat /proc/1/status");
    assert!(status.starts_with("1000\n") && status.contains("CapBnd:\t0000000000000000"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    // Without rules, nothing would answer there, and the time would run out.
    let refused = "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => \"169.254.169.254:80\", Timeout => 5); print $!'";
    assert_eq!(inside(refused), "Connection refused");

    // The rules are still there when it comes back after a crash.
    let pid: u32 = docker(&["inspect", "--format={{.State.Pid}}", id.trim()]).trim().parse().unwrap();
    kill(pid);
    wait_until(SOON, "the page answers again", || {
        docker(&["inspect", "--format={{.RestartCount}}", id.trim()]).trim() == "1" && sessions().0 == 200
    });
    assert_eq!(inside(refused), "Connection refused");

    project.ok(&["down", "--timeout", "1"]);
    for volume in world.volumes() {
        docker(&["volume", "inspect", &volume]);
    }
}
