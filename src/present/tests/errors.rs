//! Every kind of error as it is shown: message, causes, hint.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use super::*;
use crate::{
    error::{ExitReport, ImageAction, ImageFault, ObjectKind},
    settings::Settings,
};

#[test]
fn colours_are_only_added() {
    let colored = Style { color: true, unicode: true };
    let error = Error::EngineNotInstalled { tried: vec!["/var/run/docker.sock does not exist".into()] };
    let text = error::text(&error, None, colored);
    assert!(text.contains("\u{1b}[31m"), "{text:?}");
    assert_eq!(console::strip_ansi_codes(&text), error::text(&error, None, UNICODE));
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
            message: "`abc` isn't a valid port; ports are 1 to 65535".into(),
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
        Error::file("write", std::path::Path::new("/docklet"), &io::Error::from_raw_os_error(13)),
        Error::file("read", std::path::Path::new("/tmp/ca.pem"), &io::Error::from_raw_os_error(2)),
        Error::SettingUnknown { key: "network.prot".into(), suggestion: "did you mean network.port?".into() },
        Error::SettingRefused {
            key: "network.port".into(),
            value: "70000".into(),
            reason: "`70000` isn't a valid port; ports are 1 to 65535".into(),
            hint: "docklet config set network.port 3001".into(),
        },
        Error::NotRunning { name: name(), state: "exited".into() },
        Error::RulesNotLoaded {
            name: name(),
            mode: "internet".into(),
            reason: "Operation not permitted (you must be root)".into(),
        },
        Error::MountRefused { reason: "/workspace/app is a symbolic link in the volume".into() },
        Error::HelperFailed {
            what: "filling volume opencode-cloud-secrets".into(),
            reason: "it ended with code 2".into(),
        },
        Error::Missing {
            what: "service manager on this machine".into(),
            reason: Some("systemd does not run here".into()),
            hint: "start it after each reboot: docklet start".into(),
        },
        Error::MountChanged {
            host: "/home/me/code".into(),
            container: "/workspace/code".into(),
            was: "the folder /home/me/code (inode 5, device 2049)".into(),
            now: "the folder / (inode 2, device 2049)".into(),
            mount: "/home/me/code:/workspace/code".into(),
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
        Error::BackupFailsTest {
            path: "/home/me/old.tar.zst".into(),
            reason: "the page did not answer within 120 s".into(),
            log: log(),
        },
        Error::Renamed { container: "other".into(), name: name(), twice: false },
        Error::Renamed { container: "other".into(), name: name(), twice: true },
        Error::VolumeInUse { container: "other".into(), volume: "opencode-cloud-session".into() },
        Error::SetUpElsewhere { name: name(), folder: "/root/.config/docklet/default/secrets".into() },
        Error::NotDecrypted {
            what: "/home/me/old.tar.zst".into(),
            reason: "it is encrypted for other keys".into(),
            hint: "try another file of keys".into(),
        },
        Error::ReleasesUnreachable {
            title: "opencode".into(),
            reason: "curl: (6) Could not resolve host: registry.example".into(),
            log_file: "/home/me/.local/state/docklet/default/releases.log".into(),
        },
        Error::ReleaseUnreachable { reason: "example.org takes no connection: connection refused".into() },
        Error::ReleaseRefused { reason: "its signature isn't valid".into() },
        Error::CopyFailed { file: Some("/home/me/a.tar.zst".into()), reason: "exit code 1: no such host".into() },
        Error::CopyFailed { file: None, reason: "the command took /home/me/a.tar.zst away".into() },
        Error::RestoreFailed { reason: "no space left on device".into() },
        Error::NoSpace { place: "/home/me/backups".into(), needed: None, available: None },
        Error::NoSpace { place: "standard output".into(), needed: None, available: None },
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
                        vec!["curl: (56) Recv failure: Connection reset by peer".to_owned()],
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
                    ImageFault::BuildStep => "step 7 of 14 (RUN install opencode) ended with exit code 1",
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
        Error::NotDecrypted { .. } => 39,
        Error::SetUpElsewhere { .. } => 41,
        Error::Renamed { .. } => 46,
        Error::VolumeInUse { .. } => 47,
        Error::ReleasesUnreachable { .. } => 40,
        Error::RulesNotLoaded { .. } => 42,
        Error::MountRefused { .. } => 43,
        Error::HelperFailed { .. } => 44,
        Error::MountChanged { .. } => 45,
        Error::CopyFailed { .. } => 49,
        Error::BackupFailsTest { .. } => 48,
        Error::ReleaseUnreachable { .. } => 50,
        Error::ReleaseRefused { .. } => 51,
    }
}
const KINDS: usize = 52;

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

#[test]
fn a_hint_names_the_instance_that_its_commands_are_about() {
    let hint = |error: &Error, instance| {
        error::text(error, Some(instance), Style::PLAIN).split_once("hint: ").unwrap().1.replace("\n      ", "\n")
    };
    let rolled_back = Error::RestoreFailed { reason: "it ended".into() };
    assert_eq!(hint(&rolled_back, "default"), "docklet status shows what runs now");
    assert_eq!(hint(&rolled_back, "work"), "docklet --instance work status shows what runs now");
    let unhealthy = Error::Unhealthy { name: "a".into(), reason: "b".into(), log: vec![] };
    let both = "docklet --instance work logs -n 200 shows more; docklet --instance work restart tries again\nif its data is the cause: docklet --instance work backup list, then docklet --instance work restore FILE";
    assert_eq!(hint(&unhealthy, "work"), both);
    assert_eq!(hint(&Error::NotSetUp { instance: "work".into() }, "work"), "docklet --instance work setup");
    let of_no_instance = Error::Usage { message: "x".into(), hint: Some("docklet --help".into()) };
    assert_eq!(hint(&of_no_instance, "work"), "docklet --help");
}
