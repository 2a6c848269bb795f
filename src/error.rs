//! The one error of docklet: what failed (`Display`), why ([`Error::causes`]), what now
//! ([`Error::hint`]), which [`Code`], and from the code the exit status.
//!
//! Messages are fragments: lower case, no full stop, no secret. Nothing is rendered here; see
//! `present`. All matches are exhaustive on purpose: a new kind of failure does not compile until
//! somebody has written its hint.
//!
//! - here: the kinds of failure and their messages
//! - `code`: the documented codes and exit statuses; `causes`: why; `hint`: what now
//! - `exit`: how a container ended

mod causes;
mod code;
mod exit;
mod hint;

pub use code::Code;
pub use exit::ExitReport;
use serde::Serialize;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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

/// Whether an engine's address is one of another machine, which ssh leads to.
pub(crate) fn is_ssh(endpoint: &str) -> bool {
    endpoint.starts_with("ssh://")
}

/// What is said of an engine that was not reached. Behind ssh it may run all the same.
fn not_there(endpoint: &str) -> &'static str {
    if is_ssh(endpoint) { "cannot be reached" } else { "is not running" }
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

/// Everything that can go wrong, with what is needed to say it well.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)] // fields are named after what the message shows
pub enum Error {
    #[error("internal error in docklet: {what}")]
    Bug { what: String },

    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    #[error("{path} is not valid at line {line}, column {column}")]
    SettingsInvalid { path: String, line: usize, column: usize, reason: String, suggestion: Option<String> },
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: String, reason: String, hint: Option<String> },

    #[error("unknown setting {key}")]
    SettingUnknown { key: String, suggestion: String },
    #[error("{key} cannot be {value}")]
    SettingRefused { key: String, value: String, reason: String, hint: String },

    #[error("instance {instance} is not set up")]
    NotSetUp { instance: String },
    #[error("{name} is not running")]
    NotRunning { name: String, state: String },
    #[error("there is no {what}")]
    Missing { what: String, reason: Option<String>, hint: String },
    #[error("{host} is not what was mounted at {container}")]
    MountChanged { host: String, container: String, was: String, now: String, mount: String },
    #[error("there is no {kind} {name}")]
    NoSuchObject { kind: ObjectKind, name: String },

    #[error("no container engine is installed")]
    EngineNotInstalled { tried: Vec<String> },
    #[error("the container engine at {endpoint} {}", not_there(.endpoint))]
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

    #[error("confirmation required: {question}")]
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
    #[error("container {container} is {name} under another name")]
    Renamed { container: String, name: String, twice: bool },
    #[error("container {container} uses the volume {volume}")]
    VolumeInUse { container: String, volume: String },
    #[error("container {name} was set up by another user, or from another folder")]
    SetUpElsewhere { name: String, folder: String },
    #[error("port {port} on {address} is taken")]
    PortInUse { address: String, port: u16, holder: Option<String>, free_port: Option<u16> },
    #[error("{kind} {name} is in use")]
    InUse { kind: ObjectKind, name: String, by: String },
    #[error("another docklet command is working on instance {instance}")]
    Locked { instance: String, holder: String },

    #[error("{name} did not start")]
    StartFailed { name: String, reason: String, log: Vec<String> },
    #[error("{name} exited while starting")]
    Exited { name: String, report: ExitReport },
    #[error("the network rules of {name} can't be loaded")]
    RulesNotLoaded { name: String, mode: String, reason: String },
    #[error("a folder can't be mounted")]
    MountRefused { reason: String },
    #[error("{what} failed")]
    HelperFailed { what: String, reason: String },
    #[error("{name} did not stop")]
    StopFailed { name: String, reason: String },
    #[error("{name} is running, but it does not work")]
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
    #[error("{path} was restored for a test, and does not work")]
    BackupFailsTest { path: String, reason: String, log: Vec<String> },
    #[error("{what} cannot be decrypted")]
    NotDecrypted { what: String, reason: String, hint: String },
    #[error("cannot fetch the list of {title} releases")]
    ReleasesUnreachable { title: String, reason: String, log_file: String },
    #[error("cannot fetch a release of docklet")]
    ReleaseUnreachable { reason: String },
    #[error("the release of docklet was refused, and nothing was changed")]
    ReleaseRefused { reason: String },
    #[error("the backup is made, and backup.copy did not copy it")]
    CopyFailed { file: Option<String>, reason: String },
    #[error("restoring failed; the data and the settings are unchanged")]
    RestoreFailed { reason: String },
    #[error("the change to {version} failed and was rolled back to {previous}, data included")]
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

    /// A failed action on a file, with the hint where the kind of failure has one. A full disk is
    /// [`Error::NoSpace`].
    pub fn file(action: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let shown = path.display().to_string();
        if is_full(error) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let place = folder.map_or_else(|| ".".to_owned(), |folder| folder.display().to_string());
            return Error::NoSpace { place, needed: None, available: None };
        }
        // What is not there yet cannot be looked at; the folder above it may be the reason.
        let there = path.ancestors().find(|above| std::fs::symlink_metadata(above).is_ok()).unwrap_or(path);
        let quoted = shell_words::quote(&there.display().to_string()).into_owned();
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                let whose = std::fs::symlink_metadata(there).map(|found| owner(&found)).unwrap_or_default();
                Some(match whose.as_str() {
                    "" => format!("check who owns it: ls -ld {quoted}"),
                    "root" => format!("{quoted} belongs to root (often after using sudo): ls -ld {quoted}"),
                    "you" => format!("{quoted} belongs to you; check its permissions: ls -ld {quoted}"),
                    other => format!("{quoted} belongs to {other}: ls -ld {quoted}"),
                })
            }
            std::io::ErrorKind::NotFound => Some("check the path".to_owned()),
            std::io::ErrorKind::BrokenPipe => Some("the program that reads it ended early".to_owned()),
            std::io::ErrorKind::ReadOnlyFilesystem => Some(format!(
                "its disk is mounted read-only; make it writable, or use another folder (DOCKLET_HOME for docklet's own files): df {quoted}"
            )),
            _ => Some(format!("look at it: ls -ld {quoted}")),
        };
        Error::File { action, path: shown, reason: io_reason(error), hint }
    }
}

