//! A hostile agent plants every trick that it knows (tests/fixtures/hostile-agent), then docklet's own commands run
//! over it. Nothing of it runs outside or as root, nothing of it reaches the terminal, and nothing is lost.
//!
//! What is wrong is collected and told at the end: one hole must not hide the next.

mod evidence;
mod output;
mod processes;

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::evidence::{fault, without_pid};
use self::output::{last, on_a_terminal, unclean};
use self::processes::Processes;
use crate::data::{publish, setup_pulled};
use crate::support::{SLOW, World, docker_command, engine_get, http_within, shown, stand_in, stand_in_2, wait_until};

const AGENT: &str = include_str!("../fixtures/hostile-agent/hostile-agent");

/// What the agent may not lose for the user: written before it turned hostile.
const NOTES: &str = "mine";

/// No command takes longer, whatever the agent planted.
const PATIENCE: Duration = Duration::from_secs(180 * SLOW as u64);

/// One run: an instance with a writable folder of the host, and what was found wrong.
struct Run<'a> {
    world: &'a World,
    port: u16,
    /// A folder of the host that the agent may write. docklet's commands are run in it.
    folder: PathBuf,
    /// A folder of the host that the agent may not see.
    victim: PathBuf,
    session: String,
    wrong: Vec<String>,
}

impl<'a> Run<'a> {
    /// Adds the mounts, writes what must not be lost. The world is set up.
    fn begin(world: &'a World) -> Self {
        let folder = world.folder().join("app");
        let victim = world.folder().join("victim");
        for path in [&folder, &folder.join("inner"), &victim] {
            fs::create_dir(path).unwrap();
        }
        for path in [&folder, &folder.join("inner")] {
            chown(path, Some(1000), Some(1000)).unwrap();
        }
        fs::write(victim.join("secret"), "of the host").unwrap();
        let mut run = Self { world, port: world.port, folder, victim, session: String::new(), wrong: Vec::new() };
        run.docklet(&["mount", "add", &format!("{}:/workspace/app", run.folder.display())], 0);
        let inner = format!("{}:/workspace/inner", run.folder.join("inner").display());
        let added = run.world.run(&["mount", "add", &inner, "--yes"]);
        run.check(!added.status.success(), "a folder below a writable mount can be mounted, too");
        run.docklet(&["start"], 0);
        run.says(&["/bin/sh", "-c", &format!("echo {NOTES} >/workspace/notes")]);
        let (_, session) = run.ask("POST", "/session", Some(&json!({ "title": "kept" })));
        run.session = serde_json::from_str::<Value>(&session).unwrap()["id"].as_str().unwrap().to_owned();
        let message = json!({"noReply": true, "parts": [{"type": "text", "text": "do not lose me"}]});
        assert_eq!(run.ask("POST", &format!("/session/{}/message", run.session), Some(&message)).0, 200);
        run
    }

