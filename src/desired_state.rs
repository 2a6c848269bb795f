//! The desired state of an instance: running or stopped, as the user asked for it. A file in its state folder, so that it
//! holds across a reboot.

use std::{fmt, io::Write as _, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    paths,
};

/// The desired state, as the user asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// The container runs.
    Running,
    /// The container does not run.
    Stopped,
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The desired state, and when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedState {
    /// The desired state.
    pub desired: DesiredState,
    /// When it was written, RFC 3339 to the nanosecond: tells two requests for the same state apart.
    #[serde(default)]
    pub at: String,
}

/// The desired state; running where none is recorded. A damaged file, as after a full disk, counts as none.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn read(path: &Path) -> Result<DesiredState> {
    recorded(path).map(|recorded| recorded.desired)
}

/// The same, with the time of the request.
///
/// # Errors
/// As [`read`].
pub fn recorded(path: &Path) -> Result<RecordedState> {
    let text = paths::read_text(path)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or(RecordedState { desired: DesiredState::Running, at: String::new() }))
}

/// Records the desired state. The same state is written again, with a new time: the supervisor then starts counting
/// restarts anew. On a disk without room for another file, the one that is there is overwritten.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, desired: DesiredState) -> Result<()> {
    if let Some(folder) = path.parent() {
        paths::create_folder(folder, 0o700)?;
    }
    let text = serde_json::to_string(&RecordedState { desired, at: crate::clock::now_exactly() })
        .map_err(|e| Error::bug(e.to_string()))?;
    match paths::write_file(path, text.as_bytes(), 0o600) {
        Err(full @ Error::NoSpace { .. }) => overwrite(path, text.as_bytes()).map_err(|_| full),
        done => done,
    }
}

/// Needs no new block on most disks. One that is cut short counts as none.
fn overwrite(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_state_is_recorded_and_a_damaged_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/desired.json");
        assert_eq!(read(&path).unwrap(), DesiredState::Running);
        write(&path, DesiredState::Stopped).unwrap();
        assert_eq!(read(&path).unwrap(), DesiredState::Stopped);
        let before = recorded(&path).unwrap();
        write(&path, DesiredState::Stopped).unwrap();
        assert_ne!(recorded(&path).unwrap(), before, "a new request");
        std::fs::write(&path, r#"{"desired":"stopped"}"#).unwrap();
        assert_eq!(read(&path).unwrap(), DesiredState::Stopped, "the form of earlier versions");
        std::fs::write(&path, "{\"desi").unwrap();
        assert_eq!(read(&path).unwrap(), DesiredState::Running);
    }
}
