//! Where the agent inside finds the host's ssh agent: a folder of docklet's, mounted read-only, in which the supervisor
//! listens. The socket of the host's ssh agent is never mounted itself: it changes with each login, and who reaches it can
//! add and remove keys.

use std::path::{Path, PathBuf};

use crate::{
    engine::Engine,
    error::{Error, Result},
    paths::{self, InstancePaths},
};

/// What it means to offer it, in a sentence.
pub const MEANING: &str = "the agent can sign in with the keys of your ssh agent wherever the network rules let it, as long as \
                           docklet's supervisor runs; it cannot read the keys";

/// Refuses engines that do not run on this machine: a socket leads into no other one.
///
/// # Errors
/// [`Error::SettingRefused`].
pub fn check(engine: &Engine) -> Result<()> {
    if engine.about.runs_here() {
        return Ok(());
    }
    Err(Error::SettingRefused {
        key: "git.ssh_agent".to_owned(),
        value: "true".to_owned(),
        reason: format!("{} does not run on this machine itself, so it cannot share the socket", engine.about.name),
        hint: "push over https with a token: docklet secret set GH_TOKEN".to_owned(),
    })
}

/// Makes the folder, and remembers where the host's ssh agent listens now; a command that knows of none leaves that as
/// it is.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(files: &InstancePaths, host_socket: Option<&Path>) -> Result<()> {
    paths::create_folder(&files.state, 0o700)?;
    // Whoever the container runs as passes through it; nobody else on this machine gets through the one above.
    paths::create_folder(&files.ssh_agent(), 0o755)?;
    match host_socket {
        Some(socket) if remembered(files).as_deref() != Some(socket) => {
            paths::write_file(&files.host_ssh_agent(), socket.as_os_str().as_encoded_bytes(), 0o600)
        }
        _ => Ok(()),
    }
}

/// Where the host's ssh agent listened when a command was run last.
pub fn remembered(files: &InstancePaths) -> Option<PathBuf> {
    paths::read_text(&files.host_ssh_agent()).ok().flatten().map(PathBuf::from)
}