    fn check(&mut self, holds: bool, what: &str) {
        if !holds {
            self.wrong.push(what.to_owned());
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let body = body.map(Value::to_string);
        let (password, patience) = (self.world.password(), Duration::from_secs(60));
        http_within(patience, self.port, method, path, Some(&password), body.as_deref()).unwrap_or_default()
    }

    /// A command in the container, as the agent's user. No program of the agent's is on its PATH.
    fn inside(&self, command: &[&str], input: &[u8]) -> Child {
        let container = self.world.container();
        let exec = ["exec", "--interactive", "--user", "opencode", "--env", "PATH=/usr/bin:/bin", &container];
        let mut docker = docker_command();
        docker.args([&exec[..], command].concat()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = docker.spawn().expect("the docker command");
        // It may have ended already, the container being gone: that is for the caller to see.
        let _ = child.stdin.take().expect("its standard input").write_all(input);
        child
    }

    /// What such a command says on standard output.
    fn says(&self, command: &[&str]) -> String {
        let output = self.inside(command, b"").wait_with_output().expect("its end");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The fixture, run by the agent.
    fn agent(&self, arguments: &[&str], gateway: u16) -> Child {
        let swap = format!("HOSTILE_SWAP={}", self.victim.display());
        let gateway = format!("HOSTILE_GATEWAY={gateway}");
        let variables = ["/usr/bin/env", "HOSTILE_MOUNTS=/workspace/app", &swap, &gateway, "/usr/bin/perl", "-"];
        self.inside(&[&variables[..], arguments].concat(), AGENT.as_bytes())
    }

    /// `docklet` at a terminal, in the agent's folder. It must end with this code and write nothing but text.
    fn docklet(&mut self, arguments: &[&str], code: i32) {
        let name = format!("docklet {}", arguments.join(" "));
        let mut command = self.world.docklet_online();
        command.args(arguments).arg("--yes").current_dir(&self.folder);
        match on_a_terminal(command, PATIENCE) {
            Ok((ended, bytes)) => {
                self.check(ended == code, &format!("{name} ended with {ended}, not {code}\n{}", last(&bytes)));
                for what in unclean(&bytes, true) {
                    self.wrong.push(format!("{name} wrote {what} to the terminal"));
                }
            }
            Err(seen) => self.wrong.push(format!("{name} did not end as it should, within {PATIENCE:?}\n{seen}")),
        }
    }

    /// `docklet … --json` into a pipe; what it says if it says it in JSON and nothing else.
    fn docklet_json(&mut self, arguments: &[&str]) -> Value {
        let mut command = self.world.docklet();
        command.args(arguments).args(["--yes", "--json"]).current_dir(&self.folder);
        let output = command.output().unwrap();
        for stream in [&output.stdout, &output.stderr] {
            for what in unclean(stream, false) {
                self.wrong.push(format!("docklet {} --json wrote {what}", arguments.join(" ")));
            }
        }
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            self.wrong.push(format!("docklet {} --json: {error}", arguments.join(" ")));
            Value::Null
        })
    }

    /// What the user looks at.
    fn looks(&mut self) {
        // The agent may keep its own page from answering for a while; that is no hole.
        let answers = || self.ask("GET", "/global/health", None).0 == 200;
        wait_until(Duration::from_secs(120), "the page after all that was planted", answers);
        for arguments in
            [&["status"][..], &["doctor"], &["logs"], &["logs", "-n", "2000"], &["list"], &["mount", "list"]]
        {
            self.docklet(arguments, 0);
        }
        for arguments in [&["status"][..], &["doctor"], &["logs"], &["list"]] {
            self.docklet_json(arguments);
        }
    }

    /// Waits for a health check that begins after this moment, by the engine's clock.
    fn a_health_check(&self) {
        let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).expect("a time");
        let now = time(engine_get("/info").expect("its description")["SystemTime"].as_str().expect("its time"));
        let later = || {
            let log = self.world.inspect()?["State"]["Health"]["Log"].clone();
            Some(time(log.as_array()?.last()?["Start"].as_str()?) > now)
        };
        wait_until(Duration::from_secs(90), "a health check", || later() == Some(true));
    }

    /// The user's file and session are as they were.
    fn kept(&mut self, when: &str) {
        let (status, messages) = self.ask("GET", &format!("/session/{}/message", self.session), None);
        let lost = format!("{when}: the user's session is lost ({status} {messages:.200})");
        self.check(status == 200 && messages.contains("do not lose me"), &lost);
        let notes = self.says(&["/bin/cat", "/workspace/notes"]);
        self.check(notes.trim_end() == NOTES, &format!("{when}: the user's file is lost"));
    }

    /// Reads what the traps and probes left, and judges it.
    fn judge(&mut self, when: &str) {
        let report = self.agent(&["report"], 0).wait_with_output().expect("its end");
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        self.check(text.contains(" must "), &format!("{when}: the agent reports nothing\n{text}"));
        for line in text.lines() {
            if let Some(what) = fault(line, &self.world.container()) {
                self.wrong.push(format!("{when}: {what}: {}", without_pid(line)));
            }
        }
    }

    /// Nothing ran on the host, nothing in the agent's folder is root's, and its link was not followed.
    fn judge_host(&mut self) {
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.uid() == 0 || metadata.gid() == 0 {
                    let mode = metadata.permissions().mode();
                    self.wrong.push(format!("{} belongs to root, mode {mode:o}", path.display()));
                }
                if metadata.is_dir() {
                    folders.push(path);
                }
            }
        }
        for entry in fs::read_dir(self.folder.join(".evidence")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                if let Some(what) = fault(line, &self.world.container()) {
                    self.wrong.push(format!("in the mounted folder: {what}: {}", without_pid(line)));
                }
            }
        }
        let victim: Vec<_> = fs::read_dir(&self.victim).unwrap().flatten().map(|entry| entry.file_name()).collect();
        self.check(victim == ["secret"], &format!("something was written outside: {victim:?}"));
    }
}

