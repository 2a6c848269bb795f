//! The same recorded events go into each sink: bars on a terminal, plain lines, JSON lines.

use indicatif::{InMemoryTerm, ProgressDrawTarget};
use insta::assert_snapshot;

use super::*;
use crate::event::{Build, Event, Layer, LayerPhase, Transfer};

fn layer(id: &str, phase: LayerPhase, done: u64, total: u64) -> Layer {
    Layer { id: id.into(), phase, done: done * MIB, total: total * MIB }
}

fn started(number: usize, step: &str) -> Event {
    Event::StepStarted { number, total: 5, step: step.into() }
}

fn done(number: usize, step: &str, milliseconds: u64) -> Event {
    Event::StepDone { number, total: 5, step: step.into(), elapsed: Duration::from_millis(milliseconds) }
}

fn build(number: usize, running: &str, seconds: u64) -> Event {
    Event::Build(Build {
        done: number - 1,
        total: 14,
        running: Some(running.into()),
        elapsed: Duration::from_secs(seconds),
        transfers: if number == 3 { vec![("extracting base.tar".into(), 12 * MIB, 75 * MIB)] } else { vec![] },
    })
}

fn waiting(seen: &str, seconds: u64) -> Event {
    Event::Waiting {
        what: "http://127.0.0.1:3000/ to answer".into(),
        seen: seen.into(),
        elapsed: Duration::from_secs(seconds),
        timeout: Duration::from_secs(120),
    }
}

const BUILD: &str = "build image opencode-cloud:1.18.33-0123456789ab";
const WAIT: &str = "wait until http://127.0.0.1:3000/ answers";

/// A whole setup: time in milliseconds, and what happens then.
fn a_setup() -> Vec<(u64, Event)> {
    let log = |line: &str| Event::BuildLog { line: line.into() };
    vec![
        (0, Event::Note { text: "using Docker 20.10.24 at unix:///var/run/docker.sock".into() }),
        (0, started(1, BUILD)),
        (100, build(3, "FROM debian:trixie-slim", 0)),
        (200, build(3, "FROM debian:trixie-slim", 0)),
        (5_000, build(7, "RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git", 1)),
        (6_000, log("Get:1 http://deb.example.org/debian trixie InRelease [140 kB]\r\n")),
        (6_500, log("\u{1b}[32mSelecting\u{1b}[0m previously unselected package git.")),
        (7_000, log("Unpacking git (1:2.47.2-0.1) ...")),
        (8_000, log("100%")),
        (9_000, log("Setting up git (1:2.47.2-0.1) ...")),
        (16_000, build(8, "RUN install opencode", 10)),
        (72_000, done(1, BUILD, 72_000)),
        (72_000, started(2, "create volume opencode-cloud-session for /home/opencode/.opencode")),
        (72_100, done(2, "create volume opencode-cloud-session for /home/opencode/.opencode", 100)),
        (72_100, started(3, "create container opencode-cloud")),
        (
            72_300,
            Event::Decision(crate::report::Decision {
                at: "2026-11-21T02:59:30Z".into(),
                decision: "restarted".into(),
                text: "restarted within 280 ms: exited with code 3 (restart 1)".into(),
            }),
        ),
        (72_300, Event::Warning { text: "this engine sets no limit on processes".into() }),
        (72_400, done(3, "create container opencode-cloud", 300)),
        (72_400, started(4, "start container opencode-cloud")),
        (73_000, done(4, "start container opencode-cloud", 600)),
        (73_000, started(5, WAIT)),
        (73_500, waiting("no answer yet", 0)),
        (78_000, waiting("no answer yet", 5)),
        (84_000, waiting("it answers 503", 11)),
    ]
}

fn the_end() -> (u64, Event) {
    (85_000, done(5, WAIT, 12_000))
}

fn plain_or_json(make: impl FnOnce(SharedWriter, Clock) -> Box<dyn Reporter>, events: Vec<(u64, Event)>) -> String {
    let (paper, hands) = (Paper::default(), Hands::new());
    let reporter = make(SharedWriter::new(Box::new(paper.clone())), hands.clock());
    for (at, event) in events {
        hands.move_to(at);
        reporter.report(&event);
    }
    drop(reporter);
    paper.text()
}

/// What is on a terminal of this width after each of the given times, and after the end.
fn screens(style: Style, width: u16, events: Vec<(u64, Event)>, at: &[u64]) -> String {
    let (terminal, hands) = (InMemoryTerm::new(24, width), Hands::new());
    let size = Arc::new(move || (24, usize::from(width)));
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let human = Clean(progress::Human::on(target, style, hands.clock(), size));
    let mut shown = String::new();
    let mut next = at.iter().peekable();
    let mut shoot = |time: u64, shown: &mut String| {
        while next.next_if(|at| **at < time).is_some() {
            let time = if time == u64::MAX { "the end".to_owned() } else { format!("{time} ms") };
            shown.push_str(&format!("--- before {time}\n{}\n", terminal.contents()));
        }
    };
    for (time, event) in events {
        shoot(time, &mut shown);
        hands.move_to(time);
        human.report(&event);
        let wrapped = terminal.contents().lines().any(|line| line.chars().count() > usize::from(width));
        assert!(!wrapped, "a line is too long:\n{}", terminal.contents());
    }
    shoot(u64::MAX, &mut shown);
    drop(human);
    shown.push_str(&format!("--- after the end\n{}\n", terminal.contents()));
    shown
}

#[test]
fn human_at_80_columns() {
    let mut events = a_setup();
    events.push(the_end());
    assert_snapshot!(screens(UNICODE, 80, events, &[200, 9_000, 16_000, 72_300, 84_000]));
}

