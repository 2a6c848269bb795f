//! The documented codes of errors, their exit statuses, and which error has which.

use serde::Serialize;

use super::{Error, ImageAction, ImageFault};

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
    CopyFailed,
    RestoreFailed,
    UpdateRolledBack,
    ReleaseRefused,
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
            Code::BackupInvalid
            | Code::CopyFailed
            | Code::RestoreFailed
            | Code::UpdateRolledBack
            | Code::ReleaseRefused => 11,
            Code::Interrupted => 130,
        }
    }
}

impl Error {
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
            Error::AlreadyExists { .. } | Error::Renamed { .. } | Error::InUse { .. } | Error::FileExists { .. } => {
                Code::AlreadyExists
            }
            Error::NoSpace { .. } => Code::NoSpace,
            Error::VolumesFailed { .. } | Error::ReleasesUnreachable { .. } | Error::ReleaseUnreachable { .. } => {
                Code::NetworkError
            }
            Error::ReleaseRefused { .. } => Code::ReleaseRefused,
            Error::Foreign { .. } | Error::VolumeInUse { .. } | Error::SetUpElsewhere { .. } => Code::ForeignObject,
            Error::PortInUse { .. } => Code::PortInUse,
            Error::Locked { .. } => Code::Locked,
            Error::StartFailed { .. }
            | Error::Exited { .. }
            | Error::MountChanged { .. }
            | Error::RulesNotLoaded { .. }
            | Error::MountRefused { .. }
            | Error::HelperFailed { .. } => Code::StartFailed,
            Error::StopFailed { .. } => Code::StopFailed,
            Error::Unhealthy { .. } => Code::Unhealthy,
            Error::NotReady { .. } => Code::Timeout,
            Error::GaveUp { .. } => Code::GaveUp,
            Error::BackupInvalid { .. } | Error::BackupFailsTest { .. } | Error::NotDecrypted { .. } => {
                Code::BackupInvalid
            }
            Error::CopyFailed { .. } => Code::CopyFailed,
            Error::RestoreFailed { .. } => Code::RestoreFailed,
            Error::UpdateRolledBack { .. } => Code::UpdateRolledBack,
        }
    }
}
