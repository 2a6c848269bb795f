//! The results of `backup ls` and `restore --path`.

use serde::Serialize;

use crate::data::archive::LeftOut;

/// `docklet backup ls`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContentsReport {
    /// The backup.
    pub file: String,
    /// When it was begun, RFC 3339 in UTC.
    pub created: String,
    /// The folder in it, or the file, such as `projects/app`; empty for the volumes.
    pub path: String,
    /// What is in the folder, by name; of a file itself.
    pub entries: Vec<ContentsEntry>,
}

/// A path in a backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContentsEntry {
    /// The path, as `restore --path` takes it.
    pub path: String,
    /// `file`, `folder`, `link`, `hard_link` or `pipe`.
    pub kind: &'static str,
    /// Files with content; of a folder, all that are below it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// When it was changed last; `None` where the backup does not say.
    pub modified: Option<String>,
    /// Where a link leads.
    pub link: Option<String>,
}

/// `docklet restore --path`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractReport {
    /// The backup.
    pub file: String,
    /// When it was begun, RFC 3339 in UTC.
    pub created: String,
    /// What was taken out of it.
    pub path: String,
    /// Where that is now, or would be.
    pub to: String,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Files with content.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What could not be written, such as links that lead outside: the first of it.
    pub left_out: Vec<LeftOut>,
    /// How much that is in all.
    pub left_out_count: u64,
}
