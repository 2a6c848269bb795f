//! The screen at several sizes and in several states, as text.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::{
    engine::stats::Usage,
    report::{ContainerStatus, Decision, DesiredState, EngineStatus, ImageStatus, SupervisorStatus, VolumeStatus},
    watch::{KeyPress, ScreenInput},
};

const UNICODE: Style = Style { color: false, unicode: true };

/// A report of something that runs.
pub fn a_report() -> StatusReport {
    let volume = |role: &str, mount: &str| VolumeStatus {
        name: format!("opencode-cloud-{role}"),
        mount: mount.into(),
        exists: true,
    };
    let decided = |at: &str, text: &str| Decision { at: at.into(), decision: "x".into(), text: text.into() };
    StatusReport {
        ssh_agent: false,
        tunnel: None,
        update: None,
        command: None,
        backup: None,
        copy: None,
        backup_test: None,
        secrets: vec![],
        environment: vec![],
        disk: crate::report::DiskStatus::default(),
        instance: "default".into(),
        appliance: "opencode-cloud".into(),
        state: State::Running,
        desired: DesiredState::Running,
        url: Some("http://127.0.0.1:3000/".into()),
        container: Some(ContainerStatus {
            id: "0123456789ab".into(),
            name: "opencode-cloud".into(),
            image: "opencode-cloud:1.18.33-0123456789ab".into(),
            state: "running".into(),
            running: true,
            paused: false,
            exit_code: None,
            started_at: Some("2026-11-21T08:00:00Z".into()),
            finished_at: None,
            oom_killed: false,
            health: Some("healthy".into()),
            networks: vec![],
            restart_policy: "no".into(),
        }),
        image: Some(ImageStatus {
            reference: "opencode-cloud:1.18.33-0123456789ab".into(),
            id: Some("sha256:1".into()),
            appliance_version: Some("1.18.33".into()),
            compressed: false,
            size: Some(499 << 20),
        }),
        volumes: vec![
            volume("session", "/home/opencode/.opencode"),
            volume("projects", "/workspace"),
            volume("config", "/home/opencode/.config"),
        ],
        supervisor: SupervisorStatus {
            running: true,
            pid: Some(4711),
            restarts: 1,
            decisions: vec![
                decided("2026-11-21T07:59:59Z", "it died with exit code 137: restarts it at once"),
                decided("2026-11-21T08:00:04Z", "it answers again"),
            ],
            ..SupervisorStatus::default()
        },
        folders: vec![],
        limits: None,
        egress: None,
        engine: EngineStatus {
            endpoint: Some("unix:///var/run/docker.sock".into()),
            origin: Some("the default socket".into()),
            name: Some("Docker".into()),
            version: Some("28.5.2".into()),
            api_version: Some("1.51".into()),
        },
    }
}

fn now(seconds: u64) -> Now {
    let wall = clock::parse("2026-11-21T08:00:00Z").unwrap() + Duration::from_secs(seconds);
    Now { since_begin: Duration::from_secs(seconds), wall }
}

/// Five minutes of something that works and uses ever more.
fn a_watch() -> Watch {
    let mut watch = Watch::default();
    let mut feed = |input: ScreenInput, second: u64| watch.feed(input, Duration::from_secs(second));
    feed(ScreenInput::EngineBack, 0);
    feed(ScreenInput::Report(Box::new(a_report())), 0);
    let sizes =
        BTreeMap::from([("opencode-cloud-session".into(), 12 << 20), ("opencode-cloud-projects".into(), 3 << 30)]);
    feed(ScreenInput::Sizes(sizes), 0);
    for second in 0..400 {
        #[allow(clippy::cast_precision_loss)]
        let cpus = Some(2.0 * (second as f64 / 40.0).sin().abs());
        let memory = (second + 20) * (8 << 20);
        feed(ScreenInput::Usage(Usage { cpus, cpus_there: 2, memory, memory_limit: 4 << 30 }), second);
    }
    for n in 0..30 {
        feed(
            ScreenInput::Log(format!(
                "INFO service=server line {n} of a log that is rather long, so that it has to be cut"
            )),
            399,
        );
    }
    watch
}

