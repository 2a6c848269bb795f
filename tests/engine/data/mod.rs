//! Backup, restore, update and rollback: whatever happens, the data is what it was.
//!
//! `round_trip`: everything comes back the same; `consistency`: a backup is one moment; `hostile`: the agent plants what no backup can hold; `keys`: what is encrypted for keys; `parts`: a part of a
//! backup; `backup_test`: a throwaway instance; `damaged`: what can be read of one; `homes`: two homes at
//! once; `killed`: docklet is killed at every call; `update`, `restore`: what
//! goes wrong is taken back; `space`: disks that are full; `large`: many files, large ones, little memory; `stream`: pipes; `real`:
//! the same with opencode. Here is what they share.

mod backup_test;
mod consistency;
mod damaged;
mod homes;
mod hostile;
mod keys;
mod killed;
mod large;
mod parts;
mod real;
mod restore;
mod round_trip;
mod space;
mod stream;
mod update;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

/// What is on the engine's volumes: makes files and lists them, see there.
const TREE: &str = include_str!("../../fixtures/tree/tree");

/// Runs `tree` in a container that has a volume as its folder.
pub fn tree(volume: &str, what: &[&str]) -> String {
    with_volumes(&[volume.to_owned()], &[&["perl", "-", what[0], &format!("/{volume}")], &what[1..]].concat())
}

/// Runs a command that reads `tree`, in a container that has volumes below `/`.
fn with_volumes(volumes: &[String], command: &[&str]) -> String {
    let mounts: Vec<String> = volumes.iter().map(|volume| format!("--volume={volume}:/{volume}")).collect();
    let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
    let entrypoint = format!("--entrypoint={}", command[0]);
    let run = ["run", "--rm", "--interactive", "--user=0", "--network=none", &entrypoint];
    docker_with(&[&run, &mounts[..], &[&stand_in()], &command[1..]].concat(), TREE.as_bytes())
}

/// All that makes the files in this world's volumes what they are, a line for each.
pub fn listing(world: &World) -> Vec<String> {
    let volumes = world.volumes();
    let script =
        "cat >/tmp/tree; for v; do perl /tmp/tree list /$v >/tmp/list || exit; echo \"volume $v\"; cat /tmp/list; done";
    let command = [&["sh", "-c", script, "sh"], &volumes.each_ref().map(String::as_str)[..]].concat();
    let all = with_volumes(&volumes, &command);
    let lines = |volume: &String| -> Vec<String> {
        let after = all.split(&format!("volume {volume}\n")).nth(1).expect("the volume");
        let its: Vec<&str> = after.lines().take_while(|line| !line.starts_with("volume ")).collect();
        // An empty volume gets the time of the image's folder in that place whenever a container is made on it.
        let empty = its.len() == 1;
        let words = |line: &str| line.split(' ').take(if empty { 4 } else { usize::MAX }).collect::<Vec<_>>().join(" ");
        its.iter().map(|line| format!("{volume} {}", words(line)).replace(&world.name, "…")).collect()
    };
    volumes.iter().flat_map(lines).collect()
}

/// Two listings are the same, or those lines that are not are told.
pub fn assert_same(before: &[String], after: &[String], when: &str) {
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let told = |lines: Vec<&&String>| lines.iter().map(|line| format!("  {line:.300}\n")).collect::<String>();
    let (lost, new) = (told(was.difference(&is).collect()), told(is.difference(&was).collect()));
    assert!(lost.is_empty() && new.is_empty(), "{when}\nwas:\n{lost}is:\n{new}");
}