/// Everything, from planting to the last backup. `update` is what brings another version.
fn all_of_it(world: &World, update: &dyn Fn(&mut Run<'_>)) {
    let mut run = Run::begin(world);
    let copy = run.world.sibling();
    let processes = Processes::of(&[run.world, &copy]);
    let gateway = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = gateway.local_addr().unwrap().port();

    let tricks = run.agent(&["list"], port).wait_with_output().expect("its end").stdout;
    let tricks = String::from_utf8(tricks).expect("UTF-8");
    let words = tricks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (load, calm): (Vec<_>, Vec<_>) = words.partition(|words| words[1] == "load");
    assert!(calm.len() > 40 && load.len() == 3, "{tricks}");
    let plant = |run: &Run<'_>, tricks: &[Vec<&str>]| {
        let names: Vec<&str> = tricks.iter().map(|words| words[0]).collect();
        run.agent(&[&["plant"], &names[..]].concat(), port)
    };
    let planted = plant(&run, &calm).wait_with_output().expect("its end");
    assert!(planted.status.success(), "{}", shown(&planted));
    run.a_health_check();
    run.looks();

    // While it takes all that it gets, the user looks. The kernel may end the server: then it is started again.
    let mut load = plant(&run, &load);
    run.docklet_json(&["status"]);
    run.docklet_json(&["doctor"]);
    load.wait().expect("its end");
    run.docklet(&["start"], 0);
    run.kept("after the load");

    let first = run.world.folder().join("first.tar.zst");
    run.docklet(&["backup", text(&first)], 0);
    run.docklet(&["backup", "verify", text(&first)], 0);
    run.docklet(&["restart"], 0);
    run.kept("restarted");
    run.looks();
    run.docklet(&["stop"], 0);
    run.docklet(&["start"], 0);
    let inner = run.says(&["/bin/ls", "/workspace/inner"]);
    run.check(!inner.contains("secret"), "a folder of the host shows inside");
    // What it planted at its home counts again when the container is another.
    run.docklet(&["config", "set", "resources.cpus", "1.5"], 0);
    run.docklet(&["start"], 0);
    run.kept("replaced");
    run.a_health_check();
    run.looks();
    run.judge("replaced");

    run.docklet(&["mount", "remove", "/workspace/app"], 0);
    run.docklet(&["start"], 0);
    let second = run.world.folder().join("second.tar.zst");
    run.docklet(&["backup", text(&second)], 0);
    restored(&mut run, &copy, &second);
    // Paths that no backup can hold and files with holes stay where they are.
    update(&mut run);
    let deep = run.says(&["/bin/ls", "/workspace"]);
    run.check(deep.contains("deep") && deep.contains("sparse"), "an update lost what can't be backed up");
    run.kept("updated");
    run.looks();
    run.judge("updated");
    run.judge_host();

    run.docklet(&["uninstall", "--volumes"], 0);
    let left = run.world.left();
    run.check(!left.iter().any(|thing| !thing.starts_with("image")), &format!("left by uninstall: {left:?}"));
    let listed = run.docklet_json(&["backup", "list"]);
    let last = listed["backups"][0]["file"].as_str().unwrap_or_default().to_owned();
    run.docklet(&["backup", "verify", &last], 0);
    run.wrong.extend(processes.bad());
    run.wrong.sort();
    run.wrong.dedup();
    assert!(run.wrong.is_empty(), "{} holes:\n\n{}\n", run.wrong.len(), run.wrong.join("\n"));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The backup comes back in another instance, traps and all, and nothing of it runs there either.
fn restored(run: &mut Run<'_>, copy: &World, file: &Path) {
    let (folder, victim, session) = (run.folder.clone(), run.victim.clone(), run.session.clone());
    let mut elsewhere = Run { world: copy, port: 0, folder, victim, session, wrong: vec![] };
    elsewhere.docklet(&["restore", text(file)], 0);
    let status = copy.status();
    let port = status["url"].as_str().and_then(|url| url.trim_end_matches('/').rsplit(':').next()?.parse().ok());
    match port {
        Some(port) if elsewhere.wrong.is_empty() => {
            elsewhere.port = port;
            elsewhere.kept("restored elsewhere");
            elsewhere.a_health_check();
            elsewhere.looks();
            elsewhere.judge("restored elsewhere");
        }
        _ => elsewhere.wrong.push(format!("nothing runs where it was restored: {status}")),
    }
    elsewhere.docklet(&["uninstall", "--purge"], 0);
    run.wrong.append(&mut elsewhere.wrong);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn hostile_agent() {
    let world = World::supervised();
    publish(&world, &stand_in(), &["LABEL docklet-test.version=1"]);
    setup_pulled(&world);
    for (key, value) in [("resources.memory", "512MiB"), ("resources.pids", "300")] {
        world.ok(&["config", "set", key, value]);
    }
    all_of_it(&world, &|run| {
        publish(run.world, &stand_in_2(), &[]);
        run.docklet(&["update"], 0);
    });
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn real_hostile_agent() {
    all_of_it(&crate::real::real(), &|run| {
        run.docklet(&["update", "--check"], 0);
        run.docklet(&["update", "--to", "1.18.34"], 0);
    });
}