#[test]
fn human_at_40_columns_in_ascii() {
    let mut events = a_setup();
    events.push(the_end());
    assert_snapshot!(screens(Style::PLAIN, 40, events, &[200, 9_000, 72_300, 84_000]));
}

#[test]
fn human_marks_the_step_that_failed() {
    let mut events = a_setup();
    events.truncate(10);
    assert_snapshot!(screens(UNICODE, 80, events, &[]), @r"
    --- after the end
    using Docker 20.10.24 at unix:///var/run/docker.sock
    ✗ build image opencode-cloud:1.18.33-0123456789ab  stopped after 9.0 s
    ");
}

fn a_pull() -> Vec<(u64, Event)> {
    let state = |done: u64, total: u64, layers_done: usize, active: Vec<Layer>| {
        Event::Transfer(Transfer { done: done * MIB, total: total * MIB, active, layers_done, layers_total: 9 })
    };
    use LayerPhase::{Downloading, Extracting, Verifying, Waiting};
    vec![
        (0, started(1, "pull image registry.example.org:5000/appliance/opencode:1.18.33")),
        (100, state(1, 40, 0, vec![layer("0a1b2c3d4e5f", Downloading, 1, 40)])),
        (2_100, state(31, 40, 0, vec![layer("0a1b2c3d4e5f", Downloading, 31, 40)])),
        (
            3_100,
            state(
                45,
                200,
                1,
                vec![
                    layer("0a1b2c3d4e5f", Extracting, 10, 40),
                    layer("1a1b2c3d4e5f", Downloading, 5, 100),
                    layer("2a1b2c3d4e5f", Downloading, 0, 60),
                    layer("3a1b2c3d4e5f", Verifying, 0, 0),
                    layer("4a1b2c3d4e5f", Waiting, 0, 0),
                ],
            ),
        ),
        (20_000, state(200, 200, 9, vec![])),
        (20_000, done(1, "pull image registry.example.org:5000/appliance/opencode:1.18.33", 20_000)),
    ]
}

#[test]
fn human_pull() {
    assert_snapshot!(screens(UNICODE, 80, a_pull(), &[100, 2_100, 3_100]));
    assert_snapshot!(screens(UNICODE, 40, a_pull(), &[2_100, 3_100]));
}

#[test]
fn bars_never_go_backwards() {
    // The whole grows from 40 to 200 MiB between the second and the third shot: the bar waits.
    let shown = screens(Style::PLAIN, 80, a_pull(), &[100, 2_100, 3_100]);
    let percents: Vec<u32> = shown
        .lines()
        .filter_map(|line| line.trim_start().split_once("% ").and_then(|(number, _)| number.parse().ok()))
        .collect();
    assert_eq!(percents, [2, 77, 77]);
}

#[test]
fn human_outside_a_plan() {
    let host = |line: &str| Event::Host { what: "install Docker (docker.io)".into(), line: line.into() };
    let events = vec![
        (0, host("Reading package lists...")),
        (3_000, host("Unpacking docker.io (20.10.24+dfsg1-1) ...")),
        (40_000, Event::Note { text: "this engine does not start by itself after a reboot".into() }),
        (41_000, started(1, "create volume opencode-cloud-session for /home/opencode/.opencode")),
    ];
    assert_snapshot!(screens(UNICODE, 60, events, &[3_000, 41_000]));
}

#[test]
fn plain_lines() {
    let mut events = a_setup();
    events.push(the_end());
    let shown = plain_or_json(|to, clock| Box::new(Clean(plain::Plain::new(to, Style::PLAIN, clock))), events);
    assert_snapshot!(shown);
}

#[test]
fn plain_says_how_long_a_step_takes_and_of_no_other_thing() {
    let transfer = |done| Event::Transfer(Transfer { done: done * MIB, ..Transfer::default() });
    let events = vec![
        (0, transfer(1)),
        (11_000, started(1, "one")),
        (22_000, transfer(2)),
        (23_000, done(1, "one", 12_000)),
        (24_000, transfer(3)),
    ];
    let shown = plain_or_json(|to, clock| Box::new(plain::Plain::new(to, Style::PLAIN, clock)), events);
    assert_snapshot!(shown, @r"
    1 MiB
    [1/5] one
    [1/5] 2 MiB (11 s)
    3 MiB
    ");
}

#[test]
fn plain_says_at_most_one_line_in_ten_seconds() {
    let mut events = vec![(0, started(1, BUILD))];
    events.extend((1..=600).map(|tenth| (tenth * 100, build(7, "RUN install opencode", 1))));
    let shown = plain_or_json(|to, clock| Box::new(Clean(plain::Plain::new(to, Style::PLAIN, clock))), events);
    assert_eq!(shown.lines().count(), 1 + 6, "{shown}");
}

#[test]
fn json_lines() {
    let mut events = a_setup();
    events.push(the_end());
    let shown = plain_or_json(|to, clock| Box::new(json::Json::new(to, clock)), events);
    for line in shown.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["schema"], value["event"].is_string()), (&1.into(), true), "{line}");
    }
    assert_snapshot!(shown);
}

#[test]
fn json_thins_out_states_and_keeps_the_last() {
    let state = |done| Event::Transfer(Transfer { done, total: 1000, ..Transfer::default() });
    let mut events: Vec<_> = (0..1000).map(|ms| (ms, state(ms))).collect();
    events.push((1000, done(1, "pull", 1000)));
    let shown = plain_or_json(|to, clock| Box::new(json::Json::new(to, clock)), events);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 5 + 1 + 1, "{shown}");
    assert!(lines[5].contains("\"done\":999"), "{shown}");
}