fn shown(watch: &Watch, size: (u16, u16), style: Style) -> String {
    screen(watch, size, style, now(400)).join("\n")
}

#[test]
fn an_ordinary_terminal() {
    assert_snapshot!(shown(&a_watch(), (80, 24), UNICODE));
}

#[test]
fn a_narrow_and_low_one() {
    assert_snapshot!(shown(&a_watch(), (40, 12), UNICODE));
}

#[test]
fn one_that_shows_ascii_only() {
    assert_snapshot!(shown(&a_watch(), (80, 14), Style::PLAIN));
}

#[test]
fn the_engine_is_gone() {
    let mut watch = a_watch();
    watch.feed(ScreenInput::EngineGone("the container engine did not answer".into()), Duration::from_secs(385));
    watch.feed(ScreenInput::EngineGone("no engine listens there".into()), Duration::from_secs(390));
    let report =
        StatusReport { state: State::EngineUnreachable, container: None, image: None, volumes: vec![], ..a_report() };
    watch.feed(ScreenInput::Report(Box::new(report)), Duration::from_secs(390));
    assert_snapshot!(shown(&watch, (80, 24), UNICODE));
}

#[test]
fn the_log_fills_the_screen() {
    let mut watch = a_watch();
    watch.feed(ScreenInput::Key(KeyPress::Letter('l')), Duration::from_secs(400));
    assert_snapshot!(shown(&watch, (60, 10), UNICODE));
}

