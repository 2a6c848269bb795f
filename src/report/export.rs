//! The result of `docklet export`.

use serde::Serialize;

/// `docklet export`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportReport {
    /// `kubernetes`, `compose` or `quadlet`.
    pub target: String,
    /// The exported instances.
    pub instances: Vec<String>,
    /// The folder that the files were written to; `None`: they are in this report.
    pub folder: Option<String>,
    /// The files.
    pub files: Vec<ExportedFile>,
    /// Whether any file was written.
    pub changed: bool,
    /// What does not travel, a sentence each.
    pub notes: Vec<String>,
    /// What to run before the engine gets the files, as commands.
    pub commands: Vec<String>,
    /// What to run when it has them, as commands.
    pub commands_after: Vec<String>,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportedFile {
    /// Its name, relative to the folder.
    pub name: String,
    /// Its text; `None` when it was written to the folder.
    pub text: Option<String>,
    /// Whether it was written; `false` also when it had this text already.
    pub written: bool,
}
