//! Restarts are the tool's: the supervisor on a real engine. What it decides when is proved without one, through
//! simulated days; here is that it sees what happens, does what it decided, and says so.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::proxy::Proxy;
use crate::support::*;

/// Three misses, ten seconds apart, each of up to three seconds, on a busy machine.
pub const HANG: Duration = Duration::from_secs(90);

fn answers(world: &World, password: &str) -> bool {
    world.http_get("/global/health", Some(password)).0 == 200
}

/// When the running container's process began; `None` while none runs.
fn run_of(world: &World) -> Option<String> {
    let state = world.inspect()?["State"].clone();
    (state["Running"] == true).then(|| state["StartedAt"].as_str().unwrap().to_owned())
}

fn restarts(world: &World) -> u64 {
    world.status()["supervisor"]["restarts"].as_u64().unwrap()
}

fn reason(world: &World) -> String {
    world.status()["supervisor"]["last_restart"]["reason"].as_str().unwrap_or_default().to_owned()
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.home.join("state").join(&world.name).join("supervisor.log")).unwrap_or_default()
}

pub fn wait_for_log(world: &World, text: &str) {
    wait_until(SOON, &format!("the log says `{text}`"), || log(world).contains(text));
}

fn pid(world: &World) -> Option<u32> {
    let supervisor = world.status()["supervisor"].clone();
    assert_eq!(supervisor["running"] == true, supervisor["pid"].is_number(), "{supervisor}");
    supervisor["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap())
}

fn kill(signal: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// `docklet supervise` in the foreground. Ends it when dropped.
struct Foreground(Child);

impl Foreground {
    fn start(world: &World) -> Self {
        let mut command = world.docklet();
        command.args(["supervise", "--json"]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Asks it to end; its exit code, its result and its lines.
    fn end(mut self) -> (Option<i32>, Value, Vec<Value>) {
        kill("-TERM", self.0.id());
        let status = self.0.wait().unwrap();
        let mut text = [String::new(), String::new()];
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut text[0]).unwrap();
        std::io::Read::read_to_string(self.0.stderr.as_mut().unwrap(), &mut text[1]).unwrap();
        let lines = text[1].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (status.code(), serde_json::from_str(&text[0]).unwrap(), lines)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until it was restarted `count` times and answers.
fn restarted(world: &World, password: &str, count: u64) {
    wait_until(HANG, &format!("restart {count}"), || restarts(world) == count);
    wait_until(SOON, "the page answers again", || answers(world, password));
}

/// Whether this engine is told by its kernel that a limit was hit: not inside every sandbox.
fn engine_knows_out_of_memory(world: &World) -> bool {
    let name = format!("{}-oom", world.container());
    let label = format!("docklet.instance={}", world.name);
    docker(&[
        "run",
        "--detach",
        "--name",
        &name,
        "--label",
        &label,
        "--memory=96m",
        "--memory-swap=96m",
        "--env=STAND_IN=oom",
        &world.image(),
    ]);
    docker(&["wait", &name]);
    let knows = docker(&["inspect", "--format={{.State.OOMKilled}}", &name]) == "true";
    docker(&["rm", &name]);
    if !knows {
        eprintln!("this engine does not tell that a container ran out of memory");
    }
    knows
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn every_way_to_die_is_answered_by_a_restart_that_says_why() {
    let world = World::supervised();
    let mut args = world.setup_args();
    args.extend(["--memory".to_owned(), "96MiB".to_owned()]);
    let output = world.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", shown(&output));
    let password = world.password();
    assert!(pid(&world).is_some(), "setup started a supervisor");

    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
    assert_eq!(reason(&world), "killed by SIGKILL (exit code 137)");
    world.misbehave("once exit-after:0.1:3");
    restarted(&world, &password, 2);
    assert_eq!(reason(&world), "exited with code 3");
    world.misbehave("once oom");
    restarted(&world, &password, 3);
    let cause = if world.inspect().unwrap()["HostConfig"]["Memory"] == 0 {
        // An engine that holds no limits: it took what it wanted, and ended by itself.
        "exited with code 99"
    } else if engine_knows_out_of_memory(&world) {
        "killed: out of memory at 96 MiB"
    } else {
        "killed by SIGKILL (exit code 137)"
    };
    assert_eq!(reason(&world), cause);
    // A signal alone is no `docker stop`, though it ends as gently.
    docker(&["kill", "--signal", "TERM", &world.container()]);
    restarted(&world, &password, 4);
    assert_eq!(reason(&world), "exited with code 0");

    let text = world.ok(&["status"]);
    assert!(text.contains("4, the last: ") && text.contains("exited with code 0"), "{text}");
    assert!(log(&world).lines().filter(|line| line.contains(" restarted ")).count() == 4, "{}", log(&world));
    assert!(!log(&world).contains(&password));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_page_that_hangs_is_restarted_and_a_refused_password_is_not() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    wait_for_log(&world, " answers  ");
    world.misbehave("once unauthorized");
    wait_for_log(&world, "rejects docklet's password");
    assert_eq!(restarts(&world), 0);
    world.misbehave("once hang");
    restarted(&world, &password, 1);
    assert!(reason(&world).starts_with("page did not answer 3 times (nothing within 3 s)"), "{}", reason(&world));
    assert_eq!(world.status()["desired"], "running");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn docker_stop_start_and_restart_are_the_users_wish() {
    let world = World::supervised();
    world.setup();
    wait_for_log(&world, " answers  ");
    docker(&["stop", "--time", "5", &world.container()]);
    wait_until(SOON, "it is taken as a wish", || world.status()["desired"] == "stopped");
    assert_eq!(world.status()["state"], "stopped");
    assert!(log(&world).contains("docker stop"), "{}", log(&world));
    docker(&["start", &world.container()]);
    wait_until(SOON, "and back", || world.status()["desired"] == "running");
    let before = run_of(&world);
    docker(&["restart", "--time", "5", &world.container()]);
    assert_ne!(run_of(&world), before);
    wait_until(SOON, "it answers", || world.status()["state"] == "running");
    // Longer than it would take to make a wish of the stop in it.
    holds_for(Duration::from_secs(5), "it is to run", || world.status()["desired"] == "running");
    assert_eq!(restarts(&world), 0, "{}", log(&world));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn docker_rm_is_the_users_wish_and_start_makes_a_new_one() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    wait_for_log(&world, " answers  ");
    // Podman removes none whose network a helper shares for a moment, as when its rules are loaded.
    wait_until(SOON, "it is removed", || docker_try(&["rm", "--force", &world.container()]).status.success());
    wait_until(SOON, "it is taken as a wish", || world.status()["desired"] == "stopped");
    assert!(log(&world).contains("docker rm"), "{}", log(&world));
    assert!(world.inspect().is_none());
    world.ok(&["start"]);
    assert!(answers(&world, &password));
    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn stop_means_stopped() {
    let world = World::supervised();
    world.setup();
    let before = pid(&world).unwrap();
    world.ok(&["stop"]);
    wait_until(SOON, "the supervisor ends", || pid(&world).is_none());
    assert!(run_of(&world).is_none());
    // One that a service manager starts after a reboot knows it too.
    let foreground = Foreground::start(&world);
    wait_until(SOON, "it runs", || pid(&world).is_some());
    docker(&["inspect", &world.container()]);
    let (code, result, lines) = foreground.end();
    assert_eq!((code, &result["schema"]), (Some(0), &Value::from(1)), "{lines:?}");
    assert!(lines.iter().all(|line| line["event"] == "decision" && line["text"].is_string()), "{lines:?}");
    assert!(run_of(&world).is_none(), "{lines:?}");
    world.ok(&["start"]);
    let after = pid(&world).unwrap();
    assert_ne!(before, after);
    // Stop and start at once, again and again: never is it left without one.
    for _ in 0..5 {
        world.ok(&["stop", "--timeout", "5"]);
        world.ok(&["start"]);
        assert!(pid(&world).is_some());
        holds_for(Duration::from_millis(700), "it is supervised", || pid(&world).is_some());
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_crash_loop_ends_and_start_begins_afresh() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    world.misbehave("exit-after:0.2:9");
    wait_until(HANG, "it gives up", || world.status()["supervisor"]["gave_up"] == true);
    let status = world.status();
    assert_eq!((&status["state"], &status["supervisor"]["restarts"]), (&"failed".into(), &5.into()), "{status}");
    assert_eq!(status["supervisor"]["cause"], "exited with code 9");
    for command in [&["exec", "--json", "--", "true"][..], &["open", "--json"]] {
        let refused = json(&world.fails(command, 10))["error"].clone();
        assert_eq!(refused["code"], "GAVE_UP", "{refused}");
        assert!(refused["causes"].to_string().contains("told to exit after a while"), "{refused}");
    }
    let output = world.fails(&["status"], 10);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["gave up restarting", "exited with code 9", "told to exit after a while", " start tries again"] {
        assert!(error.contains(words), "no `{words}` in\n{error}");
    }
    // Heal it.
    let volume = format!("{}:/workspace", world.volumes()[1]);
    docker(&["run", "--rm", "--volume", &volume, "--entrypoint", "rm", &world.image(), "/workspace/.stand-in"]);
    assert!(run_of(&world).is_none(), "nothing happens by itself");
    world.ok(&["start"]);
    let status = world.status();
    assert_eq!((&status["state"], &status["supervisor"]["gave_up"]), (&"running".into(), &false.into()), "{status}");
    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_engine_may_be_away_for_twenty_seconds() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    let password = world.password();
    let before = pid(&world).unwrap();
    wait_for_log(&world, " answers  ");
    proxy.gone();
    wait_for_log(&world, "the engine cannot be reached");
    // An engine that goes takes its containers with it.
    docker(&["kill", &world.container()]);
    holds_for(Duration::from_secs(20), "it waits, and does nothing", || {
        run_of(&world).is_none() && std::path::Path::new(&format!("/proc/{before}")).exists()
    });
    proxy.back();
    restarted(&world, &password, 1);
    assert!(reason(&world).starts_with("engine was away for 2"), "{}", reason(&world));
    assert_eq!(pid(&world), Some(before));
    // A death while nobody could tell, and not by the engine's going.
    proxy.gone();
    wait_until(SOON, "lost again", || log(&world).matches("cannot be reached").count() == 2);
    world.misbehave("once exit-after:0.1:3");
    wait_until(SOON, "it died", || run_of(&world).is_none());
    proxy.back();
    restarted(&world, &password, 2);
    assert_eq!(reason(&world), "exited with code 3");
}

/// An engine may go away without its containers (live-restore).
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_stop_while_the_engine_is_away_is_done_when_it_is_back() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    wait_for_log(&world, " answers  ");
    proxy.gone();
    wait_for_log(&world, "the engine cannot be reached");
    let output = world.fails(&["stop"], 5);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the supervisor stops it"), "{said}");
    assert!(run_of(&world).is_some(), "it went on without the engine");
    proxy.back();
    wait_until(SOON, "it is stopped", || run_of(&world).is_none());
    wait_until(SOON, "the supervisor has ended", || pid(&world).is_none());
    assert!(log(&world).contains("stopped, as asked for while the engine was away"), "{}", log(&world));
    assert_eq!((&world.status()["state"], restarts(&world)), (&"stopped".into(), 0));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn twenty_starts_at_once_leave_one_supervisor() {
    let world = World::supervised();
    world.setup();
    kill("-KILL", pid(&world).unwrap());
    wait_until(SOON, "it is gone", || world.processes().is_empty());
    let mut children: Vec<Child> = (0..20)
        .map(|n| {
            let mut command = world.docklet();
            if n % 2 == 0 {
                command.arg("start")
            } else {
                command.args(["supervise", "--detached", "--quiet"])
            };
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut alive = 20;
    wait_until(SOON, "all but at most one have ended", || {
        alive = children.iter_mut().filter_map(|child| child.try_wait().unwrap().is_none().then_some(())).count();
        alive <= 1
    });
    wait_until(SOON, "one is left", || world.processes().len() == 1);
    assert_eq!(pid(&world), world.processes().first().copied());
    children.iter_mut().for_each(|child| drop(child.kill()));
    children.iter_mut().for_each(|child| drop(child.wait()));
    world.ok(&["start"]);
    assert_eq!(world.processes().len(), 1);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_next_supervisor_takes_over_from_one_that_was_killed() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
    let first = pid(&world).unwrap();
    kill("-KILL", first);
    wait_until(SOON, "it is gone", || pid(&world).is_none());
    docker(&["kill", &world.container()]);
    // What a service manager does.
    let foreground = Foreground::start(&world);
    restarted(&world, &password, 2);
    assert_eq!(reason(&world), "was not running (killed by SIGKILL (exit code 137))");
    assert!(log(&world).contains(&format!("replaces pid {first}")), "{}", log(&world));
    kill("-KILL", foreground.0.id());
    drop(foreground);
    // Its state file was cut short.
    let file = world.home.join("state").join(&world.name).join("supervisor.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    world.ok(&["start"]);
    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn it_does_nothing_while_another_command_holds_the_lock() {
    let world = World::supervised();
    world.setup();
    let password = world.password();
    wait_for_log(&world, " answers  ");
    let lock = File::options().write(true).open(world.home.join("state").join(&world.name).join("lock")).unwrap();
    // The supervisor itself may just be loading network rules.
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    docker(&["kill", &world.container()]);
    wait_until(SOON, "it sees the lock", || log(&world).matches("another docklet command").count() >= 1);
    holds_for(Duration::from_secs(4), "it is not restarted", || run_of(&world).is_none());
    drop(lock);
    restarted(&world, &password, 1);
    wait_until(SOON, "it has seen that", || log(&world).matches(" answers  ").count() == 2);
    // A real command: the container is replaced under its eyes.
    world.ok(&["setup", "--yes", "--memory", "256MiB"]);
    assert_eq!(world.status()["desired"], "running");
    wait_until(SOON, "it goes on", || log(&world).matches(" answers  ").count() >= 3);
    assert_eq!(restarts(&world), 0, "the user's own restarts do not count\n{}", log(&world));
    docker(&["kill", &world.container()]);
    restarted(&world, &password, 1);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_restart_policy_of_somebody_else_is_set_back() {
    let world = World::supervised();
    world.setup();
    wait_for_log(&world, " answers  ");
    docker(&["update", "--restart=always", &world.container()]);
    wait_until(SOON, "it is set back", || world.inspect().unwrap()["HostConfig"]["RestartPolicy"]["Name"] == "no");
    wait_for_log(&world, "was set to `always` outside docklet");
    assert_eq!(restarts(&world), 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn it_outlives_the_terminal_and_ends_with_the_instance() {
    let world = World::supervised();
    world.setup();
    let pid = pid(&world).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"), "a session of its own, without a terminal");
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(arguments.contains("supervise") && !arguments.contains(&world.password()), "{arguments}");

    let plan = json(&world.run(&["uninstall", "--dry-run", "--json"]));
    let supervisor = serde_json::json!({"kind": "supervisor", "name": format!("pid {pid}")});
    assert!(plan["removed"].as_array().unwrap().contains(&supervisor), "{plan}");
    let done = json(&world.run(&["uninstall", "--yes", "--json"]));
    assert!(done["removed"].as_array().unwrap().contains(&supervisor), "{done}");
    assert_eq!(done["left"], serde_json::json!([]));
    assert!(world.processes().is_empty());
    world.ok(&["uninstall", "--yes"]);

    let other = World::supervised();
    let mut args = other.setup_args();
    args.push("--no-start".to_owned());
    other.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(other.processes().is_empty(), "nothing to supervise");
    other.ok(&["setup", "--yes", "--restart", "never"]);
    assert!(other.processes().is_empty(), "restart = never");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_port_that_somebody_took_meanwhile_is_waited_for_and_gets_no_password() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    let password = world.password();
    wait_for_log(&world, " answers  ");
    // Without its engine the supervisor cannot know that the container has died, nor restart it.
    proxy.gone();
    wait_for_log(&world, "the engine cannot be reached");
    docker(&["kill", &world.container()]);
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, world.port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    // So that a probe is due when the engine comes back.
    std::thread::sleep(Duration::from_secs(11));
    proxy.reset();
    proxy.back();
    wait_for_log(&world, "is taken by");
    let holder = format!("(pid {})", std::process::id());
    let status = world.status();
    assert_eq!(status["state"], "failed", "{status}");
    let taken = &status["supervisor"]["port_taken"];
    assert_eq!(taken["port"], world.port, "{status}");
    assert!(taken["holder"].as_str().unwrap().ends_with(&holder), "{status}");
    let text = String::from_utf8(world.fails(&["status"], 3).stdout).unwrap();
    assert!(text.contains(&holder) && text.contains("setup --port"), "{text}");
    // More attempts than would be needed to give up.
    wait_until(HANG, "six attempts", || {
        let calls = proxy.calls();
        let sixth = calls.iter().filter(|call| call.route().ends_with("/start")).nth(5).map(|call| call.seq);
        // The look that follows the attempt: the supervisor is through with it.
        sixth.is_some_and(|sixth| calls.iter().any(|call| call.seq > sixth && call.route().ends_with("/json")))
    });
    assert_eq!(world.status()["supervisor"]["gave_up"], false);
    assert_eq!(log(&world).matches("is taken by").count(), 1, "said once\n{}", log(&world));
    assert!(listener.accept().is_err(), "somebody connected to the holder of the port");
    drop(listener);
    restarted(&world, &password, 1);
    assert!(reason(&world).contains(&holder), "{}\n{}", reason(&world), log(&world));
    let status = world.status();
    assert_eq!((&status["state"], &status["supervisor"]["port_taken"]), (&"running".into(), &Value::Null), "{status}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_disk_is_watched_and_status_warns_above_the_limit() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    wait_for_log(&world, " answers  ");
    let disk = world.status()["disk"].clone();
    assert!(disk["volumes"].is_null() && disk["warning"].is_null(), "nothing is measured yet: {disk}");
    let fill = "head -c 3M /dev/urandom > /workspace/large; mkdir /workspace/none; chmod 0 /workspace/none";
    docker(&["exec", &world.container(), "sh", "-c", fill]);
    world.ok(&["config", "set", "resources.disk", "2MiB"]);
    wait_until(SOON, "the volumes are measured", || world.status()["disk"]["volumes"].is_number());
    let disk = world.status()["disk"].clone();
    let volumes = disk["volumes"].as_u64().unwrap();
    assert!((3 << 20..5 << 20).contains(&volumes), "{disk}");
    assert!(disk["warning"].as_str().unwrap().contains("the 2 MiB of resources.disk"), "{disk}");
    assert!(log(&world).contains("the volumes take"), "{}", log(&world));
    proxy.reset();
    let text = world.ok(&["status"]);
    assert!(text.contains("in the volumes") && text.contains("the 2 MiB of resources.disk"), "{text}");
    let asked = proxy.calls().into_iter().filter(|call| call.path.contains("/df") || call.path.contains("/exec"));
    assert_eq!(asked.count(), 0, "status reads what the supervisor measured\n{}", proxy.report());
    let doctor = json(&world.run(&["doctor", "--json"]));
    let findings = doctor["checks"].as_array().unwrap();
    let space = findings.iter().find(|finding| finding["id"] == "engine_space").unwrap();
    // A disk that really is nearly full comes first.
    assert!(space["level"] != "ok" && space["message"].as_str().unwrap().contains("than"), "{space}");
    world.ok(&["config", "unset", "resources.disk"]);
    wait_until(SOON, "nothing is measured any more", || world.status()["disk"]["volumes"].is_null());
}

/// What a process has used of the processor, in clock ticks (hundredths of a second), and its resident memory in KiB
/// without the program itself, which is many times as large when it is built for tests.
pub fn usage(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    (fields[11] + fields[12], memory.trim().strip_suffix(" kB").unwrap().parse().unwrap())
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn idle_for_a_minute() {
    let world = World::supervised();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    world.setup();
    let pid = pid(&world).unwrap();
    wait_for_log(&world, " answers  ");
    // The look after the begin of the event stream.
    wait_until(SOON, "it has settled", || proxy.calls().iter().filter(|c| c.path.contains("/events")).count() == 1);
    std::thread::sleep(Duration::from_secs(3));
    proxy.reset();
    let (before, _) = usage(pid);
    std::thread::sleep(Duration::from_secs(60));
    let (after, memory) = usage(pid);
    let calls = proxy.calls().len();
    eprintln!("idle for 60 s: {calls} engine calls, {} ms of a core, {} KiB resident", (after - before) * 10, memory);
    assert!(calls <= 1, "{}", proxy.report());
    assert_eq!(restarts(&world), 0);
    assert!(memory < 6 << 10, "{memory} KiB resident");
    // Unoptimised code takes several times as long.
    let most = if cfg!(debug_assertions) { 60 } else { 12 };
    assert!(after - before <= most, "{} hundredths of a second", after - before);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_supervisor_holds_nothing_of_whoever_started_it() {
    let world = World::supervised();
    let lock = world.folder().join("a lock of a cron job");
    let mut shell = std::process::Command::new("sh");
    world.bare(&mut shell);
    shell.args(["-c", "exec 9>\"$1\"; shift; exec \"$@\"", "sh"]).arg(&lock).arg(env!("CARGO_BIN_EXE_docklet"));
    let output = shell.args(world.setup_args()).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success() && lock.exists(), "{}", shown(&output));
    let pid = world.status()["supervisor"]["pid"].as_u64().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
    assert!(!open.is_empty() && !open.contains(&lock.canonicalize().unwrap()), "{open:?}");
}
