//! The docker command against the engine of these tests, and what it says of the engine.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::engine_host;
use super::output::shown;

/// Removes what a listing command lists.
pub(super) fn remove(list: &[&str], command: &[&str]) {
    let output = docker_try(list);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut ids: Vec<&str> = text.split_whitespace().collect();
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        let _ = docker_try(&[command, &ids].concat());
    }
}

/// The docker command against the engine, which must succeed; its standard output without the last newline.
pub fn docker(args: &[&str]) -> String {
    let output = docker_try(args);
    assert!(output.status.success(), "docker {}\n{}", args.join(" "), shown(&output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The docker command against the engine, whatever comes of it.
pub fn docker_try(args: &[&str]) -> Output {
    docker_command().args(args).stdin(Stdio::null()).output().expect("the docker command")
}

/// The docker command with this on its standard input; must succeed.
pub fn docker_with(args: &[&str], input: &[u8]) -> String {
    let mut child = docker_command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the docker command");
    child.stdin.take().expect("its standard input").write_all(input).expect("to write to it");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "docker {}\n{}", args.join(" "), shown(&output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Whether the engine can hold a container to a memory limit. Rootless ones on cgroup v1 cannot, and Podman, which
/// is taken for rootless here, claims it all the same.
pub fn limits_memory() -> bool {
    let info = docker(&["info", "--format", "{{.MemoryLimit}} {{.CgroupVersion}} {{.SecurityOptions}}"]);
    let rootless = is_podman() || info.contains("rootless");
    info.starts_with("true") && !(rootless && info.starts_with("true 1 "))
}

/// Whether the engine is Podman behind its Docker-compatible socket.
pub fn is_podman() -> bool {
    docker(&["version", "--format", "{{json .Server.Components}}"]).contains("Podman")
}

/// The docker command for the engine. The classic builder: it is there on every engine, and leaves no cache.
pub fn docker_command() -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", engine_host()).env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONTEXT");
    command
}

/// Runs a script as root on the volumes of a world's container, from another one: in the container itself root has no
/// capability.
pub fn as_root(world: &super::World, script: &str) {
    let container = world.container();
    let options = ["run", "--rm", "--user", "0", "--volumes-from", &container, "--entrypoint", "sh"];
    docker(&[&options[..], &[&super::stand_in(), "-c", script]].concat());
}