/// Makes a session with a message in it; its id.
pub fn session(world: &World, title: &str) -> String {
    let password = world.password();
    // The real one looks for its providers first, on a busy machine for longer than an answer may take otherwise.
    let post = |path: &str, body: Value| {
        let patience = Duration::from_secs(60);
        http_within(patience, world.port, "POST", path, Some(&password), Some(&body.to_string())).unwrap_or_default()
    };
    let (_, session) = post("/session", serde_json::json!({ "title": title }));
    let id = serde_json::from_str::<Value>(&session).unwrap()["id"].as_str().unwrap().to_owned();
    let message = serde_json::json!({"noReply": true, "parts": [{"type": "text", "text": format!("in {title}")}]});
    assert_eq!(post(&format!("/session/{id}/message"), message).0, 200);
    id
}

/// The session is listed, and its message can be read.
pub fn assert_session(world: &World, id: &str, title: &str, when: &str) {
    let password = world.password();
    let (_, all) = world.http_get("/session", Some(&password));
    assert!(all.contains(id), "{when}: session {title} is not listed\n{all}");
    let (_, messages) = world.http_get(&format!("/session/{id}/message"), Some(&password));
    assert!(messages.contains(&format!("in {title}")), "{when}: its message is lost\n{messages}");
}

/// Volumes without a name, which nobody uses.
pub fn nameless() -> BTreeSet<String> {
    let unused = docker(&["volume", "ls", "--quiet", "--filter", "dangling=true"]);
    let hex = |name: &&str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    unused.lines().filter(hex).map(str::to_owned).collect()
}

/// What must be true after any of these commands, however it ended: one container that runs and answers, three
/// volumes, and nothing else; no file that is half a backup.
pub fn assert_whole(world: &World, when: &str) {
    world.assert_nothing_else(when);
    let secrets = format!("{}-secrets", world.container());
    let volumes: BTreeSet<String> = world.volumes().into_iter().chain([secrets]).collect();
    let container = world.inspect().unwrap();
    assert_eq!(container["State"]["Status"], "running", "{when}");
    let mounts = container["Mounts"].as_array().unwrap();
    let used: BTreeSet<_> = mounts.iter().filter_map(|m| m["Name"].as_str()).filter(|n| n.len() != 64).collect();
    assert_eq!(used, volumes.iter().map(String::as_str).collect(), "{when}: its volumes");
    assert_eq!(world.http_get("/global/health", Some(&world.password())).0, 200, "{when}");
    assert_eq!(unfinished(world), Vec::<PathBuf>::new(), "{when}");
}

/// This instance's own backups.
pub fn backups(world: &World) -> PathBuf {
    PathBuf::from(json(&world.run(&["backup", "list", "--json"]))["folder"].as_str().unwrap())
}

/// Files that were to become backups.
pub fn unfinished(world: &World) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(backups(world)) else { return vec![] };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
}

/// The reference of this world's image in the registry: what it means there is changed by [`publish`].
pub fn published(world: &World) -> String {
    format!("{}/{}:now", variable("DOCKLET_TEST_REGISTRY"), world.name)
}

/// Lets the reference mean another image from now on, in the registry and nowhere else.
pub fn publish(world: &World, from: &str, lines: &[&str]) -> String {
    world.publish("now", from, lines)
}

/// Sets a world up with the image that its reference means in the registry.
pub fn setup_pulled(world: &World) {
    let port = world.port.to_string();
    world.ok(&["setup", "--yes", "--image", &published(world), "--port", &port]);
}

/// The id of the image that runs. The reference must mean the same one.
pub fn runs(world: &World, when: &str) -> String {
    let id = world.inspect().unwrap()["Image"].as_str().unwrap().to_owned();
    let named = docker(&["image", "inspect", "--format", "{{.Id}}", &published(world)]);
    assert_eq!(named, id, "{when}: what the reference means on the engine");
    id
}

/// The error of a command that ended with this code, which must have this name.
pub fn error(world: &World, args: &[&str], exit: i32, code: &str) -> Value {
    let output = world.fails(&[args, &["--json"]].concat(), exit);
    let error = json(&output)["error"].clone();
    assert_eq!(error["code"], code, "{}", shown(&output));
    error
}
