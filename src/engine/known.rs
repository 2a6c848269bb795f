//! What a local engine said of itself and of its machine, kept in a file: Docker runs other programs to answer `/version`
//! and `/info`, which costs more than all other calls of a short command together. A ping says whether it still holds.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    About, Host,
    endpoints::{Endpoint, Place},
};
use crate::{http, paths};

/// What is kept, and of which engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    socket: Socket,
    /// What it said of itself.
    pub(super) about: About,
    /// What it said of its machine, where it was asked.
    pub(super) host: Option<Host>,
}

/// A socket in the file system. One that was made anew, as at a restart of the engine or of the machine, is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Socket {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Socket {
    fn at(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Socket { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) })
    }
}

impl Known {
    /// What is known of a place, where the file is about it. A damaged file counts as none.
    pub(super) fn load(file: &Path, place: &Place) -> Option<Self> {
        let Endpoint::Unix(path) = &place.endpoint else { return None };
        let mut known: Known = serde_json::from_str(&paths::read_text(file).ok()??).ok()?;
        if known.about.endpoint != place.endpoint.to_string() || known.socket != Socket::at(path)? {
            return None;
        }
        known.about.origin.clone_from(&place.origin);
        Some(known)
    }

    /// Keeps it. A file that cannot be written, as where nothing is set up yet, costs the same calls once more.
    pub(super) fn keep(file: &Path, about: &About, host: Option<&Host>) {
        let socket = about.endpoint.strip_prefix("unix://").and_then(|path| Socket::at(Path::new(path)));
        let Some(socket) = socket else { return };
        let known = Known { socket, about: about.clone(), host: host.cloned() };
        if let Ok(text) = serde_json::to_string_pretty(&known) {
            let _ = paths::write_file(file, text.as_bytes(), 0o600);
        }
    }

    /// Whether the engine that answers now is the one that is known; `None` when it does not answer in time.
    pub(super) async fn still_holds(&self, place: &Place, deadline: Duration) -> Option<bool> {
        let Endpoint::Unix(path) = &place.endpoint else { return Some(false) };
        match tokio::time::timeout(deadline, ping(path)).await {
            Ok(Ok(said)) => Some(said == (self.about.version.clone(), self.about.api_version.clone())),
            Ok(Err(_)) => Some(false),
            Err(_) => None,
        }
    }
}

/// The version of the engine and that of its API.
async fn ping(socket: &PathBuf) -> Result<(String, String), String> {
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|e| e.to_string())?;
    let answer = http::head(stream, "docker", "/_ping").await?;
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Such as `Docker/20.10.24+dfsg1 (linux)`, or `Libpod/4.3.1 (linux)`.
    let server = header("server").split_once('/').map_or("", |(_, version)| version);
    let version = server.split(' ').next().unwrap_or_default();
    match answer.status {
        200 => Ok((version.to_owned(), header("api-version").to_owned())),
        status => Err(format!("HTTP {status}")),
    }
}
