//! What a local engine said of itself and of its machine, kept in a file: Docker runs other programs to answer `/version`
//! and `/info`, which costs more than all other calls of a short command together. A ping says whether it still holds.

use std::{os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    About, Host,
    endpoints::{Candidate, Endpoint},
    transport::Transport,
};
use crate::{desired::VERSION, state_file};

/// What is kept, and of which engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownEngine {
    /// Version of the docklet that judged it: another one may judge otherwise.
    docklet: String,
    socket: SocketId,
    /// What it said of itself.
    pub(super) about: About,
    /// What it said of its machine, where it was asked.
    pub(super) host: Option<Host>,
}

/// A socket in the file system. One that was made anew, as at a restart of the engine or of the machine, is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SocketId {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl SocketId {
    fn at(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(SocketId { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) })
    }
}

impl KnownEngine {
    /// What is known of a place, where the file is about it. A damaged file counts as none.
    pub(super) fn load(file: &Path, place: &Candidate) -> Option<Self> {
        let Endpoint::Unix(path) = &place.endpoint else { return None };
        let mut known: KnownEngine = state_file::load(file)?;
        let same_place = known.about.endpoint == place.endpoint.to_string() && known.socket == SocketId::at(path)?;
        if known.docklet != VERSION || !same_place {
            return None;
        }
        known.about.origin.clone_from(&place.origin);
        Some(known)
    }

    /// Keeps it. A file that cannot be written, as where nothing is set up yet, costs the same calls once more.
    pub(super) fn keep(file: &Path, about: &About, host: Option<&Host>) {
        let socket = about.endpoint.strip_prefix("unix://").and_then(|path| SocketId::at(Path::new(path)));
        let Some(socket) = socket else { return };
        let known = KnownEngine { docklet: VERSION.to_owned(), socket, about: about.clone(), host: host.cloned() };
        let _ = state_file::save(file, &known);
    }

    /// Whether the engine that answers now is the one that is known; `None` when it does not answer in time.
    pub(super) async fn still_holds(&self, transport: &Transport, deadline: Duration) -> Option<bool> {
        let ping = tokio::time::timeout(deadline, transport.head("/_ping")).await.ok()?;
        Some(ping.is_ok_and(|headers| {
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            // Such as `Docker/20.10.24+dfsg1 (linux)`, or `Libpod/4.3.1 (linux)`.
            let server = header("server").split_once('/').map_or("", |(_, version)| version);
            let version = server.split(' ').next().unwrap_or_default();
            (version, header("api-version")) == (self.about.version.as_str(), self.about.api_version.as_str())
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;
    use crate::{
        engine::connect::{Selection, connect},
        error::{Code, Error},
    };

    /// An engine of this version that notes the first lines of what it is asked; it hangs while the version is empty.
    fn engine(socket: &Path, version: &Arc<Mutex<(&'static str, &'static str)>>) -> Arc<Mutex<Vec<String>>> {
        let listener = UnixListener::bind(socket).unwrap();
        let (asked, version) = (Arc::new(Mutex::new(vec![])), version.clone());
        let noted = asked.clone();
        tokio::spawn(async move {
            let mut held = vec![];
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned();
                let (version, api) = *version.lock().unwrap();
                let body = match line.starts_with("HEAD") {
                    true => String::new(),
                    false => format!(r#"{{"Version":"{version}","ApiVersion":"{api}","Os":"linux","Arch":"amd64"}}"#),
                };
                noted.lock().unwrap().push(line);
                if version.is_empty() {
                    held.push(stream);
                    continue;
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nServer: Docker/{version} (linux)\r\nApi-Version: {api}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        asked
    }

    const SOCKET: &str = "engine.sock";
    const FILE: &str = "engine.json";

    /// The engine in this folder, remembered in it.
    fn selection(folder: &Path) -> Selection {
        Selection {
            docker_host: Some(format!("unix://{}", folder.join(SOCKET).display())),
            memory: Some(folder.join(FILE)),
            ..Selection::default()
        }
    }

    #[tokio::test]
    async fn a_known_engine_is_pinged_and_another_one_is_asked_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let selection = selection(folder.path());
        let (socket, file) = (folder.path().join(SOCKET), folder.path().join(FILE));
        let version = Arc::new(Mutex::new(("28.5.2", "1.51")));
        let asked = engine(&socket, &version);
        let took = || std::mem::take(&mut *asked.lock().unwrap());
        let (who, ping) = ("GET /version HTTP/1.1", "HEAD /_ping HTTP/1.1");

        let first = connect(&selection).await.unwrap();
        assert_eq!(took(), [who]);
        let second = connect(&selection).await.unwrap();
        assert_eq!((took(), &second.about), (vec![ping.to_owned()], &first.about));
        let host = Selection { host: selection.docker_host.clone(), ..selection.clone() };
        assert_eq!(connect(&host).await.unwrap().about.origin, "--host", "why it was chosen is this command's");
        took();

        *version.lock().unwrap() = ("29.0.0", "1.52");
        assert_eq!(connect(&selection).await.unwrap().about.version, "29.0.0", "an engine that was updated");
        assert_eq!(took(), [ping, who]);
        *version.lock().unwrap() = ("19.3.1", "1.40");
        assert_eq!(connect(&selection).await.unwrap_err().code(), Code::EngineUnsupported, "one that is too old");
        *version.lock().unwrap() = ("29.0.0", "1.52");
        took();

        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(crate::desired::VERSION, "0.0.1")).unwrap();
        connect(&selection).await.unwrap();
        assert_eq!(took(), [who], "another docklet may judge otherwise");

        // A socket that was made anew is another engine's, whatever it says.
        std::fs::remove_file(&socket).unwrap();
        let again = engine(&socket, &version);
        connect(&selection).await.unwrap();
        assert_eq!(*again.lock().unwrap(), [who]);
        std::fs::write(&file, "{damaged").unwrap();
        connect(&selection).await.unwrap();
        assert_eq!(*again.lock().unwrap(), [who, who]);
        // Nothing is set up, or nothing can be written: the same calls, and no error.
        let nowhere = Selection { memory: Some(folder.path().join("none/engine.json")), ..selection };
        for _ in 0..2 {
            connect(&nowhere).await.unwrap();
        }
        assert_eq!(*again.lock().unwrap(), [who; 4]);
        assert!(!folder.path().join("none").exists());
    }

    #[tokio::test]
    async fn a_known_engine_that_hangs_has_one_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let selection = selection(folder.path());
        let version = Arc::new(Mutex::new(("28.5.2", "1.51")));
        let asked = engine(&folder.path().join(SOCKET), &version);
        connect(&selection).await.unwrap();
        *version.lock().unwrap() = ("", "");
        let began = std::time::Instant::now();
        assert!(matches!(connect(&selection).await, Err(Error::EngineTimeout { .. })));
        assert!(began.elapsed() < crate::engine::DEADLINE + Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(asked.lock().unwrap().len(), 2, "it was not asked twice");
    }
}
