//! Small JSON files of what docklet remembers between two runs.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Result},
    paths,
};

/// Reads a file. One that is missing, or does not parse (a disk that was full once), counts as none.
pub fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&paths::read_text(path).ok()??).ok()
}

/// Writes a file whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::bug(e.to_string()))?;
    paths::write_file(path, text.as_bytes(), 0o600)
}
