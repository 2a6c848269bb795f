//! Ways to an engine for the few calls that bollard cannot make, or whose answers it cannot read.

use std::path::{Path, PathBuf};

use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc::Sender,
};

use super::{Engine, ssh};
use crate::http;

/// Most of an answer that is read: an engine with ten thousand volumes answers 5 MB.
const LARGEST_ANSWER: usize = 32 << 20;

impl Engine {
    /// One GET, on a connection of its own.
    pub(super) async fn get(&self, path: &str) -> Result<http::HttpResponse, String> {
        let wire = Wire::of(self)?;
        http::get(wire.open().await?, wire.host(), path, &[], LARGEST_ANSWER).await
    }
}

/// How to reach an engine past bollard.
pub(super) enum Wire {
    /// A socket's path.
    Unix(String),
    /// Host and port.
    Tcp(String),
    /// An address of ssh, and the folder with the files of a tunnel to it.
    Ssh(String, Option<PathBuf>),
}

impl Wire {
    /// The engine's; the reason where it is another way.
    pub(super) fn of(engine: &Engine) -> Result<Self, String> {
        let endpoint = engine.about.endpoint.as_str();
        if let Some(socket) = endpoint.strip_prefix("unix://") {
            return Ok(Wire::Unix(socket.to_owned()));
        }
        if engine.is_behind_ssh() {
            let folder = engine.memory.as_deref().and_then(Path::parent);
            return Ok(Wire::Ssh(endpoint.to_owned(), folder.map(Path::to_owned)));
        }
        match endpoint.strip_prefix("tcp://").or_else(|| endpoint.strip_prefix("http://")) {
            Some(address) => Ok(Wire::Tcp(address.trim_end_matches('/').to_owned())),
            None => Err(format!("not possible over {endpoint}")),
        }
    }

    /// One GET whose answer goes on: see [`http::lines`].
    pub(super) async fn lines(&self, path: &str, limit: usize, to: Sender<Vec<u8>>) -> Result<(), String> {
        http::lines(self.open().await?, self.host(), path, limit, to).await
    }

    fn host(&self) -> &str {
        match self {
            Wire::Tcp(address) => address,
            // Whom ssh connects to is no part of a request.
            Wire::Unix(_) | Wire::Ssh(..) => "docker",
        }
    }

    async fn open(&self) -> Result<Box<dyn http::Connection>, String> {
        let stream: Result<Box<dyn http::Connection>, _> = match self {
            Wire::Unix(socket) => UnixStream::connect(socket).await.map(|stream| Box::new(stream) as _),
            Wire::Tcp(address) => TcpStream::connect(address).await.map(|stream| Box::new(stream) as _),
            Wire::Ssh(url, folder) => ssh::dial(url, folder.as_deref()).map(|stream| Box::new(stream) as _),
        };
        stream.map_err(|e| e.to_string())
    }
}
