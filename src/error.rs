//! The one error of docklet: what failed (`Display`), why ([`Error::causes`]), what now
//! ([`Error::hint`]), which [`Code`], and from the code the exit status.
//!
//! Messages are fragments: lower case, no full stop, no secret. Nothing is rendered here; see
//! `present`. All matches are exhaustive on purpose: a new kind of failure does not compile until
//! somebody has written its hint.

use serde::Serialize;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The documented, machine-readable kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the names are the documentation; `docklet help errors` explains each
pub enum Code {
    Bug,
    Usage,
    ConfigInvalid,
    NotFound,
    EngineNotInstalled,
    EngineNotRunning,
    EnginePermissionDenied,
    EngineUnsupported,
    NetworkError,
    ConfirmationRequired,
    Cancelled,
    PullFailed,
    BuildFailed,
    LoadFailed,
    RateLimited,
    NoSpace,
    ArchMismatch,
    AlreadyExists,
    ForeignObject,
    PortInUse,
    Locked,
    StartFailed,
    StopFailed,
    Unhealthy,
    Timeout,
    GaveUp,
    BackupInvalid,
    RestoreFailed,
    UpdateRolledBack,
    Interrupted,
}

impl Code {
    /// The process's exit status for this kind of error.
    pub fn exit_status(self) -> u8 {
        match self {
            Code::Bug => 1,
            Code::Usage | Code::ConfigInvalid => 2,
            Code::NotFound => 4,
            Code::EngineNotInstalled
            | Code::EngineNotRunning
            | Code::EnginePermissionDenied
            | Code::EngineUnsupported
            | Code::NetworkError => 5,
            Code::ConfirmationRequired | Code::Cancelled => 6,
            Code::PullFailed
            | Code::BuildFailed
            | Code::LoadFailed
            | Code::RateLimited
            | Code::NoSpace
            | Code::ArchMismatch => 7,
            Code::AlreadyExists | Code::ForeignObject | Code::PortInUse => 8,
            Code::Locked => 9,
            Code::StartFailed | Code::StopFailed | Code::Unhealthy | Code::Timeout | Code::GaveUp => 10,
            Code::BackupInvalid | Code::RestoreFailed | Code::UpdateRolledBack => 11,
            Code::Interrupted => 130,
        }
    }
}

/// What kind of object on the engine an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A container.
    Container,
    /// A named volume.
    Volume,
    /// An image.
    Image,
    /// A network.
    Network,
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ObjectKind::Container => "container",
            ObjectKind::Volume => "volume",
            ObjectKind::Image => "image",
            ObjectKind::Network => "network",
        })
    }
}

/// Why an image could not be had. Decides the code and the hint of [`Error::Image`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFault {
    /// The registry says that there is no such repository or tag.
    NotFound,
    /// The registry wants other credentials, or any.
    Unauthorized,
    /// The registry refuses for now: too many pulls.
    RateLimited,
    /// The engine's disk is full.
    NoSpace,
    /// There is no variant for the engine's processor, or the image is for another one.
    Architecture,
    /// The stream ended before the work did.
    Truncated,
    /// The registry or a package server could not be reached.
    Network,
    /// A step of the build ended with an error.
    BuildStep,
    /// Not an image archive, or a damaged one.
    BadArchive,
    /// Anything else; the cause says what.
    Other,
}

/// How an image was being brought to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageAction {
    /// Pulled from a registry.
    Pull,
    /// Built here.
    Build,
    /// Loaded from a file.
    Load,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitReport {
    /// Exit code as the engine reports it.
    pub exit_code: i64,
    /// The engine's own out-of-memory flag.
    pub oom_killed: bool,
    /// The engine's own error text, when the process could not even begin.
    pub engine_error: Option<String>,
    /// The memory limit in bytes, for the message.
    pub memory_limit: Option<u64>,
    /// The last lines that it logged, oldest first.
    pub log_tail: Vec<String>,
}

impl ExitReport {
    /// The cause in words, such as «killed: out of memory at 4 GiB».
    pub fn cause(&self) -> String {
        if let Some(text) = &self.engine_error {
            return text.clone();
        }
        if self.oom_killed {
            return match self.memory_limit {
                Some(limit) => format!("killed: out of memory at {}", crate::units::Bytes(limit)),
                None => "killed: out of memory".to_owned(),
            };
        }
        match self.exit_code {
            137 => "killed by SIGKILL (exit code 137)".to_owned(),
            143 => "ended by SIGTERM (exit code 143)".to_owned(),
            139 => "crashed: segmentation fault (exit code 139)".to_owned(),
            134 => "crashed: aborted (exit code 134)".to_owned(),
            code => format!("exited with code {code}"),
        }
    }
}

