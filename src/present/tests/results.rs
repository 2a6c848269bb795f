//! What commands came to, as text and as JSON.

use insta::assert_snapshot;

use super::*;
use crate::{
    clock::Zone, disk::DiskUse, present::watch::tests::a_report, report::*, sandbox::network_rules::Destination,
};

/// A report of something that runs, other than the watch's in what the texts show.
fn a_status() -> StatusReport {
    let watched = a_report();
    StatusReport {
        container: watched.container.map(|container| ContainerStatus {
            id: "4f5e".into(),
            started_at: Some("2026-11-21T01:00:00Z".into()),
            networks: vec!["bridge".into()],
            ..container
        }),
        image: watched.image.map(|image| ImageStatus {
            id: Some("sha256:77".into()),
            size: Some(499_000_000),
            ..image
        }),
        volumes: volumes(),
        folders: vec![FolderStatus {
            host: "/home/me/code/app".into(),
            container: "/workspace/app".into(),
            read_only: true,
        }],
        limits: Some(LimitsStatus { memory: 4 << 30, cpus: 1.5, pids: 4096 }),
        secrets: vec!["ANTHROPIC_API_KEY".into(), "GH_TOKEN".into()],
        environment: vec!["LOG_LEVEL".into()],
        supervisor: SupervisorStatus { running: true, pid: Some(4711), ..SupervisorStatus::default() },
        egress: Some(EgressStatus {
            mode: "internet".into(),
            allow: vec!["host:11434".into()],
            refused: Some(7),
            destinations: vec![Destination {
                address: "192.168.1.1".into(),
                protocol: "tcp".into(),
                port: 22,
                count: 7,
            }],
            unresolved: vec![],
            at: Some("2026-11-21T01:19:58Z".into()),
        }),
        engine: EngineStatus { version: Some("20.10.24".into()), api_version: Some("1.41".into()), ..watched.engine },
        ..watched
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
    let zone = Zone::find(Some("CET-1CEST,M3.5.0,M10.5.0/3"));
    let mut all = vec![a_status()];
    let mut stopped = a_status();
    stopped.instance = "work".into();
    (stopped.state, stopped.desired) = (State::Stopped, DesiredState::Stopped);
    stopped.supervisor.running = false;
    if let Some(container) = &mut stopped.container {
        container.state = "exited".into();
        container.running = false;
        container.exit_code = Some(143);
        container.finished_at = Some("2026-11-21T03:00:00Z".into());
    }
    let mut failed = stopped.clone();
    failed.instance = "default".into();
    (failed.state, failed.desired) = (State::Failed, DesiredState::Running);
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
        instance: "work".into(),
        folders: vec![],
        limits: None,
        state: State::NotSetUp,
        desired: DesiredState::Stopped,
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
    let mut taken = failed.clone();
    taken.supervisor = SupervisorStatus {
        running: true,
        pid: Some(4711),
        port_taken: Some(PortTaken {
            address: "127.0.0.1".into(),
            port: 3000,
            holder: Some("node (pid 4712)".into()),
            free_port: Some(3001),
        }),
        ..SupervisorStatus::default()
    };
    let mut full = a_status();
    full.disk = DiskStatus {
        used: DiskUse {
            volumes: Some(12 << 30),
            volumes_at: Some("2026-11-21T02:30:00Z".into()),
            free: Some(4 << 30),
            total: Some(100 << 30),
            at: Some("2026-11-21T03:01:00Z".into()),
        },
        warning: Some("the engine's disk is nearly full".into()),
        fix: Some("docker system df".into()),
    };
    full.backup = Some(BackupStatus {
        every: "24h".into(),
        last: Some("2026-11-20T23:30:00Z".into()),
        next: Some("2026-11-21T23:30:00Z".into()),
        ..BackupStatus::default()
    });
    full.ssh_agent = true;
    full.update = Some(UpdateStatus {
        every: "24h".into(),
        last: Some("2026-11-20T23:30:00Z".into()),
        available: Some("release 1.18.40".into()),
        error: None,
    });
    all.extend([stopped, failed, nothing, unreachable, taken, full]);
    for state in [State::Starting, State::Unhealthy] {
        all.push(StatusReport { state, ..a_status() });
    }
    let shown: Vec<String> = all.iter().map(|report| status::long(report, Style::PLAIN, now, &zone)).collect();
    assert_snapshot!(shown.join("\n----\n"));
    insta::assert_json_snapshot!("status_json", [&all[0], &all[3], &all[6]].map(Versioned::of));
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
    let container = |state: &str, running| ContainerReport {
        instance: "default".into(),
        container_id: "4f5e".into(),
        name: "opencode-cloud".into(),
        state: state.into(),
        running,
        changed: true,
    };
    let stop = StopReport {
        container: container("exited", false),
        exit_code: Some(143),
        graceful_shutdown: Some(true),
        killed: Some(false),
        oom_killed: Some(false),
    };
    let start = StartReport { container: container("running", true), url: "http://127.0.0.1:3000/".into() };
    assert_eq!(
        serde_json::to_string(&Versioned::of(&start)).unwrap(),
        r#"{"schema":1,"instance":"default","container_id":"4f5e","name":"opencode-cloud","state":"running","running":true,"changed":true,"url":"http://127.0.0.1:3000/"}"#
    );
    assert_eq!(
        serde_json::to_string(&Versioned::of(&stop)).unwrap(),
        r#"{"schema":1,"instance":"default","container_id":"4f5e","name":"opencode-cloud","state":"exited","running":false,"changed":true,"exit_code":143,"graceful_shutdown":true,"killed":false,"oom_killed":false}"#
    );
    let thing = |kind, name: &str| Thing { kind, name: name.into() };
    let keeps = |role: &str| Kept {
        kind: ThingKind::Volume,
        name: format!("opencode-cloud-{role}"),
        size: Some(12 * MIB),
        how_to_remove: "docklet uninstall --volumes".into(),
    };
    let uninstall = UninstallReport {
        backup: None,
        instance: "default".into(),
        dry_run: false,
        backup_missing_volumes: vec![],
        whole_backup: None,
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
        result::start(
            &StartReport { container: ContainerReport { changed: false, ..start.container.clone() }, ..start },
            style,
        ),
        result::stop(&stop, style),
        result::stop(
            &StopReport { exit_code: Some(137), graceful_shutdown: Some(false), killed: Some(true), ..stop.clone() },
            style,
        ),
        result::stop(
            &StopReport {
                container: ContainerReport { changed: false, ..stop.container.clone() },
                exit_code: None,
                graceful_shutdown: Some(false),
                ..stop.clone()
            },
            style,
        ),
        result::restart(
            &StopReport { exit_code: Some(137), graceful_shutdown: Some(false), oom_killed: Some(true), ..stop },
            "http://127.0.0.1:3000/",
            style,
        ),
        result::uninstall_plan(&uninstall, style),
        result::uninstalled(&uninstall, style),
        result::uninstalled(
            &UninstallReport {
                backup: Some("/b/2.tar.zst".into()),
                backup_missing_volumes: vec!["session".into()],
                whole_backup: Some("/b/1.tar.zst".into()),
                ..uninstall.clone()
            },
            style,
        ),
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
