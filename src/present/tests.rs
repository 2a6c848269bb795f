#![allow(clippy::unwrap_used)]
//! Every way of showing, against strings: the same recorded events go into each sink.

use std::{collections::BTreeSet, sync::atomic::AtomicU64, time::Duration};

use indicatif::{InMemoryTerm, ProgressDrawTarget};
use insta::assert_snapshot;

use super::*;
use crate::{
    error::{ExitReport, ImageAction, ImageFault, ObjectKind},
    event::{Build, Event, Layer, LayerPhase, Transfer},
    report::*,
    settings::Settings,
};

const UNICODE: Style = Style { color: false, unicode: true };

/// A stream that remembers.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>, Instant);

impl Hands {
    fn new() -> Self {
        Hands(Arc::default(), Instant::now())
    }
    fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.1 + Duration::from_millis(hands.0.load(Ordering::SeqCst)))
    }
    fn move_to(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::SeqCst);
    }
}

const MIB: u64 = 1 << 20;

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
        number,
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
        (8_000, log("10%\r55%\r100%")),
        (9_000, log("Setting up git (1:2.47.2-0.1) ...")),
        (16_000, build(8, "RUN npm ci --ignore-scripts", 10)),
        (72_000, done(1, BUILD, 72_000)),
        (72_000, started(2, "create volume opencode-cloud-session for /home/opencode/.opencode")),
        (72_100, done(2, "create volume opencode-cloud-session for /home/opencode/.opencode", 100)),
        (72_100, started(3, "create container opencode-cloud")),
        (
            72_300,
            Event::Decision {
                at: "2026-11-21T02:59:30Z".into(),
                decision: "restarted".into(),
                text: "restarted within 280 ms: exited with code 3 (restart 1)".into(),
            },
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
    let human = progress::Human::on(target, style, hands.clock(), size);
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
    let shown = plain_or_json(|to, clock| Box::new(plain::Plain::new(to, Style::PLAIN, clock)), events);
    assert_snapshot!(shown);
}

