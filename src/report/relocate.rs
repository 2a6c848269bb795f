//! The result of `docklet move`.

use serde::Serialize;

/// What a move did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveReport {
    /// The instance.
    pub instance: String,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The address of the engine that had it.
    pub from: String,
    /// The address of the engine that has it now.
    pub to: String,
    /// The names of the secrets that went along.
    pub secrets: Vec<String>,
    /// The backup that it went in; `None` of a dry run.
    pub backup: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Whether the one that is used from now on runs.
    pub running: bool,
    /// Whether the one of before is still the one that is used.
    pub kept: bool,
    /// The address of the page on this machine; `None` where it is stopped, as it was before.
    pub url: Option<String>,
    /// The commands that lead back.
    pub back: String,
}
