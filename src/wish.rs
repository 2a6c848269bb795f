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

#[derive(Serialize, Deserialize)]
struct File {
    desired: Wish,
}

/// What the user wants; running when nothing else was said. A file that does not parse (a disk
/// that was full once) counts as nothing said.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(path: &Path) -> Result<Wish> {
    let text = paths::read_text(path)?.unwrap_or_default();
    Ok(serde_json::from_str::<File>(&text).map_or(Wish::Running, |file| file.desired))
}

/// Remembers what the user wants.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, wish: Wish) -> Result<()> {
    if path.exists() && read(path)? == wish {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        paths::create_folder(folder, 0o700)?;
    }
    let text = serde_json::to_string(&File { desired: wish }).map_err(|e| Error::bug(e.to_string()))?;
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
        std::fs::write(&path, "{\"desi").unwrap();
        assert_eq!(read(&path).unwrap(), Wish::Running);
    }
}
