//! What the policy says: what is to be done, why, and what is worth a line in the log. Plain data, and
//! the reasons in words.

use std::time::Duration;

use super::input::{ExitStatus, Outside};
use crate::{desired_state::DesiredState, error::ExitReport, settings::RestartPolicy, units::Elapsed};

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the engine for the container, and hand in [`Input::Inspected`](super::Input::Inspected).
    Inspect,
    /// Probe the page, and hand in [`Input::Probed`](super::Input::Probed).
    Probe,
    /// Start the container, after stopping it when it runs; hand in what came of it.
    Restart(RestartReason),
    /// Something else started the container while its restart had to wait: tell of it as of one of ours. On Podman that can
    /// be a helper that shares its network.
    TellRestart(RestartReason),
    /// Stop the container, which runs although the user wanted it stopped.
    Stop,
    /// Remember that it is of no use.
    GiveUp(RestartReason),
    /// Set the engine's restart policy to `no` again.
    SetPolicyBack {
        /// What somebody made it.
        from: String,
    },
    /// Somebody ended it past docklet: take that as the user's request.
    AdoptStop(Outside),
    /// Somebody started it past docklet: take that as the user's request.
    AdoptStart,
    /// Say so.
    Log(LogEntry),
}

/// Why a restart is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartReason {
    /// It ended.
    Ended(ExitStatus),
    /// The page did not answer so many times in a row; what was seen last.
    Hung(u32, String),
    /// The engine was away for so long, and the container with it.
    EngineAway(Duration),
    /// It was not running when it was looked for.
    NotRunning(ExitStatus),
}

impl RestartReason {
    /// Whether such a restart counts towards giving up. That the engine was away says nothing
    /// about the appliance.
    pub fn counts(&self) -> bool {
        !matches!(self, RestartReason::EngineAway(_))
    }

    /// The reason for people; `exit` knows more about an end than the state machine.
    pub fn text(&self, exit: Option<&ExitReport>) -> String {
        let cause = |status: &ExitStatus| match exit {
            Some(report) => report.cause(),
            None => match status {
                ExitStatus { out_of_memory: true, .. } => "killed: out of memory".to_owned(),
                ExitStatus { code: Some(code), .. } => format!("exited with code {code}"),
                ExitStatus { code: None, .. } => "never ran".to_owned(),
            },
        };
        match self {
            RestartReason::Ended(status) => cause(status),
            RestartReason::Hung(times, seen) => format!("page did not answer {times} times ({seen})"),
            RestartReason::EngineAway(time) => format!("engine was away for {}", Elapsed(*time)),
            RestartReason::NotRunning(ExitStatus { code: None, .. }) => "was not running".to_owned(),
            RestartReason::NotRunning(status) => format!("was not running ({})", cause(status)),
        }
    }
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEntry {
    /// The page answers, so long after the start.
    Answers(Duration),
    /// The page answers again after misses.
    AnswersAgain,
    /// A miss that counts: how many in a row, and what was seen.
    Missed(u32, String),
    /// The page refuses our password.
    Refused,
    /// A restart has to wait.
    Waiting(RestartReason, Duration),
    /// It ended and is left so, by the setting.
    LeftEnded(ExitStatus, RestartPolicy),
    /// The restart failed.
    RestartFailed(String),
    /// Somebody has the port, so the restart has to wait; who.
    PortTaken(String),
    /// The engine cannot be reached.
    EngineLost,
    /// It can again, after so long.
    EngineBack(Duration),
    /// There is no container.
    Missing,
    /// A container with our name is not ours.
    Foreign,
    /// It is paused.
    Paused,
    /// The machine slept.
    Slept(Duration),
    /// Another command is at work, or has ended.
    Locked(bool),
    /// The user wants this.
    Requested(DesiredState),
}
