//! What the policy is told: everything that can happen to a container, its page, its engine and the
//! machine. Plain data.

use std::time::Duration;

use crate::{desired_state::DesiredState, settings::RestartPolicy};

/// What is seen of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// There is none of that name.
    Missing,
    /// There is one, and it is not ours.
    Foreign,
    /// It is paused.
    Paused,
    /// It runs.
    Running {
        /// Tells one run from another: when it began, by the engine's clock.
        run: i128,
    },
    /// It ended, or has never run.
    Ended(ExitStatus),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitStatus {
    /// Exit code; `None` when it never ran.
    pub code: Option<i64>,
    /// The engine's out-of-memory flag.
    pub out_of_memory: bool,
}

impl ExitStatus {
    /// As the program ends by itself when it is asked to or everything around it goes down; says
    /// nothing about a fault of its own.
    pub(in crate::supervise) fn is_quiet(&self) -> bool {
        !self.out_of_memory && matches!(self.code, None | Some(0 | 137 | 143 | 255))
    }
}

/// What a probe found out about the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageHealth {
    /// It answers.
    Good,
    /// It does not, or not as it should; how.
    Bad(String),
    /// It refuses our own password: a restart does not heal that.
    Refused,
}

/// How somebody ended it past docklet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// `docker stop`
    Stopped,
    /// `docker rm`
    Removed,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Nothing but that time went by.
    Tick,
    /// The desired state, recorded just now or before the supervisor began. Begins afresh.
    Requested(DesiredState),
    /// The setting.
    Mode(RestartPolicy),
    /// Another docklet command took (`true`) or released the instance's lock.
    Lock(bool),
    /// The engine cannot be reached.
    EngineLost,
    /// It can.
    EngineBack,
    /// The engine was asked for the container.
    Inspected(ContainerState),
    /// The engine says that the container's restart policy is this.
    EnginePolicy(String),
    /// The engine tells that the container ended.
    Died(ExitStatus),
    /// Somebody sent it the signal that asks it to end.
    AskedToEnd,
    /// Somebody stopped or removed it.
    EndedOutside(Outside),
    /// It was started, not by us.
    Started,
    /// Something else happened to it: paused, renamed, changed.
    Touched,
    /// The page was probed.
    Probed(PageHealth),
    /// The machine slept.
    Slept(Duration),
    /// [`Action::Restart`](super::Action::Restart) was done.
    Restarted {
        /// The new run.
        run: i128,
    },
    /// It is asked to end for [`Action::Restart`](super::Action::Restart): that end is not the
    /// user's request.
    Stopping,
    /// It was tried and failed.
    RestartFailed(String),
    /// It was tried, and somebody else has the port; who.
    PortTaken(String),
    /// It was not even tried: something came in between.
    RestartCancelled,
}
