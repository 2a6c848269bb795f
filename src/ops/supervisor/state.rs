//! What the supervisor remembers in its state file, and what `status` reads from there. A file that
//! was cut short (a full disk, a machine that lost power) counts as none.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    desired_state::RecordedState,
    disk::DiskUse,
    error::{Error, Result},
    lock::Lock,
    paths::InstancePaths,
    report::{Decision, LastRestart, PortTaken, SupervisorStatus},
    state_file,
};

/// How many decisions are kept for `status`; the log has all of them.
const DECISIONS: usize = 8;

/// The state file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SupervisorState {
    /// Version of the docklet that supervises.
    pub version: String,
    /// Its process id; `None` after a clean end.
    pub pid: Option<u32>,
    /// The engine's address.
    pub endpoint: Option<String>,
    /// When the desired state was recorded that restarts are counted for ([`RecordedState::at`]).
    pub desired_at: String,
    /// How often it restarted the container since then.
    pub restarts: u32,
    /// When the restarts were that count towards giving up, oldest first.
    pub recent: Vec<String>,
    /// The last time that it restarted the container.
    pub last_restart: Option<LastRestart>,
    /// Who has the port, while that keeps it from restarting the container.
    pub port_taken: Option<PortTaken>,
    /// Why it gave up, if it did.
    pub gave_up: Option<GaveUp>,
    /// Room on the engine's disk, and the size of the volumes.
    pub disk: DiskUse,
    /// The last decisions, oldest first.
    pub decisions: Vec<Decision>,
}

/// Why it gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The reason of the restart that was one too many.
    pub cause: String,
    /// How many restarts were enough.
    pub restarts: u32,
    /// Within how many minutes.
    pub minutes: u64,
    /// The last lines that the container logged.
    pub log: Vec<String>,
}

impl GaveUp {
    /// The error for people.
    pub fn error(&self, container: &str) -> Error {
        Error::GaveUp {
            name: container.to_owned(),
            restarts: self.restarts,
            minutes: self.minutes,
            last: self.cause.clone(),
            log: self.log.clone(),
        }
    }
}

impl SupervisorState {
    /// Reads the file; a missing, unreadable or damaged one is a fresh state.
    pub fn load(path: &Path) -> Self {
        state_file::load(path).unwrap_or_default()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        state_file::save(path, self)
    }

    /// The user said something new: what was counted before is history.
    pub fn begin_afresh(&mut self, recorded: &RecordedState) {
        self.desired_at.clone_from(&recorded.at);
        self.restarts = 0;
        self.recent.clear();
        self.gave_up = None;
        self.port_taken = None;
    }

    /// Remembers a decision.
    pub fn push(&mut self, decision: Decision) {
        self.decisions.push(decision);
        let too_many = self.decisions.len().saturating_sub(DECISIONS);
        self.decisions.drain(..too_many);
    }
}

/// What `status` says of the supervisor, and why it gave up if it did.
pub fn for_status(files: &InstancePaths, recorded: &RecordedState) -> (SupervisorStatus, Option<GaveUp>) {
    let mut state = SupervisorState::load(&files.supervisor_state());
    if state.desired_at != recorded.at {
        state.begin_afresh(recorded);
    }
    let holder = Lock::holder(&files.supervisor_lock());
    let status = SupervisorStatus {
        running: holder.is_some(),
        pid: holder.as_deref().and_then(Lock::pid_of),
        restarts: state.restarts,
        last_restart: state.last_restart,
        // The service manager's to tell; the command asks it.
        survives_reboot: false,
        // Without a supervisor nobody tries again.
        port_taken: state.port_taken.filter(|_| holder.is_some()),
        gave_up: state.gave_up.is_some(),
        cause: state.gave_up.as_ref().map(|gave_up| gave_up.cause.clone()),
        decisions: state.decisions,
    };
    (status, state.gave_up)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        clock,
        desired_state::DesiredState,
        instance_name::InstanceName,
        paths::{self, Paths},
    };

    fn decision(n: usize) -> Decision {
        Decision { at: "2026-11-21T01:19:58Z".into(), decision: "restart".into(), text: n.to_string() }
    }

    #[test]
    fn it_survives_being_cut_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supervisor.json");
        let mut state = SupervisorState {
            restarts: 3,
            pid: Some(7),
            recent: vec![clock::now_rfc3339()],
            ..SupervisorState::default()
        };
        (0..20).for_each(|n| state.push(decision(n)));
        assert_eq!(state.decisions.len(), DECISIONS);
        assert_eq!(state.decisions.last(), Some(&decision(19)));
        state.save(&path).unwrap();
        assert_eq!(SupervisorState::load(&path), state);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() - 1 {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(SupervisorState::load(&path), SupervisorState::default(), "cut at {length}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(SupervisorState::load(&path), SupervisorState::default());
    }

    #[test]
    fn what_was_counted_for_an_earlier_wish_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let files = Paths::find(Some(folder.path())).unwrap().instance(&"default".parse::<InstanceName>().unwrap());
        paths::create_folder(&files.state, 0o700).unwrap();
        let gave_up =
            GaveUp { at: String::new(), cause: "exited with code 1".into(), restarts: 5, minutes: 10, log: vec![] };
        let state = SupervisorState {
            desired_at: "a".into(),
            restarts: 5,
            gave_up: Some(gave_up),
            ..SupervisorState::default()
        };
        state.save(&files.supervisor_state()).unwrap();
        let recorded = |at: &str| RecordedState { desired: DesiredState::Running, at: at.to_owned() };
        let (status, gave_up) = for_status(&files, &recorded("a"));
        assert_eq!((status.gave_up, status.restarts, status.running), (true, 5, false));
        assert_eq!(status.cause.as_deref(), Some("exited with code 1"));
        assert_eq!(gave_up.unwrap().error("x").code(), crate::error::Code::GaveUp);
        let (status, gave_up) = for_status(&files, &recorded("b"));
        assert_eq!((status.gave_up, status.restarts, gave_up), (false, 0, None));
    }
}
