//! `docklet status --watch`: before a terminal, with none, and what it asks of the engine.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::proxy::{Call, Proxy};
use crate::support::*;
use crate::terminal::Person;

/// A person before a shell that runs the watch, and writes down how the terminal is before and after.
fn watching(world: &World) -> Person {
    watching_with(world, "DOCKLET_TEST", "watch")
}

fn watching_with(world: &World, variable: &str, value: &str) -> Person {
    let mut command = Command::new("sh");
    world.bare(&mut command);
    command.env(variable, value);
    let script = "stty -a >before; \"$DOCKLET\" status --watch; echo \"code=$?\"; stty -a >after; echo over";
    command.args(["-c", script]).env("DOCKLET", env!("CARGO_BIN_EXE_docklet"));
    Person::at(command, SOON)
}

/// The watch has ended, and the terminal is as it was.
fn left(world: &World, mut person: Person, code: i32) {
    person.sees(&format!("code={code}")).sees("over");
    person.waits_until("the screen from before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
    let (_, seen) = person.ends();
    assert!(!seen.contains("q quit"), "nothing of it is left\n{seen}");
    let stty = |name: &str| fs::read_to_string(world.folder().join(name)).unwrap();
    assert_eq!(sizeless(&stty("after")), sizeless(&stty("before")));
}

/// The settings of a terminal without its size, which is the person's.
fn sizeless(stty: &str) -> String {
    stty.split("; ").filter(|part| !part.contains("rows") && !part.contains("columns")).collect()
}

fn watch_pid(world: &World) -> u32 {
    let is_watch = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"docklet\0status\0--watch\0"))
    };
    world.processes().into_iter().find(is_watch).expect("the watch")
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_screen_that_lives_and_leaves_the_terminal_as_it_was() {
    let world = World::new();
    world.setup();
    let mut person = watching(&world);
    person.sees("is running at http://127.0.0.1").sees("q quit").sees("server listening").sees("supervisor");
    person.waits_until("a screen of its own", |screen| screen.alternate_screen() && screen.hide_cursor());
    for (columns, rows) in [(40, 10), (1, 1), (120, 40)] {
        person.resizes(columns, rows);
        person.waits_until("keys in the last line, and nothing beyond it", |screen| {
            let lines: Vec<String> = screen.rows(0, columns).collect();
            let last = lines.last().is_some_and(|line| line.contains("q quit") || columns < 40);
            last && lines[0].starts_with(if columns < 14 { "o" } else { "opencode-cloud" })
        });
    }
    // What others do is seen.
    docker(&["kill", &world.container()]);
    person.sees("has failed").sees("exit code 137").sees("not running");
    world.ok(&["start"]);
    person.sees("is running at").sees("restarted at 20");
    world.ok(&["--yes", "config", "set", "resources.pids", "512"]);
    person.waits_until("the new container's log", |screen| screen.contents().matches("restarted at 20").count() == 2);
    world.http_get("/mark-of-the-new-one", Some(&world.password()));
    person.sees("mark-of-the-new-one");
    person.types("l").sees("l back").types("l").sees("l log");
    person.types("q");
    left(&world, person, 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn its_keys_are_the_commands() {
    let world = World::new();
    world.setup();
    let mut person = watching(&world);
    person.sees("is running at").types("s").sees(&format!("stop {}? y/n", world.container())).types("n").sees("q quit");
    assert_eq!(world.status()["state"], "running");
    person.types("s").sees("y/n").types("y").sees("SIGTERM, ending").sees("r start");
    assert_eq!(world.status()["desired"], "stopped");
    person.types("r").sees("y/n").types("y").sees("was restarted").sees("is running at");
    assert_eq!(world.status()["state"], "running");
    // Another command is at work: the lock holds here, too.
    let lock = fs::File::options().write(true).open(world.home.join(format!("state/{}/lock", world.name))).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    (&lock).write_all(b"docklet setup (pid 4711) since yesterday").unwrap();
    person.sees("is running at").types("r").sees("y/n").types("y");
    person.sees("error: ").sees("hint: ");
    assert!(person.seen().contains("docklet setup (pid 4711)"), "{}", person.seen());
    drop(lock);
    person.types("\u{3}");
    left(&world, person, 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn a_signal_gives_the_terminal_back() {
    let world = World::new();
    world.setup();
    for number in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut person = watching(&world);
        person.sees("is running at").sees("q quit");
        signal(watch_pid(&world), number);
        left(&world, person, 130);
    }
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn no_colours_where_none_are_wanted() {
    let world = World::new();
    world.setup();
    let colored = |screen: &vt100::Screen| {
        let cells = (0..24).flat_map(|row| (0..100).filter_map(move |column| screen.cell(row, column)));
        cells.filter(|cell| cell.fgcolor() != vt100::Color::Default || cell.bold()).count()
    };
    let mut person = watching(&world);
    person.sees("q quit").waits_until("colours", |screen| colored(screen) > 0).types("q");
    left(&world, person, 0);
    let mut person = watching_with(&world, "NO_COLOR", "1");
    person.sees("is running at").sees("q quit").waits_until("no colours", |screen| colored(screen) == 0).types("q");
    left(&world, person, 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn the_engine_is_asked_once_and_then_listened_to() {
    let world = World::new();
    world.setup();
    let proxy = Proxy::start(&engine_host());
    world.use_engine(&proxy.host());
    let mut person = watching(&world);
    let listening =
        |call: &&Call| call.path.contains("/stats?") || call.route() == "/events" || call.path.contains("/logs?");
    person.sees("is running at").sees("opencode-cloud");
    wait_until(SOON, "the second look", || {
        proxy.calls().iter().filter(|call| call.path.ends_with("/json")).count() >= 4
    });
    let first = proxy.report();
    assert_eq!(proxy.calls().iter().filter(listening).count(), 3, "usage, events and log, one stream each\n{first}");
    assert!(proxy.calls().len() <= 11, "{first}");
    // For as long as the page is probed anew, nothing is asked of the engine.
    proxy.reset();
    let logged = |world: &World| docker(&["logs", &world.container()]).matches("/global/health").count();
    let before = logged(&world);
    wait_until(SOON, "the next probe of the page", || logged(&world) > before);
    // But for a look when the engine's own health check has found something.
    assert!(proxy.calls().len() <= 2, "{}", proxy.report());
    // The engine goes and comes back: the streams are opened again, once.
    proxy.gone();
    person.sees("the container engine cannot be reached").sees("waiting for it");
    proxy.back();
    person.sees("is running at");
    wait_until(SOON, "the streams", || proxy.calls().iter().filter(listening).count() >= 3);
    assert_eq!(proxy.calls().iter().filter(listening).count(), 3, "{}", proxy.report());
    person.types("q");
    left(&world, person, 0);
}

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn without_a_terminal_a_line_for_each_change() {
    let world = World::new();
    world.setup();
    for option in ["--json", "--quiet"] {
        let refused = world.fails(&["status", "--watch", option], 2);
        assert!(shown(&refused).contains(&format!("status {option}")), "{}", shown(&refused));
    }
    let mut child = world.spawn(&["status", "--watch"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = vec![];
    let mut sees = |text: &str| {
        let found = lines.by_ref().inspect(|line| seen.push(line.clone())).any(|line| line.contains(text));
        assert!(found, "`{text}` did not come:\n{}", seen.join("\n"));
    };
    sees("is running at");
    docker(&["kill", &world.container()]);
    sees("(exit code 137)");
    world.ok(&["start"]);
    sees("is running at");
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(seen.len() <= 6, "only what changed\n{}", seen.join("\n"));
    assert!(seen.iter().all(|line| line.starts_with("20") && !line.contains('\u{1b}')), "{}", seen.join("\n"));
}
