//! Whether the user wants the instance running or stopped; remembered in its state folder, so
//! that it holds across a reboot.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    paths,
};

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// It shall run.
    Running,
    /// It shall not run.
    Stopped,
}

/// What the user wants, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What.
    pub desired: Wish,
    /// When it was said, to the nanosecond: tells two wishes for the same apart.
    #[serde(default)]
    pub at: String,
}

/// What the user wants; running when nothing else was said. A file that does not parse (a disk
/// that was full once) counts as nothing said.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(path: &Path) -> Result<Wish> {
    said(path).map(|said| said.desired)
}

/// The same, and when it was said.
///
/// # Errors
/// As [`read`].
pub fn said(path: &Path) -> Result<Said> {
    let text = paths::read_text(path)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or(Said { desired: Wish::Running, at: String::new() }))
}

/// Remembers what the user wants. Said again it is written again: the supervisor begins afresh.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, wish: Wish) -> Result<()> {
    if let Some(folder) = path.parent() {
        paths::create_folder(folder, 0o700)?;
    }
    let text = serde_json::to_string(&Said { desired: wish, at: crate::clock::now_exactly() })
        .map_err(|e| Error::bug(e.to_string()))?;
    paths::write_file(path, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wish_is_remembered_and_a_damaged_file_is_no_wish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/desired.json");
        assert_eq!(read(&path).unwrap(), Wish::Running);
        write(&path, Wish::Stopped).unwrap();
        assert_eq!(read(&path).unwrap(), Wish::Stopped);
        let before = said(&path).unwrap();
        write(&path, Wish::Stopped).unwrap();
        assert_ne!(said(&path).unwrap(), before, "said again");
        std::fs::write(&path, r#"{"desired":"stopped"}"#).unwrap();
        assert_eq!(read(&path).unwrap(), Wish::Stopped, "the form of earlier versions");
        std::fs::write(&path, "{\"desi").unwrap();
        assert_eq!(read(&path).unwrap(), Wish::Running);
    }
}
