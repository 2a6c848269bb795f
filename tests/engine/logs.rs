//! `docklet logs`: following over restarts, replacements and losses of the engine; what reaches a terminal; limits.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Output};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::Signal;

use crate::proxy::{Action, At, Fault, Proxy};
use crate::support::*;

/// `docklet logs -f`, read line by line as lines come.
struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Following {
    fn begin(world: &World, args: &[&str]) -> Self {
        let mut child = world.spawn(&[&["logs", "-f"], args].concat());
        let (to, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let told = to.clone();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Following { child, lines, seen: vec![] }
    }

    /// Waits for a line, on either stream.
    fn sees(&mut self, text: &str) {
        let end = Instant::now() + SOON;
        while !self.seen.iter().any(|line| line.contains(text)) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("`{text}` did not come:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Its exit code, and all that it said.
    fn ends(mut self) -> (Option<i32>, Vec<String>) {
        let child = &mut self.child;
        wait_until(SOON, "it to end", || child.try_wait().unwrap().is_some());
        let code = child.wait().unwrap().code();
        self.seen.extend(self.lines.iter());
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Logs a line that is found again.
fn log(world: &World, mark: &str) {
    assert_eq!(world.http_get(&format!("/{mark}"), Some(&world.password())).0, 404);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn following_goes_on_over_restarts_and_a_replacement_and_loses_nothing() {
    let world = World::new();
    world.setup();
    log(&world, "mark-before");
    let mut following = Following::begin(&world, &["-n", "2"]);
    following.sees("mark-before");
    log(&world, "mark-1");
    following.sees("mark-1");
    world.ok(&["restart"]);
    log(&world, "mark-2");
    following.sees("restarted at 20");
    following.sees("mark-2");
    docker(&["kill", &world.container()]);
    following.sees("with exit code 137; waiting for its next start");
    world.ok(&["start"]);
    log(&world, "mark-3");
    following.sees("mark-3");
    world.ok(&["--yes", "config", "set", "resources.pids", "512"]);
    log(&world, "mark-4");
    following.sees("was replaced, the new one started at 20");
    following.sees("mark-4");
    docker(&["rm", "--force", &world.container()]);
    following.sees("was removed --");
    let (code, seen) = following.ends();
    assert_eq!(code, Some(0), "{seen:#?}");
    for mark in ["mark-before", "mark-1", "mark-2", "mark-3", "mark-4"] {
        assert_eq!(seen.iter().filter(|line| line.contains(mark)).count(), 1, "{mark}\n{seen:#?}");
    }
    // Two ended politely: for the restart, and for the replacement. Podman may also ask what it removes to end.
    let until_replaced = seen.iter().take_while(|line| !line.contains("mark-4"));
    assert_eq!(until_replaced.filter(|line| line.contains("SIGTERM, ending")).count(), 2, "{seen:#?}");
    assert!(!seen.iter().any(|line| line.contains("does not respond")), "{seen:#?}");
    let begins = seen.iter().filter(|line| line.contains("server listening")).count();
    assert_eq!(begins, 3, "each new run from its first line on, and of the first the last two lines\n{seen:#?}");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn following_ends_on_ctrl_c_without_a_word_and_when_it_is_uninstalled() {
    let world = World::new();
    world.setup();
    let mut following = Following::begin(&world, &["-n", "1"]);
    following.sees("stand-in");
    signal(following.child.id(), Signal::INT);
    let (code, seen) = following.ends();
    assert_eq!((code, seen.len()), (Some(130), 1), "{seen:?}");
    let mut following = Following::begin(&world, &["-n", "1"]);
    following.sees("stand-in");
    world.ok(&["stop"]);
    following.sees("waiting for its next start");
    world.ok(&["uninstall", "--yes", "--purge", "--no-backup"]);
    following.sees("was uninstalled --");
    assert_eq!(following.ends().0, Some(0));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn following_waits_for_an_engine_that_went_away_and_sees_what_was_removed_meanwhile() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let mut following = Following::begin(&world, &["-n", "1"]);
    following.sees("stand-in");
    log(&world, "mark-1");
    following.sees("mark-1");
    proxy.gone();
    following.sees("the container engine does not respond");
    // Nobody restarts it meanwhile, and what it logs is not lost.
    log(&world, "mark-2");
    proxy.back();
    following.sees("the container engine is back");
    following.sees("mark-2");
    let seen = std::mem::take(&mut following.seen);
    assert!(!seen.iter().any(|line| line.contains("restarted")), "it was not\n{seen:#?}");
    for mark in ["mark-1", "mark-2"] {
        assert_eq!(seen.iter().filter(|line| line.contains(mark)).count(), 1, "{mark}\n{seen:#?}");
    }
    // Nobody tells that a log ended whose connection broke before.
    proxy.gone();
    following.sees("the container engine does not respond");
    docker(&["rm", "--force", &world.container()]);
    proxy.back();
    following.sees("was removed --");
    assert_eq!(following.ends().0, Some(0));
}

/// Podman does this at times.
#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn following_ends_when_the_engine_leaves_the_log_of_what_was_removed_open() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    proxy.fault(Fault { at: At::first("GET", "/containers/*/logs"), action: Action::Hang });
    let mut following = Following::begin(&world, &[]);
    wait_until(SOON, "it waits for the log", || proxy.fired());
    docker(&["rm", "--force", &world.container()]);
    following.sees("was removed --");
    assert_eq!(following.ends().0, Some(0));
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_long_log_is_cut_and_says_so_and_only_colours_get_through() {
    let world = World::new();
    // More lines than the most that is shown, a last one in colour that also sets the title, and one without an end.
    let script =
        "seq 1 10050; printf '\\\\033]0;evil\\\\007\\\\033[31mred\\\\033[0m\\\\033[2J end\\\\n'; exec stand-in";
    let image = world.build(&stand_in(), &[&format!("ENTRYPOINT [\"sh\", \"-c\", \"{script}\"]")]);
    let port = world.port.to_string();
    world.ok(&["setup", "--yes", "--image", &image, "--port", &port]);
    let most = world.run(&["logs", "-n", "10000"]);
    assert_eq!(stdout(&most).lines().count(), 10_000);
    let said = String::from_utf8_lossy(&most.stderr).into_owned();
    assert!(said.contains("only the last 10000 lines are shown"), "{said}");
    let most = json(&world.run(&["logs", "-n", "10000", "--json"]));
    assert_eq!((&most["line_count"], &most["truncated"]), (&10_000.into(), &true.into()));
    let refused = world.fails(&["logs", "-n", "20000"], 2);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("at most 10,000 lines"), "{}", shown(&refused));

    let some = world.run(&["logs", "-n", "20"]);
    assert!(stdout(&some).contains("\nred end\n"), "{}", shown(&some));
    assert!(some.stderr.is_empty(), "that older lines are left out is what -n asked for\n{}", shown(&some));
    let colored = world.run(&["logs", "-n", "20", "--color", "always"]);
    assert!(stdout(&colored).contains("\n\u{1b}[31mred\u{1b}[0m end\n"), "{}", shown(&colored));
    let lines = json(&world.run(&["logs", "-n", "20", "--json", "--color", "always"]));
    assert!(lines["lines"].as_array().unwrap().contains(&"red end".into()), "{lines}");
    let both = world.fails(&["logs", "-f", "--json"], 2);
    assert!(json(&both)["error"]["message"].to_string().contains("no JSON form"));
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn nothing_that_the_agent_writes_steers_a_terminal() {
    let world = World::new();
    // It ends at once, and what it logged puts an escape together where one inside it is removed.
    let script =
        "printf '\\\\033\\\\033[31m]0;T\\\\007 over\\\\rwritten \\\\033]0;U\\\\007\\\\302\\\\2332J\\\\n'; exit 3";
    let evil = world.build(&stand_in(), &[&format!("ENTRYPOINT [\"sh\", \"-c\", \"{script}\"]")]);
    world.setup();
    let volume = format!("{}:/v", world.volumes()[1]);
    let device = "mknod \"$(printf '/v/\\033]0;x\\007y')\" c 0 0";
    docker(&["run", "--rm", "--volume", &volume, "--user", "0", "--entrypoint", "sh", &stand_in(), "-c", device]);
    let harmless = |args: &[&str], shows: &str| {
        let output = world.docklet().args(args).args(["--color", "always"]).output().unwrap();
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\u{1b}');
        let sequences = text.split('\u{1b}').skip(1).all(|rest| {
            let rest = rest.strip_prefix('[').unwrap_or(rest);
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
        });
        assert!(text.contains(shows) && sequences && !text.contains(obeyed), "{args:?}: {text:?}");
    };
    harmless(&["backup"], "y");
    harmless(&["setup", "--yes", "--image", &evil], "overwritten");
    harmless(&["status"], "");
    harmless(&["doctor"], "");
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_long_line_takes_the_place_of_no_other() {
    let world = World::new();
    world.setup();
    let script = "for n in 1 2 3 4 5; do echo short $n; done; head -c 40000 /dev/zero | tr '\\0' x; echo; echo last";
    docker(&["exec", &world.container(), "sh", "-c", &format!("{{ {script}; }} >/proc/1/fd/1")]);
    let last = || {
        let report = json(&world.run(&["logs", "-n", "4", "--json"]));
        let lines = report["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        (lines.collect::<Vec<_>>(), report["truncated"].clone())
    };
    wait_until(SOON, "it is logged", || last().0.last().is_some_and(|line| line == "last"));
    let (lines, truncated) = last();
    assert_eq!(
        (&lines[..2], lines[2].len(), truncated),
        (&["short 4".into(), "short 5".into()][..], 40_000, true.into())
    );
}
