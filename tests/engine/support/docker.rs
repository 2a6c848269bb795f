//! The docker command against the engine of these tests, and what it says of the engine.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::engine_host;
use super::http::exchange;
use super::output::shown;
use super::wait_until;
use crate::proxy::Conn;

/// What the engine answers to a GET; `None` for an error. Without the docker command, which takes ten times as long:
/// this is asked again and again.
pub fn engine_get(path: &str) -> Option<Value> {
    let (status, body) = engine_ask("GET", path, &[]);
    (status == 200).then(|| serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET {path}: {error}\n{body}")))
}

/// Asks the engine something, with a tar archive or nothing as the body; the status and the text of its answer.
pub fn engine_ask(method: &str, path: &str, archive: &[u8]) -> (u16, String) {
    let engine = Conn::to_engine(&engine_host()).expect("the engine");
    let head = format!("{method} {path} HTTP/1.0\r\nhost: docker\r\ncontent-type: application/x-tar\r\n");
    let (status, _, body) = exchange(engine, &head, archive);
    (status, body)
}

/// What of a list of the engine's (`/containers/json?all=1`, `/volumes?`) carries a label.
pub fn labelled(list: &str, label: &str) -> Value {
    let filter = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", label.replace('=', "%3D"));
    engine_get(&format!("{list}&filters={filter}")).expect("a list")
}

/// The docker command against the engine, which must succeed; its standard output without the last newline.
pub fn docker(args: &[&str]) -> String {
    let output = docker_try(args);
    assert!(output.status.success(), "docker {}\n{}", args.join(" "), shown(&output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A container of the tests' own has a log that every engine can keep: the driver that an engine is set to may not be there.
fn logged<'a>(args: &[&'a str]) -> Vec<&'a str> {
    match args {
        ["run", rest @ ..] => [&["run", "--log-driver", "json-file"], rest].concat(),
        _ => args.to_vec(),
    }
}

/// The docker command against the engine, whatever comes of it.
pub fn docker_try(args: &[&str]) -> Output {
    docker_command().args(logged(args)).stdin(Stdio::null()).output().expect("the docker command")
}

/// Pauses a container. An engine with an old runc cannot freeze it at the first try sometimes.
pub fn pause(container: &str) {
    wait_until(Duration::from_secs(30), "it can be paused", || docker_try(&["pause", container]).status.success());
}

/// The docker command with this on its standard input; must succeed.
pub fn docker_with(args: &[&str], input: &[u8]) -> String {
    let mut child = docker_command()
        .args(logged(args))
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