/// Whose a file is, for people.
#[cfg(unix)]
fn owner(found: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    match found.uid() {
        0 => "root".to_owned(),
        uid if uid == rustix::process::geteuid().as_raw() => "you".to_owned(),
        uid => format!("user {uid}"),
    }
}

#[cfg(not(unix))]
fn owner(_: &std::fs::Metadata) -> String {
    "somebody".to_owned()
}

/// Whether a disk, or the user's share of it, is full, or does not take a file of this size.
pub fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The operating system's words for an I/O error, without Rust's "(os error N)".
pub fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{self, ErrorKind},
        path::Path,
    };

    use super::*;

    #[test]
    fn whatever_is_wrong_with_a_file_there_is_something_to_do() {
        for (kind, part) in [
            (ErrorKind::ReadOnlyFilesystem, "DOCKLET_HOME"),
            (ErrorKind::PermissionDenied, "/ belongs to "),
            (ErrorKind::NotFound, "check the path"),
            (ErrorKind::NotADirectory, "ls -ld /"),
            (ErrorKind::Other, "ls -ld /"),
        ] {
            let hint = Error::file("write", Path::new("/x/y"), &io::Error::from(kind)).hint().unwrap();
            assert!(hint.contains(part), "{kind}: {hint}");
        }
    }

    #[test]
    fn a_hint_names_what_is_there_and_whose_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("my folder");
        std::fs::create_dir(&there).unwrap();
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let hint = Error::file("create", &there.join("docklet/default"), &denied).hint().unwrap();
        let shown = format!("'{}'", there.display());
        assert!(
            hint.ends_with(&format!("ls -ld {shown}")) && hint.starts_with(&format!("{shown} belongs to ")),
            "{hint}"
        );
    }

    #[test]
    fn a_registry_on_the_engines_own_machine_is_no_matter_of_a_proxy() {
        let hint = |reference: &str| {
            let (action, fault, reason) = (ImageAction::Pull, ImageFault::Network, "connection refused".to_owned());
            let error =
                Error::Image { action, reference: reference.to_owned(), fault, reason, log: vec![], log_file: None };
            error.hint().unwrap()
        };
        assert!(hint("127.0.0.1:5055/x:1").contains("at 127.0.0.1:5055; to an engine without root"));
        assert!(hint("localhost/x:1").contains("localhost"));
        assert!(hint("debian:1").contains("proxy") && hint("registry.test/x").contains("proxy"));
    }

    #[test]
    fn only_the_disk_of_the_backups_is_freed_by_removing_backups() {
        let full = |place: &str| {
            Error::file("write", Path::new(place), &io::Error::from(ErrorKind::StorageFull)).hint().unwrap()
        };
        assert!(full("/home/me/.local/share/docklet/default/backups/x").contains("prune"));
        assert!(!full("/mnt/stick/x").contains("prune"), "{}", full("/mnt/stick/x"));
    }
}