#[test]
fn a_question_what_is_done_and_what_came_of_it() {
    let mut watch = a_watch();
    let seconds = Duration::from_secs;
    let last = |watch: &Watch, lines: usize| {
        let screen = screen(watch, (60, 20), UNICODE, now(400));
        screen[screen.len() - lines..].join("\n")
    };
    watch.feed(ScreenInput::Key(KeyPress::Letter('r')), seconds(390));
    assert_snapshot!(last(&watch, 1), @"restart opencode-cloud? y/n");
    watch.feed(ScreenInput::Key(KeyPress::Letter('y')), seconds(390));
    watch.feed(ScreenInput::Progress("stop container opencode-cloud".into()), seconds(391));
    assert_snapshot!(last(&watch, 1), @"⠋ restarting 10 s: stop container opencode-cloud");
    watch.feed(ScreenInput::Key(KeyPress::Letter('q')), seconds(392));
    assert_snapshot!(last(&watch, 1), @"⠋ restarting 10 s; ends then, Ctrl-C ends at once: stop con…");
    watch.ending = false;
    let error = "error: another docklet command is working on this instance: docklet start (pid 4711)\n\nhint: wait until it is done";
    watch.feed(ScreenInput::Done(Err(error.into())), seconds(395));
    assert_snapshot!(last(&watch, 4), @r"
    error: another docklet command is working on this instance:
    docklet start (pid 4711)
    hint: wait until it is done
    r restart  s stop  o open  l log  q quit
    ");
    watch.feed(ScreenInput::Key(KeyPress::Letter('x')), seconds(396));
    assert_snapshot!(last(&watch, 1), @"r restart  s stop  o open  l log  q quit");
}

#[test]
fn every_size_is_kept_to() {
    let mut gone = a_watch();
    gone.feed(ScreenInput::EngineGone("日本語".repeat(50)), Duration::ZERO);
    let mut told = a_watch();
    told.feed(
        ScreenInput::Done(Err("error: é日本語 and more\n  caused by: something\n\nhint: docklet start".into())),
        Duration::ZERO,
    );
    told.feed(ScreenInput::Log("日本語".repeat(100)), Duration::ZERO);
    let mut log = told.clone();
    log.view = View::Log;
    let mut asking = a_watch();
    asking.dialog = Dialog::Asking(WatchAction::Stop);
    let color = Style { color: true, unicode: true };
    for watch in [Watch::default(), a_watch(), gone, told, log, asking] {
        let widths = (0..20).chain([39, 40, 41, 60, 79, 80, 200]);
        for (width, rows) in widths.flat_map(|width| (0..28).map(move |rows| (width, rows))) {
            let lines = screen(&watch, (width, rows), color, now(400));
            assert!(lines.len() <= usize::from(rows), "{width}×{rows}: {} lines", lines.len());
            for line in &lines {
                assert!(columns(line) <= usize::from(width), "{width}×{rows}: {line:?}");
                assert!(!line.contains('\n'));
            }
        }
    }
}

#[test]
fn only_what_changed_is_painted() {
    let lines = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
    let (before, after) = (lines(["one", "two", "three"]), lines(["one", "2", "three"]));
    assert_eq!(paint(&before, &after), "\u{1b}[2;1H\u{1b}[2K2\u{1b}[0m");
    assert_eq!(paint(&after, &after), "");
    assert_eq!(paint(&after, &after[..2]), "\u{1b}[3;1H\u{1b}[2K\u{1b}[0m");
    let mut terminal = vt100::Parser::new(24, 80, 0);
    let mut shown = vec![];
    let mut watch = a_watch();
    for key in ['l', 'r', 'n', 'l', 's'] {
        watch.feed(ScreenInput::Key(KeyPress::Letter(key)), Duration::from_secs(400));
        let lines = screen(&watch, (80, 24), Style { color: true, unicode: true }, now(400));
        terminal.process(paint(&shown, &lines).as_bytes());
        let wanted: Vec<String> =
            screen(&watch, (80, 24), UNICODE, now(400)).iter().map(|line| line.trim_end().to_owned()).collect();
        let seen: Vec<String> = terminal.screen().rows(0, 80).map(|row| row.trim_end().to_owned()).collect();
        assert_eq!(seen, wanted);
        shown = lines;
    }
}

#[test]
fn without_a_terminal_there_is_a_line_for_each_change() {
    let mut changes = Changes::default();
    let mut watch = Watch::default();
    let mut lines = changes.since(&watch, now(0).wall);
    watch.feed(ScreenInput::EngineBack, Duration::ZERO);
    let mut report = a_report();
    for second in 1..20 {
        match second {
            5 => report.container.as_mut().unwrap().health = Some("unhealthy".into()),
            8 => report.state = State::Unhealthy,
            10 => {
                let text = "it does not answer: restarts it at once".into();
                let decision = Decision { at: "2026-11-21T08:00:10Z".into(), decision: "restart".into(), text };
                report.supervisor.decisions.push(decision);
            }
            15 => {
                watch.feed(ScreenInput::EngineGone("no engine listens there".into()), Duration::ZERO);
                report = StatusReport { state: State::EngineUnreachable, container: None, ..report };
            }
            _ => {}
        }
        watch.feed(ScreenInput::Report(Box::new(report.clone())), Duration::ZERO);
        watch.feed(ScreenInput::Usage(Usage { memory: second, ..Usage::default() }), Duration::from_secs(second));
        lines.extend(changes.since(&watch, now(second).wall));
    }
    assert_snapshot!(lines.join("\n"), @r"
    2026-11-21T08:00:01Z opencode-cloud is running at http://127.0.0.1:3000/ (healthy)
    2026-11-21T08:00:05Z opencode-cloud is running at http://127.0.0.1:3000/ (unhealthy)
    2026-11-21T08:00:08Z opencode-cloud runs but does not answer at http://127.0.0.1:3000/ (unhealthy)
    2026-11-21T08:00:10Z it does not answer: restarts it at once
    2026-11-21T08:00:15Z opencode-cloud: the container engine cannot be reached: no engine listens there
    ");
}