#[test]
fn plain_says_at_most_one_line_in_ten_seconds() {
    let mut events = vec![(0, started(1, BUILD))];
    events.extend((1..=600).map(|tenth| (tenth * 100, build(7, "RUN npm ci", 1))));
    let shown = plain_or_json(|to, clock| Box::new(plain::Plain::new(to, Style::PLAIN, clock)), events);
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

#[test]
fn who_shows_follows_from_the_streams() {
    let terminal = Streams { stderr_is_terminal: true, stdout_is_terminal: true, ..Streams::default() };
    assert_eq!(Mode::of(&terminal), Mode::Human);
    assert_eq!(Mode::of(&Streams { term_dumb: true, ..terminal }), Mode::Plain);
    assert_eq!(Mode::of(&Streams { stderr_is_terminal: false, ..terminal }), Mode::Plain);
    assert_eq!(Mode::of(&Streams { json: true, ..terminal }), Mode::Json);
    assert_eq!(Mode::of(&Streams { json: true, quiet: true, ..terminal }), Mode::Quiet);
    assert!(terminal.stderr_style().color);
    assert!(!Streams { no_color: true, ..terminal }.stderr_style().color);
    assert!(Streams { no_color: true, color: ColorChoice::Always, ..terminal }.stderr_style().color);
    assert!(!Streams { color: ColorChoice::Never, ..terminal }.stderr_style().color);
    assert!(!Streams::default().stdout_style().color);
}

fn output(streams: Streams) -> (Output, Paper, Paper) {
    let (out, err) = (Paper::default(), Paper::default());
    (Output::to(streams, Box::new(out.clone()), Box::new(err.clone())), out, err)
}

#[test]
fn results_and_messages_go_their_ways() {
    let report = ListReport::default();
    let (text, out, err) = output(Streams::default());
    text.message("hello");
    text.result(&report, |_| "a table\n".to_owned());
    assert_eq!((out.text().as_str(), err.text().as_str()), ("a table\n", "hello\n"));

    let (quiet, out, err) = output(Streams { quiet: true, ..Streams::default() });
    quiet.message("hello");
    quiet.reporter().report(&Event::Warning { text: "hello".into() });
    quiet.result(&report, |_| "a table".to_owned());
    quiet.error(&Error::Cancelled, None);
    assert_eq!(out.text(), "a table\n");
    assert_eq!(err.text(), "error: cancelled, nothing was changed\n");

    let (json, out, err) = output(Streams { json: true, ..Streams::default() });
    json.message("hello");
    json.result(&report, |_| "a table".to_owned());
    assert_eq!((out.text().as_str(), err.text().as_str()), ("{\"schema\":1,\"instances\":[]}\n", ""));

    let (json, out, err) = output(Streams { json: true, ..Streams::default() });
    let taken = Error::PortInUse {
        address: "127.0.0.1".into(),
        port: 3000,
        holder: Some("node (pid 4711)".into()),
        free_port: Some(3001),
    };
    json.error(&taken, Some("default"));
    assert_eq!(err.text(), "");
    assert_snapshot!(out.text(), @r#"{"schema":1,"error":{"code":"PORT_IN_USE","message":"port 3000 on 127.0.0.1 is taken","causes":["node (pid 4711) is listening on it"],"hint":"docklet setup --port 3001","instance":"default"}}"#);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Output::to(Streams::default(), Box::new(Gone), Box::new(Gone));
    assert!(!output.raw("a line of a log\n"));
    assert!(!output.raw("another\n"));
    output.error(&Error::Cancelled, None);
}

#[test]
fn colours_are_only_added() {
    let colored = Style { color: true, unicode: true };
    let error = Error::EngineNotInstalled { tried: vec!["/var/run/docker.sock does not exist".into()] };
    let text = error::text(&error, None, colored);
    assert!(text.contains("\u{1b}[31m"), "{text:?}");
    assert_eq!(console::strip_ansi_codes(&text), error::text(&error, None, UNICODE));
}

#[test]
fn a_hint_names_the_instance_that_its_commands_are_about() {
    let hint = |error: &Error, instance| {
        error::text(error, Some(instance), Style::PLAIN).split_once("hint: ").unwrap().1.replace("\n      ", "\n")
    };
    let rolled_back = Error::RestoreFailed { reason: "it ended".into() };
    assert_eq!(hint(&rolled_back, "default"), "docklet status shows what runs now");
    assert_eq!(hint(&rolled_back, "work"), "docklet --instance work status shows what runs now");
    let unhealthy = Error::Unhealthy { name: "a".into(), reason: "b".into(), log: vec![] };
    let both = "docklet --instance work logs -n 200 shows more; docklet --instance work restart tries again";
    assert_eq!(hint(&unhealthy, "work"), both);
    assert_eq!(hint(&Error::NotSetUp { instance: "work".into() }, "work"), "docklet setup --instance work");
    let of_no_instance = Error::Usage { message: "x".into(), hint: Some("docklet --help".into()) };
    assert_eq!(hint(&of_no_instance, "work"), "docklet --help");
}

fn a_status() -> StatusReport {
    StatusReport {
        backup: None,
        schema: Schema,
        instance: "default".into(),
        appliance: "opencode-cloud".into(),
        state: State::Running,
        desired: Wanted::Running,
        url: Some("http://127.0.0.1:3000/".into()),
        container: Some(ContainerStatus {
            id: "4f5e".into(),
            name: "opencode-cloud".into(),
            image: "opencode-cloud:1.18.33-0123456789ab".into(),
            state: "running".into(),
            running: true,
            paused: false,
            exit_code: None,
            started_at: Some("2026-11-21T01:00:00Z".into()),
            finished_at: None,
            oom_killed: false,
            health: Some("healthy".into()),
            networks: vec!["bridge".into()],
            restart_policy: "no".into(),
        }),
        image: Some(ImageStatus {
            reference: "opencode-cloud:1.18.33-0123456789ab".into(),
            id: Some("sha256:77".into()),
            appliance_version: Some("1.18.33".into()),
            size: Some(499_000_000),
        }),
        volumes: volumes(),
        supervisor: SupervisorStatus { running: true, pid: Some(4711), ..SupervisorStatus::default() },
        engine: EngineStatus {
            endpoint: Some("unix:///var/run/docker.sock".into()),
            origin: Some("the default socket".into()),
            name: Some("Docker".into()),
            version: Some("20.10.24".into()),
            api_version: Some("1.41".into()),
        },
    }
}

fn volumes() -> Vec<VolumeStatus> {
    [("session", "/home/opencode/.opencode"), ("projects", "/workspace"), ("config", "/home/opencode/.config")]
        .map(|(role, mount)| VolumeStatus {
            name: format!("opencode-cloud-{role}"),
            mount: mount.into(),
            exists: role != "config",
        })
        .into()
}

#[test]
fn status_texts() {
    let now = crate::clock::parse("2026-11-21T03:05:00Z").unwrap();
    let mut all = vec![a_status()];
    let mut stopped = a_status();
    stopped.instance = "work".into();
    (stopped.state, stopped.desired) = (State::Stopped, Wanted::Stopped);
    stopped.supervisor.running = false;
    if let Some(container) = &mut stopped.container {
        container.state = "exited".into();
        container.running = false;
        container.exit_code = Some(143);
        container.finished_at = Some("2026-11-21T03:00:00Z".into());
    }
    let mut failed = stopped.clone();
    failed.instance = "default".into();
    (failed.state, failed.desired) = (State::Failed, Wanted::Running);
    failed.supervisor = SupervisorStatus {
        restarts: 5,
        last_restart: Some(LastRestart { at: "2026-11-21T02:59:00Z".into(), reason: "exit code 1".into() }),
        gave_up: true,
        cause: Some("exit code 1".into()),
        decisions: ["the restart failed", "gave up"]
            .map(|text| Decision { at: "2026-11-21T02:59:30Z".into(), decision: "gave_up".into(), text: text.into() })
            .to_vec(),
        ..SupervisorStatus::default()
    };
    let nothing = StatusReport {
        state: State::NotSetUp,
        desired: Wanted::Stopped,
        url: None,
        container: None,
        image: None,
        volumes: vec![],
        supervisor: SupervisorStatus::default(),
        ..a_status()
    };
    let unreachable = StatusReport {
        state: State::EngineUnreachable,
        container: None,
        image: None,
        volumes: vec![],
        engine: EngineStatus { name: None, version: None, api_version: None, ..a_status().engine },
        ..a_status()
    };
    all.extend([stopped, failed, nothing, unreachable]);
    for state in [State::Starting, State::Unhealthy] {
        all.push(StatusReport { state, ..a_status() });
    }
    let shown: Vec<String> = all.iter().map(|report| status::long(report, Style::PLAIN, now)).collect();
    assert_snapshot!(shown.join("\n----\n"));
    insta::assert_json_snapshot!("status_json", [&all[0], &all[3]]);
}

#[test]
fn list_texts() {
    let entry = |instance: &str, port, status: &str| ListEntry {
        instance: instance.into(),
        name: if instance == "default" { "opencode-cloud".into() } else { format!("opencode-cloud-{instance}") },
        id: "4f5e".into(),
        state: if port == Some(3000) { "running".into() } else { "exited".into() },
        status: status.into(),
        port,
    };
    let report = ListReport {
        schema: Schema,
        instances: vec![
            entry("default", Some(3000), "Up 2 hours (healthy)"),
            entry("a-rather-long-name", None, "Exited (143) 5 minutes ago"),
        ],
    };
    assert_snapshot!(status::list(&report, Style::PLAIN), @"
    INSTANCE            CONTAINER                          STATE    PORT  STATUS
    default             opencode-cloud                     running  3000  Up 2 hours (healthy)
    a-rather-long-name  opencode-cloud-a-rather-long-name  exited   -     Exited (143) 5 minutes ago
    ");
    assert_snapshot!(status::list(&ListReport::default(), Style::PLAIN), @"
    no instances on this engine
    next: docklet setup
    ");
}

#[test]
fn result_texts() {
    let setup = SetupReport {
        schema: Schema,
        instance: "default".into(),
        changed: true,
        container_id: Some("4f5e".into()),
        name: "opencode-cloud".into(),
        running: true,
        url: "http://127.0.0.1:3000/".into(),
        user: "opencode".into(),
        secrets: vec!["ANTHROPIC_API_KEY".into(), "OPENAI_API_KEY".into()],
        settings_file: "/home/me/.config/docklet/default/settings.toml".into(),
        volumes: volumes(),
    };
    let stop = StopReport {
        schema: Schema,
        instance: "default".into(),
        container_id: "4f5e".into(),
        name: "opencode-cloud".into(),
        state: "exited".into(),
        running: false,
        changed: true,
        exit_code: Some(143),
        graceful_shutdown: true,
        killed: false,
        oom_killed: false,
    };
    let start = StartReport {
        schema: Schema,
        instance: "default".into(),
        container_id: "4f5e".into(),
        name: "opencode-cloud".into(),
        state: "running".into(),
        running: true,
        changed: true,
        url: "http://127.0.0.1:3000/".into(),
    };
    let thing = |kind, name: &str| Thing { kind, name: name.into() };
    let keeps = |role: &str| Kept {
        kind: ThingKind::Volume,
        name: format!("opencode-cloud-{role}"),
        size: Some(12 * MIB),
        how_to_remove: "docklet uninstall --volumes".into(),
    };
    let uninstall = UninstallReport {
        backup: None,
        schema: Schema,
        instance: "default".into(),
        dry_run: false,
        removed: vec![
            thing(ThingKind::Container, "opencode-cloud"),
            thing(ThingKind::Image, "opencode-cloud:1.18.33-0123456789ab"),
        ],
        kept: vec![
            keeps("session"),
            keeps("projects"),
            Kept { size: None, ..keeps("config") },
            Kept {
                kind: ThingKind::Settings,
                name: "/home/me/.config/docklet/default/settings.toml".into(),
                size: None,
                how_to_remove: "docklet uninstall --purge".into(),
            },
        ],
        left: vec![],
    };
    let style = Style::PLAIN;
    let password = Some("Xy3kPqRs8TuVwZaBcDeFgH2JkMnPqRs9");
    let shown = [
        result::setup(&setup, password, style),
        result::setup(&SetupReport { instance: "work".into(), ..setup.clone() }, None, style),
        result::setup(&SetupReport { running: false, ..setup.clone() }, None, style),
        result::setup(&SetupReport { changed: false, ..setup }, None, style),
        result::start(&start, style),
        result::start(&StartReport { changed: false, ..start }, style),
        result::stop(&stop, style),
        result::stop(
            &StopReport { exit_code: Some(137), graceful_shutdown: false, killed: true, ..stop.clone() },
            style,
        ),
        result::stop(&StopReport { changed: false, exit_code: None, graceful_shutdown: false, ..stop.clone() }, style),
        result::restart(
            &StopReport { exit_code: Some(137), graceful_shutdown: false, oom_killed: true, ..stop },
            "http://127.0.0.1:3000/",
            style,
        ),
        result::uninstall_plan(&uninstall, style),
        result::uninstalled(&uninstall, style),
        result::uninstalled(&UninstallReport { instance: "default".into(), ..UninstallReport::default() }, style),
        result::uninstalled(
            &UninstallReport {
                left: vec![thing(ThingKind::Volume, "opencode-cloud-config")],
                kept: vec![],
                ..uninstall
            },
            style,
        ),
    ];
    assert_snapshot!(shown.join("\n----\n"));
}

/// At least one example of every error, where hints differ one of each.
fn catalogue() -> Vec<Error> {
    let log = || vec!["opencode: cannot open /workspace".to_owned(), "opencode: giving up".to_owned()];
    let endpoint = || "unix:///var/run/docker.sock".to_owned();
    let name = || "opencode-cloud".to_owned();
    let mut all = vec![
        Error::bug("a plan without steps was applied"),
        Error::usage("--port and --no-start contradict each other"),
        Error::Usage {
            message: "`abc` is no port; ports are 1 to 65535".into(),
            hint: Some("docklet setup --port 3001".into()),
        },
        Settings::parse(
            "[network]\nprot = 1\n",
            std::path::Path::new("/home/me/.config/docklet/default/settings.toml"),
        )
        .unwrap_err(),
        Settings::parse(
            "[resources]\npids = 1\n",
            std::path::Path::new("/home/me/.config/docklet/default/settings.toml"),
        )
        .unwrap_err(),
        Error::file("write", std::path::Path::new("/home/me/.config/docklet"), &io::Error::from_raw_os_error(13)),
        Error::file("read", std::path::Path::new("/tmp/ca.pem"), &io::Error::from_raw_os_error(2)),
        Error::SettingUnknown { key: "network.prot".into(), suggestion: "did you mean network.port?".into() },
        Error::SettingRefused {
            key: "network.port".into(),
            value: "70000".into(),
            reason: "`70000` is no port; ports are 1 to 65535".into(),
            hint: "docklet config set network.port 3001".into(),
        },
        Error::NotRunning { name: name(), state: "exited".into() },
        Error::Missing {
            what: "service manager on this machine".into(),
            reason: Some("systemd does not run here".into()),
            hint: "start it after each reboot: docklet start".into(),
        },
        Error::NotSetUp { instance: "default".into() },
        Error::NotSetUp { instance: "work".into() },
        Error::NoSuchObject { kind: ObjectKind::Container, name: name() },
        Error::NoSuchObject { kind: ObjectKind::Image, name: "opencode-cloud:1.18.33".into() },
        Error::NoSuchObject { kind: ObjectKind::Volume, name: "opencode-cloud-session".into() },
        Error::EngineNotInstalled {
            tried: vec!["/var/run/docker.sock does not exist".into(), "docker and podman are not in PATH".into()],
        },
        Error::EngineNotRunning {
            endpoint: endpoint(),
            reason: "connection refused".into(),
            start_command: "sudo systemctl start docker".into(),
        },
        Error::EnginePermissionDenied {
            endpoint: endpoint(),
            group_command: "sudo usermod -aG docker me, then log out and in again".into(),
        },
        Error::EngineUnsupported {
            endpoint: endpoint(),
            reason: "Docker 18.09 speaks API 1.39, 1.41 is needed".into(),
            hint: "install Docker 20.10 or later".into(),
        },
        Error::EngineTimeout { call: "list containers".into(), seconds: 6 },
        Error::EngineGone { call: "create volume".into(), reason: "connection reset by peer".into() },
        Error::EngineRefused {
            call: "create container opencode-cloud".into(),
            status: 500,
            reason: "driver failed programming external connectivity".into(),
        },
        Error::EngineInstallFailed {
            step: "apt-get install docker.io".into(),
            reason: "exit code 100".into(),
            log: vec!["E: Unable to locate package docker.io".into()],
        },
        Error::ConfirmationRequired { question: "removing the volumes".into(), flag: "--yes".into() },
        Error::Cancelled,
        Error::Interrupted { next: "docklet setup goes on where this stopped".into() },
        Error::AlreadyExists { kind: ObjectKind::Container, name: name() },
        Error::Foreign { kind: ObjectKind::Container, name: name() },
        Error::Foreign { kind: ObjectKind::Volume, name: "opencode-cloud-session".into() },
        Error::PortInUse {
            address: "127.0.0.1".into(),
            port: 3000,
            holder: Some("node (pid 4711)".into()),
            free_port: Some(3001),
        },
        Error::PortInUse { address: "127.0.0.1".into(), port: 3000, holder: None, free_port: None },
        Error::InUse {
            kind: ObjectKind::Volume,
            name: "opencode-cloud-session".into(),
            by: "container backup-job".into(),
        },
        Error::Locked {
            instance: "default".into(),
            holder: "docklet setup (pid 4711) since 2026-11-21T01:19:58Z".into(),
        },
        Error::StartFailed { name: name(), reason: "the entrypoint is not executable".into(), log: vec![] },
        Error::Exited {
            name: name(),
            report: ExitReport {
                exit_code: 1,
                oom_killed: false,
                engine_error: None,
                memory_limit: Some(4 << 30),
                log_tail: log(),
            },
        },
        Error::Exited {
            name: name(),
            report: ExitReport {
                exit_code: 137,
                oom_killed: true,
                engine_error: None,
                memory_limit: Some(256 << 20),
                log_tail: vec![],
            },
        },
        Error::StopFailed { name: name(), reason: "it still runs 10 s after SIGKILL".into() },
        Error::Unhealthy { name: name(), reason: "its page answers 503".into(), log: log() },
        Error::NotReady {
            name: name(),
            seconds: 120,
            last: "the connection was closed without an answer".into(),
            log: log(),
        },
        Error::GaveUp { name: name(), restarts: 5, minutes: 10, last: "exited with code 1".into(), log: log() },
        Error::BackupInvalid {
            path: "/home/me/old.tar.zst".into(),
            reason: "the checksum of session/opencode.db differs".into(),
        },
        Error::RestoreFailed { reason: "no space left on device".into() },
        Error::NoSpace { place: "/home/me/backups".into(), needed: None, available: None },
        Error::NoSpace { place: "the engine's disk".into(), needed: Some(3 << 30), available: Some(1 << 30) },
        Error::VolumesFailed { what: "reading the volumes".into(), reason: "tar: a: Input/output error".into() },
        Error::FileExists { path: "/home/me/old.tar.zst".into() },
        Error::UpdateRolledBack {
            version: "1.19.0".into(),
            previous: "1.18.33".into(),
            reason: "it did not answer within 120 s".into(),
            log: log(),
        },
    ];
    let faults = [
        ImageFault::NotFound,
        ImageFault::Unauthorized,
        ImageFault::RateLimited,
        ImageFault::NoSpace,
        ImageFault::Architecture,
        ImageFault::Truncated,
        ImageFault::Network,
        ImageFault::BuildStep,
        ImageFault::BadArchive,
        ImageFault::Other,
    ];
    for action in [ImageAction::Pull, ImageAction::Build, ImageAction::Load] {
        for fault in faults {
            let (reference, log_file, log) = match action {
                ImageAction::Build => {
                    let file = "/home/me/.local/state/docklet/default/build.log";
                    (
                        "opencode-cloud:1.18.33-0123456789ab",
                        Some(file.to_owned()),
                        vec!["npm error code ECONNRESET".to_owned()],
                    )
                }
                ImageAction::Pull => ("example.org/opencode:1", None, vec![]),
                ImageAction::Load => ("/home/me/image.tar", None, vec![]),
            };
            // Those that cannot happen.
            let possible = match action {
                ImageAction::Pull => !matches!(fault, ImageFault::BuildStep | ImageFault::BadArchive),
                ImageAction::Build => !matches!(fault, ImageFault::BadArchive),
                ImageAction::Load => matches!(
                    fault,
                    ImageFault::NoSpace
                        | ImageFault::Architecture
                        | ImageFault::Truncated
                        | ImageFault::BadArchive
                        | ImageFault::Other
                ),
            };
            if possible {
                let reason = match fault {
                    ImageFault::NotFound => "manifest unknown",
                    ImageFault::Unauthorized => "unauthorized: authentication required",
                    ImageFault::RateLimited => "toomanyrequests: you have reached your pull rate limit",
                    ImageFault::NoSpace => "write /var/lib/docker/tmp: no space left on device",
                    ImageFault::Architecture => "the image is for arm64, the engine runs amd64",
                    ImageFault::Truncated => "the stream ended before the work did",
                    ImageFault::Network => "dial tcp: lookup example.org: no such host",
                    ImageFault::BuildStep => "step 7 of 14 (RUN npm ci) ended with exit code 1",
                    ImageFault::BadArchive => "unexpected end of file",
                    ImageFault::Other => "the engine said no",
                };
                all.push(Error::Image {
                    action,
                    reference: reference.into(),
                    fault,
                    reason: reason.into(),
                    log,
                    log_file,
                });
            }
        }
    }
    all
}

/// A number for each kind of error. Without a wildcard: a new kind does not compile until it has a
/// number here, and the test below fails until it has an example.
fn kind(error: &Error) -> usize {
    match error {
        Error::Bug { .. } => 0,
        Error::Usage { .. } => 1,
        Error::SettingsInvalid { .. } => 2,
        Error::File { .. } => 3,
        Error::NotSetUp { .. } => 4,
        Error::NoSuchObject { .. } => 5,
        Error::EngineNotInstalled { .. } => 6,
        Error::EngineNotRunning { .. } => 7,
        Error::EnginePermissionDenied { .. } => 8,
        Error::EngineUnsupported { .. } => 9,
        Error::EngineTimeout { .. } => 10,
        Error::EngineGone { .. } => 11,
        Error::EngineRefused { .. } => 12,
        Error::EngineInstallFailed { .. } => 13,
        Error::ConfirmationRequired { .. } => 14,
        Error::Cancelled => 15,
        Error::Interrupted { .. } => 16,
        Error::Image { .. } => 17,
        Error::AlreadyExists { .. } => 18,
        Error::Foreign { .. } => 19,
        Error::PortInUse { .. } => 20,
        Error::InUse { .. } => 21,
        Error::Locked { .. } => 22,
        Error::StartFailed { .. } => 23,
        Error::Exited { .. } => 24,
        Error::StopFailed { .. } => 25,
        Error::Unhealthy { .. } => 26,
        Error::NotReady { .. } => 27,
        Error::GaveUp { .. } => 28,
        Error::BackupInvalid { .. } => 29,
        Error::RestoreFailed { .. } => 30,
        Error::UpdateRolledBack { .. } => 31,
        Error::SettingUnknown { .. } => 32,
        Error::SettingRefused { .. } => 33,
        Error::NotRunning { .. } => 34,
        Error::Missing { .. } => 35,
        Error::NoSpace { .. } => 36,
        Error::VolumesFailed { .. } => 37,
        Error::FileExists { .. } => 38,
    }
}
const KINDS: usize = 39;

#[test]
fn the_catalogue_of_errors() {
    let all = catalogue();
    let kinds: BTreeSet<usize> = all.iter().map(kind).collect();
    assert_eq!(kinds, (0..KINDS).collect(), "every kind of error has an example");
    for error in &all {
        let message = error.to_string();
        assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
        assert!(!message.starts_with(|c: char| c.is_uppercase()), "{message}");
    }
    let shown: Vec<String> = all
        .iter()
        .map(|e| {
            let code = serde_json::to_value(e.code()).unwrap();
            format!("[{} {}]\n{}\n", code.as_str().unwrap(), e.code().exit_status(), error::text(e, None, Style::PLAIN))
        })
        .collect();
    assert_snapshot!(shown.join("\n"));
}
