//! Why each kind of failure came about: the `caused by:` lines.

use super::Error;
use crate::units::Bytes;

impl Error {
    /// The message and its causes in one line.
    pub(crate) fn with_causes(&self, separator: &str) -> String {
        std::iter::once(self.to_string()).chain(self.causes()).collect::<Vec<_>>().join(separator)
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
            Error::FileExists { .. } => vec!["docklet never overwrites what is there".to_owned()],
            Error::NoSpace { needed, available, .. } => match (needed, available) {
                (Some(needed), Some(available)) => {
                    vec![format!("{} is needed, {} is free", Bytes(*needed), Bytes(*available))]
                }
                _ => vec![],
            },
            Error::EngineNotInstalled { tried } => tried.clone(),
            Error::NotRunning { state, .. } => vec![format!("its state is `{state}`")],
            Error::Missing { reason, .. } => reason.iter().cloned().collect(),
            Error::SettingsInvalid { reason, .. }
            | Error::SettingRefused { reason, .. }
            | Error::File { reason, .. }
            | Error::EngineNotRunning { reason, .. }
            | Error::EngineUnsupported { reason, .. }
            | Error::EngineGone { reason, .. }
            | Error::StopFailed { reason, .. }
            | Error::MountRefused { reason }
            | Error::HelperFailed { reason, .. }
            | Error::BackupInvalid { reason, .. }
            | Error::NotDecrypted { reason, .. }
            | Error::VolumesFailed { reason, .. }
            | Error::ReleasesUnreachable { reason, .. }
            | Error::ReleaseUnreachable { reason }
            | Error::ReleaseRefused { reason }
            | Error::CopyFailed { reason, .. }
            | Error::RestoreFailed { reason } => vec![reason.clone()],
            Error::RulesNotLoaded { mode, reason, .. } => {
                vec![
                    reason.clone(),
                    format!("network.egress is {mode}, and the container is not started without its rules"),
                ]
            }
            Error::EngineRefused { status, reason, .. } => vec![format!("{reason} (HTTP {status})")],
            Error::EngineInstallFailed { step, reason, log } => with_log(vec![format!("{step}: {reason}")], log),
            Error::Image { reason, log, .. }
            | Error::StartFailed { reason, log, .. }
            | Error::Unhealthy { reason, log, .. }
            | Error::BackupFailsTest { reason, log, .. }
            | Error::UpdateRolledBack { reason, log, .. } => with_log(vec![reason.clone()], log),
            Error::MountChanged { was, now, .. } => vec![format!("when mounted: {was}"), format!("now: {now}")],
            Error::Renamed { .. } => {
                vec!["it has this instance's labels and volumes, and was renamed outside docklet".to_owned()]
            }
            Error::VolumeInUse { .. } => {
                vec!["docklet did not make it, and never starts a second container on the same volumes".to_owned()]
            }
            Error::SetUpElsewhere { folder, .. } => vec![format!("its secrets are in {folder}")],
            Error::Foreign { .. } => vec![
                "it has a name that docklet uses, but not docklet's labels, so docklet does not touch it".to_owned(),
            ],
            Error::PortInUse { holder, .. } => holder.iter().map(|h| format!("{h} is listening on it")).collect(),
            Error::InUse { by, .. } => vec![format!("it is used by {by}")],
            Error::Locked { holder, .. } => vec![holder.clone()],
            Error::Exited { report, .. } => with_log(vec![report.cause()], &report.log_tail),
            Error::NotReady { last, log, .. } | Error::GaveUp { last, log, .. } => with_log(vec![last.clone()], log),
        }
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
