//! Each check against facts that change its result, and whole reports as text.
#![allow(clippy::unwrap_used)]

mod healthy;

use std::time::Duration;

use self::healthy::{GIB, file, healthy};
use super::{
    engine::{CLOCK_WARNING, SLOW},
    *,
};
use crate::{
    desired_state::DesiredState,
    doctor::{
        DoctorReport,
        facts::{SupervisorFacts, TrustFacts},
    },
    engine::{checkup::Machine, container::Detail},
    error::{Error, ImageFault},
    host::{
        checkup::ServiceSupport,
        connectivity::{Stage, Unreached},
    },
    mounts::Advice,
    observed::PortState,
    present::{Style, doctor},
    probe::Seen,
    settings::Settings,
};

fn text(facts: &DoctorFacts) -> String {
    doctor::text(&DoctorReport::new("default", evaluate(facts)), Style::PLAIN)
}

/// The one finding that differs from a healthy report, as text: level, check, message, fix.
fn spoils(change: impl FnOnce(&mut DoctorFacts)) -> String {
    let mut facts = healthy();
    let before = evaluate(&facts);
    change(&mut facts);
    let after = evaluate(&facts);
    assert_eq!(before.len(), after.len(), "every check speaks always");
    let changed = after.iter().filter(|finding| !before.contains(finding) && finding.level != Level::Ok);
    changed
        .map(|f| {
            let fix = f.fix.as_deref().map(|fix| format!(" => {}", fix.replace('\n', " | "))).unwrap_or_default();
            format!("{:?} {}: {}{fix}", f.level, f.id, f.message)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn of_engine(change: impl FnOnce(&mut EngineFacts)) -> String {
    spoils(|facts| change(facts.engine.as_mut().unwrap()))
}

fn of_container(change: impl FnOnce(&mut ContainerFacts)) -> String {
    of_engine(|engine| change(engine.container.as_mut().unwrap().as_mut().unwrap()))
}

fn of_settings(change: impl FnOnce(&mut Settings)) -> impl FnOnce(&mut DoctorFacts) {
    |facts| {
        let mut settings = Settings::default();
        change(&mut settings);
        facts.settings = SettingsFact::Valid(Box::new(settings));
    }
}

fn taken(holder: &str) -> PortState {
    PortState::Taken { holder: Some(holder.to_owned()), free_port: Some(3001) }
}

#[test]
fn a_healthy_report() {
    let facts = healthy();
    let findings = evaluate(&facts);
    assert!(findings.iter().all(|f| f.level == Level::Ok));
    let ids: std::collections::BTreeSet<&str> = findings.iter().map(|f| f.id).collect();
    assert_eq!(ids.len(), findings.len(), "each check once");
    insta::assert_snapshot!(text(&facts));
}

#[test]
fn a_machine_without_an_engine_and_with_nothing_set_up() {
    let mut facts = healthy();
    facts.settings = SettingsFact::NotSetUp;
    facts.engine = Err(Error::EngineNotInstalled { tried: vec!["a".into(), "b".into()] });
    facts.files.clear();
    facts.services.manager = false;
    facts.port = taken("another container (docker-proxy, pid 5)");
    let report = DoctorReport::new("default", evaluate(&facts));
    assert_eq!((report.problems, report.warnings), (1, 1));
    insta::assert_snapshot!(text(&facts));
}

#[test]
fn a_report_where_much_is_wrong() {
    let mut facts = healthy();
    facts.services = ServiceSupport { manager: false, linger: None };
    facts.supervisor = None;
    let engine = facts.engine.as_mut().unwrap();
    engine.about.version = "20.10.24".into();
    engine.drift = Ok(Drift::Settings("memory 4 GiB → 2 GiB, image a → b".into()));
    engine.volumes.as_mut().unwrap()[0].1 = None;
    let container = engine.container.as_mut().unwrap().as_mut().unwrap();
    container.detail.restart_policy = "always".into();
    container.page = Ok(Seen::Silent { reason: "connection \u{1b}[31mrefused".into() });
    insta::assert_snapshot!(text(&facts));
    let json = serde_json::to_value(DoctorReport::new("default", evaluate(&facts))).unwrap();
    insta::assert_snapshot!(json["checks"][0], @r#"{"id":"settings","level":"ok","message":"the settings are valid","fix":null}"#);
    assert_eq!((json["problems"].clone(), json["warnings"].clone()), (3.into(), 3.into()));
    assert!(text(&facts).is_ascii() && !text(&facts).contains('\u{1b}'));
}

fn unwritable(there: &str, owner: u32) -> Option<Unwritable> {
    let (wanted, reason) = ("/home/me/docklet/config/default".into(), "permission denied".into());
    Some(Unwritable { wanted, there: there.into(), owner, reason })
}

#[test]
fn settings_and_files() {
    let broken = Error::SettingsInvalid {
        path: "/x/settings.toml".into(),
        line: 3,
        column: 1,
        reason: "unknown field `prot`".into(),
        suggestion: Some("did you mean port?".into()),
    };
    let secret = "/home/me/docklet/config/default/secrets/KEY";
    let all = [
        spoils(|f| f.settings = SettingsFact::Broken(broken)),
        spoils(|f| {
            f.mounts.refused = Some(Error::Missing {
                what: "folder or file /home/me/gone to mount at /workspace/gone".into(),
                reason: Some("no such file or directory".into()),
                hint: "docklet mount remove /workspace/gone".into(),
            });
        }),
        spoils(|f| {
            let what = "the agent (uid 1000 here) cannot write /home/me/code".into();
            f.mounts.advice = vec![Advice { what, command: Some("setfacl …".into()) }];
        }),
        spoils(|f| f.files[2].mode = 0o644),
        spoils(|f| f.files[1].mode = 0o755),
        spoils(|f| f.files[3].owner = 0),
        spoils(|f| f.files.iter_mut().for_each(|file| file.owner = 0)),
        spoils(|f| f.files[0].mode = 0o775),
        spoils(|f| f.files = vec![file("/home/me/My Files/settings.toml", 0o666, false), file(secret, 0o600, false)]),
        spoils(|f| f.unwritable = unwritable("/home/me/docklet/config/default", 0)),
        spoils(|f| f.unwritable = unwritable("/home/me", 0)),
        spoils(|f| f.unwritable = unwritable("/home/me", 1000)),
        spoils(|f| f.host_space = Some(Space { free: GIB / 2, total: GIB })),
        spoils(|f| f.host_space = Some(Space { free: GIB / 100, total: GIB })),
    ];
    insta::assert_snapshot!(all.join("\n"));
    assert_eq!(spoils(|f| (f.about.uid, f.files[0].owner) = (0, 5)), "", "root may look at anybody's");
    assert_eq!(spoils(|f| f.files[3].mode = 0o666), "", "nobody else may enter the folder that it is in");
}

#[test]
fn engines_that_cannot_be_used() {
    let without = |error: Error| {
        let all = spoils(|f| f.engine = Err(error));
        let problems: Vec<&str> = all.lines().filter(|line| line.starts_with("Problem")).collect();
        assert_eq!((problems.len(), all.lines().count()), (1, 21), "the others are skipped\n{all}");
        problems[0].to_owned()
    };
    let all = [
        without(Error::EngineNotRunning {
            endpoint: "unix:///x".into(),
            reason: "the socket does not exist".into(),
            start_command: "sudo systemctl start docker".into(),
        }),
        without(Error::EnginePermissionDenied {
            endpoint: "unix:///x".into(),
            group_command: "sudo usermod -aG docker me".into(),
        }),
        without(Error::EngineUnsupported {
            endpoint: "unix:///x".into(),
            reason: "Docker 19.03.15 is too old".into(),
            hint: "install Docker 20.10 or newer".into(),
        }),
        without(Error::EngineTimeout { call: "say its version, at unix:///x".into(), seconds: 6 }),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_engine() {
    let registry = |fault, reason: &str| Error::Image {
        action: crate::error::ImageAction::Pull,
        reference: "registry.test/x".into(),
        fault,
        reason: reason.into(),
        log: vec![],
        log_file: None,
    };
    let failed = |error: Error| Ok(Err(error));
    let foreign = Error::Foreign { kind: crate::error::ObjectKind::Container, name: "x".into() };
    let machine = |change: fn(&mut Machine)| of_engine(|e| change(e.machine.as_mut().unwrap()));
    let all = [
        of_engine(|e| e.slowest = Duration::from_secs(3)),
        of_engine(|e| e.machine = Err("the engine did not answer within 6 s".into())),
        machine(|m| m.data_folder = "/var/snap/docker/common/var-lib-docker".into()),
        machine(|m| m.storage_driver = "vfs".into()),
        machine(|m| m.memory = GIB / 2),
        machine(|m| m.limits_memory = Some(false)),
        // Rootless Podman on cgroup v1: the engine says it can.
        of_container(|c| (c.detail.live.memory, c.detail.live.pids) = (0, 0)),
        of_engine(|e| e.space = Ok(Space { free: 4 * GIB, total: 100 * GIB })),
        spoils(|facts| {
            of_settings(|s| s.resources.disk = "50GiB".parse().unwrap())(facts);
            facts.supervisor.as_mut().unwrap().disk.volumes = Some(51 * GIB);
        }),
        of_engine(|e| e.space = Ok(Space { free: 2 * GIB, total: 9 * GIB })),
        of_engine(|e| e.space = Ok(Space { free: GIB / 4, total: 9 * GIB })),
        of_engine(|e| e.space = Err("the engine's disk is not one of this machine's".into())),
        of_engine(|e| e.about.architecture = "riscv64".into()),
        of_engine(|e| e.clock_ahead = Some(-30)),
        of_engine(|e| e.clock_ahead = Some(7200)),
        of_engine(|e| e.clock_ahead = None),
        of_engine(|e| e.about.version = "27.5.1".into()),
        of_engine(|e| e.registry = failed(registry(ImageFault::Network, "no such host"))),
        of_engine(|e| e.registry = failed(registry(ImageFault::Network, "x509: unknown authority"))),
        of_engine(|e| e.registry = failed(registry(ImageFault::RateLimited, "toomanyrequests"))),
        of_engine(|e| e.registry = failed(Error::EngineTimeout { call: "ask".into(), seconds: 6 })),
        of_engine(|e| e.registry = Err("the image was loaded from a file".into())),
        of_engine(|e| e.volumes.as_mut().unwrap()[1].1 = Some(Ownership::Foreign)),
        of_engine(|e| e.volumes.as_mut().unwrap()[1].1 = None),
        of_engine(|e| e.drift = Ok(Drift::Settings("memory 4 GiB → 2 GiB".into()))),
        of_engine(|e| e.drift = Ok(Drift::BrokenOff("remove container opencode-cloud.task".into()))),
        of_engine(|e| e.drift = Ok(Drift::Outside("memory 1 GiB → 4 GiB".into()))),
        of_engine(|e| e.drift = Ok(Drift::Refused(foreign))),
        spoils(of_settings(|s| s.network.bind = "0.0.0.0".parse().unwrap())),
        spoils(of_settings(|s| s.resources.memory = "32GiB".parse().unwrap())),
    ];
    insta::assert_snapshot!(all.join("\n"));
    assert_eq!(of_engine(|e| e.registry = failed(registry(ImageFault::NotFound, "no"))), "", "it answered");
    assert_eq!(of_engine(|e| (e.about.name, e.about.version) = ("Podman".into(), "4.3.1".into())), "");
    assert_eq!(of_engine(|e| (e.clock_ahead, e.slowest) = (Some(CLOCK_WARNING), SLOW / 2)), "");
}

#[test]
fn the_container() {
    let detail = |change: fn(&mut Detail)| of_container(|c| change(&mut c.detail));
    let ended = |d: &mut Detail| (d.running, d.exit_code) = (false, Some(3));
    let all = [
        of_engine(|e| e.container = Ok(None)),
        of_engine(|e| e.container = Err("the engine did not answer".into())),
        of_container(|c| c.ownership = Ownership::Foreign),
        detail(ended),
        detail(|d| (d.running, d.oom_killed) = (false, true)),
        detail(|d| d.paused = true),
        detail(|d| d.restart_policy = "unless-stopped".into()),
        of_container(|c| c.page = Ok(Seen::Unauthorized)),
        of_container(|c| c.page = Ok(Seen::Wrong { status: 500, path: "/".into() })),
        of_container(|c| c.page = Ok(Seen::Silent { reason: "connection refused".into() })),
        of_container(|c| {
            c.page = Ok(Seen::Silent { reason: "connection refused".into() });
            c.age = Some(Duration::from_secs(5));
        }),
        spoils(|f| f.password_missing = true),
        of_container(|c| c.image.as_mut().unwrap().appliance_version = Some("1.18.9".into())),
        of_container(|c| c.image.as_mut().unwrap().architecture = "arm64".into()),
        of_container(|c| c.network = Ok(Err("Could not resolve host: registry.test".into()))),
        of_container(|c| c.network = Ok(Err("SSL certificate problem: self-signed".into()))),
        of_container(|c| c.network = Err("the image has no curl to try it with".into())),
    ];
    insta::assert_snapshot!(all.join("\n"));
    let renamed = of_engine(|e| {
        e.container = Ok(None);
        e.port = Some(PortState::Taken { holder: Some("container other".into()), free_port: Some(3001) });
        let (container, name) = ("other".into(), "opencode-cloud".into());
        e.drift = Ok(Drift::Refused(Error::Renamed { container, name, twice: false }));
    });
    let (told, skipped): (Vec<_>, Vec<_>) = renamed.lines().partition(|line| !line.starts_with("Skipped"));
    assert_eq!(
        told,
        ["Problem drift: container other is opencode-cloud under another name => docker rename other opencode-cloud"]
    );
    assert!(skipped.iter().all(|line| line.contains("the container has another name")), "{skipped:?}");
    let stopped = spoils(|f| {
        f.desired = DesiredState::Stopped;
        ended(&mut f.engine.as_mut().unwrap().container.as_mut().unwrap().as_mut().unwrap().detail);
    });
    assert_eq!(stopped, "", "stopped, as the user wants it");
    assert_eq!(of_container(|c| c.image.as_mut().unwrap().appliance_version = Some("1.100.0".into())), "");
}

#[test]
fn writes_outside_the_volumes_are_named_without_the_folders_above_them() {
    let changed = |paths: &[&str]| {
        let paths = paths.iter().map(|p| (*p).to_owned()).collect();
        of_container(|c| c.changed = Ok(paths))
    };
    let quiet = [
        "/home",
        "/home/opencode",
        "/home/opencode/.cache",
        "/home/opencode/.cache/x",
        "/run/x",
        "/tmp/y",
        "/etc",
        "/etc/hosts",
        "/home/opencode/.config",
    ];
    assert_eq!(changed(&quiet), "");
    let all = [
        changed(&["/home", "/home/opencode", "/home/opencode/.bash_history", "/tmp/x"]),
        changed(&["/a", "/a/1", "/a/2", "/a-b", "/c d", "/e", "/f", "/g", "/runs"]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_host() {
    let unreached = |stage, reason: &str| {
        let reason = reason.to_owned();
        spoils(|f| f.host_network = Err(Unreached { stage, reason }))
    };
    let port = |f: &mut DoctorFacts, state: PortState| {
        f.desired = DesiredState::Stopped;
        let engine = f.engine.as_mut().unwrap();
        engine.port = Some(state);
        engine.container.as_mut().unwrap().as_mut().unwrap().detail.running = false;
    };
    let without_engine = |holder: &str| {
        let mut facts = healthy();
        facts.port = taken(holder);
        let engine = facts.engine.as_mut().unwrap();
        (engine.port, engine.container) = (None, Err("the engine did not answer".into()));
        evaluate(&facts).into_iter().find(|f| f.id == "port").unwrap().level
    };
    assert_eq!(without_engine("another container (docker-proxy, pid 5)"), Level::Skipped, "it may be ours");
    assert_eq!(without_engine("a process of the user root"), Level::Skipped);
    assert_eq!(without_engine("node (pid 5)"), Level::Problem);
    let trust = |change: fn(&mut TrustFacts)| spoils(|f| change(&mut f.trust));
    let all = [
        spoils(|f| port(f, taken("node (pid 4711)"))),
        spoils(|f| f.taken_on_ipv6 = true),
        spoils(|f| (f.taken_on_ipv6, f.localhost) = (true, vec!["::1".parse().unwrap(), [127, 0, 0, 1].into()])),
        spoils(|f| f.localhost.clear()),
        unreached(Stage::Name, "the name registry.test is not known"),
        unreached(Stage::Connection, "connection refused"),
        unreached(Stage::Proxy, "the proxy p wants user and password (HTTP 407)"),
        unreached(Stage::Certificate, "invalid peer certificate: UnknownIssuer"),
        trust(|t| t.unusable = Some("the CA file /ca.pem cannot be read: no such file".into())),
        trust(|t| t.copy_differs = true),
        trust(|t| t.unknown_bundle = Some("/etc/my certs.pem".into())),
        trust(|t| t.proxies_differ = vec!["HTTPS_PROXY".into()]),
        trust(|t| t.proxy_unreached = Some("nothing in the container reaches the proxy at 127.0.0.1:3128".into())),
        spoils(|f| f.supervisor = None),
        spoils(|f| f.supervisor = Some(SupervisorFacts::default())),
        spoils(|f| f.supervisor.as_mut().unwrap().gave_up = Some("5 restarts within 10 minutes".into())),
        spoils(|f| f.supervisor.as_mut().unwrap().notice_failed = Some("exit status: 127: mail: not found".into())),
        spoils(|f| {
            of_settings(|s| s.backup.every = "24h".parse().unwrap())(f);
            f.supervisor.as_mut().unwrap().backup_failed = Some("the disk is full".into());
        }),
        spoils(|f| {
            of_settings(|s| s.backup.copy = "rclone copyto {file} r:{name}".into())(f);
            f.supervisor.as_mut().unwrap().copy_failed = Some("exit status: 1".into());
        }),
        spoils(|f| {
            of_settings(|s| s.backup.test_every = "30d".parse().unwrap())(f);
            f.supervisor.as_mut().unwrap().test_failed = Some("old.tar.zst does not work: exited with code 3".into());
        }),
        spoils(|f| f.services.manager = false),
        spoils(|f| {
            of_settings(|s| s.restart.autostart = true)(f);
            f.services.linger = Some(false);
        }),
        spoils(|f| {
            of_settings(|s| s.restart.autostart = true)(f);
            f.supervisor.as_mut().unwrap().autostart_entry = false;
        }),
    ];
    insta::assert_snapshot!(all.join("\n"));
    // A listener on all addresses beside our own running container is the engine's.
    assert_eq!(spoils(|f| f.engine.as_mut().unwrap().port = Some(taken("docker-proxy (pid 5)"))), "");
    assert_eq!(spoils(|f| f.localhost.insert(0, "::1".parse().unwrap())), "", "nobody listens there");
}
