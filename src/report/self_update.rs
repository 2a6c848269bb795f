//! The result of `docklet self-update`.

use serde::Serialize;

/// `docklet self-update`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelfUpdateReport {
    /// Whether the program was replaced.
    pub changed: bool,
    /// The version before.
    pub from: String,
    /// The version now; with `--check`, the newest release.
    pub to: String,
    /// Whether there is a newer release than the program that is there now.
    pub update_available: bool,
    /// Where the program is.
    pub program: String,
    /// The package manager's command that updates it; `None` where none installed it.
    pub command: Option<String>,
    /// The instances whose supervisors were restarted.
    pub supervisors: Vec<String>,
}

/// `docklet self-update --finish`, which a new program is run with when it is in place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct SelfUpdateFinished {
    /// The instances whose supervisors were restarted.
    pub supervisors: Vec<String>,
}