/// Everything that can go wrong, with what is needed to say it well.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)] // fields are named after what the message shows
pub enum Error {
    #[error("docklet ran into a bug: {what}")]
    Bug { what: String },

    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    #[error("{path} is not valid at line {line}, column {column}")]
    SettingsInvalid { path: String, line: usize, column: usize, reason: String, suggestion: Option<String> },
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: String, reason: String, hint: Option<String> },

    #[error("there is no setting {key}")]
    SettingUnknown { key: String, suggestion: String },
    #[error("{key} cannot be {value}")]
    SettingRefused { key: String, value: String, reason: String, hint: String },

    #[error("instance {instance} is not set up")]
    NotSetUp { instance: String },
    #[error("{name} is not running")]
    NotRunning { name: String, state: String },
    #[error("there is no {what}")]
    Missing { what: String, reason: Option<String>, hint: String },
    #[error("there is no {kind} {name}")]
    NoSuchObject { kind: ObjectKind, name: String },

    #[error("no container engine is installed")]
    EngineNotInstalled { tried: Vec<String> },
    #[error("the container engine at {endpoint} is not running")]
    EngineNotRunning { endpoint: String, reason: String, start_command: String },
    #[error("no permission to use the container engine at {endpoint}")]
    EnginePermissionDenied { endpoint: String, group_command: String },
    #[error("the container engine at {endpoint} cannot be used")]
    EngineUnsupported { endpoint: String, reason: String, hint: String },
    #[error("the engine did not answer within {seconds} s ({call})")]
    EngineTimeout { call: String, seconds: u64 },
    #[error("the connection to the engine broke ({call})")]
    EngineGone { call: String, reason: String },
    #[error("the engine refused to {call}")]
    EngineRefused { call: String, status: u16, reason: String },
    #[error("installing a container engine failed")]
    EngineInstallFailed { step: String, reason: String, log: Vec<String> },

    #[error("{question} needs a yes")]
    ConfirmationRequired { question: String, flag: String },
    #[error("cancelled, nothing was changed")]
    Cancelled,
    #[error("interrupted")]
    Interrupted { next: String },

    #[error("{} {reference} failed", match action { ImageAction::Pull => "pulling", ImageAction::Build => "building", ImageAction::Load => "loading" })]
    Image {
        action: ImageAction,
        reference: String,
        fault: ImageFault,
        reason: String,
        log: Vec<String>,
        log_file: Option<String>,
    },

    #[error("{kind} {name} already exists")]
    AlreadyExists { kind: ObjectKind, name: String },
    #[error("{kind} {name} was not made by docklet")]
    Foreign { kind: ObjectKind, name: String },
    #[error("port {port} on {address} is taken")]
    PortInUse { address: String, port: u16, holder: Option<String>, free_port: Option<u16> },
    #[error("{kind} {name} is in use")]
    InUse { kind: ObjectKind, name: String, by: String },
    #[error("another docklet command works on instance {instance}")]
    Locked { instance: String, holder: String },

    #[error("{name} did not start")]
    StartFailed { name: String, reason: String, log: Vec<String> },
    #[error("{name} ended while it was starting")]
    Exited { name: String, report: ExitReport },
    #[error("{name} did not stop")]
    StopFailed { name: String, reason: String },
    #[error("{name} runs but does not work")]
    Unhealthy { name: String, reason: String, log: Vec<String> },
    #[error("{name} did not answer within {seconds} s")]
    NotReady { name: String, seconds: u64, last: String, log: Vec<String> },
    #[error("gave up restarting {name}: {restarts} restarts within {minutes} minutes")]
    GaveUp { name: String, restarts: u32, minutes: u64, last: String, log: Vec<String> },

    #[error("there is not enough space: {place}")]
    NoSpace { place: String, needed: Option<u64>, available: Option<u64> },
    #[error("{what} failed")]
    VolumesFailed { what: String, reason: String },
    #[error("{path} already exists")]
    FileExists { path: String },
    #[error("{path} is not a backup that can be restored")]
    BackupInvalid { path: String, reason: String },
    #[error("restoring failed, everything is as it was")]
    RestoreFailed { reason: String },
    #[error("the change to {version} was taken back: {previous} and its data are there as before")]
    UpdateRolledBack { version: String, previous: String, reason: String, log: Vec<String> },
}

impl Error {
    /// A bug in docklet itself: something that the code holds to be impossible.
    pub fn bug(what: impl Into<String>) -> Self {
        Error::Bug { what: what.into() }
    }

