//! An engine for tests that answers with scripted streams, over a real Unix socket and real HTTP.
//! Knows nothing of containers; what it is asked is counted.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use super::{About, Engine, endpoints::Endpoint, transport::Transport};
use crate::event::{Event, Reporter};

/// How a scripted answer goes.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A status and a whole body.
    Status(u16, String),
    /// Messages, then a proper end.
    Stream(Vec<String>),
    /// Messages, then a closed connection in the middle of the body.
    Cut(Vec<String>),
    /// Messages, then nothing more while the connection stays open.
    Hang(Vec<String>),
}

/// A stream from lines of text.
pub(super) fn stream(text: &str) -> Reply {
    Reply::Stream(text.lines().map(str::to_owned).collect())
}

/// What an inspected image looks like.
pub(super) fn image_of(architecture: &str, tags: &[&str]) -> Reply {
    let body = serde_json::json!({
        "Id": format!("sha256:{}", "ab".repeat(32)), "RepoTags": tags, "Architecture": architecture, "Os": "linux",
        "Size": 1000, "Created": "2026-11-01T00:00:00Z",
        "Config": {"Labels": {"org.opencontainers.image.version": "1.2.3"}},
    });
    Reply::Status(200, body.to_string())
}

/// The engine says that there is no such thing.
pub(super) fn missing() -> Reply {
    Reply::Status(404, r#"{"message":"No such image: x"}"#.to_owned())
}

type Script = HashMap<&'static str, Vec<Reply>>;

/// An engine that listens and follows a script. Answers of one route are used in order; the last one stays.
pub(super) struct ScriptedEngine {
    pub(super) engine: Engine,
    asked: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl ScriptedEngine {
    /// Routes are `METHOD /path/begin`, without the API version; the longest match answers.
    pub(super) fn new(routes: &[(&'static str, Vec<Reply>)]) -> ScriptedEngine {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let script = Arc::new(Mutex::new(routes.iter().cloned().collect::<Script>()));
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, script.clone(), log.clone()));
            }
        });
        ScriptedEngine { engine: engine_at(&format!("unix://{}", socket.display())), asked, _folder: folder }
    }

    /// How often a request that begins like this came.
    pub(super) fn count(&self, route: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|r| r.starts_with(route)).count()
    }

    /// The requests, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// An engine at an address, without the asking that `connect` does.
pub(super) fn engine_at(host: &str) -> Engine {
    let about = About {
        endpoint: host.to_owned(),
        origin: "a test".to_owned(),
        name: "Docker".to_owned(),
        version: String::new(),
        api_version: "1.41".to_owned(),
        architecture: "amd64".to_owned(),
    };
    let endpoint = match host.strip_prefix("unix://") {
        Some(path) => Endpoint::Unix(path.into()),
        None => Endpoint::Tcp(host.trim_start_matches("tcp://").to_owned()),
    };
    let transport = Transport::to(&endpoint, None).unwrap();
    Engine { docker: transport.docker().unwrap(), transport, about, known_host: None, memory: None }
}

/// The engine that `DOCKER_HOST` names. A test that needs one and gets none fails.
pub(super) fn real_engine() -> Engine {
    engine_at(&needed("DOCKER_HOST"))
}

/// An environment variable that a test needs.
pub(super) fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("this test needs {variable}"))
}

/// Keeps all events.
#[derive(Default)]
pub(super) struct Recorder(pub(super) Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Recorder {
    /// What was noted, in order.
    pub(super) fn notes(&self) -> Vec<String> {
        let pick = |e: &Event| match e {
            Event::Note { text } | Event::Warning { text } => Some(text.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(pick).collect()
    }
}

async fn answer(mut connection: UnixStream, script: Arc<Mutex<Script>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let (method, path) = line.split_once(' ').unwrap_or_default();
    let path = path.split(' ').next().unwrap_or_default().trim_start_matches("/v1.41");
    let request = format!("{method} {path}");
    asked.lock().unwrap().push(request.clone());
    drain(&mut connection, &head).await;
    let reply = {
        let mut script = script.lock().unwrap();
        let route = script.keys().filter(|k| request.starts_with(**k)).max_by_key(|k| k.len()).copied();
        match route.and_then(|r| script.get_mut(r)) {
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
            None => Reply::Status(500, format!("{{\"message\":\"not scripted: {request}\"}}")),
        }
    };
    let (lines, end) = match reply {
        Reply::Status(status, body) => {
            let text = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = connection.write_all(text.as_bytes()).await;
            let _ = connection.shutdown().await;
            return;
        }
        Reply::Stream(lines) => (lines, Some("0\r\n\r\n")),
        Reply::Cut(lines) => (lines, Some("")),
        Reply::Hang(lines) => (lines, None),
    };
    let start =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let _ = connection.write_all(start.as_bytes()).await;
    for line in lines {
        let chunk = format!("{:x}\r\n{line}\r\n\r\n", line.len() + 2);
        if connection.write_all(chunk.as_bytes()).await.is_err() {
            return;
        }
    }
    match end {
        Some(end) => {
            let _ = connection.write_all(end.as_bytes()).await;
            let _ = connection.shutdown().await;
        }
        None => {
            let _ = connection.read(&mut byte).await;
        }
    }
}

/// Reads the request's body to its end, as an engine does.
async fn drain(connection: &mut UnixStream, head: &str) {
    let lower = head.to_lowercase();
    let mut buffer = vec![0; 65536];
    if let Some(length) = lower.lines().find_map(|l| l.strip_prefix("content-length: ")) {
        let mut left: usize = length.trim().parse().unwrap_or(0);
        while left > 0 {
            match connection.read(&mut buffer).await {
                Ok(n) if n > 0 => left = left.saturating_sub(n),
                _ => return,
            }
        }
    } else if lower.contains("transfer-encoding: chunked") {
        let mut tail = Vec::new();
        while !tail.ends_with(b"0\r\n\r\n") {
            match connection.read(&mut buffer).await {
                Ok(n) if n > 0 => {
                    tail.extend_from_slice(&buffer[..n]);
                    let keep = tail.len().saturating_sub(16);
                    tail.drain(..keep);
                }
                _ => return,
            }
        }
    }
}

/// Writes an archive such as `docker save` makes, with one layer of `size` bytes that no other
/// archive has, and returns the digest of its configuration.
pub(super) fn write_archive(file: &Path, tag: Option<&str>, architecture: &str, size: usize) -> String {
    use sha2::{Digest as _, Sha256};

    let mut content = vec![0; size];
    getrandom::fill(&mut content).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "data", &content);
    let layer = layer.into_inner().unwrap();
    let hex = |bytes: &[u8]| crate::appliance::hex(&Sha256::digest(bytes));
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "created": "2026-11-01T00:00:00Z",
        "config": {"Labels": {"org.opencontainers.image.version": "9.8.7"}, "Cmd": ["/data"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
        "history": [{"created": "2026-11-01T00:00:00Z", "created_by": "a test"}],
    })
    .to_string();
    let digest = hex(config.as_bytes());
    let manifest = serde_json::json!([{
        "Config": format!("{digest}.json"), "RepoTags": tag.map(|t| [t]), "Layers": ["one/layer.tar"],
    }]);
    let mut archive = tar::Builder::new(std::fs::File::create(file).unwrap());
    append(&mut archive, "one/layer.tar", &layer);
    append(&mut archive, &format!("{digest}.json"), config.as_bytes());
    append(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    archive.finish().unwrap();
    digest
}

/// Adds one file to an archive.
pub(super) fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, PathBuf::from(name), content).unwrap();
}
