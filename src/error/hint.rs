//! What now: the next step for each kind of failure, with a command where there is one.

use super::{Error, ExitReport, ImageAction, ImageFault, ObjectKind};
use crate::{instance_name, units::Bytes};

/// Where the crate's own page is, there are its issues.
const REPORT_A_BUG: &str = "report it where you got docklet from, with the file that this command writes (without your secrets):\ndocklet doctor --bundle docklet-report.tar.zst";

/// The agent can make its own data unusable.
const EARLIER_DATA: &str = "if its data is the cause: docklet backup list, then docklet restore FILE";

/// Less memory than this is no help, in bytes: an idle opencode takes 300 MiB.
const LEAST_USEFUL: u64 = 512 << 20;

impl Error {
    /// The next step, with a command where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Bug { .. } => REPORT_A_BUG.to_owned(),
            Error::Usage { hint, .. } => return Some(hint.clone().unwrap_or_else(|| "docklet --help".to_owned())),
            Error::File { hint, .. } => return hint.clone(),
            Error::SettingsInvalid { suggestion, path, .. } => match suggestion {
                Some(text) => text.clone(),
                None if self.causes().iter().any(|cause| cause.contains("newer docklet")) => {
                    format!("update docklet, or correct the file: {path}")
                }
                None => format!("correct the file: {path}"),
            },
            Error::SettingUnknown { suggestion, .. } => suggestion.clone(),
            Error::SettingRefused { hint, .. } | Error::Missing { hint, .. } | Error::NotDecrypted { hint, .. } => hint.clone(),
            Error::MountChanged { container, mount, .. } => format!(
                "if you replaced it yourself, accept the change: docklet mount add {mount}\notherwise remove the mount: docklet mount remove {}",
                shell_words::quote(container)
            ),
            Error::NotRunning { .. } => "docklet start".to_owned(),
            Error::NotSetUp { instance } => format!("docklet{} setup", instance_name::flag(instance)),
            Error::NoSuchObject { kind: ObjectKind::Container, .. } => "docklet start creates it and keeps the data".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Image, .. } => "docklet setup gets it again; for an image from a file: docklet setup --image-file TAR".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Volume, .. } => "docker volume ls".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Network, .. } => "docklet start creates it again".to_owned(),
            Error::EngineNotInstalled { .. } => "docklet setup --install-engine".to_owned(),
            Error::EngineInstallFailed { .. } => {
                "install Docker or Podman by hand, then run docklet setup again".to_owned()
            }
            Error::EngineNotRunning { start_command, .. } => start_command.clone(),
            Error::EnginePermissionDenied { group_command, .. } => group_command.clone(),
            Error::EngineUnsupported { hint, .. } => hint.clone(),
            Error::EngineTimeout { .. } | Error::EngineGone { .. } => {
                "check that the engine responds: docker version\nthen run the same command again to continue".to_owned()
            }
            // More pools come from the engine's own settings.
            Error::StartFailed { reason, .. } if reason.contains("address pool") => {
                "remove networks that nothing uses: docker network prune\nif all are in use, give the engine more addresses: default-address-pools in its daemon.json".to_owned()
            }
            // It never ran, so it logged nothing.
            Error::StartFailed { log, .. } if log.is_empty() => {
                "correct what the engine says, then: docklet start\nfor what else may be wrong: docklet doctor".to_owned()
            }
            Error::EngineRefused { .. } => {
                "run the same command again to continue\nif it fails again, read the engine's log".to_owned()
            }
            // Nobody types a private key.
            Error::ConfirmationRequired { flag, .. } if flag.starts_with("--identity ") => format!("add {flag}"),
            Error::ConfirmationRequired { flag: command, .. } if command.starts_with("docklet ") => {
                format!("{command}, or run it in a terminal")
            }
            Error::ConfirmationRequired { flag, .. } => format!("add {flag}, or run it in a terminal"),
            Error::Cancelled => return None,
            Error::Interrupted { next } => next.clone(),
            Error::Image { action, fault, log_file, reference, .. } => {
                let text = match (fault, action) {
                    (ImageFault::NotFound, ImageAction::Pull) => "check the name and the tag, or build the image: docklet setup --build".to_owned(),
                    (ImageFault::NotFound, _) => "check the base image: docklet setup --base-image REF".to_owned(),
                    (ImageFault::Unauthorized, ImageAction::Pull) => format!("sign in first: docker login{}", registry(reference)),
                    (ImageFault::Unauthorized, _) => "sign in to the base image's registry first: docker login REGISTRY".to_owned(),
                    (ImageFault::RateLimited, _) => "wait an hour, or sign in: docker login".to_owned(),
                    (ImageFault::NoSpace, _) => "free space in the engine: docker system df shows what uses it, docker builder prune frees old build steps".to_owned(),
                    (ImageFault::Architecture, ImageAction::Build) => "choose a base image for this machine: docklet setup --base-image REF".to_owned(),
                    (ImageFault::Architecture, _) => "build it for this machine: docklet setup --build".to_owned(),
                    (ImageFault::Network, ImageAction::Pull) if is_loopback(reference) => format!(
                        "check that a registry listens at{}; to an engine without root or in a virtual machine that is the engine's own machine: name the registry by this machine's address",
                        registry(reference)
                    ),
                    (ImageFault::Network, ImageAction::Pull | ImageAction::Build) => "check the network and run the command again; finished parts are kept\nbehind a company proxy: docklet setup --ca-file FILE".to_owned(),
                    (ImageFault::Truncated, ImageAction::Load) | (ImageFault::BadArchive, _) => "check the file, or make it again: docker save -o FILE IMAGE".to_owned(),
                    (ImageFault::Truncated, _) => "run the command again; finished parts are kept".to_owned(),
                    (ImageFault::BuildStep, _) => "run the command again; if it fails at the same step, read the full log".to_owned(),
                    (ImageFault::Other | ImageFault::Network, _) => "run the command again; if it fails again, read the engine's log".to_owned(),
                };
                match log_file {
                    Some(file) => format!("{text}\nfull log: {file}"),
                    None => text,
                }
            }
            Error::AlreadyExists { kind, name } => format!("look at it: docker {kind} inspect {name}"),
            Error::InUse { kind, name, .. } => format!("look at it: docker ps -a --filter {kind}={name}"),
            Error::Renamed { container, twice: true, .. } => {
                format!("remove one of the two; the data is in the volumes: docker rm --force {container}")
            }
            Error::Renamed { container, name, .. } => format!("docker rename {container} {name}"),
            Error::VolumeInUse { container, .. } => format!("stop it first: docker stop {container}"),
            Error::SetUpElsewhere { .. } => {
                "run docklet as that user, or with that DOCKLET_HOME\nor use another instance: docklet --instance NAME setup".to_owned()
            }
            Error::Foreign { kind, name } => {
                let rename = match kind {
                    ObjectKind::Container => format!("\nthen give it another name: docker rename {name} {name}-old"),
                    ObjectKind::Volume | ObjectKind::Image | ObjectKind::Network => String::new(),
                };
                format!("look at it: docker {kind} inspect {name}{rename}\nor use another instance: docklet --instance NAME setup")
            }
            Error::PortInUse { free_port, .. } => match free_port {
                Some(port) => format!("docklet setup --port {port}"),
                None => "choose another port: docklet setup --port PORT".to_owned(),
            },
            Error::Locked { holder, .. } if holder.contains("docklet supervise") => {
                "a supervisor is already running: docklet status".to_owned()
            }
            Error::Locked { .. } => "wait until it is done, then run this again".to_owned(),
            Error::Exited { report: ExitReport { oom_killed: true, memory_limit: Some(limit), .. }, .. } => {
                format!("give it more memory: docklet setup --memory {}", Bytes(limit.saturating_mul(2).max(LEAST_USEFUL)).exact())
            }
            // Engines miss the kernel's news of the limit now and then (seen on Docker 20.10 and 26.1).
            Error::Exited { report: ExitReport { exit_code: 137, memory_limit: Some(limit), .. }, .. } => format!(
                "if it ran out of memory at {}, give it more: docklet setup --memory {}",
                Bytes(*limit),
                Bytes(limit.saturating_mul(2).max(LEAST_USEFUL)).exact()
            ),
            Error::NotReady { seconds, .. } => format!(
                "docklet logs -n 200 shows more\nto wait longer: docklet start --timeout {}",
                seconds.saturating_mul(2)
            ),
            Error::StartFailed { .. } | Error::Exited { .. } | Error::Unhealthy { .. } => {
                format!("docklet logs -n 200 shows more; docklet restart tries again\n{EARLIER_DATA}")
            }
            Error::RulesNotLoaded { .. } => {
                "the engine's kernel needs nftables, and the engine must grant NET_ADMIN to a helper container\nto start without rules, with access to this machine and its network: docklet config set network.egress all".to_owned()
            }
            Error::MountRefused { .. } => {
                "mount it at another path: docklet mount list, docklet mount remove PATH, docklet mount add HOST:PATH".to_owned()
            }
            Error::HelperFailed { .. } => {
                "run the same command again\nif it fails again, find the cause with: docklet doctor".to_owned()
            }
            Error::StopFailed { .. } => "run docklet stop again; if it still runs then, restart the engine".to_owned(),
            Error::GaveUp { .. } => format!("docklet logs -n 200 shows more; docklet start tries again\n{EARLIER_DATA}"),
            // Only where docklet's own backups are, removing some helps.
            Error::NoSpace { place, .. } if place.starts_with('/') && place.ends_with("/backups") => {
                format!("see what uses it: df -h '{place}'\nremove old backups: docklet backup prune --keep 3")
            }
            Error::NoSpace { place, .. } if place.starts_with('/') => {
                format!("free space on that disk, or use another: df -h '{place}' shows it")
            }
            Error::NoSpace { place, .. } if !place.contains("engine") => "free some space there and run the command again".to_owned(),
            Error::NoSpace { .. } => {
                "free space in the engine: docker system df shows what uses it, docker builder prune frees old build steps".to_owned()
            }
            Error::VolumesFailed { .. } => {
                "run the same command again\nif it fails again, find the cause with: docklet doctor".to_owned()
            }
            Error::FileExists { .. } => "choose another name or folder, or move it away".to_owned(),
            Error::BackupFailsTest { .. } => {
                "make another, and test it: docklet backup, docklet backup test\nwhat runs now was not touched".to_owned()
            }
            Error::BackupInvalid { reason, .. } if reason.starts_with("a newer docklet made it") => {
                "update docklet in the way it was installed, such as: cargo install --path . --locked\nthen run the same command again".to_owned()
            }
            Error::BackupInvalid { .. } => {
                "docklet backup list shows the available backups\nwhat can be read of a damaged one comes back with: docklet restore FILE --force".to_owned()
            }
            Error::ReleasesUnreachable { log_file, .. } => format!(
                "check the network and run the command again\nbehind a company proxy: docklet setup --ca-file FILE\nfull log: {log_file}"
            ),
            Error::ReleaseUnreachable { .. } => {
                "check the network, or the variables HTTPS_PROXY and SSL_CERT_FILE, and run the command again".to_owned()
            }
            Error::ReleaseRefused { .. } => {
                "run the command again\nif it fails again, don't install that release by hand either, and report it".to_owned()
            }
            Error::CopyFailed { file: Some(file), .. } => format!(
                "the backup is whole: {file}\nthe supervisor tries again while it runs; docklet config set backup.copy changes the command"
            ),
            Error::CopyFailed { file: None, .. } => {
                "copy instead of moving, such as: docklet config set backup.copy 'rclone copyto {file} REMOTE:{name}'".to_owned()
            }
            Error::RestoreFailed { .. } | Error::UpdateRolledBack { .. } => "docklet status shows what runs now".to_owned(),
        })
    }
}

/// The registry in an image reference as an argument; empty for Docker Hub, which needs none.
fn registry(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => format!(" {host}"),
        _ => String::new(),
    }
}

/// Whether an image's registry is said to be on this machine.
fn is_loopback(reference: &str) -> bool {
    let host = reference.split(['/', ':']).next().unwrap_or_default();
    reference.contains('/') && (host == "localhost" || host.starts_with("127."))
}