    /// A usage error without a special hint.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::Usage { message: message.into(), hint: None }
    }

    /// A failed action on a file, with the hint where the kind of failure has one.
    pub fn file(action: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let shown = path.display().to_string();
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Some(format!("look who owns it (often root, after one sudo): ls -ld '{shown}'"))
            }
            std::io::ErrorKind::NotFound => Some("check the path".to_owned()),
            _ => None,
        };
        Error::File { action, path: shown, reason: io_reason(error), hint }
    }

    /// The documented code.
    pub fn code(&self) -> Code {
        match self {
            Error::Bug { .. } => Code::Bug,
            Error::Usage { .. } | Error::File { .. } => Code::Usage,
            Error::SettingsInvalid { .. } | Error::SettingUnknown { .. } | Error::SettingRefused { .. } => {
                Code::ConfigInvalid
            }
            Error::NotSetUp { .. } | Error::NoSuchObject { .. } | Error::NotRunning { .. } | Error::Missing { .. } => {
                Code::NotFound
            }
            Error::EngineNotInstalled { .. } | Error::EngineInstallFailed { .. } => Code::EngineNotInstalled,
            Error::EngineNotRunning { .. } => Code::EngineNotRunning,
            Error::EnginePermissionDenied { .. } => Code::EnginePermissionDenied,
            Error::EngineUnsupported { .. } => Code::EngineUnsupported,
            Error::EngineTimeout { .. } | Error::EngineGone { .. } | Error::EngineRefused { .. } => Code::NetworkError,
            Error::ConfirmationRequired { .. } => Code::ConfirmationRequired,
            Error::Cancelled => Code::Cancelled,
            Error::Interrupted { .. } => Code::Interrupted,
            Error::Image { action, fault, .. } => match (fault, action) {
                (ImageFault::RateLimited, _) => Code::RateLimited,
                (ImageFault::NoSpace, _) => Code::NoSpace,
                (ImageFault::Architecture, _) => Code::ArchMismatch,
                (_, ImageAction::Pull) => Code::PullFailed,
                (_, ImageAction::Build) => Code::BuildFailed,
                (_, ImageAction::Load) => Code::LoadFailed,
            },
            Error::AlreadyExists { .. } | Error::InUse { .. } | Error::FileExists { .. } => Code::AlreadyExists,
            Error::NoSpace { .. } => Code::NoSpace,
            Error::VolumesFailed { .. } => Code::NetworkError,
            Error::Foreign { .. } => Code::ForeignObject,
            Error::PortInUse { .. } => Code::PortInUse,
            Error::Locked { .. } => Code::Locked,
            Error::StartFailed { .. } | Error::Exited { .. } => Code::StartFailed,
            Error::StopFailed { .. } => Code::StopFailed,
            Error::Unhealthy { .. } => Code::Unhealthy,
            Error::NotReady { .. } => Code::Timeout,
            Error::GaveUp { .. } => Code::GaveUp,
            Error::BackupInvalid { .. } => Code::BackupInvalid,
            Error::RestoreFailed { .. } => Code::RestoreFailed,
            Error::UpdateRolledBack { .. } => Code::UpdateRolledBack,
        }
    }

    /// Why it failed, outermost first; each becomes a `caused by:` line.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Error::Bug { .. }
            | Error::Usage { .. }
            | Error::SettingUnknown { .. }
            | Error::NotSetUp { .. }
            | Error::NoSuchObject { .. }
            | Error::EnginePermissionDenied { .. }
            | Error::EngineTimeout { .. }
            | Error::ConfirmationRequired { .. }
            | Error::Cancelled
            | Error::Interrupted { .. }
            | Error::AlreadyExists { .. } => vec![],
            Error::FileExists { .. } => vec!["a backup never overwrites a file".to_owned()],
            Error::NoSpace { needed, available, .. } => match (needed, available) {
                (Some(needed), Some(available)) => {
                    let bytes = crate::units::Bytes;
                    vec![format!("{} are needed, {} are free", bytes(*needed), bytes(*available))]
                }
                _ => vec![],
            },
            Error::EngineNotInstalled { tried } => tried.clone(),
            Error::NotRunning { state, .. } => vec![format!("its state is «{state}»")],
            Error::Missing { reason, .. } => reason.iter().cloned().collect(),
            Error::SettingsInvalid { reason, .. }
            | Error::SettingRefused { reason, .. }
            | Error::File { reason, .. }
            | Error::EngineNotRunning { reason, .. }
            | Error::EngineUnsupported { reason, .. }
            | Error::EngineGone { reason, .. }
            | Error::StopFailed { reason, .. }
            | Error::BackupInvalid { reason, .. }
            | Error::VolumesFailed { reason, .. }
            | Error::RestoreFailed { reason } => vec![reason.clone()],
            Error::EngineRefused { status, reason, .. } => vec![format!("{reason} (HTTP {status})")],
            Error::EngineInstallFailed { step, reason, log } => with_log(vec![format!("{step}: {reason}")], log),
            Error::Image { reason, log, .. }
            | Error::StartFailed { reason, log, .. }
            | Error::Unhealthy { reason, log, .. }
            | Error::UpdateRolledBack { reason, log, .. } => with_log(vec![reason.clone()], log),
            Error::Foreign { .. } => vec!["it has one of our names but not our labels, so it is left alone".to_owned()],
            Error::PortInUse { holder, .. } => holder.iter().map(|h| format!("{h} is listening on it")).collect(),
            Error::InUse { by, .. } => vec![format!("it is used by {by}")],
            Error::Locked { holder, .. } => vec![holder.clone()],
            Error::Exited { report, .. } => with_log(vec![report.cause()], &report.log_tail),
            Error::NotReady { last, log, .. } | Error::GaveUp { last, log, .. } => with_log(vec![last.clone()], log),
        }
    }

    /// The next step, with a command where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Bug { .. } => "please report it with the output of: docklet --verbose doctor --json".to_owned(),
            Error::Usage { hint, .. } => return Some(hint.clone().unwrap_or_else(|| "docklet --help".to_owned())),
            Error::File { hint, .. } => return hint.clone(),
            Error::SettingsInvalid { suggestion, path, .. } => match suggestion {
                Some(text) => text.clone(),
                None => format!("correct the file: {path}"),
            },
            Error::SettingUnknown { suggestion, .. } => suggestion.clone(),
            Error::SettingRefused { hint, .. } | Error::Missing { hint, .. } => hint.clone(),
            Error::NotRunning { .. } => "docklet start".to_owned(),
            Error::NotSetUp { instance } => format!("docklet setup{}", instance_flag(instance)),
            Error::NoSuchObject { kind: ObjectKind::Container, .. } => "docklet list".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Image, .. } => "docklet setup gets it again; one that was loaded needs its file: docklet setup --image-file TAR".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Volume, .. } => "docker volume ls".to_owned(),
            Error::NoSuchObject { kind: ObjectKind::Network, .. } => "docklet start makes it again".to_owned(),
            Error::EngineNotInstalled { .. } => "docklet setup --install-engine".to_owned(),
            Error::EngineInstallFailed { .. } => {
                "install Docker or Podman by hand, then run docklet setup again".to_owned()
            }
            Error::EngineNotRunning { start_command, .. } => start_command.clone(),
            Error::EnginePermissionDenied { group_command, .. } => group_command.clone(),
            Error::EngineUnsupported { hint, .. } => hint.clone(),
            Error::EngineTimeout { .. } | Error::EngineGone { .. } => {
                "see whether the engine still works: docker version\nthen run the same command again, it goes on where it stopped".to_owned()
            }
            Error::EngineRefused { .. } => {
                "run the same command again, it goes on where it stopped\nif it fails again, the engine's own log says more".to_owned()
            }
            Error::ConfirmationRequired { flag, .. } => format!("add {flag}, or run it in a terminal"),
            Error::Cancelled => return None,
            Error::Interrupted { next } => next.clone(),
            Error::Image { action, fault, log_file, reference, .. } => {
                let text = match (fault, action) {
                    (ImageFault::NotFound, ImageAction::Pull) => "check name and tag, or build the image here: docklet setup --build".to_owned(),
                    (ImageFault::NotFound, _) => "check the base image: docklet setup --base-image REF".to_owned(),
                    (ImageFault::Unauthorized, ImageAction::Pull) => format!("sign in first: docker login{}", registry(reference)),
                    (ImageFault::Unauthorized, _) => "sign in to the base image's registry first: docker login REGISTRY".to_owned(),
                    (ImageFault::RateLimited, _) => "wait an hour, or sign in: docker login".to_owned(),
                    (ImageFault::NoSpace, _) => "free space in the engine: docker system df shows what uses it, docker builder prune frees old build steps".to_owned(),
                    (ImageFault::Architecture, ImageAction::Build) => "choose a base image for this machine: docklet setup --base-image REF".to_owned(),
                    (ImageFault::Architecture, _) => "build it for this machine: docklet setup --build".to_owned(),
                    (ImageFault::Network, ImageAction::Pull | ImageAction::Build) => "check the network and run it again; finished parts are kept\nbehind a company proxy: docklet setup --ca-file FILE".to_owned(),
                    (ImageFault::Truncated, ImageAction::Load) | (ImageFault::BadArchive, _) => "check the file, or make it again: docker save -o FILE IMAGE".to_owned(),
                    (ImageFault::Truncated, _) => "run it again; finished parts are kept".to_owned(),
                    (ImageFault::BuildStep, _) => "run it again; if it fails at the same step, the full log says why".to_owned(),
                    (ImageFault::Other | ImageFault::Network, _) => "run it again; if it fails again, the engine's own log says more".to_owned(),
                };
                match log_file {
                    Some(file) => format!("{text}\nfull log: {file}"),
                    None => text,
                }
            }
            Error::AlreadyExists { kind, name } => format!("look at it: docker {kind} inspect {name}"),
            Error::InUse { kind, name, .. } => format!("look at it: docker ps -a --filter {kind}={name}"),
            Error::Foreign { kind, name } => {
                let rename = match kind {
                    ObjectKind::Container => format!("\nthen give it another name: docker rename {name} {name}-old"),
                    ObjectKind::Volume | ObjectKind::Image | ObjectKind::Network => String::new(),
                };
                format!("look at it: docker {kind} inspect {name}{rename}\nor use another instance: docklet setup --instance NAME")
            }
            Error::PortInUse { free_port, .. } => match free_port {
                Some(port) => format!("docklet setup --port {port}"),
                None => "choose another port: docklet setup --port PORT".to_owned(),
            },
            Error::Locked { .. } => "wait until it is done, then run this again".to_owned(),
            Error::Exited { report: ExitReport { oom_killed: true, memory_limit: Some(limit), .. }, .. } => {
                format!("give it more memory: docklet setup --memory {}", crate::units::Bytes(limit.saturating_mul(2)).exact())
            }
            // Engines miss the kernel's news of the limit now and then (seen on Docker 20.10 and 26.1).
            Error::Exited { report: ExitReport { exit_code: 137, memory_limit: Some(limit), .. }, .. } => format!(
                "if it ran out of memory at {}, give it more: docklet setup --memory {}",
                crate::units::Bytes(*limit),
                crate::units::Bytes(limit.saturating_mul(2)).exact()
            ),
            Error::NotReady { seconds, .. } => format!(
                "docklet logs -n 200 shows more\nif it only needs more time: docklet start --timeout {}",
                seconds.saturating_mul(2)
            ),
            Error::StartFailed { .. } | Error::Exited { .. } | Error::Unhealthy { .. } => {
                "docklet logs -n 200 shows more; docklet restart tries again".to_owned()
            }
            Error::StopFailed { .. } => "run docklet stop again; if it still runs then, restart the engine".to_owned(),
            Error::GaveUp { .. } => "docklet logs -n 200 shows more; docklet start begins afresh".to_owned(),
            Error::NoSpace { place, .. } if place.starts_with('/') => {
                format!("see what uses it: df -h '{place}'\ndocklet backup prune --keep 3 removes old backups")
            }
            Error::NoSpace { .. } => {
                "free space in the engine: docker system df shows what uses it, docker builder prune frees old build steps".to_owned()
            }
            Error::VolumesFailed { .. } => {
                "run the same command again\nif it fails again, docklet doctor looks for the cause".to_owned()
            }
            Error::FileExists { .. } => "name another file, or none: then docklet finds a name".to_owned(),
            Error::BackupInvalid { .. } => "docklet backup list shows the backups that are there".to_owned(),
            Error::RestoreFailed { .. } | Error::UpdateRolledBack { .. } => "docklet status shows what runs now".to_owned(),
        })
    }
}

/// ` --instance NAME` where the instance is not the default one.
fn instance_flag(instance: &str) -> String {
    if instance == crate::instance::DEFAULT { String::new() } else { format!(" --instance {instance}") }
}

/// The registry in an image reference as an argument; empty for Docker Hub, which needs none.
fn registry(reference: &str) -> String {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => format!(" {host}"),
        _ => String::new(),
    }
}

/// Appends a log tail, as one cause of several lines.
fn with_log(mut causes: Vec<String>, log: &[String]) -> Vec<String> {
    if !log.is_empty() {
        let lines: Vec<String> = log.iter().map(|line| format!("    {line}")).collect();
        causes.push(format!("the last log lines were\n{}", lines.join("\n")));
    }
    causes
}

/// The operating system's words for an I/O error, without Rust's «(os error N)».
pub fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
