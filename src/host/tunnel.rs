//! A tunnel: a port of this machine that leads to one of the machine behind ssh. An ssh in the background has it, and
//! carries the connections to the engine there, too. All that is known of it is the socket through which it is asked, so
//! any command finds the tunnel of another.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::{ports, ssh};
use crate::{
    error::{Error, Result, io_reason},
    observed::PortState,
    paths,
};

/// Longest time that ssh may take to sign in; its own limit is for the connection alone.
const SIGN_IN: Duration = Duration::from_secs(20);

/// Longest time for a request to an ssh that is there.
const REQUEST: Duration = Duration::from_secs(3);

/// What the names of the sockets begin with.
const PREFIX: &str = "tunnel-";

/// There when the user closed it.
const CLOSED: &str = "tunnel.closed";

/// A tunnel that there is, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    url: String,
    folder: PathBuf,
    here: SocketAddr,
    there: SocketAddr,
}

impl Tunnel {
    /// The tunnel from `here` to `there`, which is an address of the machine at `ssh://…`. Its files are in `folder`.
    pub fn new(url: &str, folder: &Path, here: SocketAddr, there: SocketAddr) -> Self {
        Tunnel { url: url.to_owned(), folder: folder.to_owned(), here, there }
    }

    /// The machine behind it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it begins on this machine.
    pub fn here(&self) -> SocketAddr {
        self.here
    }

    /// The socket through which its ssh is asked. Its name says what it connects.
    fn control(&self) -> PathBuf {
        let ends = format!("{PREFIX}{}-{}", self.here.port(), self.there.port());
        self.folder.join(format!("{ends}-{}", digest(&self.url)))
    }

    /// Whether its ssh is there.
    pub async fn is_open(&self) -> bool {
        is_answered(&self.control()).await
    }

    /// Opens it, unless it is. Any other of the same folder is closed.
    ///
    /// # Errors
    /// In words: what ssh complains of, or who has the port.
    pub async fn open(&self) -> Result<(), String> {
        self.open_if(true).await
    }

    /// The same, unless the user or a command has closed it: for who only keeps it open.
    ///
    /// # Errors
    /// As [`Tunnel::open`].
    pub async fn keep_open(&self) -> Result<(), String> {
        self.open_if(false).await
    }

    async fn open_if(&self, wanted: bool) -> Result<(), String> {
        paths::create_folder(&self.folder, 0o700).map_err(|e| e.to_string())?;
        let _lock = lock(&self.folder).await.map_err(|e| io_reason(&e))?;
        if wanted {
            let _ = fs::remove_file(self.folder.join(CLOSED));
        } else if self.is_unwanted() {
            return Err("it was closed".to_owned());
        }
        if self.is_open().await {
            return Ok(());
        }
        close_all(&self.folder).await;
        if let PortState::Taken { holder, .. } = ports::state(self.here.ip(), self.here.port()) {
            let holder = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
            return Err(format!("port {} on {} is taken{holder}", self.here.port(), self.here.ip()));
        }
        let control = self.control();
        let options = ["-f", "-N", "-M", "-o", "ControlPersist=no"];
        run(ssh::command(&self.url, &options, Some(&control), &[]), SIGN_IN).await?;
        let ends = format!("{}:{}", self.here, self.there);
        let forwarded = run(ssh::request(&control, "forward", &["-L", &ends]), REQUEST).await;
        if forwarded.is_err() {
            close(&control).await;
        }
        forwarded
    }

    /// Closes it, to be opened anew.
    pub async fn close(&self) {
        close(&self.control()).await;
    }

    /// Whether the user closed it, and nothing has opened it since.
    pub fn is_unwanted(&self) -> bool {
        self.folder.join(CLOSED).exists()
    }
}

/// Closes the tunnels of a folder, and leaves word for who keeps them open; whether one was.
///
/// # Errors
/// When that cannot be written down.
pub async fn leave_closed(folder: &Path) -> Result<bool> {
    let _lock = lock(folder).await.map_err(|e| Error::file("lock", folder, &e))?;
    paths::write_file(&folder.join(CLOSED), b"", 0o600)?;
    Ok(close_all(folder).await)
}

/// The socket of an open connection to the machine at `ssh://…`, where a tunnel of this folder has one.
pub fn connection(folder: &Path, url: &str) -> Option<PathBuf> {
    let end = format!("-{}", digest(url));
    sockets(folder).into_iter().find(|path| path.to_string_lossy().ends_with(&end))
}

/// Closes all tunnels of a folder; whether one was open.
pub async fn close_all(folder: &Path) -> bool {
    let mut any = false;
    for control in sockets(folder) {
        any |= close(&control).await;
    }
    any
}

/// The port of this machine where the tunnel of a folder begins; `None` when none is open.
pub async fn open_port(folder: &Path) -> Option<u16> {
    for control in sockets(folder) {
        if is_answered(&control).await {
            let name = control.file_name()?.to_str()?;
            return name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok();
        }
    }
    None
}

fn sockets(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect()
}

async fn is_answered(control: &Path) -> bool {
    control.exists() && run(ssh::request(control, "check", &[]), REQUEST).await.is_ok()
}

/// Ends the ssh behind a socket; whether there was one. What is left of one that was killed goes, too.
async fn close(control: &Path) -> bool {
    let ended = run(ssh::request(control, "exit", &[]), REQUEST).await.is_ok();
    let _ = fs::remove_file(control);
    ended
}

/// Runs an ssh until it ends, or has gone to the background; what it complained of, where it fails. One in the background
/// keeps its standard error, so that is a file: the end of a pipe would not come.
async fn run(mut command: Command, limit: Duration) -> Result<(), String> {
    let mut said = tempfile::tempfile().map_err(|e| io_reason(&e))?;
    let errors = said.try_clone().map_err(|e| io_reason(&e))?;
    let mut child = command.stdout(Stdio::null()).stderr(errors).spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "the program ssh is not installed".to_owned(),
        _ => io_reason(&e),
    })?;
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(_)) => {
            let mut text = String::new();
            let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
            Err(ssh::complaint(&text))
        }
        Ok(Err(e)) => Err(io_reason(&e)),
        Err(_) => Err(format!("ssh was not ready within {} s", limit.as_secs())),
    }
}

/// Held while a tunnel is opened: of two commands at a time, one finds the other's.
async fn lock(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join("tunnel.lock"))?;
    let locked = tokio::task::spawn_blocking(move || flock(&file, FlockOperation::LockExclusive).map(|()| file));
    Ok(locked.await.map_err(io::Error::other)??)
}

fn digest(url: &str) -> String {
    Sha256::digest(url).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
